"""Guidance: how several predictions for one step become one velocity.

Each rule is a function of predictions, evaluated in float32 whatever the networks
compute in (differences of nearly equal bfloat16 numbers lose most of their digits).

Classifier-free guidance (CFG; Ho and Salimans, 2022) extrapolates from the prediction
without the text to the one with it:

  v = v_uncond + scale (v_cond - v_uncond)                                       (1)

scale = 1 is the conditional prediction alone and needs no second one. CFG-star (the
optimised scale of CFG-Zero*, arXiv:2503.18886) first scales v_uncond to the projection
of v_cond onto it, which corrects for its size:

  v_uncond <- v_uncond <v_cond, v_uncond> / (|v_uncond|^2 + 1e-8)                (2)

That paper also replaces the first velocities by 0; the original does not, nor do we.

Spatiotemporal guidance (STG; arXiv:2411.18664) leads away from what a network predicts
that is perturbed in some blocks (`typing.Perturbation`):

  v <- v + stg (v_cond - v_perturbed)                                            (3)

Both make velocities larger. Rescaling (arXiv:2305.08891, section 3.4) brings back the
standard deviation, over all tokens and channels of a clip, in part:

  v <- v (share std(v_cond) / std(v) + 1 - share)                                (4)

Sums, norms and deviations are those of each clip, so a batch is its clips one by one.
The original is right for one clip only: for more, it perturbs rows of other branches
and cannot broadcast the factor of (2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from ltx_jax.typing import (
  PLAIN,
  AnyArray,
  Branches,
  EncodedText,
  NegativeText,
  Scalar,
  Tokens,
)

_CLIP = (1, 2)  # The axes of tokens [b n c] that a clip's numbers run over.
_EPSILON = 1e-8


class Guidance(NamedTuple):
  """What guidance does in one step; a pytree, in which each None leaves a branch out.

  Attributes:
    scale: Scale of equation (1); None for no unconditional branch.
    star: Whether equation (2) comes before.
    stg: Scale of equation (3); None for no perturbed branch.
    rescale: The share of equation (4); at 0 it does nothing.
    branches: What the network is told of the rows: those of the unconditional branch,
      of the conditional and of the perturbed one, as far as there are any.
  """

  scale: Scalar | None
  star: bool | Bool[AnyArray, ""]
  stg: Scalar | None
  rescale: Scalar
  branches: Branches = PLAIN

  @property
  def count(self) -> int:
    """How many branches a step evaluates."""
    return 1 + (self.scale is not None) + (self.stg is not None)


def needs_unconditional(scale: Scalar | Sequence[float]) -> bool:
  """Whether guidance at `scale`, or at one of them, needs the unconditional prediction.

  The original draws the same line: only scales above 1 do.
  """
  return max(scale) > 1.0 if isinstance(scale, Sequence) else bool(scale > 1.0)


def classifier_free(
  conditional: Tokens,
  unconditional: Tokens,
  scale: Scalar,
) -> Float[jax.Array, "b n c"]:
  """Returns v of equation (1) in float32.

  Args:
    conditional: The velocity given the text.
    unconditional: The velocity given the encoding of "", or of a negative prompt.
    scale: Strength of the guidance.
  """
  base = jnp.asarray(unconditional, jnp.float32)
  return base + scale * (jnp.asarray(conditional, jnp.float32) - base)


def project(conditional: Tokens, unconditional: Tokens) -> Float[jax.Array, "b n c"]:
  """Returns the unconditional velocity scaled by equation (2), clip by clip."""
  towards = jnp.asarray(conditional, jnp.float32)
  base = jnp.asarray(unconditional, jnp.float32)
  dot = jnp.sum(towards * base, axis=_CLIP, keepdims=True)
  return base * (dot / (jnp.sum(base**2, axis=_CLIP, keepdims=True) + _EPSILON))


def spatiotemporal(
  velocity: Tokens, conditional: Tokens, perturbed: Tokens, scale: Scalar
) -> Float[jax.Array, "b n c"]:
  """Returns v of equation (3) in float32.

  Args:
    velocity: The velocity so far: guided already, or the conditional one.
    conditional: The velocity of the whole network, given the text.
    perturbed: The velocity of the perturbed network, given the same text.
    scale: Strength of the guidance.
  """
  difference = jnp.asarray(conditional, jnp.float32) - perturbed
  return velocity + scale * difference


def rescale(
  velocity: Tokens, conditional: Tokens, share: Scalar
) -> Float[jax.Array, "b n c"]:
  """Returns v of equation (4) in float32.

  Args:
    velocity: The guided velocity.
    conditional: Prediction whose standard deviation to go back to.
    share: How far, from 0, not at all and exactly so, to 1.
  """
  velocity = jnp.asarray(velocity, jnp.float32)
  target = _deviation(jnp.asarray(conditional, jnp.float32))
  factor = share * (target / _deviation(velocity)) + (1 - share)
  return velocity * jnp.where(share > 0, factor, 1.0)


def _deviation(x: Float[jax.Array, "b n c"]) -> Float[jax.Array, "b 1 1"]:
  return jnp.std(x, axis=_CLIP, keepdims=True)  # Of n or n - 1: it cancels.


def guide(
  predictions: Sequence[Tokens], guidance: Guidance
) -> Float[jax.Array, "b n c"]:
  """Makes one velocity, in float32, of a step's predictions.

  Args:
    predictions: Velocities of `guidance.count` branches: the unconditional one where
      there is a `scale`, the conditional one, the perturbed one where there is an
      `stg`.
    guidance: The numbers of the step.
  """
  predictions = [jnp.asarray(v, jnp.float32) for v in predictions]
  if guidance.count == 1:
    return predictions[0]
  conditional = predictions[0 if guidance.scale is None else 1]
  velocity = conditional
  if guidance.scale is not None:
    plain = predictions[0]
    base = jnp.where(guidance.star, project(conditional, plain), plain)
    velocity = classifier_free(conditional, base, guidance.scale)
  if guidance.stg is not None:
    velocity = spatiotemporal(velocity, conditional, predictions[-1], guidance.stg)
  return rescale(velocity, conditional, guidance.rescale)


def stack_texts(negative: NegativeText, text: EncodedText) -> tuple[AnyArray, AnyArray]:
  """Returns the unconditional texts and then the conditional ones, of equal length.

  Args:
    negative: One text for all clips, or one for each.
    text: The prompts'.

  Raises:
    ValueError: where the negative texts are neither one nor as many as the clips.
  """
  (negative, negative_mask), (text, mask) = negative, text
  length = max(negative.shape[1], text.shape[1])
  rows = [_pad(negative, length), _pad(text, length)]
  masks = [_pad(negative_mask.astype(bool), length), _pad(mask.astype(bool), length)]
  if len(negative) not in (1, len(text)):
    raise ValueError(
      f"{len(negative)} negative texts are given for {len(text)} clips; give one, or "
      "one for each."
    )
  rows[0], masks[0] = (
    jnp.broadcast_to(x, (len(text), *x.shape[1:])) for x in (rows[0], masks[0])
  )
  return jnp.concatenate(rows), jnp.concatenate(masks)


def _pad(x: AnyArray, length: int) -> jax.Array:
  spare = [(0, 0), (0, length - x.shape[1]), *[(0, 0)] * (x.ndim - 2)]
  return jnp.pad(x, spare)
