"""Checkpoints: other programs' files, half a download, other shapes, other models."""

from __future__ import annotations

from tests.odd_inputs.case import (
  PROMPT,
  Case,
  Make,
  accepted,
  cut,
  folder,
  linked,
  locked,
  quick,
  refused,
  shelved,
  with_file,
  without,
)

SHELF = "{shelf}/checkpoints/"
TEXT = "--text-encoder", "{shelf}/model"


def loading(path: str, *more: str) -> tuple[str, ...]:
  """A video by another checkpoint."""
  return ("sample.generate", PROMPT, "--model", path, *more)


def load_refused(who: str, name: str, *words: str, make: Make | None = None) -> Case:
  """A checkpoint of the shelf, or one that is made, that is refused."""
  path = SHELF + name if make is None else name
  files = {} if make is None else {name: make}
  return refused(who, loading(path, *TEXT), name, *words, files=files)


MODEL = "model/model.safetensors"

FILES = (
  load_refused("mistypes a path", "./modle.safetensors", make=lambda p, s: None),
  load_refused("gives a checkpoint of pickles", "model.ckpt"),
  load_refused("gives a file of llama.cpp", "model.gguf"),
  load_refused("clones without LFS", "pointer.safetensors"),
  load_refused("saves the page of sign-in", "page.safetensors"),
  load_refused("stops the download", "cut.safetensors", make=cut(MODEL, 0.7)),
  load_refused("stops it at once", "start.safetensors", make=cut(MODEL, 0.001)),
  load_refused("has an empty file", "empty.safetensors", make=b""),
  load_refused("has a file of zeros", "zeros.safetensors", make=bytes(4096)),
  load_refused("has no tensors", "none.safetensors"),
  load_refused("names a folder like a file", "model.safetensors", make=folder),
  load_refused("may not read it", "mine.safetensors", make=locked(shelved(MODEL))),
  load_refused("links to a moved disk", "gone.safetensors", make=linked("moved")),
  load_refused("has a part of browser", "a.safetensors.part", make=cut(MODEL, 0.5)),
  load_refused("renames a PNG", "art.safetensors", make=shelved("images/plain.png")),
  load_refused("gives a config", "config.json", make='{"_class_name": "LTX"}'),
  load_refused("gives a workflow of ComfyUI", "flow.json", make='{"nodes": []}'),
)

TENSORS = (
  load_refused("merges by a script with holes", "missing.safetensors"),
  load_refused("has a model with sound", "extra.safetensors", "audio_head"),
  load_refused("turns kernels over", "turned.safetensors", "ff.net.0.proj"),
  load_refused("saves whole numbers", "whole.safetensors"),
  load_refused("saves a wrapped module", "renamed.safetensors", "module."),
  refused(
    "extracts the VAE", loading(f"{SHELF}vae-only.safetensors", *TEXT), "transformer"
  ),
  refused(
    "extracts the transformer",
    loading(f"{SHELF}transformer-only.safetensors", *TEXT),
    "vae",
  ),
  load_refused("downloads another model", "sd15.safetensors"),
  load_refused("downloads a language model", "llama.safetensors"),
  load_refused("edits the config by hand", "notes.safetensors", "config"),
  load_refused("has a list as config", "list.safetensors", "config"),
  refused(
    "has trained into NaN",
    (*quick()[:2], "--model", f"{SHELF}nan.safetensors", *TEXT, *quick()[4:]),
    "NaN",
  ),
  load_refused("loses the metadata", "bare.safetensors"),
)

