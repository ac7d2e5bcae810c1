"""Outputs: where they may not go, what they would replace, and odd names."""

from __future__ import annotations

from tests.odd_inputs.case import (
  accepted,
  folder,
  linked,
  locked,
  quick,
  refused,
  shelved,
  writes,
)

LONG = "v" * 300 + ".mp4"
GENERATE = quick()
GPU = "sample.gpu", "a boat", "--model", "{shelf}/model"
IMAGE = {"a.png": shelved("images/plain.png")}

REFUSED = (
  refused("writes where nobody may", quick("--output", "/proc/video.mp4"), "/proc"),
  refused(
    "writes into a locked folder",
    quick("--output", "mine/a.mp4"),
    "mine",
    files={"mine": locked(folder, 0o500)},
  ),
  refused(
    "writes into a file",
    quick("--output", "a.txt/b.mp4"),
    "a.txt",
    files={"a.txt": "mine"},
  ),
  refused(
    "writes over a folder",
    quick("--output", "a.mp4"),
    "a.mp4",
    files={"a.mp4": folder},
  ),
  refused(
    "writes PNGs among other files",
    quick("--output", "out"),
    "out",
    files={"out/a.txt": "mine"},
  ),
  refused(
    "writes over the image",
    quick("--image", "a.png", "--output", "a.png", "--frames", "1"),
    "a.png",
    files=IMAGE,
  ),
  refused(
    "writes over the image by another name",
    quick("--image", "a.png", "--output", "./b/../a.png"),
    "a.png",
    files=IMAGE | {"b": folder},
  ),
  refused(
    "writes over the image by a link",
    quick("--image", "a.png", "--output", "b.png"),
    "b.png",
    files=IMAGE | {"b.png": lambda path, _: path.symlink_to("a.png")},
  ),
  refused(
    "writes over the prompts",
    (GENERATE[0], *GENERATE[2:], "--prompt-file", "a.png", "--output", "a.png"),
    "a.png",
    files={"a.png": "a red circle"},
  ),
  refused(
    "writes the sheet over the image",
    quick("--image", "a-sheet.png", "--output", "a.mp4", "--sheet"),
    "a-sheet.png",
    files={"a-sheet.png": shelved("images/plain.png")},
  ),
  refused(
    "writes the second video over the clip",
    (*quick("--condition", "a-2.mp4", "--output", "a.mp4"), "--seed", "1", "2"),
    "a-2.mp4",
    files={"a-2.mp4": shelved("clips/plain.mp4")},
  ),
  refused("gives a name that is too long", quick("--output", LONG), "too long"),
  refused(
    "gives a path that is too long",
    quick("--output", "d/" * 2500 + "a.mp4"),
    "too long",
  ),
  refused("gives no output", quick("--output", ""), "--output"),
  refused("gives the folder here", quick("--output", "."), "."),
  refused("gives the folder above", quick("--output", ".."), ".."),
  refused(
    "ends the output with a slash",
    quick("--output", "a.mp4/"),
    "a.mp4",
    files={"a.mp4": folder},
  ),
  refused("writes to the disk itself", quick("--output", "/dev/null/a.mp4"), "/dev"),
  refused("writes a GPU's video to a text", (*GPU, "--output", "a.txt"), ".txt"),
  refused(
    "writes a GPU's video over its model",
    ("sample.gpu", "a", "--model", "a.mp4", "--output", "a.mp4"),
    "a.mp4",
    files={"a.mp4": "model"},
  ),
  refused("has no GPU", (*GPU, "--output", "a.mp4"), "GPU"),
  refused(
    "draws curves into a locked folder",
    ("train.curves", "{shelf}/run", "--output", "mine/a.html"),
    "mine",
    files={"mine": locked(folder, 0o500)},
  ),
  refused(
    "draws curves over a folder",
    ("train.curves", "{shelf}/run", "--output", "a.html"),
    "a.html",
    files={"a.html": folder},
  ),
  refused(
    "trains into a file",
    ("train.vae", "tiny", "--output.folder", "a.txt"),
    "a.txt",
    files={"a.txt": "mine"},
  ),
  refused(
    "trains into a locked folder",
    ("train.vae", "tiny", "--output.folder", "mine/run"),
    "mine",
    files={"mine": locked(folder, 0o500)},
  ),
  refused(
    "writes records into a file",
    (
      "train.precompute",
      "moving-shapes",
      "--model",
      "{shelf}/vae.safetensors",
      "--text-encoder",
      "none",
      "--tokenizer",
      "{shelf}/model/tokenizer",
      "--buckets",
      "1x32x32",
      "--output",
      "a.txt",
    ),
    "a.txt",
    files={"a.txt": "mine"},
  ),
  refused(
    "writes a manifest into a file",
    ("train.manifest", "{shelf}/data/list.jsonl", "--output", "a.txt/m.jsonl"),
    "a.txt",
    files={"a.txt": "mine"},
  ),
  refused(
    "writes a tokenizer into a file",
    ("train.tokenizer", "--output", "a.txt"),
    "a.txt",
    files={"a.txt": "mine"},
  ),
  refused(
    "evaluates into a file",
    (
      "train.evaluate",
      "judge",
      "--clips",
      "1",
      "--frames",
      "1",
      "--height",
      "32",
      "--width",
      "32",
      "--output",
      "a.txt",
    ),
    "a.txt",
    files={"a.txt": "mine"},
  ),
  refused(
    "writes figures into a locked folder",
    ("train.compile", "ltxv_2b", "--device", "h100", "--json", "mine/a.json"),
    "mine",
    files={"mine": locked(folder, 0o500)},
  ),
  refused(
    "keeps the page's files in a file",
    ("sample.app", "--folder", "a.txt"),
    "a.txt",
    files={"a.txt": "mine"},
  ),
)

