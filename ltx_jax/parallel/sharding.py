"""How arrays are split over the mesh: one table of (regex over path, PartitionSpec).

The first rule whose pattern is found in a path wins. Optimiser state and averaged
parameters mirror the parameters, their paths end like the parameters' own
(`opt_state/1/0/mu/blocks/attn1/to_q/kernel`), so the one table serves them all.

A spec names the LAST axes of an array: P("fsdp", None) splits the input axis of a dense
kernel (in, out), of a scanned stack of them (l, in, out), and of a convolution
(t, h, w, in, out) alike; axes before those are whole. An axis that does not divide by
its devices is whole as well. What no rule matches is split along its largest axis that
divides, if it has two axes or more.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ltx_jax.checkpoints.trees import path_name
from ltx_jax.parallel.mesh import AXES

P = PartitionSpec
Rules = Sequence[tuple[str, PartitionSpec]]

# Norms, biases, tables and statistics: small, and read whole.
_SMALL = (r"(bias|scale|scale_shift_table|per_channel_scale\d|mean|std|var)$", P())

TRANSFORMER_RULES: Rules = (
  _SMALL,
  # `fsdp` splits kernels along the width of the residual stream, never along the heads
  # or the hidden layer: the last axis of what writes to the stream, the first of what
  # reads it. `tensor` splits heads and the hidden layer: a device makes its own of them
  # of the whole stream, and what devices write to the stream is summed.
  (r"/(to_out|ff/proj_out)/kernel$", P("tensor", "fsdp")),
  (r"/(to_q|to_k|to_v|ff/proj_in)/kernel$", P("fsdp", "tensor")),
  (r"(/linear_1|/linear_2|patchify_proj)/kernel$", P(None, "fsdp")),
  (r"(/linear|proj_out)/kernel$", P("fsdp", None)),
  # Low-rank updates are split along the stream as their kernels are.
  (r"/(to_out|ff/proj_out)/lora_up$", P(None, "fsdp")),
  (r"/(to_q|to_k|to_v|ff/proj_in)/lora_down$", P("fsdp", None)),
  (r"/lora_(down|up)$", P()),
)

VAE_RULES: Rules = (
  _SMALL,
  (r"/(to_q|to_k|to_v|to_out|linear_1|linear_2)/kernel$", P("fsdp", None)),
  # Output channels of convolutions.
  (r"kernel$", P(None, "fsdp")),
)

TEXT_RULES: Rules = (
  _SMALL,
  (r"relative_attention_bias/embedding$", P()),
  (r"shared/embedding$", P(None, "fsdp")),
  # It runs once, on few tokens, and is large: all the devices there are for one clip
  # take their share of its heads and hidden layer.
  (r"/(o|wo)/kernel$", P(("context", "tensor"), "fsdp")),
  (r"/(q|k|v|wi_0|wi_1)/kernel$", P("fsdp", ("context", "tensor"))),
)

RULES = {
  "transformer": TRANSFORMER_RULES,
  "vae": VAE_RULES,
  "text_encoder": TEXT_RULES,
}
"""Rules by the names of a model's networks."""


def largest_axis_spec(shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
  """Splits the largest axis that divides over `fsdp`; vectors and scalars stay whole.

  The first of equal axes is taken.
  """
  size = mesh.shape["fsdp"]
  even = [axis for axis, length in enumerate(shape) if length and length % size == 0]
  if len(shape) < 2 or not even:
    return P()
  axis = max(even, key=lambda axis: shape[axis])
  return P(*[None] * axis, "fsdp")


def spec_for(
  path: str, shape: tuple[int, ...], mesh: Mesh, rules: Rules
) -> PartitionSpec:
  """Returns the spec of one array.

  Args:
    path: Its path with slashes, e.g. `params/blocks/attn1/to_q/kernel`.

  Raises:
    ValueError: where a rule names more axes than the array has, or an unknown axis.
  """
  spec = next((s for pattern, s in rules if re.search(pattern, path)), None)
  if spec is None:
    return largest_axis_spec(shape, mesh)
  if len(spec) > len(shape):
    raise ValueError(
      f"The sharding rule {spec} for {path} names {len(spec)} axes, but the array has "
      f"shape {shape}."
    )
  entries = [None] * (len(shape) - len(spec)) + list(spec)
  even = [_if_even(e, n, mesh, path) for e, n in zip(entries, shape, strict=True)]
  while even and even[-1] is None:  # As JAX writes its own specs: P() for P(None).
    even.pop()
  return P(*even)


def _if_even(entry: Any, length: int, mesh: Mesh, path: str) -> Any:
  """Returns the axes in `entry` of several devices, if they divide `length`."""
  if entry is None:
    return None
  names = (entry,) if isinstance(entry, str) else entry
  unknown = [name for name in names if name not in AXES]
  if unknown:
    raise ValueError(
      f"The sharding rule for {path} names the mesh axis {unknown[0]!r}; there are "
      f"{', '.join(AXES)}."
    )
  names = tuple(name for name in names if mesh.shape[name] > 1)
  if not names or length % math.prod(mesh.shape[name] for name in names):
    return None
  return names if len(names) > 1 else names[0]


def shardings(tree: Any, mesh: Mesh, rules: Rules) -> Any:
  """Returns a tree of `NamedSharding` like `tree`, of arrays or abstract arrays."""

  def one(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
    return NamedSharding(mesh, spec_for(path_name(path), leaf.shape, mesh, rules))

  return jax.tree.map_with_path(one, tree)


def abstract(tree: Any, mesh: Mesh, rules: Rules) -> Any:
  """Returns `tree` as shapes, dtypes and shardings: what a restore fills in."""
  return jax.tree.map(
    lambda leaf, s: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=s),
    tree,
    shardings(tree, mesh, rules),
  )
