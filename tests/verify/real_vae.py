"""The small VAE on real clips: as shipped, fine-tuned, and against a discriminator.

`tests.real_clips` makes the clips. The shipped VAE, which knows only moving shapes, is
fine-tuned with the recipe `own_clips`. From there it goes on twice for as many steps:
with the same losses, and with the reconstruction GAN as well. All figures are of scenes
that were never trained on. The distance in a fixed random VGG16 is no LPIPS. The images
show Big Buck Bunny alone, whose licence allows it. Finished steps are not repeated:
REAL_VAE names a folder to keep them in.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from ltx_jax.data.clip_reader import read_clip
from ltx_jax.data.contact_sheet import contact_sheet
from ltx_jax.metrics import reconstruction
from tests import real_clips
from tests.experiments.vae.measure import feature_distance
from tests.program import ROOT, program
from tests.verify.own_clips import (
  SHIPPED,
  SIZE,
  clips_of,
  reconstructed,
  row,
  scene,
)

NAME = "The small VAE on real clips: before and after, with and without a discriminator"
COMMAND = "python -m tests.verify real_vae"

PICTURED = ("bunny", "meadow")
"""Scenes of Big Buck Bunny, (c) Blender Foundation, CC BY 3.0."""

UNSEEN = (*real_clips.UNSEEN, *PICTURED)
FIRST, SECOND = 300, 300
GAN = (
  *("--adversarial.weight", "0.3", "--adversarial.channels", "24"),
  *("--adversarial.sees", "both-orders"),
  *("--adversarial.head-start", "150", "--adversarial.ramp", "50"),
  *("--adversarial.optimizer.learning-rate", "4e-4"),
  *("--adversarial.optimizer.warmup-steps", "10"),
)
SIDES = {"plain": (), "with the reconstruction GAN": GAN}
"""Options of the last steps, by their name."""

GAIN = 2.0
"""Decibels that fine-tuning must gain on unseen scenes."""


def trained(work: Path, name: str, steps: int, *options: Any) -> Path:
  """Trains unless that is done, and returns the VAE's file; its time is in seconds.txt.

  Args:
    work: Folder of all.
    name: Name of the run's folder.
    steps: Number of steps.
    options: Further options of `train.vae`.
  """
  folder = work / name
  path, seconds = folder / "vae.safetensors", folder / "seconds.txt"
  if not seconds.is_file():
    data = "--data", work / "clips" / "manifest.jsonl", "--output.folder", folder
    begun = time.monotonic()
    program("train.vae", "own_clips", *data, "--steps", steps, *options)
    seconds.write_text(f"{time.monotonic() - begun:.0f}\n")
  return path


def checkpoints(work: Path) -> dict[str, Path]:
  """Returns the VAEs to compare, by name."""
  first = trained(work, "first", FIRST)
  found = {"as shipped": SHIPPED, f"fine-tuned, {FIRST} steps": first}
  for number, (name, options) in enumerate(SIDES.items(), 1):
    # One seed for both, so that they see the same clips.
    more = "--init-from", first, "--seed", 1, *options
    path = trained(work, f"second-{number}", SECOND, *more)
    found[f"{SECOND} steps more, {name}"] = path
  return found


def figures(made: list[np.ndarray], videos: list[np.ndarray]) -> dict[str, float]:
  """Returns the means over clips."""
  each = [reconstruction.measure(*pair) for pair in zip(made, videos, strict=True)]
  return {
    "PSNR, dB": float(np.mean([one.clip_psnr for one in each])),
    "SSIM": float(np.mean([one.ssim.mean() for one in each])),
    "distance in a fixed random VGG16": feature_distance(made, videos),
    "motion ratio": float(np.mean([one.motion_ratio for one in each])),
  }


def rows_of(work: Path, images: Path) -> list[dict[str, Any]]:
  """Trains, measures, and writes the image."""
  unseen = [clip for clip in clips_of(work, UNSEEN) if scene(clip) in UNSEEN]
  videos = [read_clip(clip, SIZE)[0] for clip in unseen]
  sides = {
    name: [np.uint8(video.round()) for video in reconstructed(path, videos)]
    for name, path in checkpoints(work).items()
  }
  found = {name: figures(made, videos) for name, made in sides.items()}
  rows = [
    row(f"{name}: {figure}", value, "")
    for name, values in found.items()
    for figure, value in values.items()
  ]
  before, after, *_ = (values["PSNR, dB"] for values in found.values())
  rows.insert(
    0, row("gain by fine-tuning on unseen scenes", after - before, "dB", GAIN)
  )
  for name in ("first", "second-1", "second-2"):
    seconds = float((work / name / "seconds.txt").read_text())
    rows.append(row(f"training of {name}", seconds / 60, "minutes"))
  shown = [
    next(k for k, c in enumerate(unseen) if scene(c) == name) for name in PICTURED
  ]
  strips = {"original": videos} | sides
  contact_sheet(
    images / "vae-real.webp",
    [made[k] for k in shown for made in strips.values()],
    [name for _ in shown for name in strips],
    columns=1,
    frames=5,
    height=128,
  )
  return rows


def run() -> list[dict[str, Any]]:
  """Rows of all."""
  images = ROOT / "docs" / "images"
  if "REAL_VAE" in os.environ:
    return rows_of(Path(os.environ["REAL_VAE"]).absolute(), images)
  with tempfile.TemporaryDirectory() as work:
    return rows_of(Path(work), images)
