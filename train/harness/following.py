"""The commands to continue with after a program, with the paths that it just wrote.

train.manifest -> train.vae -> train.tokenizer, train.precompute -> train.transformer
"""

from __future__ import annotations

import dataclasses
import importlib
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ltx_jax.checkpoints import lightricks
from ltx_jax.config.runs import Bucket, VAERun
from ltx_jax.data.assignment import Sizes, cropped
from ltx_jax.moving_shapes.source import NAME, TEXTURED
from ltx_jax.releases.presets import ASSETS
from train.harness.sizes import size_of

RELEASED = "ltxv-2b-0.9.6-dev"
"""The model that a manifest is encoded for if the user has not chosen one."""

SMALL_RECIPE = "own_clips"
"""The recipe for records of a small VAE."""

_LORAS = {28: "lora", 48: "lora_13b"}
"""Recipes that fine-tune a released transformer, by its number of blocks."""

_TOKENIZER = "tokenizer"


def after_manifest(manifest: Path, sizes: Sizes) -> list[str]:
  """Returns what to do with a manifest.

  Args:
    manifest: The file.
    sizes: Sizes of its clips.
  """
  from configs.own_clips import CLIP

  fitting = _fitting(sizes, CLIP)
  size = [] if fitting == CLIP else ["--buckets", size_of(fitting)]
  return [
    "Train small networks of your own: "
    + _command("train.vae", SMALL_RECIPE, "--data", manifest, *size),
    "Or encode the clips for a released model: "
    + _command("train.precompute", manifest, "--model", RELEASED),
  ]


def _fitting(sizes: Sizes, known: Bucket) -> Bucket:
  """Returns a bucket with as many pixels as a known one, that suits clips better.

  It is the known one unless that crops a tenth more of the images, or is longer than
  all clips. The small VAE takes 8k + 1 frames, and sides that are multiples of 32.
  """
  longest = int(sizes[:, 0].max())
  frames = min(known.frames, longest - (longest - 1) % 8)
  most = known.height * known.width
  sides = [
    (height, width)
    for height in range(32, 257, 32)
    for width in range(32, 257, 32)
    if 0.75 * most <= height * width <= most
  ]
  buckets = [Bucket(frames, *side) for side in sides]
  lost = {bucket: float(np.mean(cropped(sizes, bucket))) for bucket in buckets}
  best = min(buckets, key=lambda bucket: (round(lost[bucket], 2), -bucket.width))
  same = dataclasses.replace(known, frames=frames)
  return best if lost[best] < lost[same] - 0.1 else same


def after_vae(run: VAERun, path: Path) -> list[str]:
  """Returns the commands that encode what a VAE was trained on.

  A text encoder is trained later, so they make a tokenizer for it first, unless there
  is a text encoder next to the VAE, or the tokenizer exists. Of the worlds, records are
  made of the plain one alone.
  """
  if run.data[0] == TEXTURED:
    return []
  # An absolute one has its parent too: runs/own/vae -> runs/own.
  folder = Path(run.output.folder).parent
  shapes = run.data[0] == NAME
  tokenizer = ASSETS / "moving_shapes" / _TOKENIZER if shapes else folder / _TOKENIZER
  lines, text = [], ["--text-encoder", "none", "--tokenizer", tokenizer]
  if (path.parent / "text_encoder" / "config.json").is_file():
    text = []
  elif not (tokenizer / "spiece.model").is_file():
    made = "--data", run.data[0], "--output", tokenizer
    lines.append("Make a tokenizer: " + _command("train.tokenizer", *made))
  buckets = [bucket for stage in run.stages for bucket in stage.buckets]
  largest = max(buckets, key=lambda b: b.frames * b.height * b.width)
  for number, source in enumerate(run.data):
    records = folder / ("records" + (f"-{number + 1}" if number else ""))
    how = ["--model", path, *text, "--buckets", size_of(largest), "--output", records]
    lines.append("Encode the clips: " + _command("train.precompute", source, *how))
  return lines


def after_records(
  records: Path,
  checkpoint: Path,
  tokenizer: Path,
  *,
  encoded: bool,
  sizes: Sequence[Bucket],
) -> list[str]:
  """Returns the command that trains on records.

  Args:
    records: Folder of the records.
    checkpoint: Checkpoint of the VAE that made them.
    tokenizer: Folder of the tokenizer that made their tokens.
    encoded: Whether they hold texts, from a text encoder that is not trained.
    sizes: Sizes of the records.
  """
  lines = []
  if tokenizer.name != _TOKENIZER:
    lines.append(f"First rename {tokenizer} to {tokenizer.with_name(_TOKENIZER)}.")
  how = ["--data", records, "--vae", checkpoint, "--text-folder", tokenizer.parent]
  recipe = SMALL_RECIPE
  if encoded:
    found = lightricks.read_config(checkpoint).transformer
    recipe = _LORAS.get(found and found.num_layers, SMALL_RECIPE)
    small = recipe == SMALL_RECIPE
    how += ["--text-encoder", "frozen"] if small else ["--init-from", checkpoint]
  if set(sizes) != _sizes_of(recipe):
    how += ["--buckets", *map(size_of, sizes)]
  return [*lines, "Train on them: " + _command("train.transformer", recipe, *how)]


def curves(folder: str) -> str:
  """Returns the command that shows a run's curves."""
  return "See its curves: " + _command("train.curves", folder)


def _sizes_of(recipe: str) -> set[Bucket]:
  """Returns the buckets of a recipe for a transformer."""
  run = importlib.import_module(f"configs.{recipe}").transformer()
  return {bucket for stage in run.stages for bucket in stage.buckets}


def _command(program: str, *words: str | Path) -> str:
  return shlex.join(["python", "-m", program, *map(str, words)])
