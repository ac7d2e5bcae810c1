"""Training steps of 2B and 13B compiled for chips that are not there, against bars.

AdamW and an average, bfloat16 products, float32 parameters, 256 text tokens per clip.
Every figure is that of one chip and step. It needs the compilers: pip install
"jax[cuda12]" "jax[tpu]", 6.2 GB. A row takes 1 to 5 minutes of two cores. Results are
kept in docs/compile_training.partial.json, so an interrupted check resumes. The file is
removed when all rows are there.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.verify.compile_tables import row
from tests.verify.runner import write

NAME = (
  "Training steps compiled for chips that are not there: memory, work, what is sent"
)
COMMAND = "python -m tests.verify compile_training"

GB = 1e9
ROOT = Path(__file__).resolve().parent.parent.parent
PARTIAL = ROOT / "docs" / "compile_training.partial.json"
SMALL, LARGE = "ltxv_2b", "ltxv_13b"
WIDTHS = {SMALL: 2048, LARGE: 4096}
PARAMETERS = {SMALL: 1.923e9, LARGE: 13.04e9}
CLIP, LONG = "768x512x121", "1216x704x257"


class Bar(NamedTuple):
  """A step to compile, and its limits.

  Attributes:
    device: Name of the device for `train.compile`.
    config: The recipe.
    mesh: Number of devices per axis.
    clips: Number of clips per device.
    remat: What is kept for the backward pass.
    ratio: FLOPs relative to three times the forward pass.
    temporaries: GB; None for no limit.
    peak: GB with the state; None for the device's memory.
    sent: GB, without the sum of gradients over `data`; None for no limit.
    bucket: Size of the clips.
    blocks: Number of blocks, if it differs from the recipe's.
  """

  device: str
  config: str
  mesh: dict[str, int]
  clips: float
  remat: str
  ratio: float
  temporaries: float | None = None
  peak: float | None = None
  sent: float | None = None
  bucket: str = CLIP
  blocks: int | None = None

  @property
  def arguments(self) -> list[str]:
    """Arguments of `train.compile`."""
    mesh = [
      part for axis, n in self.mesh.items() for part in (f"--mesh.{axis}", str(n))
    ]
    blocks = ["--transformer.num-layers", str(self.blocks)] if self.blocks else []
    size = ["--bucket", self.bucket, "--clips", f"{self.clips:g}"]
    return [
      *(self.config, "--device", self.device, *mesh, *size, "--remat", self.remat),
      *blocks,
    ]

  @property
  def gradients(self) -> float:
    """GB that a device sends to sum float32 gradients over `data`."""
    data, fsdp = self.mesh.get("data", 1), self.mesh.get("fsdp", 1)
    return 2 * (data - 1) / data * PARAMETERS[self.config] * 4 / fsdp / GB


EIGHT, SIXTEEN, BOTH = {"fsdp": 8}, {"fsdp": 16}, "dots+attention"
BARS = (
  Bar("v5p-16", SMALL, EIGHT, 2, BOTH, 1.02, temporaries=30, sent=15),
  Bar("v5p-16", SMALL, EIGHT, 4, "full", 1.34, temporaries=13, sent=15),
  Bar("h100", SMALL, {}, 1, "full", 1.34, peak=56),
  Bar("8xh100", SMALL, EIGHT, 2, BOTH, 1.03, peak=40),
  Bar("v5p-128", LARGE, {"fsdp": 64}, 1, "full", 1.34, temporaries=11, sent=110),
  Bar("v5p-128", LARGE, {"fsdp": 64}, 1, BOTH, 1.02, sent=110),
  Bar("v5e-16", SMALL, SIXTEEN, 2, "full", 1.34, temporaries=7, peak=9, sent=16),
  Bar("v6e-16", SMALL, SIXTEEN, 2, "dots", 1.12, peak=28, sent=16),
  Bar("v5p-16", SMALL, EIGHT, 1, "none", 1.02, temporaries=62, sent=15),
  Bar("v5p-16", SMALL, EIGHT, 6, BOTH, 1.02, sent=15),
  Bar(
    "v5p-128",
    SMALL,
    {"data": 4, "fsdp": 16},
    2,
    BOTH,
    1.02,
    temporaries=30,
    sent=15,
  ),
  Bar("v5p-1024", LARGE, {"data": 8, "fsdp": 64}, 1, "full", 1.34, sent=110),
  Bar(
    "v5p-16",
    SMALL,
    {"fsdp": 4, "context": 2},
    0.5,
    "full",
    1.35,
    temporaries=12,
    sent=20,
    bucket=LONG,
  ),
  Bar("v5p-16", SMALL, EIGHT, 1, "full", 1.34, sent=15, blocks=12),
  Bar("v5p-16", SMALL, EIGHT, 1, "full", 1.34, blocks=48),
)


def compiled(arguments: Sequence[str]) -> dict[str, Any]:
  """Runs `train.compile` in a process of its own, and returns its figures.

  Args:
    arguments: Arguments for one step.

  Raises:
    RuntimeError: If it fails.
  """
  with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "found.json")
    command = [sys.executable, "-m", "train.compile", *arguments]
    done = subprocess.run([*command, "--json", str(path)], cwd=ROOT, check=False)
    if done.returncode:
      raise RuntimeError(f"{' '.join(command[1:])} ended with code {done.returncode}")
    (found,) = json.loads(path.read_text())
  return found


def all_compiled(
  asked: Iterable[Sequence[str]], partial: Path
) -> dict[str, dict[str, Any]]:
  """Compiles the steps that an interrupted run did not keep.

  Args:
    asked: Arguments of each step.
    partial: File that stores steps as they come.
  """
  kept = json.loads(partial.read_text()) if partial.exists() else {}
  for arguments in asked:
    name = " ".join(arguments)
    if name not in kept:
      kept[name] = compiled(arguments)
      write(partial, json.dumps(kept, indent=1) + "\n")
  return kept


def rows_of(bar: Bar, found: dict[str, Any]) -> list[dict[str, Any]]:
  """Rows of one step."""
  mesh = " ".join(f"{axis}={n}" for axis, n in bar.mesh.items())
  model = "2B" if bar.config == SMALL else "13B"
  blocks = f" of {bar.blocks} blocks" if bar.blocks else ""
  what = f"{bar.device} {mesh}".rstrip()
  what += f", {model}{blocks}, {bar.clips:g} x {bar.bucket}, {bar.remat}"
  if found.get("flops") is None:
    wanted = (found["wanted_bytes"] or 0) / GB
    return [row(f"{what}: no place for it", wanted, "GB", "fits", False)]
  return [
    *_memory_rows(what, bar, found),
    *_work_rows(what, bar, found),
    *_sent_rows(what, bar, found),
  ]


def _memory_rows(what: str, bar: Bar, found: dict[str, Any]) -> list[dict[str, Any]]:
  temporaries, peak = found["temporaries_bytes"] / GB, found["peak_bytes"] / GB
  target = "" if bar.temporaries is None else f"at most {bar.temporaries:g}"
  most = 0.95 * found["memory_bytes"] / GB
  bound = most if bar.peak is None else bar.peak
  return [
    row(
      f"{what}: temporaries",
      temporaries,
      "GB",
      target,
      bar.temporaries is None or temporaries <= bar.temporaries,
    ),
    row(
      f"{what}: peak, with a state of {found['state_bytes'] / GB:.1f}",
      peak,
      "GB",
      f"at most {bound:g}",
      peak <= min(bound, most),
    ),
    plan_row(what, found),
  ]


def plan_row(what: str, found: dict[str, Any]) -> dict[str, Any]:
  """Row that compares the memory plan with the compiler's figure."""
  planned = found["planned_bytes"] / found["peak_bytes"]
  ok = 0.95 <= planned <= 1.15
  return row(f"{what}: memory plan over peak", planned, "", "0.95 to 1.15", ok)


