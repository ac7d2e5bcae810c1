"""Fine-tuning of the released sizes compiled for the GPUs that its recipes name.

Each row is the unchanged recipe, with what blocks keep as the trainer chooses it. A
tenth of the device's memory must stay free. It needs the compiler: pip install
"jax[cuda12]", 5.5 GB. A row takes 1 to 3 minutes of two cores; results are kept in
docs/compile_finetune.partial.json until all rows are there.
"""

from __future__ import annotations

from typing import Any

from tests.verify.compile_tables import row
from tests.verify.compile_training import CLIP, GB, ROOT, all_compiled, plan_row

NAME = "Fine-tuning compiled for GPUs that are not there: memory"
COMMAND = "python -m tests.verify compile_finetune"

PARTIAL = ROOT / "docs" / "compile_finetune.partial.json"
FILLED = 0.9
"""Largest share of a device's memory that a step may take."""

EIGHT_BITS = ("--lora.base-weights", "int8", "--lora.rank", "32", "--remat", "full")
STEPS = {
  "LoRA of rank 32, 2B": ("lora", "--device", "rtx4090"),
  "LoRA of rank 128, 13B": ("lora_13b", "--device", "h100"),
  "LoRA of rank 128, 13B, of 40 GB": (
    *("lora_13b", "--device", "a100-40", "--remat", "full"),
  ),
  "LoRA of rank 32, 13B in int8": ("lora_13b", "--device", "rtx4090", *EIGHT_BITS),
  "2B in full": ("finetune_2b", "--device", "h100", "--bucket", CLIP),
  "13B in full": ("finetune_13b", "--device", "8xh100", "--bucket", CLIP),
}
"""Arguments of `train.compile`, by what they train."""


def rows_of(name: str, found: dict[str, Any]) -> list[dict[str, Any]]:
  """Rows of one step."""
  size = f"{found['clips']:g} x {found['bucket']}"
  what = f"{found['device']}, {name}, {size}, {found['remat']}"
  if found["peak_bytes"] is None:
    wanted = (found["wanted_bytes"] or 0) / GB
    return [row(f"{what}: no place for it", wanted, "GB", "fits", False)]
  most, peak = FILLED * found["memory_bytes"] / GB, found["peak_bytes"] / GB
  parts = f"state {found['state_bytes'] / GB:.1f}"
  parts += f", temporaries {found['temporaries_bytes'] / GB:.1f}"
  seconds = f"estimate of {found['estimate_seconds']:.2f} s a step"
  ok = peak <= most
  return [
    row(f"{what}: peak ({parts}; {seconds})", peak, "GB", f"at most {most:g}", ok),
    plan_row(what, found),
  ]


def run() -> list[dict[str, Any]]:
  """Rows of all steps."""
  found = all_compiled(STEPS.values(), PARTIAL)
  rows = []
  for name, arguments in STEPS.items():
    rows += rows_of(name, found[" ".join(arguments)])
  PARTIAL.unlink(missing_ok=True)
  return rows
