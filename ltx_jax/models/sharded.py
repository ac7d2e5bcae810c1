"""How activations are split over the devices of a policy's mesh, where it has one.

    stream      [b n d]        rows over the policy's `rows`, tokens over the rest
    attention   [b n k x]      its queries so too, heads over `tensor`; each device has
                               the keys and values of all tokens
    frames      [b f h w c]    clips over the policy's `rows`, rows of pixels over the
                               other axes

Rows are split over `data`, in training over `fsdp` too; tokens over `context`, and in
sampling over `fsdp`. An axis of the mesh is used where it divides what it splits. If it
does not divide the rows or the clips it goes on to the tokens or the pixels: three
branches of guidance on data=2 have their tokens split in two. Tokens are padded until
all of their axes divide them. Rows of pixels are not: an axis that does not divide them
goes on to the columns, and if it does not divide those either, its devices do the same
work.

These are constraints on a few arrays. What lies between, and what devices tell each
other (keys and values in attention, edges of pixels in convolutions, sums over a split
kernel), XLA's partitioner makes of them, and of how parameters are split
(`parallel.sharding`). Without a mesh, nothing here does anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from ltx_jax.models import attention
from ltx_jax.platforms import Policy
from ltx_jax.typing import AnyArray

P = PartitionSpec
Axes = tuple[str, ...]

# Axes that split tokens, in this order, where they do not split rows. `data` is last:
# it then splits further what `context` has split, and moves nothing.
_OF_TOKENS = ("context", "fsdp", "data")
_OF_PIXELS = ("data", "context", "fsdp", "tensor")


class StreamAxes(NamedTuple):
  """Axes of the mesh that split the stream's rows, and its tokens."""

  rows: Axes
  tokens: Axes


class FrameAxes(NamedTuple):
  """Axes of the mesh that split clips, rows of pixels, and columns."""

  clips: Axes
  rows: Axes
  columns: Axes


def devices_of(mesh: Mesh | None, axes: Iterable[str]) -> int:
  """Returns into how many parts axes split something; a mesh may lack some of them."""
  return 1 if mesh is None else math.prod(mesh.shape.get(axis, 1) for axis in axes)


def _dividing(mesh: Mesh, axes: Iterable[str], length: int) -> Axes:
  """Returns those of the axes that together divide a length, the first ones first."""
  found = ()
  for axis in axes:
    more = (*found, axis)
    if devices_of(mesh, (axis,)) > 1 and length % devices_of(mesh, more) == 0:
      found = more
  return found


def row_axes(mesh: Mesh, axes: Axes, rows: int) -> Axes:
  """Returns those of the axes that split a number of rows, the largest ones first."""
  by_size = sorted(axes, key=lambda axis: -devices_of(mesh, (axis,)))
  found = _dividing(mesh, by_size, rows)
  return tuple(axis for axis in axes if axis in found)


def stream_axes(policy: Policy, rows: int, tokens: int) -> StreamAxes:
  """Returns how an array [rows tokens ...] is split, over a policy that has a mesh."""
  of_rows = row_axes(policy.mesh, policy.rows, rows)
  rest = [axis for axis in _OF_TOKENS if axis not in of_rows]
  return StreamAxes(of_rows, _dividing(policy.mesh, rest, tokens))


def frame_axes(policy: Policy, clips: int, height: int, width: int) -> FrameAxes:
  """Returns how an array [clips f height width c] is split, likewise."""
  of_clips = row_axes(policy.mesh, policy.rows, clips)
  rest = [axis for axis in _OF_PIXELS if axis not in of_clips]
  of_rows = _dividing(policy.mesh, rest, height)
  rest = [axis for axis in rest if axis not in of_rows]
  return FrameAxes(of_clips, of_rows, _dividing(policy.mesh, rest, width))


def _spec(*axes: Axes | None) -> PartitionSpec:
  return P(*(entry or None for entry in axes))


def _constrain(x: Array, mesh: Mesh, spec: PartitionSpec) -> Array:
  return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))


def split_stream(x: Float[Array, "b n d"], policy: Policy) -> Float[Array, "b n d"]:
  """Splits rows and tokens; the channels of the stream are whole on every device."""
  if policy.mesh is None:
    return x
  return _constrain(x, policy.mesh, _spec(*stream_axes(policy, *x.shape[:2])))


def positions_spec(mesh: Mesh, shape: tuple[int, ...]) -> PartitionSpec:
  """How sampling splits tables [1 n d]: as a stream whose rows are split."""
  return _spec(None, _dividing(mesh, ("context", "fsdp"), shape[1]))


def split_positions(x: Float[Array, "1 n d"], policy: Policy) -> Float[Array, "1 n d"]:
  """Splits what all rows of a sampling run share (`positions_spec`)."""
  if policy.mesh is None:
    return x
  return _constrain(x, policy.mesh, positions_spec(policy.mesh, x.shape))


def split_tables(
  x: Float[Array, "#b n d"], rows: int, policy: Policy
) -> Float[Array, "#b n d"]:
  """Splits tables of positions as the stream of `rows` rows that they belong to."""
  if policy.mesh is None:
    return x
  of_rows, tokens = stream_axes(policy, rows, x.shape[1])
  return _constrain(x, policy.mesh, _spec(of_rows if len(x) == rows else None, tokens))


