"""The small transformer from scratch, trained as on a pod: records, buckets, images.

Runs the commands of `configs/moving_shapes_buckets.py`: precompute with the shipped VAE
and text encoder, batches of several sizes by token dropping, images, first frames. Then
it generates captions that were never trained on, at a size of the training, and at a
size and a length that no clip had. It takes an hour on two cores; BUCKETS names a
folder in which the run is kept and resumed.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from configs import moving_shapes_buckets
from tests.program import program
from tests.verify.small_model import at_least, evaluate, shares

NAME = "The small transformer from nothing, on buckets, images and token dropping"
COMMAND = "python -m tests.verify buckets"

WORDS = {
  "color": 0.9,
  "shape": 0.9,
  "direction": 0.9,
  "background": 0.85,
  "size": 0.85,
}
FIRST_FRAME_DB = 25.0
UNSEEN = {
  "160x96, 25 frames": (25, 96, 160),
  "96x160, 25 frames": (25, 160, 96),
  "128x128, 33 frames": (33, 128, 128),
  "160x96, 33 frames": (33, 96, 160),
}
"""Sizes and lengths that no clip had."""
UNSEEN_WORDS = {"direction": 0.8, "color": 0.8}


def sizes() -> list[str]:
  """The buckets of the recipe, as `train.precompute` takes them."""
  every = moving_shapes_buckets.BUCKETS
  return [f"{b.frames}x{b.height}x{b.width}" for b in every]


def train(work: Path) -> Path:
  """Runs both programs; returns the model.

  Raises:
    RuntimeError: where one fails.
  """
  records, model = work / "records", work / "run" / "model" / "model.safetensors"
  if not model.is_file():
    encode = "moving-shapes", "--variants", 1, "--output", records, "--buckets"
    program("train.precompute", *encode, *sizes())
    learn = "moving_shapes_buckets", "--data", records, "--output.folder", work / "run"
    program("train.transformer", *learn)
  return model


def run() -> list[dict]:
  with tempfile.TemporaryDirectory() as temporary:
    model = train(Path(os.environ.get("BUCKETS", temporary)))
    asked = "--model", str(model)
    results = evaluate("generation", *asked)
    given = results["from a first frame"]
    first = given["psnr of the first frame"]["mean"]
    rows = [
      *shares("64 captions", results["from text"], WORDS),
      at_least("64 first frames: PSNR of the first frame", first, FIRST_FRAME_DB, "dB"),
      *shares("64 first frames", given, WORDS),
    ]
    for title, (frames, height, width) in UNSEEN.items():
      size = "--frames", frames, "--height", height, "--width", width
      found = evaluate("generation", *asked, "--conditioned", "0", *map(str, size))
      rows += shares(f"64 captions, {title}", found["from text"], UNSEEN_WORDS)
  return rows
