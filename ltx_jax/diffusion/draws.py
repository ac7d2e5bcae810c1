"""Random draws by name; each clip of a batch draws from its own key.

Clip i of a batch draws from fold_in(key(seed), i). Every draw folds in its name and, if
there are several of that name, its number: `initial`, `posterior/0`, `step/7`,
`decode`. So a clip's noise does not depend on its neighbours or on other draws, and a
test can replace any draw by recorded numbers. The names:

    initial        the noise that denoising starts from
    video          the posterior sample of a clip to start from
    posterior/i    the posterior sample of condition i
    condition/i    the noise that the keyframes of condition i are mixed with
    step/i         the noise on conditions in step i
    stochastic/i   the fresh noise of stochastic step i
    decode         the noise that is mixed in before decoding

One draw is shared by the batch: the noise that some decoders inject into their layers.
As in the original, all clips get the same noise image. It comes from the first clip's
key.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ltx_jax.errors import check_seed
from ltx_jax.typing import AnyArray, Key, Scalar, Whole

Draws = Callable[[str, tuple[int, ...]], Any]
"""Replaces a draw: (name, shape) -> standard normal numbers of that shape."""

Seed = Whole | Sequence[int] | Int[AnyArray, "_"] | Key
"""One seed for all clips of a batch, one per clip, or the clips' keys."""


def clip_keys(seed: Seed, clips: int) -> Key:
  """Returns the keys [b] of the clips of a batch.

  Args:
    seed: One seed, from which clip i takes fold_in(key(seed), i); or one per clip,
      which then takes fold_in(key(its seed), 0), as if it were alone; or keys [b],
      which are returned unchanged. Seeds lie in [0, 2^32), because JAX reads only 32
      bits.
    clips: Number of clips.

  Raises:
    ValueError: If the number of seeds or keys is neither one nor `clips`, or a seed is
      not a whole number or out of range.
  """
  if isinstance(seed, jax.Array) and jnp.issubdtype(seed.dtype, jax.dtypes.prng_key):
    if seed.shape != (clips,):
      raise ValueError(
        f"Keys of shape {seed.shape} for {clips} clips; give one for each, or a seed."
      )
    return seed
  numbers = np.asarray(seed)
  if numbers.ndim > 1 or not np.issubdtype(numbers.dtype, np.integer):
    raise ValueError(
      f"The seed is {seed!r}; give one whole number, or one for each clip."
    )
  several = numbers.ndim == 1
  if several and len(numbers) != clips:
    raise ValueError(f"{len(numbers)} seeds for {clips} clips; give one, or one each.")
  seeds = numbers.tolist() if several else [int(numbers)] * clips
  for number in seeds:
    check_seed(number)
  folds = [0] * clips if several else range(clips)
  keys = [jax.random.key(number) for number in seeds]
  return _fold(jnp.stack(keys), jnp.array(folds, jnp.uint32))


def normal(
  keys: Key,
  name: str,
  index: Scalar | Int[AnyArray, ""] | None,
  shape: tuple[int, ...],
) -> Float[jax.Array, "..."]:
  """Draws standard normal numbers [b *shape] from the clips' keys [b]; jit-compatible.

  Args:
    keys: Keys of the clips.
    name: Name of the draw.
    index: Number of the draw, if there are several of that name.
    shape: Shape per clip.
  """

  def one(key: Key) -> jax.Array:
    key = jax.random.fold_in(key, zlib.crc32(name.encode()))
    key = key if index is None else jax.random.fold_in(key, index)
    return jax.random.normal(key, shape, jnp.float32)

  return jax.vmap(one)(keys)


_fold = jax.vmap(jax.random.fold_in)
_jitted_normal = jax.jit(normal, static_argnames=("name", "index", "shape"))


def draw(
  keys: Key | None,
  name: str,
  shape: tuple[int, ...],
  index: int | None = None,
  draws: Draws | None = None,
) -> Float[jax.Array, "..."]:
  """Draws standard normal numbers, or takes them from `draws`.

  Args:
    keys: Keys of the clips [b]; may be None if `draws` is given.
    name: Name of the draw.
    shape: Shape of the result, clips first.
    index: Number of the draw, if there are several of that name.
    draws: Function that replaces the draw; it is called with "name" or "name/index" and
      may return any shape with the same number of values.

  Raises:
    ValueError: If `draws` returns another number of values.
  """
  if draws is None:
    return _jitted_normal(keys, name, index, shape[1:])
  label = name if index is None else f"{name}/{index}"
  noise = jnp.asarray(draws(label, shape), jnp.float32)
  if noise.size != math.prod(shape):
    raise ValueError(
      f"draws({label!r}, {shape}) returned shape {noise.shape}, which does not hold "
      f"{math.prod(shape)} numbers."
    )
  return noise.reshape(shape)