def _work_rows(what: str, bar: Bar, found: dict[str, Any]) -> list[dict[str, Any]]:
  least = found["minimum_flops"]
  ratio, again = found["flops"] / least, found["recomputed_flops"] / least
  words = f"{what}: FLOPs over three forward passes, {again:.3f} of them computed again"
  figures = f"estimate {found['estimate_seconds']:.3f} s a step"
  figures += f", utilisation {found['utilisation']:.2f}"
  figures += f", compiled in {found['compile_seconds']:.0f} s"
  return [
    row(f"{words} ({figures})", ratio, "", f"at most {bar.ratio}", ratio <= bar.ratio),
    row(
      f"{what}: without those", ratio - again, "", "at most 1.02", ratio - again <= 1.02
    ),
    row(
      f"{what}: N x N arrays in memory",
      len(found["squares"]),
      "",
      "0",
      not found["squares"],
    ),
  ]


def _sent_rows(what: str, bar: Bar, found: dict[str, Any]) -> list[dict[str, Any]]:
  devices = math.prod(found["mesh"].values())
  if devices == 1:
    return []
  kinds = [
    f"{kind} {each['count']} x: {each['bytes'] / GB:.2f}"
    for kind, each in found["collectives"].items()
  ]
  sent = found["sent_bytes"] / GB
  bound = None if bar.sent is None else bar.sent + bar.gradients
  target = "" if bound is None else f"at most {bound:.1f}"
  rows = [
    row(
      f"{what}: sent ({', '.join(kinds)})",
      sent,
      "GB",
      target,
      bound is None or sent <= bound,
    )
  ]
  if set(bar.mesh) <= {"fsdp"}:
    batch = 2 * bar.clips * devices * tokens(bar.bucket) * WIDTHS[bar.config] / GB
    largest = found["largest_sent"] / GB
    words = (
      f"{what}: largest array that is sent, of a batch's activations of {batch:.1f}"
    )
    rows.append(row(words, largest, "GB", "less", largest < batch))
  return rows


def tokens(bucket: str) -> int:
  """Video tokens of a clip, written as 768x512x121."""
  width, height, frames = map(int, bucket.split("x"))
  return (frames // 8 + 1) * (height // 32) * (width // 32)


def depth_row(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
  """Row that shows whether a program grows with the number of blocks."""
  few, many = (found[" ".join(bar.arguments)] for bar in BARS[-2:])
  ratio = many["instructions"] / few["instructions"]
  seconds = f"{few['compile_seconds']:.0f} and {many['compile_seconds']:.0f} s"
  words = f"instructions of 48 blocks over those of 12 (compiled in {seconds})"
  return row(words, ratio, "", "at most 1.05", ratio <= 1.05)


def run() -> list[dict[str, Any]]:
  """Rows of all bars."""
  found = all_compiled((bar.arguments for bar in BARS), PARTIAL)
  rows = [each for bar in BARS for each in rows_of(bar, found[" ".join(bar.arguments)])]
  rows.append(depth_row(found))
  PARTIAL.unlink(missing_ok=True)
  return rows
