"""Splits stacks of equal blocks into layers, for programs that unroll them.

Equal blocks are scanned, so their parameters are stacked: one array with a leading axis
of layers. XLA's CPU backend copies a slice of an array before it multiplies by it: for
the 2B transformer 7.7 GB, read and written in every step. If the layers are passed one
by one and stacked inside the program, XLA sees that a slice of the stack is one of its
parts, and copies nothing. The parts are views of the stack.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ltx_jax.platforms import Policy
from ltx_jax.typing import AnyArray, Params

STACKED = ("blocks", "res_blocks")  # Names of the trees that are stacked.


def take_apart(params: Params, policy: Policy) -> Params:
  """Returns a network's parameters, with each stack as a tuple of its layers.

  They stay unchanged if the policy scans, or if an array is on several devices.
  """
  if not policy.unroll:
    return params

  def parts(path: tuple, leaf: AnyArray) -> AnyArray | tuple[jax.Array, ...]:
    stacked = any(getattr(entry, "key", None) in STACKED for entry in path)
    devices = leaf.devices() if isinstance(leaf, jax.Array) else {None}
    if not stacked or len(devices) > 1:
      return leaf
    with jax.default_device(*devices):  # Committed only if the stack is.
      return tuple(jax.device_put(list(np.asarray(leaf))))

  return jax.tree.map_with_path(parts, params)


def put_together(params: Params) -> Params:
  """Undoes `take_apart` inside a program; leaves other parameters unchanged."""
  return jax.tree.map(
    lambda leaf: jnp.stack(leaf) if isinstance(leaf, tuple) else leaf,
    params,
    is_leaf=lambda node: isinstance(node, tuple),
  )