FOLDERS = (
  load_refused("has begun a download", "diffusers"),
  refused(
    "names an empty folder", loading("here", *TEXT), "here", files={"here": folder}
  ),
  refused(
    "names the folder above",
    loading("{shelf}", *TEXT),
    "{shelf}",
  ),
  refused(
    "names a folder of several",
    loading("{shelf}/loras", *TEXT),
    "loras",
    "safetensors",
  ),
  refused(
    "loses the tokenizer",
    loading("bare"),
    "tokenizer",
    files={"bare": without("model", "tokenizer")},
  ),
  refused(
    "loses the tokenizer's model",
    loading("bare"),
    "tokenizer",
    files={"bare": without("model", "tokenizer/spiece.model")},
  ),
  refused(
    "loses the text encoder",
    loading("bare"),
    "text encoder",
    files={"bare": without("model", "text_encoder")},
  ),
  refused(
    "loses the text encoder's weights",
    loading("bare"),
    "text_encoder",
    files={"bare": without("model", "text_encoder/model.safetensors")},
  ),
  refused(
    "loses the text encoder's config",
    loading("bare"),
    "text encoder",
    files={"bare": without("model", "text_encoder/config.json")},
  ),
  refused(
    "edits the text encoder's config",
    loading("bare"),
    "config.json",
    files={"bare": with_file("model", "text_encoder/config.json", "{'a': 1}")},
  ),
  refused(
    "has another kind of text encoder",
    loading("bare"),
    "config.json",
    files={
      "bare": with_file("model", "text_encoder/config.json", '{"model_type": "bert"}')
    },
  ),
  refused(
    "takes another model's text encoder",
    loading("{shelf}/model", "--text-encoder", "{shelf}/shipped"),
    "d_model",
    "10",
  ),
  refused(
    "stops the text encoder's download",
    loading("bare"),
    "text_encoder",
    files={
      "bare": with_file(
        "model",
        "text_encoder/model.safetensors",
        cut("model/text_encoder/model.safetensors", 0.5),
      )
    },
  ),
  refused(
    "has a tokenizer of zeros",
    loading("bare"),
    "tokenizer",
    files={"bare": with_file("model", "tokenizer/spiece.model", bytes(900))},
  ),
  refused(
    "has a text as tokenizer",
    loading("bare"),
    "tokenizer",
    files={"bare": with_file("model", "tokenizer/spiece.model", "<html></html>")},
  ),
  refused(
    "has a broken tokenizer's config",
    loading("bare"),
    "tokenizer",
    files={"bare": with_file("model", "tokenizer/tokenizer_config.json", "{")},
  ),
  refused(
    "may not open the folder",
    loading("mine"),
    "mine",
    files={"mine": locked(folder)},
  ),
  accepted(
    "links to the whole folder",
    (*quick()[:2], "--model", "link", *quick()[4:]),
    "video.mp4",
    files={"link": linked("model")},
  ),
)

LORAS = (
  refused(
    "takes a LoRA of a wider model",
    quick("--lora", "{shelf}/loras/wide.safetensors"),
    "wide.safetensors",
  ),
  refused(
    "takes a LoRA of a deeper model",
    quick("--lora", "{shelf}/loras/deep.safetensors"),
    "deep.safetensors",
  ),
  refused(
    "takes a LoRA of another family",
    quick("--lora", "{shelf}/loras/flux.safetensors"),
    "flux.safetensors",
  ),
  refused(
    "has half a LoRA",
    quick("--lora", "{shelf}/loras/half.safetensors"),
    "half.safetensors",
  ),
  refused(
    "has a LoRA of NaN",
    quick("--lora", "{shelf}/loras/nan.safetensors"),
    "nan.safetensors",
  ),
  refused(
    "has an empty LoRA",
    quick("--lora", "a.safetensors"),
    "a.safetensors",
    files={"a.safetensors": b""},
  ),
  refused(
    "mistypes a LoRA", quick("--lora", "stlye.safetensors:0.8"), "stlye.safetensors"
  ),
  refused(
    "weighs a LoRA in words",
    quick("--lora", "{shelf}/loras/fits.safetensors:strong"),
    ":strong",
  ),
  refused("gives a folder of LoRAs", quick("--lora", "{shelf}/loras"), "loras"),
  refused(
    "gives a LoRA of pickles",
    quick("--lora", "a.pt"),
    "a.pt",
    files={"a.pt": b"PK\x03\x04" + bytes(100)},
  ),
  refused("gives no LoRA", quick("--lora", ""), "LoRA"),
  accepted(
    "turns a LoRA off", quick("--lora", "{shelf}/loras/fits.safetensors:0"), "video.mp4"
  ),
  accepted(
    "gives a LoRA twice",
    quick(
      "--lora", "{shelf}/loras/fits.safetensors", "{shelf}/loras/fits.safetensors:0.5"
    ),
    "video.mp4",
  ),
)

