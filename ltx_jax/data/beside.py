"""Extra clips that the clips of a batch are shown: their last frame, or a reference.

They make the sequence longer, so all clips of a batch get the same ones. The choice is
drawn from (seed, step, name) only, so that it is the same in every process, and the
batch of any step is known without the steps before it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Set

import numpy as np

from ltx_jax.data.source import Batch
from ltx_jax.data.token_dropping import LAST, REFERENCE

ARRAYS = {"reference": REFERENCE, "last": LAST}
"""Names of the arrays in a batch, by the extra clip that they hold."""

_BESIDE = 0x62657369  # Keeps these draws apart from others of the same seed.


def shown_at(step: int, shares: Mapping[str, float], seed: int) -> frozenset[str]:
  """Returns the names of the extra clips of a step.

  Args:
    step: Number of the step.
    shares: Share of the steps, by the names in `ARRAYS`.
    seed: Seed of the run.
  """
  return frozenset(
    name for name, share in shares.items() if _uniform(seed, step, name) < share
  )


def _uniform(seed: int, step: int, name: str) -> float:
  """Returns a number in [0, 1) that depends only on the key, in every NumPy version."""
  key = np.random.SeedSequence((_BESIDE, seed, step, zlib.crc32(name.encode())))
  return int(np.random.PCG64(key).random_raw()) / 2**64


def only(batch: Batch, shown: Set[str]) -> Batch:
  """Returns a batch without the extra clips that are not in `shown`."""
  hidden = {array for name in ARRAYS.keys() - shown for array in ARRAYS[name]}
  return {name: rows for name, rows in batch.items() if name not in hidden}
