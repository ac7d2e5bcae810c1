"""Sampling compiled for several TPU chips, without any of them.

Like `compile_tables`, with every figure that of one chip. It needs the TPU's compiler:
pip install "jax[tpu]", 0.7 GB. `fsdp` shards the weights, `context` replicates them.
v5p-8 is four chips, the others are eight.
"""

from __future__ import annotations

from typing import Any

from tests.verify.compile_tables import SMALL, Table, rows_of_all

NAME = "Compiled for several TPU chips: memory, work, kernels, what they send"
COMMAND = "python -m tests.verify compile_chips"

_VIDEO = (SMALL, "768x512", 121, 3)
_STAGES = dict.fromkeys(("text", "keys", "denoise"))

TABLES = (
  Table("v5p-8", *_VIDEO, _STAGES | {"denoise": 1.2}, 28, mesh="fsdp=4", sent=6.0),
  Table("v5p-8", *_VIDEO, {"denoise": None}, 28, mesh="context=4", sent=3.2),
  Table("v6e-8", *_VIDEO, _STAGES, 28, mesh="context=8"),
  Table("v5e-8", *_VIDEO, _STAGES, 28, mesh="fsdp=8"),
)


def run() -> list[dict[str, Any]]:
  """Rows of all tables; without the decode, which compiles for minutes."""
  return rows_of_all(TABLES)
