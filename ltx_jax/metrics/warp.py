"""Flicker and warp error: how much a clip changes beyond its motion.

For frames x_t in [0, 1], with the flow u_t(p) from frame t to t + 1 in pixels, and
v_t(p) = 1 where what is at p in frame t is still seen in frame t + 1,

    flicker    = mean over t and pixels of |x_(t+1) - x_t|                          (1)
    warp error = sum_tp v_t(p) |x_(t+1)(p + u_t(p)) - x_t(p)|^2 / (3 sum_tp v_t(p)) (2)

(1) means something on static scenes only, and a frozen clip is perfect. (2) takes
motion away, given the flow. The flow is that of the original: moving shapes give it
exactly (`moving_shapes.flow`), for other clips it is estimated (`optical_flow`). Both
depend on size, rate and flow, so what is reported is the ratio of a reconstruction's to
the original's: below 1 it is blurred or frozen, above 1 it shimmers.

Source: Lai et al., "Learning Blind Video Temporal Consistency" (arXiv:1808.00449), (2);
Huang et al., "VBench" (arXiv:2311.17982), 1 - (1).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, UInt8

from ltx_jax.typing import AnyArray

Flow = Float[AnyArray, "b F-1 H W 2"]
"""How far each pixel moves to the next frame: (down, right), in pixels."""

ROUNDING = 1 / 6 / 255**2
"""Equation (2) of two frames that differ by their rounding to 8 bits alone."""


class Motion(NamedTuple):
  """What a clip's pixels do from one frame to the next.

  Attributes:
    flow: How far each pixel moves, (down, right) in pixels.
    visible: Where the next frame still shows what this one does.
  """

  flow: Float[np.ndarray, "H W 2"]
  visible: Bool[np.ndarray, "H W"]


@jax.jit
def flicker(video: UInt8[AnyArray, "b F H W 3"]) -> Float[Array, "b"]:
  """Returns equation (1) of each clip, of at least two frames.

  Args:
    video: Pixels; `frames.frames_8bit` makes them.
  """
  levels = jnp.asarray(video, jnp.int32)
  change = jnp.abs(levels[:, 1:] - levels[:, :-1])
  rows = jnp.sum(change, axis=(3, 4)).astype(jnp.float32)
  return jnp.mean(rows, axis=(1, 2)) / (3 * video.shape[3] * 255.0)


def warp_error(
  video: UInt8[AnyArray, "b F H W 3"],
  flow: Flow,
  visible: Bool[AnyArray, "b F-1 H W"],
) -> Float[Array, "b"]:
  """Returns equation (2) of each clip; NaN where nothing stays visible.

  Args:
    video: Pixels; `frames.frames_8bit` makes them.
    flow: Flow to the next frame.
    visible: Where the next frame still shows what this one does. What leaves the frame
      is left out in any case.
  """
  missed, counted = _warped(video, flow, visible)
  return missed / counted


def warp_errors(
  videos: Sequence[UInt8[np.ndarray, "F H W 3"]], motions: Iterable[Motion]
) -> Float64[np.ndarray, "k"]:
  """Returns equation (2) of clips that one flow is for, two frames at a time.

  Args:
    videos: The clip that the flow is of, and its reconstructions.
    motions: Motion from each frame to the next; a flow of a whole clip of 1080p would
      take gigabytes.
  """
  missed = counted = np.zeros(len(videos))
  for t, (flow, visible) in enumerate(motions):
    pair = np.stack([video[t : t + 2] for video in videos])
    same = (np.broadcast_to(x, (len(pair), 1, *x.shape)) for x in (flow, visible))
    now = _warped(pair, *same)
    missed, counted = missed + np.asarray(now[0]), counted + np.asarray(now[1])
  with np.errstate(invalid="ignore"):
    return missed / counted


@jax.jit
def _warped(
  video: UInt8[AnyArray, "b F H W 3"],
  flow: Flow,
  visible: Bool[AnyArray, "b F-1 H W"],
) -> tuple[Float[Array, "b"], Float[Array, "b"]]:
  """Returns the sum of squared errors of each clip, and how many pixels count."""
  pixels = jnp.asarray(video, jnp.float32) / 255
  place = jnp.stack(
    jnp.meshgrid(*map(jnp.arange, video.shape[2:4]), indexing="ij"), axis=-1
  )
  place = place + jnp.asarray(flow, jnp.float32)  # b F-1 H W 2
  last = jnp.array(video.shape[2:4]) - 1
  inside = ((place >= 0) & (place <= last)).all(-1)
  one = jax.vmap(jax.vmap(_sample))
  apart = one(pixels[:, 1:], jnp.clip(place, 0, last)) - pixels[:, :-1]
  counted = (inside & jnp.asarray(visible)).astype(jnp.float32)
  error = jnp.sum(counted * jnp.mean(apart * apart, axis=-1), axis=(1, 2, 3))
  return error, jnp.sum(counted, axis=(1, 2, 3))


def _sample(
  frame: Float[Array, "H W 3"], place: Float[Array, "H W 2"]
) -> Float[Array, "H W 3"]:
  """Returns the frame's colours at places inside it, between pixels linearly."""
  last = jnp.array(frame.shape[:2]) - 1
  low = jnp.floor(place).astype(jnp.int32)
  part = place - low
  high = jnp.minimum(low + 1, last)
  y, x = part[..., :1], part[..., 1:]
  above = (
    frame[low[..., 0], low[..., 1]] * (1 - x) + frame[low[..., 0], high[..., 1]] * x
  )
  below = (
    frame[high[..., 0], low[..., 1]] * (1 - x) + frame[high[..., 0], high[..., 1]] * x
  )
  return above * (1 - y) + below * y


def ratio(
  made: Float[AnyArray, "b"], original: Float[AnyArray, "b"]
) -> Float64[np.ndarray, "b"]:
  """Returns what a reconstruction has, against its original.

  Args:
    made: Figure of each reconstruction, such as its flicker.
    original: The same figure of its original.

  Returns:
    1 where both are 0, infinite where only the original's is.
  """
  pairs = zip(np.asarray(made).tolist(), np.asarray(original).tolist(), strict=True)
  found = [x / y if y else (math.inf if x else 1.0) for x, y in pairs]
  return np.array(found, np.float64)
