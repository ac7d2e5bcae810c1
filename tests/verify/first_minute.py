"""Both tiny networks from scratch, by the three commands in `configs.tiny`.

Each command runs as a user would run it, without compiled programs from before. Then
the trained text encoder is frozen: records hold its embeddings, and a transformer is
trained on those.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

NAME = "Both tiny networks from nothing: what compiling takes"
COMMAND = "python -m tests.verify first_minute"

ROOT = Path(__file__).resolve().parent.parent.parent
TOKENIZER = ROOT / "ltx_jax" / "assets" / "moving_shapes" / "tokenizer"
COMPILED = re.compile(r"^Compiled for .* in ([\d.]+) s$", re.MULTILINE)
MOST = 12.0
"""Largest number of seconds to compile a step of the VAE, on two quiet cores."""


def timed(folder: Path, *arguments: str) -> tuple[float, list[float]]:
  """Runs a program; returns its seconds, and those of each step that it compiled.

  Raises:
    RuntimeError: If it fails.
  """
  environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
  start = time.monotonic()
  done = subprocess.run(
    [sys.executable, "-m", *arguments],
    cwd=ROOT,
    env=environment | {"JAX_PLATFORMS": "cpu"},
    stdout=subprocess.PIPE,
    text=True,
    check=False,
  )
  if done.returncode:
    raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}")
  seconds = [float(each) for each in COMPILED.findall(done.stdout)]
  return time.monotonic() - start, seconds


def run() -> list[dict[str, Any]]:
  """Rows: seconds of each program's compilation, and of each command."""
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    vae, records = folder / "vae", folder / "records"
    weights = str(vae / "vae.safetensors")
    first = timed(folder, "train.vae", "tiny", "--output.folder", str(vae))
    encode = (
      *("train.precompute", "moving-shapes", "--model", weights),
      *("--buckets", "5x32x32", "1x32x32", "--variants", "1"),
    )
    tokens = "--text-encoder", "none", "--tokenizer", str(TOKENIZER)
    encoded = timed(folder, *encode, *tokens, "--output", str(records))
    learn = "train.transformer", "tiny", "--vae", weights
    model = folder / "transformer" / "model"
    output = "--output.folder", str(model.parent)
    last = timed(folder, *learn, "--data", str(records), *output)

    texts = folder / "texts"
    told = timed(folder, *encode, "--text-encoder", str(model), "--output", str(texts))
    frozen = timed(
      folder,
      *(*learn, "--data", str(texts), "--text-encoder", "frozen"),
      *("--text-folder", str(model), "--output.folder", str(folder / "frozen")),
    )
  rows = [
    _row(f"train.vae tiny: compiling its step {i + 1}", seconds, MOST)
    for i, seconds in enumerate(first[1])
  ]
  rows += [
    _row(f"train.transformer tiny: compiling its step {i + 1}", seconds, None)
    for i, seconds in enumerate(last[1])
  ]
  for what, seconds in (
    ("train.vae tiny, whole", first[0]),
    ("train.precompute moving-shapes, whole", encoded[0]),
    ("train.transformer tiny, whole", last[0]),
    ("train.precompute with its text encoder", told[0]),
    ("train.transformer tiny, that one frozen", frozen[0]),
  ):
    rows.append(_row(what, seconds, None))
  return rows


def _row(figure: str, seconds: float, most: float | None) -> dict[str, Any]:
  return {
    "figure": figure,
    "value": seconds,
    "unit": "s",
    "target": "" if most is None else f"at most {most:g}",
    "ok": most is None or seconds <= most,
  }
