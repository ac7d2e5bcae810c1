"""Guidance: combines several predictions of one step into one velocity.

Every rule is a function of predictions. All are evaluated in float32, whatever dtype
the networks compute in, because differences of nearly equal bfloat16 numbers lose most
of their digits.

Classifier-free guidance (CFG; Ho and Salimans, 2022) extrapolates from the prediction
without the text to the prediction with it:

  v = v_uncond + scale (v_cond - v_uncond)                                       (1)

At scale = 1 this is the conditional prediction, and the other is not needed. CFG-star
(the optimised scale of CFG-Zero*, arXiv:2503.18886) first projects v_cond onto
v_uncond, which corrects the size of v_uncond:

  v_uncond <- v_uncond <v_cond, v_uncond> / (|v_uncond|^2 + 1e-8)                (2)

That paper also replaces the first velocities by 0; the original and this code do not.

Spatiotemporal guidance (STG; arXiv:2411.18664) leads away from the prediction of a
network in which some blocks are perturbed (`typing.Perturbation`):

  v <- v + stg (v_cond - v_perturbed)                                            (3)

Both make velocities larger. Rescaling (arXiv:2305.08891, section 3.4) restores part of
the standard deviation over all tokens and channels of a clip:

  v <- v (share std(v_cond) / std(v) + 1 - share)                                (4)

Sums, norms and deviations are taken per clip, so clips of a batch do not influence one
another. The original is correct for one clip only: with more, it perturbs rows of other
branches and cannot broadcast the factor of (2).
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

_CLIP = (1, 2)  # Axes of tokens [b n c] that belong to one clip.
_EPSILON = 1e-8


class Guidance(NamedTuple):
  """Guidance of one step: a pytree in which None leaves out a branch.

  Attributes:
    scale: Scale of equation (1); None without an unconditional branch.
    star: Whether equation (2) is applied first.
    stg: Scale of equation (3); None without a perturbed branch.
    rescale: The share of equation (4); 0 has no effect.
    branches: Masks and text rows for the rows of the batch: first the unconditional
      branch, then the conditional and the perturbed one, where they exist.
  """

  scale: Scalar | None
  star: bool | Bool[AnyArray, ""]
  stg: Scalar | None
  rescale: Scalar
  branches: Branches = PLAIN

  @property
  def count(self) -> int:
    """Number of branches that a step evaluates."""
    return 1 + (self.scale is not None) + (self.stg is not None)


def needs_unconditional(scale: Scalar | Sequence[float]) -> bool:
  """Whether guidance at any of these scales needs the unconditional prediction.

  Only scales above 1 do, as in the original.
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
    velocity: The velocity so far: the guided one, or the conditional one.
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
    conditional: Prediction whose standard deviation is restored.
    share: How far to restore it, from 0 (exactly no change) to 1.
  """
  velocity = jnp.asarray(velocity, jnp.float32)
  target = _deviation(jnp.asarray(conditional, jnp.float32))
  factor = share * (target / _deviation(velocity)) + (1 - share)
  return velocity * jnp.where(share > 0, factor, 1.0)


def _deviation(x: Float[jax.Array, "b n c"]) -> Float[jax.Array, "b 1 1"]:
  return jnp.std(x, axis=_CLIP, keepdims=True)  # Biased or not: the factor cancels.


def guide(
  predictions: Sequence[Tokens], guidance: Guidance
) -> Float[jax.Array, "b n c"]:
  """Combines the predictions of a step into one velocity, in float32.

  Args:
    predictions: Velocities of `guidance.count` branches, in this order: the
      unconditional one (if `scale` is set), the conditional one, the perturbed one (if
      `stg` is set).
    guidance: Guidance of the step.
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
  """Returns the unconditional texts followed by the conditional ones, of equal length.

  Args:
    negative: One text for all clips, or one per clip.
    text: Texts of the prompts.

  Raises:
    ValueError: If the number of negative texts is neither one nor that of the clips.
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