ACCEPTED = (
  accepted(
    "writes into folders that are not there",
    quick("--output", "a/b/c.mp4"),
    "a/b/c.mp4",
    leaves=("a/", "a/b/"),
  ),
  accepted(
    "writes a name with spaces",
    writes("my video (1).mp4"),
    "my video (1).mp4",
  ),
  accepted(
    "writes a name of another script",
    writes("видео 🎬 ß.mp4"),
    "видео 🎬 ß.mp4",
  ),
  accepted(
    "writes a name with a line's end",
    writes("two\nlines.mp4"),
    "two\nlines.mp4",
  ),
  accepted(
    "writes a name with a broken letter", quick("--output", "caf\udce9.mp4"), "caf?.mp4"
  ),
  accepted(
    "replaces an older video",
    writes("a.mp4"),
    files={"a.mp4": "old"},
    leaves=("a.mp4",),
  ),
  accepted(
    "replaces a video through a link",
    writes("a.mp4"),
    leaves=("*",),
    files={"b.mp4": "old", "a.mp4": lambda path, _: path.symlink_to("b.mp4")},
  ),
  accepted(
    "writes numbered PNGs",
    quick("--output", "out"),
    "out/00000.png",
    "out/00004.png",
    leaves=("out/", "out/*"),
  ),
  accepted(
    "writes PNGs into an empty folder",
    writes("out"),
    "out/00002.png",
    files={"out": folder},
    leaves=("out/", "out/*"),
  ),
  accepted("writes a GIF", writes("a.gif"), "a.gif"),
  accepted("writes a moving WebP", writes("a.webp"), "a.webp"),
  accepted("writes for the web", writes("a.webm"), "a.webm"),
  accepted(
    "keeps no texts where it may not",
    quick("--text-cache", "mine"),
    "video.mp4",
    files={"mine": locked(folder, 0o500)},
  ),
  accepted(
    "keeps texts in a file",
    quick("--text-cache", "a.txt"),
    "video.mp4",
    files={"a.txt": "mine"},
    says=("could not be kept",),
  ),
  accepted(
    "draws curves with a sign in the name",
    ("train.curves", "{shelf}/run", "--output", "a & b.html"),
    "a & b.html",
  ),
  accepted(
    "draws curves of two runs",
    ("train.curves", "{shelf}/run", "{shelf}/vae-run", "--output", "a.png"),
    "a.png",
  ),
  accepted(
    "draws curves of a run by a link",
    ("train.curves", "link", "--output", "a.html"),
    "a.html",
    files={"link": linked("run")},
  ),
)

CASES = (*REFUSED, *ACCEPTED)
