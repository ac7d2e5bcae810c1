"""What step caching saves on the small model, and how much it changes the videos.

Each caption was never trained on and is generated alone, at the recipe's size and
steps; the threshold is the preset's. The distance is that of uint8 pixels.
"""

from __future__ import annotations

import dataclasses
import logging
import statistics
import zlib

import ltx_jax
from ltx_jax.metrics.psnr import psnr
from ltx_jax.moving_shapes import world

NAME = "Step caching on the small model, against the full run"
COMMAND = "python -m tests.verify step_cache"

CLIPS = 8
FEWER_CALLS = 1.5
CLOSE_DB = 35.0


class Counts(logging.Handler):
  """Reads from the library's log in how many steps the network was evaluated."""

  def __init__(self):
    super().__init__()
    self.calls: list[tuple[int, int]] = []

  def emit(self, record: logging.LogRecord) -> None:
    if "was evaluated in" in record.msg:
      self.calls.append(record.args)


def captions() -> list[str]:
  """Returns some captions that no model was trained on."""
  unseen = [c for c in world.captions() if zlib.crc32(c.encode()) % 10 == 0]
  return unseen[:: len(unseen) // CLIPS][:CLIPS]


def run() -> list[dict]:
  model, counts = ltx_jax.load("moving-shapes"), Counts()
  logging.getLogger("ltx_jax").addHandler(counts)
  full = model.recipe.sampling
  cached = dataclasses.replace(full, cache=model.recipe.cache)
  decibels = []
  for seed, caption in enumerate(captions()):
    first, second = (
      model.generate(caption, sampling=sampling, seed=seed)[0]
      for sampling in (full, cached)
    )
    decibels.append(psnr(second, first, 255))
  made, steps = (sum(each) for each in zip(*counts.calls, strict=True))
  what = f"cache {cached.cache:g}, {len(decibels)} captions"

  def row(figure: str, value: float, target: float | None, unit: str = "") -> dict:
    text = "" if target is None else f"at least {target:g} {unit}".strip()
    ok = target is None or bool(value >= target)
    return {"figure": figure, "value": value, "unit": unit, "target": text, "ok": ok}

  calls = f"{what}: fewer transformer calls, {steps} over {made}"
  return [
    row(calls, steps / made, FEWER_CALLS, "times"),
    row("PSNR to the full run, worst caption", min(decibels), CLOSE_DB, "dB"),
    row("PSNR to the full run, mean", statistics.mean(decibels), None, "dB"),
  ]
