"""LPIPS: how far apart two frames are in the features of a network, not in pixels.

    u_l = f_l / |f_l|                                features of layer l, of unit length
    d   = sum over l of mean over positions of sum over c of w_lc (u_lc - u'_lc)^2

f_l is what the network (`models.perceptual`) finds at a position, a vector over the
channels c, and w_l >= 0 is a head, learned from people's judgements of which of two
distorted patches is closer to the original. Heads of 1 compare the directions of the
features alone. The distance of clips is the mean over their frames.

In training a few frames of each clip are enough (`subsample_frames`): the mean over
them is the clip's on average.

Source: Zhang et al., arXiv:1801.03924.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ltx_jax.errors import check_number
from ltx_jax.typing import AnyArray, FeaturesFn, Key, Params, Video

# Features may be 0 in all channels, and then have no direction and no gradient.
_LEAST_SQUARE = 1e-20


def lpips(
  features: FeaturesFn, params: Params, reconstruction: Video, video: Video
) -> Float[Array, "b"]:
  """Returns the LPIPS distance of each clip; pixels in [-1, 1].

  Args:
    features: The network (`models.perceptual.features_fn` makes it).
    params: Parameters of the network, which are not learned, with `heads` by layer.
  """
  heads = (params["heads"][f"lin{i}"] for i in range(len(params["heads"])))
  pairs = zip(features(params, reconstruction), features(params, video), strict=True)
  layers = zip(pairs, heads, strict=True)
  return sum(_distance(ours, theirs, head) for (ours, theirs), head in layers)


def _distance(
  ours: Float[Array, "b F h w c"],
  theirs: Float[Array, "b F h w c"],
  head: Float[AnyArray, "c"],
) -> Float[Array, "b"]:
  difference = jnp.square(_unit(ours) - _unit(theirs)) @ head  # b F h w
  return jnp.mean(difference, axis=(1, 2, 3))


def _unit(x: Float[Array, "b F h w c"]) -> Float[Array, "b F h w c"]:
  """Returns the direction of each position's features, in float32."""
  x = x.astype(jnp.float32)
  square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
  return x * jax.lax.rsqrt(square + _LEAST_SQUARE)


def subsample_frames(
  key: Key, video: Float[AnyArray, "b F H W c"], count: int
) -> Float[Array, "b F2 H W c"]:
  """Returns `count` frames of each clip, evenly spaced from a random start.

  The i-th frame is (i F + start) // count with a start from 0 to F - 1, so no frame
  occurs twice, and all are equally likely. The same key picks the same frames of
  another video of as many clips and frames. Shorter clips are kept as they are.

  Raises:
    ValueError: If the count is below 1.
  """
  check_number("count", count, at_least=1, whole=True)
  clips, frames = video.shape[:2]
  count = min(count, frames)
  start = jax.random.randint(key, (clips, 1), 0, frames)
  index = (jnp.arange(count) * frames + start) // count  # b F2
  return jax.vmap(lambda clip, index: clip[index])(jnp.asarray(video), index)
