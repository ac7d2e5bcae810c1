"""Stacks of equal blocks, taken apart for programs that unroll them.

Equal blocks are scanned, so their parameters are stacked: one array with a leading axis
of layers. XLA's CPU backend copies what it slices out of an array before it multiplies
by it: of the 2B transformer 7.7 GB, read and written in every step. Handed over layer
by layer instead and stacked inside the program, where XLA sees that a slice of the
stack is one of its parts, nothing is copied. The parts are views of the stack.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ltx_jax.platforms import Policy
from ltx_jax.typing import AnyArray, Params

STACKED = ("blocks", "res_blocks")  # Names of the trees that are stacked.


def take_apart(params: Params, policy: Policy) -> Params:
  """Returns a network's parameters, each stack as a tuple of its layers.

  Where the policy scans, or an array lies on several devices, they stay as they are.
  """
  if not policy.unroll:
    return params

  def parts(path: tuple, leaf: AnyArray) -> AnyArray | tuple[jax.Array, ...]:
    stacked = any(getattr(entry, "key", None) in STACKED for entry in path)
    devices = leaf.devices() if isinstance(leaf, jax.Array) else {None}
    if not stacked or len(devices) > 1:
      return leaf
    with jax.default_device(*devices):  # Committed no more than the stack may be.
      return tuple(jax.device_put(list(np.asarray(leaf))))

  return jax.tree.map_with_path(parts, params)


def put_together(params: Params) -> Params:
  """Undoes `take_apart`, inside a program; of other parameters it changes nothing."""
  return jax.tree.map(
    lambda leaf: jnp.stack(leaf) if isinstance(leaf, tuple) else leaf,
    params,
    is_leaf=lambda node: isinstance(node, tuple),
  )
