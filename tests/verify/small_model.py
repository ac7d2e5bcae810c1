"""Quality of the shipped small model on captions and clips that it never saw.

Runs `train.evaluate` three times: the VAE against the best linear code of its size,
videos from captions and from rendered first frames, and the judge itself on rendered
clips, clean and spoilt.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

NAME = "The small model, on captions never trained on"
COMMAND = "python -m tests.verify small_model"

ROOT = Path(__file__).resolve().parent.parent.parent
WORDS = {
  "color": 0.9,
  "shape": 0.9,
  "direction": 0.9,
  "background": 0.85,
  "size": 0.85,
}
RECONSTRUCTION_DB = 29.0
ABOVE_LINEAR_DB = 1.5
FIRST_FRAME_DB = 25.0


def evaluate(name: str, *options: str) -> dict[str, Any]:
  """Returns the results of one of `train.evaluate`'s programs, by their subject.

  Raises:
    RuntimeError: If it fails.
  """
  with tempfile.TemporaryDirectory() as folder:
    command = [sys.executable, "-m", "train.evaluate", name, *options]
    done = subprocess.run([*command, "--output", folder], cwd=ROOT, check=False)
    if done.returncode:
      raise RuntimeError(f"`train.evaluate {name}` ended with {done.returncode}")
    return json.loads(Path(folder, f"{name}.json").read_text())["results"]


def at_least(figure: str, value: float, target: float, unit: str = "") -> dict:
  """Returns a row whose value must reach its target."""
  text = f"at least {target:g} {unit}".strip()
  ok = bool(value >= target)
  return {"figure": figure, "value": value, "unit": unit, "target": text, "ok": ok}


def shares(title: str, side: dict[str, Any], targets: dict[str, float]) -> list[dict]:
  """Rows for the words judged right, in per cent."""
  right = side["judged right"]
  return [
    at_least(f"{title}: {word} right", 100 * right[word], 100 * target, "%")
    for word, target in targets.items()
  ]


def reconstruction() -> list[dict]:
  """Rows for the VAE: posterior mode, decoded at noise level 0."""
  results = evaluate("reconstruction")
  ours, linear = (results[side]["psnr"] for side in ("VAE", "linear code"))
  gain = ours["mean"] - linear["mean"]
  inside = results["VAE"]["psnr inside the box"]["mean"]
  return [
    at_least(
      "VAE, 64 clips of 128x128x25: PSNR", ours["mean"], RECONSTRUCTION_DB, "dB"
    ),
    at_least("VAE: above the best linear code", gain, ABOVE_LINEAR_DB, "dB"),
    {
      "figure": "VAE: PSNR inside the shape's box",
      "value": inside,
      "unit": "dB",
      "target": "",
      "ok": True,
    },
  ]


def generation() -> list[dict]:
  """Rows for videos from captions, and from captions and a first frame."""
  results = evaluate("generation")
  given = results["from a first frame"]
  first = given["psnr of the first frame"]["mean"]
  return [
    *shares("64 captions", results["from text"], WORDS),
    at_least("64 first frames: PSNR of the first frame", first, FIRST_FRAME_DB, "dB"),
    *shares("64 first frames", given, {"direction": 0.9}),
  ]


def judge() -> list[dict]:
  """Rows for the judge: on clean clips, and at about the quality of the VAE."""
  rows = []
  for title, options, target in (
    ("rendered clips", (), 1.0),
    ("blurred by 1.5 pixels, noise of 8", ("--blur", "1.5", "--noise", "8"), 0.97),
  ):
    right = evaluate("judge", *options)["rendered clips"]["judged right"]
    share = 100 * right["all five"]
    rows.append(
      at_least(f"judge, 768 {title}: all five words", share, 100 * target, "%")
    )
  return rows


def run() -> list[dict]:
  return [*reconstruction(), *generation(), *judge()]
