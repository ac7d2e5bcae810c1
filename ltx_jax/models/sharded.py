"""Sharding of activations over the devices of the policy's mesh, if it has one.

    stream      [b n d]        rows over the policy's `rows`, tokens over the other axes
    attention   [b n k x]      queries likewise, heads over `tensor`; each device has
                               the keys and values of all tokens
    frames      [b f h w c]    clips over the policy's `rows`, rows of pixels over the
                               other axes

Rows are sharded over `data`, and in training over `fsdp` too; tokens over `context`,
and in sampling over `fsdp`. An axis of the mesh is used if it divides what it shards.
An axis that does not divide the rows or the clips shards the tokens or the pixels
instead: with data=2, three branches of guidance have their tokens split in two. Tokens
are padded until all of their axes divide them. Rows of pixels are not padded: an axis
that does not divide them shards the columns, and if it does not divide those either,
its devices repeat the same work.

These are constraints on a few arrays. From them, and from the sharding of the
parameters (`parallel.sharding`), XLA's partitioner derives everything in between, and
the communication: keys and values in attention, edges of pixels in convolutions, sums
over a sharded kernel. Without a mesh, nothing here has any effect.
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

# Axes that shard tokens, in this order, if they do not shard rows. `data` is last, so
# that it subdivides the shards of `context` without moving data.
_OF_TOKENS = ("context", "fsdp", "data")
_OF_PIXELS = ("data", "context", "fsdp", "tensor")


class StreamAxes(NamedTuple):
  """Axes of the mesh that shard the stream's rows, and its tokens."""

  rows: Axes
  tokens: Axes


class FrameAxes(NamedTuple):
  """Axes of the mesh that shard clips, rows of pixels, and columns."""

  clips: Axes
  rows: Axes
  columns: Axes


def devices_of(mesh: Mesh | None, axes: Iterable[str]) -> int:
  """Returns the number of shards that the axes make; the mesh may lack some of them."""
  return 1 if mesh is None else math.prod(mesh.shape.get(axis, 1) for axis in axes)


def _dividing(mesh: Mesh, axes: Iterable[str], length: int) -> Axes:
  """Returns the axes whose product divides a length, taken in order."""
  found = ()
  for axis in axes:
    more = (*found, axis)
    if devices_of(mesh, (axis,)) > 1 and length % devices_of(mesh, more) == 0:
      found = more
  return found


def row_axes(mesh: Mesh, axes: Axes, rows: int) -> Axes:
  """Returns the axes that shard a number of rows, largest first."""
  by_size = sorted(axes, key=lambda axis: -devices_of(mesh, (axis,)))
  found = _dividing(mesh, by_size, rows)
  return tuple(axis for axis in axes if axis in found)


def stream_axes(policy: Policy, rows: int, tokens: int) -> StreamAxes:
  """Returns the axes that shard an array [rows tokens ...]; the policy has a mesh."""
  of_rows = row_axes(policy.mesh, policy.rows, rows)
  rest = [axis for axis in _OF_TOKENS if axis not in of_rows]
  return StreamAxes(of_rows, _dividing(policy.mesh, rest, tokens))


def frame_axes(policy: Policy, clips: int, height: int, width: int) -> FrameAxes:
  """Returns the axes that shard an array [clips f height width c]."""
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
  """Shards rows and tokens; every device has all channels of the stream."""
  if policy.mesh is None:
    return x
  return _constrain(x, policy.mesh, _spec(*stream_axes(policy, *x.shape[:2])))


def positions_spec(mesh: Mesh, shape: tuple[int, ...]) -> PartitionSpec:
  """Returns the sharding of tables [1 n d] in sampling: that of a stream with sharded
  rows."""
  return _spec(None, _dividing(mesh, ("context", "fsdp"), shape[1]))


def split_positions(x: Float[Array, "1 n d"], policy: Policy) -> Float[Array, "1 n d"]:
  """Shards positions that all rows of a sampling run share (`positions_spec`)."""
  if policy.mesh is None:
    return x
  return _constrain(x, policy.mesh, positions_spec(policy.mesh, x.shape))


def split_tables(
  x: Float[Array, "#b n d"], rows: int, policy: Policy
) -> Float[Array, "#b n d"]:
  """Shards tables of positions like the stream of `rows` rows that they belong to."""
  if policy.mesh is None:
    return x
  of_rows, tokens = stream_axes(policy, rows, x.shape[1])
  return _constrain(x, policy.mesh, _spec(of_rows if len(x) == rows else None, tokens))


