"""Hashes that identify networks."""

from __future__ import annotations

import hashlib
from typing import Any

import jax
import numpy as np

from ltx_jax.typing import Params


def fingerprint(config: Any, params: Params) -> str:
  """Returns a hash of a network: its config and its weights, to the last bit."""
  digest = hashlib.sha256(repr(config).encode())
  for path, leaf in jax.tree.leaves_with_path(params):
    digest.update(jax.tree_util.keystr(path).encode())
    digest.update(np.asarray(leaf).reshape(-1).view(np.uint8))
  return digest.hexdigest()[:16]
