"""What clips are shown beside them: their last frame, or another clip, their reference.

It makes their sequence longer, so that all clips of a batch are shown the same things.
Which those are is drawn from (seed, step, name) alone: no process differs, and the
batch of any step is known without those before it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Set

import numpy as np

from ltx_jax.data.source import Batch
from ltx_jax.data.token_dropping import LAST, REFERENCE

ARRAYS = {"reference": REFERENCE, "last": LAST}
"""What a batch has of each thing that clips are shown."""

_BESIDE = 0x62657369  # Keeps these draws apart from others of the same seed.


def shown_at(step: int, shares: Mapping[str, float], seed: int) -> frozenset[str]:
  """Returns what the clips of a step are shown.

  Args:
    step: Number of the step.
    shares: Share of the steps by the names in `ARRAYS`.
    seed: The run's.
  """
  return frozenset(
    name for name, share in shares.items() if _uniform(seed, step, name) < share
  )


def _uniform(seed: int, step: int, name: str) -> float:
  """A number in [0, 1) that depends on the key alone, in every version of NumPy."""
  key = np.random.SeedSequence((_BESIDE, seed, step, zlib.crc32(name.encode())))
  return int(np.random.PCG64(key).random_raw()) / 2**64


def only(batch: Batch, shown: Set[str]) -> Batch:
  """Returns a batch whose clips are shown these things alone."""
  hidden = {array for name in ARRAYS.keys() - shown for array in ARRAYS[name]}
  return {name: rows for name, rows in batch.items() if name not in hidden}
