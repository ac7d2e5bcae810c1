"""Training steps over two slices of a TPU pod, and of one very long clip, compiled.

Only gradients may go between slices, once per step, because the network there is slow,
and a step that sent activations would wait for it. Each chip has its share of a clip of
64,000 tokens, and no array has the square of that many elements. It needs the compiler:
pip install "jax[tpu]", 0.7 GB. A row takes 5 to 25 minutes of two cores; results are
kept in docs/compile_slices.partial.json until all rows are there.
"""

from __future__ import annotations

import math
from typing import Any

from tests.verify.compile_tables import row
from tests.verify.compile_training import (
  CLIP,
  GB,
  LARGE,
  PARAMETERS,
  ROOT,
  SMALL,
  WIDTHS,
  all_compiled,
  tokens,
)

NAME = "Two slices and a clip of 64,000 tokens, compiled for chips that are not there"
COMMAND = "python -m tests.verify compile_slices"

PARTIAL = ROOT / "docs" / "compile_slices.partial.json"
FSDP = 64
TWO = ("--device", "2xv5p-128", "--mesh.data", "2", "--mesh.fsdp", str(FSDP))
SLICES = {
  SMALL: (SMALL, *TWO, "--bucket", CLIP, "--clips", "2", "--remat", "full"),
  LARGE: (LARGE, *TWO, "--bucket", CLIP, "--clips", "1", "--remat", "full"),
}
"""Arguments of `train.compile`, by the recipe."""

LONG = "512x320x3193"
CONTEXT = 16
LONG_CLIP = (
  *(SMALL, "--device", "v5p-128", "--mesh.fsdp", "4", "--mesh.context", str(CONTEXT)),
  *("--bucket", LONG, "--clips", str(1 / CONTEXT), "--remat", "full"),
  *("--flow.shift-at-most", "3"),
)


def slice_rows(recipe: str, found: dict[str, Any]) -> list[dict[str, Any]]:
  """Rows of a step over two slices."""
  model = "2B" if recipe == SMALL else "13B"
  what = f"2 x v5p-128 data=2 fsdp={FSDP}, {model}, {found['clips']:g} x {CLIP}, full"
  crossed, largest = found["crossed_bytes"] / GB, found["largest_crossed"] / GB
  gradients = 1.15 * 2 * PARAMETERS[recipe] / FSDP / GB
  activations = 2 * found["clips"] * tokens(CLIP) * WIDTHS[recipe] / GB
  times = f"{found['crossings']} x"
  return [
    *memory_rows(what, found),
    row(
      f"{what}: sent to the other slice by a chip ({times})",
      *(crossed, "GB", f"gradients in bfloat16 once, at most {gradients:.2g}"),
      0 < crossed <= gradients,
    ),
    row(
      f"{what}: largest array that crosses, of a chip's activations of "
      f"{activations:.2g}",
      *(largest, "GB", "less"),
      largest < activations,
    ),
  ]


def long_rows(found: dict[str, Any]) -> list[dict[str, Any]]:
  """Rows of a step with one clip per `CONTEXT` chips."""
  count, seconds = tokens(LONG), int(LONG.split("x")[2]) / 24
  what = f"v5p-128 fsdp=4 context={CONTEXT}, 2B, {LONG} ({seconds:.0f} s), full"
  clips = found["clips"] * math.prod(found["mesh"].values())
  own = count * found["clips"]
  return [
    *memory_rows(what, found),
    row(
      f"{what}: tokens of a chip, of {count} of a clip, {clips:g} clips a step",
      *(own, "", f"{count} / {CONTEXT}"),
      own == count / CONTEXT,
    ),
    row(
      f"{what}: N x N arrays in memory",
      *(len(found["squares"]), "", "0"),
      not found["squares"],
    ),
  ]


def memory_rows(what: str, found: dict[str, Any]) -> list[dict[str, Any]]:
  """Rows of the memory that a step takes on a chip."""
  most = 0.95 * found["memory_bytes"] / GB
  if found["peak_bytes"] is None:
    wanted = (found["wanted_bytes"] or 0) / GB
    return [row(f"{what}: no place for it", wanted, "GB", "fits", False)]
  peak = found["peak_bytes"] / GB
  parts = f"state {found['state_bytes'] / GB:.1f}, sent {found['sent_bytes'] / GB:.1f}"
  parts += f"; estimate of {found['estimate_seconds']:.2f} s a step"
  return [row(f"{what}: peak ({parts})", peak, "GB", f"at most {most:g}", peak <= most)]


def run() -> list[dict[str, Any]]:
  """Rows of all steps."""
  found = all_compiled([*SLICES.values(), LONG_CLIP], PARTIAL)
  rows = []
  for recipe, arguments in SLICES.items():
    rows += slice_rows(recipe, found[" ".join(arguments)])
  rows += long_rows(found[" ".join(LONG_CLIP)])
  PARTIAL.unlink(missing_ok=True)
  return rows
