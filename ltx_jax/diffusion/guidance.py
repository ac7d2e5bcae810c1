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

from ltx_jax.typing import Scalar, Tokens


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
