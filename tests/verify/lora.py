"""A LoRA that learns a colour from 50 clips, and one that takes it from a reference.

Both start from the shipped small model and are trained by the commands that users have.

New colour: 50 clips of half of the captions in magenta, a colour that no caption of the
model has. For two seeds, the other half of the captions is generated with the LoRA, and
also without it. The captions that the model knows but was never trained on are
generated too, to see that it forgot nothing.

Reference: the captions leave their colour out, and a clip shows it: something of any
shape and size in that colour, which moves the same way on any background.

LORA names a folder to keep the results in.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import ltx_jax
from ltx_jax.data import video
from ltx_jax.data.clips import Clip, Clips
from ltx_jax.data.contact_sheet import contact_sheet
from ltx_jax.data.manifest import write_manifest
from ltx_jax.moving_shapes import world
from ltx_jax.moving_shapes.judge import judge
from tests.program import program
from train.harness.figures import WORDS, spread

NAME = "LoRAs of the small model: a new colour, and a reference that shows it"
COMMAND = "python -m tests.verify lora"

SIZE = 25, 128, 128
CLIPS, ASKED, KNOWN, PAIRS = 50, 48, 81, 600
SEEDS = (1, 2)


def row(figure: str, value: float, unit: str, target: str, ok: bool) -> dict:
  return {"figure": figure, "value": value, "unit": unit, "target": target, "ok": ok}


def at_least(figure: str, right: int, count: int, target: float) -> list[dict]:
  """Rows for a share in per cent, with the ends of its 95 % interval (Wilson)."""
  share, z = right / count, 1.96
  middle = (share + z * z / (2 * count)) / (1 + z * z / count)
  reach = z / (1 + z * z / count)
  reach *= math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
  ends = "from", middle - reach, "to", middle + reach
  words = " ".join(x if isinstance(x, str) else f"{100 * x:.1f} %" for x in ends)
  ok = 100 * share >= target
  bar = f"at least {target} %" if target else "reported"
  return [row(f"{figure} (95 %: {words})", 100 * share, "%", bar, ok)]


# --- A new colour ---------------------------------------------------------------------


def halves() -> tuple[list[str], list[str]]:
  """Returns the captions in magenta to train on, and those to generate."""
  order = np.random.default_rng(0).permutation(world.later_captions())
  return list(order[:ASKED]), list(order[ASKED:])


def write_clips(folder: Path) -> Path:
  """Writes 50 clips and their manifest; two captions have a second clip."""
  captions = halves()[0]
  rows = Clips()
  for number in range(CLIPS):
    caption = captions[number % len(captions)]
    path = folder / f"{number:02d}.mp4"
    video.write(path, world.clip(caption, number, *SIZE), 24.0)
    rows.append(clip_of(path, caption))
  write_manifest(folder / "manifest.jsonl", rows)
  return folder / "manifest.jsonl"


def clip_of(path: Path, caption: str) -> Clip:
  """Returns the manifest's row of a written clip."""
  sizes = dict(zip(("frames", "height", "width"), SIZE, strict=True))
  return Clip(path.name, str(path), caption, fps=24.0, **sizes)


def train_color(work: Path, seed: int) -> float:
  """Trains a LoRA unless it exists; returns the minutes that it took."""
  folder = work / f"color{seed}"
  took = folder / "minutes.json"
  if not took.is_file():
    start = time.monotonic()
    data = work / "records", work / "known"
    options = "--output.folder", folder, "--seed", seed, "--data", *data
    program("train.transformer", "moving_shapes_lora", *options)
    took.write_text(json.dumps((time.monotonic() - start) / 60))
  return json.loads(took.read_text())


def evaluated(folder: Path, prompts: Sequence[str], *options: Any) -> dict[str, int]:
  """Counts how many of the prompts' clips have each word right."""
  path = folder / "generation.json"
  if not path.is_file():
    asked = "--prompts", *prompts, "--conditioned", 0, "--output", folder
    program("train.evaluate", "generation", *asked, *options)
  clips = json.loads(path.read_text())["clips"]
  return {word: sum(clip["right"][word] for clip in clips) for word in WORDS}


