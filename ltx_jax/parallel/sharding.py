"""Sharding of parameters over the mesh: one table of (regex over path, PartitionSpec).

The first rule whose pattern is found in a path applies. Optimiser state and averaged
parameters mirror the parameters, and their paths end like the parameters' own
(`opt_state/1/0/mu/blocks/attn1/to_q/kernel`), so one table serves them all.

A spec names the LAST axes of an array: P("fsdp", None) shards the input axis of a dense
kernel (in, out), of a scanned stack of them (l, in, out), and of a convolution
(t, h, w, in, out). The axes before those are not sharded, and neither is an axis that
its devices do not divide. An array of two axes or more that no rule matches is sharded
along its largest axis that `fsdp` divides.
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

# Norms, biases, tables and statistics are small and are replicated.
_SMALL = (r"(bias|scale|scale_shift_table|per_channel_scale\d|mean|std|var)$", P())

TRANSFORMER_RULES: Rules = (
  _SMALL,
  # `fsdp` shards kernels along the width of the residual stream, never along the heads
  # or the hidden layer: the last axis of layers that write to the stream, the first
  # axis of layers that read it. `tensor` shards heads and the hidden layer: each device
  # computes its own part from the whole stream, and what devices write to the stream is
  # summed.
  (r"/(to_out|ff/proj_out)/kernel$", P("tensor", "fsdp")),
  (r"/(to_q|to_k|to_v|ff/proj_in)/kernel$", P("fsdp", "tensor")),
  (r"(/linear_1|/linear_2|patchify_proj)/kernel$", P(None, "fsdp")),
  (r"(/linear|proj_out)/kernel$", P("fsdp", None)),
  # Low-rank updates are sharded along the stream, like their kernels.
  (r"/(to_out|ff/proj_out)/lora_up$", P(None, "fsdp")),
  (r"/(to_q|to_k|to_v|ff/proj_in)/lora_down$", P("fsdp", None)),
  (r"/lora_(down|up)$", P()),
)


def _vae_rules(axes: str | tuple[str, ...]) -> Rules:
  return (
    _SMALL,
    (r"/(to_q|to_k|to_v|to_out|linear_1|linear_2)/kernel$", P(axes, None)),
    # Output channels of convolutions.
    (r"kernel$", P(None, axes)),
  )


VAE_RULES = _vae_rules("fsdp")

VAE_TRAINING_RULES = _vae_rules(("fsdp", "context"))
"""In training, devices that share the rows of a clip share the state as well."""

TEXT_RULES: Rules = (
  _SMALL,
  (r"relative_attention_bias/embedding$", P()),
  (r"shared/embedding$", P(None, "fsdp")),
  # T5 runs once, on few tokens, and is large, so all devices that work on one clip
  # share its heads and hidden layer.
  (r"/(o|wo)/kernel$", P(("context", "tensor"), "fsdp")),
  (r"/(q|k|v|wi_0|wi_1)/kernel$", P("fsdp", ("context", "tensor"))),
)

RULES = {
  "transformer": TRANSFORMER_RULES,
  "vae": VAE_RULES,
  "text_encoder": TEXT_RULES,
}
"""Sharding rules by the name of a model's network."""


def largest_axis_spec(shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
  """Shards the largest axis that `fsdp` divides; vectors and scalars are not sharded.

  Of equal axes the first is used.
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
    path: Path of the array with slashes, e.g. `params/blocks/attn1/to_q/kernel`.

  Raises:
    ValueError: If a rule names more axes than the array has, or an unknown axis.
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
  """Returns the axes in `entry` with several devices, if they divide `length`."""
  if entry is None:
    return None
  names = (entry,) if isinstance(entry, str) else entry
  unknown = [name for name in names if name not in AXES]
  if unknown:
    raise ValueError(
      f"The sharding rule for {path} names the mesh axis {unknown[0]!r}; the axes are "
      f"{', '.join(AXES)}."
    )
  names = tuple(name for name in names if mesh.shape[name] > 1)
  if not names or length % math.prod(mesh.shape[name] for name in names):
    return None
  return names if len(names) > 1 else names[0]


def shardings(tree: Any, mesh: Mesh, rules: Rules) -> Any:
  """Returns a tree of `NamedSharding` for a tree of arrays or abstract arrays."""

  def one(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
    return NamedSharding(mesh, spec_for(path_name(path), leaf.shape, mesh, rules))

  return jax.tree.map_with_path(one, tree)


def abstract(tree: Any, mesh: Mesh, rules: Rules) -> Any:
  """Returns `tree` as shapes, dtypes and shardings, to be filled by a restore."""
  return jax.tree.map(
    lambda leaf, s: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=s),
    tree,
    shardings(tree, mesh, rules),
  )