def text_spec(mesh: Mesh, shape: tuple[int, ...]) -> PartitionSpec:
  """Returns the sharding of all blocks' keys and values of the text [l b m d].

  Heads over `tensor`; tokens over `fsdp`, like the parameters, to be gathered one block
  at a time.
  """
  tokens, heads = _dividing(mesh, ("fsdp",), shape[2]), ("tensor",)
  return _spec(None, None, tokens, _dividing(mesh, heads, shape[3]))


def split_text(x: Float[Array, "l b m d"], policy: Policy) -> Float[Array, "l b m d"]:
  """Shards a run's keys or values of the text (`text_spec`)."""
  if policy.mesh is None:
    return x
  return _constrain(x, policy.mesh, text_spec(policy.mesh, x.shape))


def split_frames(
  x: Float[Array, "b f h w c"], policy: Policy
) -> Float[Array, "b f h w c"]:
  """Shards clips, rows and columns, separately at each resolution.

  The higher the resolution, the more axes divide it.
  """
  if policy.mesh is None:
    return x
  b, _, h, w, _ = x.shape
  clips, rows, columns = frame_axes(policy, b, h, w)
  return _constrain(x, policy.mesh, _spec(clips, None, rows, columns))


def whole(x: Float[Array, "..."], policy: Policy) -> Float[Array, "..."]:
  """Replicates an array on every device."""
  return x if policy.mesh is None else _constrain(x, policy.mesh, P())


def padded_tokens(rows: int, count: int, policy: Policy) -> int:
  """Returns the smallest number of tokens >= `count` that all of their axes divide."""
  return count + -count % parts_of_stream(policy, rows)[1]


def pad_tokens(tree: Any, shape: tuple[int, ...], policy: Policy) -> Any:
  """Pads arrays [b n ...] with zeros until all axes of tokens divide n.

  Args:
    tree: Arrays; those whose second axis is not n stay unchanged.
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
  """Drops the tokens that are padding; rows stay sharded."""
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
  """Does what `attention.attend` does; each device handles its own queries.

  XLA cannot partition kernels, and chunks of queries would be cut across devices, so
  each device runs them by itself. Keys that are sharded like the queries are gathered
  inside, so that in the backward pass each device receives only the gradients of its
  own keys, not the sum of all.

  Args:
    q: Queries of n tokens.
    k: Keys of m tokens.
    v: Values of m tokens.
    bias: Bias of each key's logits (see `attention.attend`); None attends to all.
    policy: The mesh and the implementation.
    count: Number of keys that are not padding; None means all.
  """
  mesh = policy.mesh
  if mesh is None:
    return attention.attend(q, k, v, bias, policy.attention)

  rows, tokens = stream_axes(policy, *q.shape[:2])
  heads = _dividing(mesh, ("tensor",), q.shape[2])
  split = tokens if k.shape[1] == q.shape[1] else ()  # The text is replicated.
  last = policy.reads_tokens_last  # Gathered in this layout, keys need no second copy.

  def gathered(keys: Array) -> Array:
    if split:
      keys = jax.lax.all_gather(keys, split, axis=3 if last else 1, tiled=True)
    return (jnp.moveaxis(keys, 3, 1) if last else keys)[:, :count]

  def of_a_device(q: Array, k: Array, v: Array, bias: Array | None) -> Array:
    return attention.attend(q, gathered(k), gathered(v), bias, policy.attention)

  queries = P(rows, tokens, heads)
  keys = P(rows, heads, None, split) if last else P(rows, split, heads)
  k, v = (jnp.moveaxis(a, 1, 3) if last else a for a in (k, v))
  # No check of what varies across devices: kernels do not support it.
  return jax.shard_map(
    of_a_device,
    mesh=mesh,
    in_specs=(queries, keys, keys, P(rows)),
    out_specs=queries,
    check_vma=False,
  )(q, k, v, bias)


def parts_of_stream(policy: Policy, rows: int) -> tuple[int, int]:
  """Returns the number of shards of the rows, and of the tokens of each row."""
  if policy.mesh is None:
    return 1, 1
  of_rows, of_tokens = stream_axes(policy, rows, 0)  # Padding makes all axes divide.
  return devices_of(policy.mesh, of_rows), devices_of(policy.mesh, of_tokens)


def parts_of_frames(policy: Policy, clips: int, size: Sequence[int]) -> int:
  """Returns the number of shards of frames of (height, width)."""
  if policy.mesh is None:
    return 1
  axes = frame_axes(policy, clips, *size)
  return devices_of(policy.mesh, [axis for each in axes for axis in each])
