"""Resumed runs: of other recipes, with holes, and with files edited by hand."""

from __future__ import annotations

import json

from tests.odd_inputs.case import (
  Case,
  Files,
  Make,
  accepted,
  cut,
  folder,
  locked,
  refused,
  shelved,
  with_file,
  without,
)

RARE = "--output.sample-every", "1000", "--output.evaluate-every", "1000"
RUN: Files = {"run": shelved("run")}
VAE_RUN: Files = {"run": shelved("vae-run")}
NEWER = "checkpoints/4"


def resume(*more: str) -> tuple[str, ...]:
  """Goes on with the run of a transformer, from its last step."""
  return (
    *("train.transformer", "tiny", "--vae", "{shelf}/vae.safetensors"),
    *("--data", "{shelf}/records", "--output.folder", "run", "--steps", "4"),
    *(*RARE, *more),
  )


def resume_vae(*more: str) -> tuple[str, ...]:
  """Goes on with the run of a VAE, from its last step."""
  return ("train.vae", "tiny", "--output.folder", "run", "--steps", "4", *RARE, *more)


def changed(who: str, *more: str, names: tuple[str, ...]) -> Case:
  """A run that goes on by another recipe."""
  return refused(who, resume(*more), *names, files=RUN)


def damaged(who: str, make: Make, *names: str, **more: object) -> Case:
  """A run in a damaged folder that cannot go on."""
  return refused(who, resume(), *names, files={"run": make}, **more)


def mended(who: str, make: Make) -> Case:
  """A run in a damaged folder that goes on all the same."""
  return accepted(who, resume("--steps", "5"), files={"run": make}, leaves=("run/*",))


RECIPES = (
  changed("goes on with fewer steps", "--steps", "2", names=("4", "2", "--steps")),
  changed(
    "goes on with another optimiser", "--optimizer.name", "muon", names=("muon",)
  ),
  changed(
    "goes on without the average", "--optimizer.ema-decay", "0", names=("average",)
  ),
  changed("goes on with other batches", "--token-dropping", "0.5", names=("run",)),
  changed("goes on as a LoRA", "--lora.rank", "4", names=("lora.rank",)),
  changed(
    "goes on with a wider network",
    "--transformer.num-layers",
    "3",
    names=("num_layers",),
  ),
  changed("goes on with other data", "--data", "{shelf}/data", names=("data",)),
  refused("goes on as the other trainer", resume_vae(), "run", files=RUN),
  refused(
    "goes on with another part of a VAE",
    resume_vae("--vae.latent-channels", "16"),
    "latent_channels",
    files=VAE_RUN,
  ),
  accepted(
    "goes on for a step",
    resume("--steps", "5"),
    "run/checkpoints/5/",
    files=RUN,
    leaves=("run/*",),
  ),
)

FOLDERS = (
  damaged(
    "loses a part of the checkpoint",
    without("run", f"{NEWER}/state"),
    "4",
    leaves=("run/*",),
  ),
  damaged(
    "loses the arrays", without("run", f"{NEWER}/state/d"), "4", leaves=("run/*",)
  ),
  damaged(
    "loses the record", without("run", f"{NEWER}/record"), "4", leaves=("run/*",)
  ),
  damaged(
    "empties the checkpoint", with_file("run", NEWER, folder), "4", leaves=("run/*",)
  ),
  damaged(
    "edits the record",
    with_file("run", f"{NEWER}/record/metadata", "{"),
    "4",
    leaves=("run/*",),
  ),
  damaged(
    "has a record of another version",
    with_file("run", f"{NEWER}/record/metadata", json.dumps({"schema": 99})),
    "4",
    leaves=("run/*",),
  ),
  damaged(
    "may not read the checkpoints",
    with_file("run", "checkpoints", locked(folder)),
    "checkpoints",
    leaves=("run/*",),
  ),
  damaged("may not write the checkpoints", locked(shelved("run"), 0o500), "run"),
  damaged("has a file in place of the folder", "mine", "run"),
  damaged(
    "has a file in place of checkpoints",
    with_file("run", "checkpoints", "mine"),
    "checkpoints",
    leaves=("run/*",),
  ),
  mended("loses the curves", without("run", "metrics.jsonl")),
  mended("loses the config", without("run", "config.json")),
  mended("edits the config by hand", with_file("run", "config.json", "{")),
  mended(
    "stops copying the curves",
    with_file("run", "metrics.jsonl", cut("run/metrics.jsonl", 0.6)),
  ),
  mended("empties the curves", with_file("run", "metrics.jsonl", "")),
  damaged(
    "edits the curves by hand",
    with_file("run", "metrics.jsonl", '{"loss": 1}\n[3]\n7\n'),
    "metrics.jsonl",
  ),
  damaged(
    "saves the curves by an editor of Windows",
    with_file("run", "metrics.jsonl", b"\xff\xfe{\x00}\x00"),
    "metrics.jsonl",
  ),
  mended(
    "has a half checkpoint of a kill",
    with_file("run", "checkpoints/5.orbax-checkpoint-tmp/state/x", "half"),
  ),
  mended("has files of the desktop", with_file("run", "checkpoints/.DS_Store", "\0")),
  mended(
    "keeps a copy of a checkpoint",
    with_file("run", "checkpoints/4 copy", shelved(f"run/{NEWER}")),
  ),
)

PAGES = (
  refused("draws a run that is not there", ("train.curves", "nowhere"), "nowhere"),
  refused(
    "draws an empty folder", ("train.curves", "run"), "run", files={"run": folder}
  ),
  refused("draws no run", ("train.curves",), "run"),
  refused(
    "draws empty curves",
    ("train.curves", "run"),
    "run",
    files={"run/metrics.jsonl": ""},
  ),
  refused(
    "draws curves of words",
    ("train.curves", "run"),
    "run",
    files={"run/metrics.jsonl": '{"step": 1, "loss": "high"}\n'},
  ),
  refused(
    "draws curves of lists",
    ("train.curves", "run"),
    "run",
    files={"run/metrics.jsonl": "[1, 2]\n"},
  ),
  refused(
    "draws curves without steps",
    ("train.curves", "run"),
    "run",
    files={"run/metrics.jsonl": '{"loss": 1.0}\n'},
  ),
  refused(
    "draws a picture of such",
    ("train.curves", "run", "--output", "a.png"),
    "run",
    files={"run/metrics.jsonl": '{"loss": 1.0}\n'},
  ),
  refused(
    "writes the page over the curves",
    ("train.curves", "run", "--output", "run/metrics.jsonl"),
    "metrics.jsonl",
    files=RUN,
  ),
  refused(
    "draws a run with a broken config",
    ("train.curves", "run"),
    "config.json",
    files={"run": with_file("run", "config.json", "{")},
  ),
  accepted(
    "draws a run with a list as config",
    ("train.curves", "run"),
    "run/curves.html",
    files={"run": with_file("run", "config.json", "[]")},
  ),
  accepted(
    "draws a run that was cut",
    ("train.curves", "run"),
    "run/curves.html",
    files={"run": with_file("run", "metrics.jsonl", cut("run/metrics.jsonl", 0.6))},
  ),
  accepted(
    "draws a run of NaN",
    ("train.curves", "run"),
    "run/curves.html",
    files={"run/metrics.jsonl": '{"step": 1, "loss": NaN}\n'},
  ),
  refused(
    "draws a run with pictures that are none",
    ("train.curves", "run"),
    "x_000004.png",
    files={"run": with_file("run", "samples/x_000004.png", "none")},
  ),
)

CASES = (*RECIPES, *FOLDERS, *PAGES)
