"""Rotary position embedding over fractional positions in time, height and width.

Channels are taken in pairs, and each pair is rotated by an angle that grows with the
token's position, so that the product of a query and a key depends on their distance.
The angle of frequency k along axis a is

  exponential            w_k (2 p_a - 1)    w_k = (pi / 2) theta^(k / (K - 1))       (1)
  inverse exponential    w_k p_a            w_k = (pi / 2) theta^(-6 k / d)          (2)

with k = 0 .. K - 1, K = d // 6, and p_a the position in seconds or pixels divided by
the largest position of its axis. Every release uses (1); (2) is the control of the
paper's ablation. Frequencies run over the full width d, before heads are split, so that
each head has other bands. Channels are ordered frequency slowest, then axis (t, y, x),
then the two of a pair; the remaining d mod 6 channels come first and do not rotate.

The angles of (1) reach 15708 rad, where neighbouring float32 numbers are 1e-3 apart. So
the rounding of the frequencies shows in the result. Therefore they are made on the
host, from the exact exponents of `torch.linspace`, by a power that rounds once. The
original's power rounds about one in a hundred of them the other way, and differs
between kinds of processor. There its tables and ours differ by up to 2e-4.

Source: LTX-Video (arXiv:2501.00103), section on the transformer; RoFormer
(arXiv:2104.09864).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ltx_jax.config import TransformerConfig
from ltx_jax.platforms import Rotation
from ltx_jax.typing import AnyArray

Positions = Float[AnyArray, "#b n 3"]
"""`Coords`, or [1 n 3] if all clips share them."""


class RopeTables(NamedTuple):
  """Cosines and sines per token and channel; b is 1 if all clips share positions."""

  cos: Float[Array, "b n d"]
  sin: Float[Array, "b n d"]


def _linspace(count: int) -> Float[np.ndarray, "count"]:
  """`torch.linspace(0, 1, count)` in float32, which counts from both ends."""
  step = np.float32(1 / max(count - 1, 1))
  k = np.arange(count)
  left = (k * np.float64(step)).astype(np.float32)
  right = (1 - (count - 1 - k) * np.float64(step)).astype(np.float32)
  return np.where(k < count // 2, left, right) if count > 1 else left


def _exponential(width: int, theta: float) -> Float[np.ndarray, "k"]:
  exponent = _linspace(width // 6).astype(np.float64)
  return (theta**exponent).astype(np.float32) * np.float32(np.pi) / np.float32(2)


def _inverse_exponential(width: int, theta: float) -> Float[np.ndarray, "k"]:
  exponent = -6 * np.arange(width // 6) / width
  return (np.pi / 2 * theta**exponent).astype(np.float32)


_FREQUENCIES = {
  "exponential": _exponential,
  "inverse_exponential": _inverse_exponential,
}
# Only the exponential spacing is centred on the middle of the clip.
_POSITIONS = {
  "exponential": lambda p: 2 * p - 1,
  "inverse_exponential": lambda p: p,
}


def frequencies(config: TransformerConfig) -> Float[np.ndarray, "k"]:
  """Returns w_k in radians: d // 6 float32 numbers, made on the host.

  Raises:
    ValueError: If the width is odd, so that channels do not pair up.
  """
  if config.width % 2:
    raise ValueError(
      f"The transformer's width is {config.width}; rotary embedding rotates pairs of "
      "channels, so attention heads times head width must be even."
    )
  make = _FREQUENCIES[config.rope_spacing]
  return make(config.width, config.positional_embedding_theta)


def rope_tables(coords: Positions, config: TransformerConfig) -> RopeTables:
  """Returns the float32 tables of the tokens at `coords`.

  Pass coordinates [1 n 3] if all clips share them: one table then serves the batch.

  Raises:
    ValueError: If the transformer's width is odd.
  """
  coords = jnp.asarray(coords, jnp.float32)
  largest = jnp.asarray(config.positional_embedding_max_pos, jnp.float32)
  # Without the barrier the compiler sees that a few constants divide all coordinates,
  # and multiplies by their rounded inverses instead: errors of 1e-3 in the tables.
  fraction = coords / jax.lax.optimization_barrier(
    jnp.broadcast_to(largest, coords.shape)
  )
  position = _POSITIONS[config.rope_spacing](fraction)
  w = frequencies(config)

  def of_axis(position: Array) -> tuple[Array, Array]:
    angle = w * position[..., None]  # b n k
    return jnp.cos(angle), jnp.sin(angle)

  # Without the loop, XLA's CPU backend recomputes sines for each clip, block and head.
  cos, sin = jax.lax.map(of_axis, jnp.moveaxis(position, -1, 0))  # 3 b n k
  cos, sin = (
    jnp.moveaxis(a, 0, -1).reshape(*a.shape[1:3], -1) for a in (cos, sin)
  )  # b n 3k

  front = ((0, 0), (0, 0), (config.width % 6, 0))
  cos = jnp.pad(jnp.repeat(cos, 2, axis=-1), front, constant_values=1)
  sin = jnp.pad(jnp.repeat(sin, 2, axis=-1), front)
  return RopeTables(cos, sin)


def _flip(x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
  """Swaps the channels of each pair by a flip over an axis of two.

  Its transpose is itself. It is the fastest form on CPUs, forwards and backwards, and
  one fused pass on GPUs.
  """
  return jnp.flip(x.reshape(*x.shape[:-1], -1, 2), axis=-1).reshape(x.shape)


def _shift(x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
  """Does what `_flip` does: even channels take the right neighbour, odd ones the left.

  On TPUs `_flip` changes the layout, with four passes through memory for queries and
  four for keys. This form is fused into the product with the tables, which saves a
  quarter of the 2B model's memory traffic in a step.
  """
  zero, rest = jnp.zeros((), x.dtype), [(0, 0, 0)] * (x.ndim - 1)
  right = jax.lax.pad(x, zero, [*rest, (-1, 1, 0)])
  left = jax.lax.pad(x, zero, [*rest, (1, -1, 0)])
  return jnp.where(np.arange(x.shape[-1]) % 2 == 0, right, left)


_SWAPS: dict[Rotation, Callable[[Array], Array]] = {"flip": _flip, "shift": _shift}


def rotate(
  x: Float[Array, "b n d"], tables: RopeTables, rotation: Rotation = "flip"
) -> Float[Array, "b n d"]:
  """Rotates the pairs (x_0, x_1), (x_2, x_3), ... of `x`, in the dtype of `x`.

    (x_0, x_1) -> (x_0 cos - x_1 sin, x_1 cos + x_0 sin)

  Tables of another dtype are cast first; otherwise they would promote queries and keys.

  Args:
    x: Queries or keys.
    tables: Rotary tables of their positions.
    rotation: How pairs are swapped, as the policy says; both ways give the same result.
  """
  cos, sin = (table.astype(x.dtype) for table in tables)
  sign = np.resize([-1, 1], x.shape[-1]).astype(x.dtype)
  return x * cos + _SWAPS[rotation](x) * (sin * sign)