def text_spec(mesh: Mesh, shape: tuple[int, ...]) -> PartitionSpec:
  """How all blocks' keys and values of the text [l b m d] are split.

  Heads over `tensor`; tokens over `fsdp`, as the parameters, to be gathered a block at
  a time.
  """
  tokens, heads = _dividing(mesh, ("fsdp",), shape[2]), ("tensor",)
  return _spec(None, None, tokens, _dividing(mesh, heads, shape[3]))


def split_text(x: Float[Array, "l b m d"], policy: Policy) -> Float[Array, "l b m d"]:
  """Splits what a run keeps of the text (`text_spec`)."""
  if policy.mesh is None:
    return x
  return _constrain(x, policy.mesh, text_spec(policy.mesh, x.shape))


def split_frames(
  x: Float[Array, "b f h w c"], policy: Policy
) -> Float[Array, "b f h w c"]:
  """Splits clips, rows and columns, anew at each resolution.

  The higher it is, the more axes divide it.
  """
  if policy.mesh is None:
    return x
  b, _, h, w, _ = x.shape
  clips, rows, columns = frame_axes(policy, b, h, w)
  return _constrain(x, policy.mesh, _spec(clips, None, rows, columns))


def whole(x: Float[Array, "..."], policy: Policy) -> Float[Array, "..."]:
  """Gives every device all of an array."""
  return x if policy.mesh is None else _constrain(x, policy.mesh, P())


def padded_tokens(rows: int, count: int, policy: Policy) -> int:
  """Returns the next number of tokens of a stream that all of their axes divide."""
  return count + -count % parts_of_stream(policy, rows)[1]


def pad_tokens(tree: Any, shape: tuple[int, ...], policy: Policy) -> Any:
  """Pads arrays [b n ...] with zeros until all axes of tokens divide n.

  Args:
    tree: Arrays; those of another number along their second axis stay as they are.
    shape: (b, n) of the stream.
  """
  if policy.mesh is None:
    return tree
  rows, count = shape
  spare = padded_tokens(rows, count, policy) - count

  def pad(x: AnyArray) -> AnyArray:
    if x.ndim < 2 or x.shape[1] != count:
      return x
    return jnp.pad(x, [(0, 0), (0, spare), *[(0, 0)] * (x.ndim - 2)])

  return jax.tree.map(pad, tree)


def drop_padding(
  x: Float[Array, "b n c"], count: int, policy: Policy
) -> Float[Array, "b _ c"]:
  """Returns the tokens that are none of padding; rows stay split."""
  if policy.mesh is None or x.shape[1] == count:
    return split_stream(x, policy)
  rows = row_axes(policy.mesh, policy.rows, len(x))
  return _constrain(x, policy.mesh, _spec(rows))[:, :count]


def attend(
  q: attention.Queries,
  k: attention.Keys,
  v: attention.Keys,
  bias: attention.Bias | None,
  policy: Policy,
  count: int | None = None,
) -> attention.Queries:
  """`attention.attend` by the policy's implementation: on each device, of its queries.

  Kernels cannot be split by XLA, and chunks of queries would be cut across devices:
  each device runs them by itself. It gathers keys that are split as the queries are, so
  that backwards each device is sent its own keys' gradients alone, not the sum of all.

  Args:
    q: Queries of n tokens.
    k: Keys of m tokens.
    v: Their values.
    bias: Bias of each key's logits (see `attention.attend`); None attends to all.
    policy: The mesh and the implementation.
    count: How many of the keys there are, the rest being padding; None: all.
  """
  mesh = policy.mesh
  if mesh is None:
    return attention.attend(q, k, v, bias, policy.attention)

  rows, tokens = stream_axes(policy, *q.shape[:2])
  heads = _dividing(mesh, ("tensor",), q.shape[2])
  split = tokens if k.shape[1] == q.shape[1] else ()  # The text is whole everywhere.
  last = policy.reads_tokens_last  # So gathered, they are not copied once more.

  def gathered(keys: Array) -> Array:
    if split:
      keys = jax.lax.all_gather(keys, split, axis=3 if last else 1, tiled=True)
    return (jnp.moveaxis(keys, 3, 1) if last else keys)[:, :count]

  def of_a_device(q: Array, k: Array, v: Array, bias: Array | None) -> Array:
    return attention.attend(q, gathered(k), gathered(v), bias, policy.attention)

  queries = P(rows, tokens, heads)
  keys = P(rows, heads, None, split) if last else P(rows, split, heads)
  k, v = (jnp.moveaxis(a, 1, 3) if last else a for a in (k, v))
  # Without its check of what varies: kernels do not take part in it.
  return jax.shard_map(
    of_a_device,
    mesh=mesh,
    in_specs=(queries, keys, keys, P(rows)),
    out_specs=queries,
    check_vma=False,
  )(q, k, v, bias)


def parts_of_stream(policy: Policy, rows: int) -> tuple[int, int]:
  """Returns into how many parts rows, and the tokens of each, are split."""
  if policy.mesh is None:
    return 1, 1
  of_rows, of_tokens = stream_axes(policy, rows, 0)  # Padded: all axes divide it.
  return devices_of(policy.mesh, of_rows), devices_of(policy.mesh, of_tokens)


def parts_of_frames(policy: Policy, clips: int, size: Sequence[int]) -> int:
  """Returns into how many parts frames of (height, width) are split."""
  if policy.mesh is None:
    return 1
  axes = frame_axes(policy, clips, *size)
  return devices_of(policy.mesh, [axis for each in axes for axis in each])
