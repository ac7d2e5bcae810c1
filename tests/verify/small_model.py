"""Quality of the shipped small model on captions and clips that it never saw.

Runs `train.evaluate`: the VAE against the best linear code of its size; videos from
captions and from rendered first frames; rendered clips through the VAE alone, which no
video can exceed; and the judges themselves on rendered clips, clean and spoilt.

SMALL_VAE names a checkpoint whose decoder is measured in place of the shipped one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from train.harness.judging import BY_CORNERS

NAME = "The small model, on captions never trained on"
COMMAND = "python -m tests.verify small_model"

ROOT = Path(__file__).resolve().parent.parent.parent
CLIPS = 192
WORDS = {
  "color": 1.0,
  "shape": 0.97,
  BY_CORNERS: 0.97,
  "direction": 1.0,
  "background": 0.95,
  "size": 0.95,
}
RECONSTRUCTION_DB = 31.77
ABOVE_LINEAR_DB = 1.5
FIRST_FRAME_DB = 30.0


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


def reported(figure: str, value: float, unit: str) -> dict:
  """Returns a row without a target."""
  return {"figure": figure, "value": value, "unit": unit, "target": "", "ok": True}


def at_least(figure: str, value: float, target: float, unit: str = "") -> dict:
  """Returns a row whose value must reach its target."""
  text = f"at least {target:g} {unit}".strip()
  return reported(figure, value, unit) | {"target": text, "ok": bool(value >= target)}


def shares(title: str, side: dict[str, Any], targets: dict[str, float]) -> list[dict]:
  """Rows for the words judged right, in per cent."""
  right = side["judged right"]
  return [
    at_least(f"{title}: {word} right", 100 * right[word], 100 * target, "%")
    for word, target in targets.items()
  ]


def reconstruction(*vae: str) -> list[dict]:
  """Rows for the VAE: posterior mode, decoded at noise level 0."""
  results = evaluate("reconstruction", *vae)
  ours, linear = (results[side]["psnr"] for side in ("VAE", "linear code"))
  inside = results["VAE"]["psnr inside the box"]["mean"]
  name = "VAE, 64 clips of 128x128x25: PSNR"
  gain = ours["mean"] - linear["mean"]
  return [
    at_least(name, ours["mean"], RECONSTRUCTION_DB, "dB"),
    at_least("VAE: above the best linear code", gain, ABOVE_LINEAR_DB, "dB"),
    reported("VAE: PSNR inside the shape's box", inside, "dB"),
  ]


def round_trips(*vae: str) -> list[dict]:
  """Rows for rendered clips after the VAE: what a perfect transformer would reach."""
  asked = "--clips", str(CLIPS), "--fitted", "0"
  right = evaluate("reconstruction", *vae, *asked)["VAE"]["judged right"]
  title = f"{CLIPS} rendered clips through the VAE"
  return [reported(f"{title}: {word} right", 100 * right[word], "%") for word in WORDS]


def generation(*vae: str) -> list[dict]:
  """Rows for videos from captions, and from captions and a first frame."""
  asked = "--clips", str(CLIPS), "--conditioned", str(CLIPS)
  results = evaluate("generation", *vae, *asked)
  text, given = results["from text"], results["from a first frame"]
  first = given["psnr of the first frame"]["mean"]
  seconds = text["seconds a clip, compilation included"]
  title = f"{CLIPS} first frames"
  return [
    *shares(f"{CLIPS} captions", text, WORDS),
    reported(f"{CLIPS} captions: a video, compilation included", seconds, "s"),
    at_least(f"{title}: PSNR of the first frame", first, FIRST_FRAME_DB, "dB"),
    *shares(title, given, WORDS),
  ]


def judge() -> list[dict]:
  """Rows for the judges: on clean clips, at about the quality of the VAE, and rounded.

  Squares and triangles with round enough corners are circles to the judge of corners.
  """
  rows, circles = [], 1 / 3
  for title, options, target, by_corners in (
    ("rendered clips", (), 1.0, 1.0),
    ("blurred by 1.5 pixels, noise of 8", ("--blur", "1.5", "--noise", "8"), 0.97, 1.0),
    ("with corners rounded by 0.4", ("--rounded", "0.4"), None, 1.0),
    ("with corners rounded by 0.6", ("--rounded", "0.6"), None, circles),
  ):
    right = evaluate("judge", *options)["rendered clips"]["judged right"]
    if target is not None:
      share, name = 100 * right["all five"], f"judge, 768 {title}: all five words"
      rows.append(at_least(name, share, 100 * target, "%"))
    share, name = 100 * right[BY_CORNERS], f"judge, 768 {title}: {BY_CORNERS}"
    row = at_least(name, share, 100 * by_corners, "%")
    if by_corners == circles:
      row |= {"target": "33.33 %, the circles", "ok": abs(share - 100 * circles) < 0.1}
    rows.append(row)
  return rows


def run() -> list[dict]:
  vae = os.environ.get("SMALL_VAE")
  model, decoder = (("--model", vae), ("--vae", vae)) if vae else ((), ())
  rows = [*reconstruction(*model), *generation(*decoder), *round_trips(*model)]
  for row in rows if vae else ():
    row["figure"] = f"decoder of {vae}, {row['figure']}"
  return [*rows, *judge()]
