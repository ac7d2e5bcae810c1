"""Guidance: how several predictions for one step become one velocity.

Each rule is a function of predictions, evaluated in float32 whatever the networks
compute in (differences of nearly equal bfloat16 numbers lose most of their digits).

Classifier-free guidance (Ho and Salimans, 2022) extrapolates from the prediction
without the text to the one with it:

  v = v_uncond + scale (v_cond - v_uncond)                                       (1)

scale = 1 is the conditional prediction alone and needs no second one.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float

from ltx_jax.typing import AnyArray, EncodedText, NegativeText, Scalar, Tokens


def needs_unconditional(scale: float) -> bool:
  """Whether guidance at `scale` needs the unconditional prediction, as the original."""
  return scale > 1.0


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