UPSCALERS = (
  refused(
    "takes another VAE's upscaler",
    quick("--multi-scale", "--upscaler", "{shelf}/wide-upscaler.safetensors"),
    "8",
  ),
  refused(
    "mistypes an upscaler",
    quick("--multi-scale", "--upscaler", "ltxv-upscaler"),
    "ltxv-upscaler",
  ),
  refused(
    "stops the upscaler's download",
    quick("--multi-scale", "--upscaler", "a.safetensors"),
    "a.safetensors",
    files={"a.safetensors": cut("upscaler.safetensors", 0.5)},
  ),
  refused(
    "has an upscaler of images",
    quick("--multi-scale", "--upscaler", "4x.pth"),
    "4x.pth",
    files={"4x.pth": b"PK\x03\x04" + bytes(100)},
  ),
)


def convert(*arguments: str) -> tuple[str, ...]:
  """A conversion."""
  return ("sample.convert", *arguments)


CONVERT = (
  refused(
    "converts what is not there",
    convert("a.safetensors", "b.safetensors"),
    "a.safetensors",
  ),
  refused(
    "converts pickles", convert(f"{SHELF}model.ckpt", "b.safetensors"), "model.ckpt"
  ),
  refused(
    "converts half a file",
    convert("a.safetensors", "b.safetensors"),
    "a.safetensors",
    files={"a.safetensors": cut(MODEL, 0.9)},
  ),
  refused(
    "converts a file into itself",
    convert("a.safetensors", "a.safetensors"),
    "a.safetensors",
    files={"a.safetensors": shelved(MODEL)},
  ),
  refused(
    "converts over another file",
    convert(f"{{shelf}}/{MODEL}", "b.safetensors"),
    "b.safetensors",
    files={"b.safetensors": "mine"},
  ),
  refused(
    "converts into a full folder",
    convert(f"{{shelf}}/{MODEL}", "out"),
    "out",
    files={"out/a.txt": "mine"},
  ),
  refused("converts to pickles", convert(f"{{shelf}}/{MODEL}", "b.ckpt"), ".ckpt"),
  refused(
    "converts a LoRA",
    convert("{shelf}/loras/fits.safetensors", "b.safetensors"),
    "fits.safetensors",
  ),
  refused(
    "converts a language model",
    convert(f"{SHELF}llama.safetensors", "b.safetensors"),
    "llama.safetensors",
  ),
  refused(
    "converts the text encoder",
    convert("{shelf}/model/text_encoder", "b.safetensors"),
    "text_encoder",
  ),
  refused(
    "converts into a locked folder",
    convert(f"{{shelf}}/{MODEL}", "mine/b.safetensors"),
    "mine",
    files={"mine": locked(folder, 0o500)},
  ),
  refused(
    "converts into a file's folder",
    convert(f"{{shelf}}/{MODEL}", "a.txt/b.safetensors"),
    "a.txt",
    files={"a.txt": "mine"},
  ),
  refused(
    "converts with holes",
    convert(f"{SHELF}missing.safetensors", "b.safetensors"),
    "missing.safetensors",
  ),
  accepted(
    "converts to half the size",
    convert(f"{{shelf}}/{MODEL}", "b.safetensors", "--dtype", "bfloat16"),
    "b.safetensors",
  ),
  accepted(
    "converts a VAE alone",
    convert("{shelf}/vae.safetensors", "b.safetensors"),
    "b.safetensors",
  ),
  accepted(
    "converts through a link",
    convert("link", "b.safetensors"),
    "b.safetensors",
    files={"link": linked(MODEL)},
  ),
)

WEIGHTS = "train.perceptual_weights"
PERCEPTUAL = (
  refused(
    "takes a whole model for VGG16",
    (WEIGHTS, f"{{shelf}}/{MODEL}"),
    "features.0.weight",
  ),
  refused(
    "has no heads where they should be",
    (WEIGHTS, "vgg16.safetensors", "--heads", "no/vgg.pth"),
    "no/vgg.pth",
  ),
)

CASES = (*FILES, *TENSORS, *FOLDERS, *LORAS, *UPSCALERS, *CONVERT, *PERCEPTUAL)
