"""All clips of the VBench suites, exported and checked under the suites' own names.

The suites' prompt files are not part of this project: name a checkout of theirs with
VBENCH. Without it, made-up prompts stand for them, as many, with the same twins and
repetitions.

    git clone https://github.com/Vchitect/VBench
    VBENCH=VBench python -m tests.verify vbench_names
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from ltx_jax.data import video
from ltx_jax.moving_shapes import world
from train.evaluate.vbench import checking, exporting, suites
from train.evaluate.vbench.suites import Suite, Wanted

NAME = "VBench: every name of three suites, and checks of the folders"
COMMAND = "python -m tests.verify vbench_names"

_LINES, _PAIRS, _PROMPTS = 946, 1118, 1230
_DIMENSIONS = 18
_SIZES: dict[Suite, tuple[int, int]] = {"short": (32, 48), "i2v": (64, 112)}
_SIZES |= {"2.0": (32, 48)}


def made_up(folder: Path) -> dict[Suite, Path]:
  """Writes as many prompts as the suites have."""
  words = [f"{caption}, seen by {k}" for k in range(2) for caption in world.captions()]
  lines = ["A fantasy landscape", "a fantasy landscape", *words[: _LINES - 4]]
  lines += lines[5:7]  # Listed twice.
  short = folder / "all_dimension.txt"
  short.write_text("\n".join(lines) + "\n")
  images = [{"prompt_en": w, "image_name": f"{w}.jpg"} for w in words[:355]]
  cameras = ("pans left", "zooms in", "static")
  camera = [
    {"prompt_en": f"{row['prompt_en']}, camera {how}"}
    for row, how in itertools.product(images, cameras)
  ]
  i2v = folder / "info.json"
  i2v.write_text(json.dumps([*images, *camera[: _PAIRS - len(images)]]))
  second = folder / "prompt"
  second.mkdir()
  share = [words[k:_PROMPTS:_DIMENSIONS] for k in range(_DIMENSIONS)]
  for number, each in enumerate(share):
    name = "Diversity" if not number else f"Dimension_{number}"
    (second / f"{name}.txt").write_text("\n".join(f"{w} {w * 2}" for w in each))
  return {"short": short, "i2v": i2v, "2.0": second}


def of_checkout(folder: Path) -> dict[Suite, Path]:
  """Returns the prompts of a checkout of the suites."""
  return {
    "short": folder / "prompts" / "all_dimension.txt",
    "i2v": folder / "vbench2_beta_i2v" / "vbench2_i2v_full_info.json",
    "2.0": folder / "VBench-2.0" / "prompts" / "prompt",
  }


def write_clips(folder: Path, clips: list[Wanted], size: tuple[int, int]) -> None:
  """Writes a small clip for each, of its own seed."""
  folder.mkdir()
  words, made = world.captions()[0], {}
  for clip in clips:
    if clip.index not in made:
      path = folder / "made.mp4"
      video.write(path, world.clip(words, clip.index, 9, *size), 25.0)
      made[clip.index] = path.read_bytes()
      path.unlink()
    (folder / f"{clip.id}.mp4").write_bytes(made[clip.index])


def names_by_hand(suite: Suite, path: Path) -> set[str]:
  """Returns the names that a suite looks for, in the fewest words."""
  if suite == "short":
    prompts = {line.strip() for line in path.read_text().splitlines() if line.strip()}
    return {f"{prompt}-{k}.mp4" for prompt in prompts for k in range(5)}
  if suite == "i2v":
    prompts = {row["prompt_en"] for row in json.loads(path.read_text())}
    return {f"{prompt}-{k}.mp4" for prompt in prompts for k in range(5)}
  found = set()
  for file in path.glob("*.txt"):
    count = 20 if file.stem == "Diversity" else 3
    for line in filter(str.strip, file.read_text().splitlines()):
      found |= {f"{file.stem}/{line.strip()[:180]}-{k}.mp4" for k in range(count)}
  return found


def rows_of(suite: Suite, path: Path, folder: Path, own: bool) -> list[dict[str, Any]]:
  """Exports all clips of a suite, checks them, and compares their names."""
  clips = suites.wanted(suite, path)
  write_clips(folder / "clips", clips, _SIZES[suite])
  exporting.export(suite, clips, folder / "clips", folder / "suite", print)
  files = (p for p in (folder / "suite").rglob("*") if p.is_file())
  names = {p.relative_to(folder / "suite").as_posix() for p in files}
  faults = checking.check(suite, clips, folder / "suite")
  for fault in faults:
    print(fault)
  whose = "the suite's own prompts" if own else "made-up prompts"
  count = {"short": 4720, "i2v": 5590}.get(suite)
  by_hand = names_by_hand(suite, path)
  return [
    {
      "figure": f"{suite}: names written, {whose}",
      "value": len(names),
      "unit": "",
      "target": str(count or len(by_hand)),
      "ok": len(names) == (count or len(by_hand)),
    },
    {
      "figure": f"{suite}: names that differ from those put together by hand",
      "value": len(names ^ by_hand),
      "unit": "",
      "target": "0",
      "ok": names == by_hand,
    },
    {
      "figure": f"{suite}: faults that check finds",
      "value": len(faults),
      "unit": "",
      "target": "0",
      "ok": not faults,
    },
  ]


def run() -> list[dict[str, Any]]:
  """Exports and checks three suites."""
  rows, checkout = [], os.environ.get("VBENCH")
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    paths = of_checkout(Path(checkout)) if checkout else made_up(folder)
    for suite, path in paths.items():
      place = folder / suite
      place.mkdir()
      rows += rows_of(suite, path, place, bool(checkout))
  return rows