def color_rows(work: Path) -> list[dict]:
  """Rows for the learned colour, and for what the model knew before."""
  asked, known = halves()[1], spread(world.held_out_captions(), KNOWN)
  read = [judge(world.clip(c, i, *SIZE)) for i, c in enumerate(world.later_captions())]
  drawn = sum(
    all(judgement.agreement(caption).values())
    for judgement, caption in zip(read, world.later_captions(), strict=True)
  )
  rows = at_least("judge, 96 rendered clips in magenta: all five words", drawn, 96, 100)
  manifest = write_clips(work / "clips")
  encode = "--buckets", "25x128x128", "--output"
  program("train.precompute", manifest, *encode, work / "records")
  program("train.precompute", "moving-shapes", "--variants", 1, *encode, work / "known")
  right = dict.fromkeys(WORDS, 0)
  before = evaluated(work / "known before", known)
  plain = evaluated(work / "asked before", asked)
  share = 100 * plain["color"] / ASKED
  title = "magenta in 48 clips without a LoRA"
  rows.append(row(title, share, "%", "at most 20 %", share <= 20))
  for seed in SEEDS:
    minutes = train_color(work, seed)
    title = f"seed {seed}: training"
    rows.append(row(title, minutes, "minutes", "at most 20 minutes", minutes <= 20))
    lora = "--lora", work / f"color{seed}" / "lora-diffusers.safetensors"
    found = evaluated(work / f"asked {seed}", asked, *lora)
    right = {word: right[word] + found[word] for word in WORDS}
    after = evaluated(work / f"known {seed}", known, *lora)
    for word in WORDS:
      change = 100 * (after[word] - before[word]) / KNOWN
      title = f"seed {seed}: {word} right of {KNOWN} known captions, change"
      ok = change >= -3
      rows.append(row(title, change, "points", "at least -3 points", ok))
  for word in WORDS:
    title = f"{word} right of {len(SEEDS) * ASKED} clips in magenta"
    rows += at_least(title, right[word], len(SEEDS) * ASKED, 90)
  return rows


# --- A reference that shows it --------------------------------------------------------


def without_color(caption: str) -> str:
  """Returns a caption that leaves the colour to the reference."""
  return caption.replace(f" {world.parse(caption).color} ", " ")


def guide_of(caption: str, seed: int) -> np.ndarray:
  """Makes a clip of another shape, size and background, of equal colour and motion."""
  words, rng = world.parse(caption), np.random.default_rng((7, seed))
  size, shape, background = (
    str(rng.choice(list(of))) for of in (world.SIZES, world.SHAPES, world.BACKGROUNDS)
  )
  changed = {"size": size, "shape": shape, "background": background}
  return world.clip(str(dataclasses.replace(words, **changed)), seed, *SIZE)


def write_pairs(folder: Path) -> Path:
  """Writes clips, each with the reference that shows its colour, and a manifest."""
  captions = spread(world.train_captions(), PAIRS)
  rows = Clips()
  for number, caption in enumerate(captions):
    path, guide = (folder / f"{number:03d}{end}.mp4" for end in ("", "-reference"))
    video.write(path, world.clip(caption, number, *SIZE), 24.0)
    video.write(guide, guide_of(caption, number), 24.0)
    clip = clip_of(path, without_color(caption))
    rows.append(clip._replace(reference=str(guide)))
  write_manifest(folder / "manifest.jsonl", rows)
  return folder / "manifest.jsonl"


def reference_rows(work: Path) -> list[dict]:
  """Rows for clips of held-out captions whose colour a reference shows."""
  folder = work / "reference"
  lora = folder / "lora-diffusers.safetensors"
  start = time.monotonic()
  if not lora.is_file():
    manifest = write_pairs(work / "pairs")
    records = work / "pair records"
    encode = manifest, "--buckets", "25x128x128", "--output", records
    program("train.precompute", *encode)
    options = "--output.folder", folder, "--data", records
    program("train.transformer", "moving_shapes_ic_lora", *options)
    (folder / "minutes.json").write_text(json.dumps((time.monotonic() - start) / 60))
  captions = [*world.held_out_captions(), *world.held_out_captions()[:15]]
  rows = []
  for title, files, target in (
    ("with the LoRA", [(str(lora), 1.0)], 90),
    ("without it", [], 0),
  ):
    model = ltx_jax.load("moving-shapes", loras=files)
    right, shown, labels = dict.fromkeys(WORDS, 0), [], []
    for seed, caption in enumerate(captions):
      guide, text = guide_of(caption, 5_000 + seed), without_color(caption)
      (clip,) = model.generate(text, seed=seed, conditions=[ltx_jax.Reference(guide)])
      found = judge(clip).agreement(caption)
      right = {word: right[word] + found[word] for word in WORDS}
      shown, labels = [*shown, guide, clip], [*labels, "reference", text]
    path = work / f"reference {title}.png"
    contact_sheet(path, shown[:32], labels[:32], columns=4, height=64)
    for word in WORDS if target else ("color",):
      words = f"reference {title}: {word} right of {len(captions)} clips"
      rows += at_least(words, right[word], len(captions), target)
  return rows


def run() -> list[dict]:
  with tempfile.TemporaryDirectory() as temporary:
    work = Path(os.environ.get("LORA", temporary))
    return [*color_rows(work), *reference_rows(work)]
