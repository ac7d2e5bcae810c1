"""The reconstruction GAN: which of two clips is the original?

A discriminator sees the original x and its reconstruction x_hat together, on the
channels, in random order, and predicts the order; y is +1 if the original comes first
and -1 if not. The VAE learns to make the two indistinguishable:

              discriminator          VAE
    hinge     max(0, 1 - y D)        y D
    logistic  log(1 + exp(-y D))     log(1 + exp(y D))

each the mean over patches. Shown in both orders, a pair gives the expectation over the
order instead of a sample of it, and what D says of the clips alone cancels. An ordinary
GAN, the control, sees one clip at a time; there y says whether it is the original, and
the VAE's loss has the reconstructions alone.

The adversarial gradient is scaled to the others' at the decoder's last layer W (Esser
et al. 2021), and R1 (Mescheder et al. 2018) bounds the discriminator's slope:

    weight = |d(other losses)/dW| / |d(adversarial loss)/dW|
    r1     = 1/2 |dD/d(input)|^2

Mescheder et al. take R1 at originals alone. A pair holds both clips, so here it is
taken at all that the discriminator sees.

Source: the paper's section on the Video-VAE, which names neither the form nor the
weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ltx_jax.typing import AnyArray

MOST_ADAPTIVE = 1e4
"""Largest factor of `adaptive_weight`."""

_FLOOR = 1e-6

Logits = Float[AnyArray, "n f h w"]
Target = Float[AnyArray, "n"]


class Seen(NamedTuple):
  """What the discriminator sees of b clips, and what is right.

  Attributes:
    video: Pixels in [-1, 1]; a pair has the channels of both.
    target: y, +1 or -1.
    made: 1 where the VAE made what is judged, 0 for originals alone.
  """

  video: Float[AnyArray, "n F H W k"]
  target: Target
  made: Target


def pairs(
  original: Float[AnyArray, "b F H W 3"],
  reconstruction: Float[AnyArray, "b F H W 3"],
  swapped: Bool[AnyArray, "b"],
) -> Seen:
  """Shows both, the reconstruction first where `swapped`."""
  swap = swapped[:, None, None, None, None]
  first = jnp.where(swap, reconstruction, original)
  second = jnp.where(swap, original, reconstruction)
  target = 1.0 - 2.0 * swapped
  return Seen(jnp.concatenate([first, second], -1), target, jnp.ones_like(target))


def both_orders(
  original: Float[AnyArray, "b F H W 3"],
  reconstruction: Float[AnyArray, "b F H W 3"],
  swapped: Bool[AnyArray, "b"],
) -> Seen:
  """Shows both in both orders, first those of `pairs`."""
  ways = (pairs(original, reconstruction, way) for way in (swapped, ~swapped))
  return Seen(*map(jnp.concatenate, zip(*ways, strict=True)))


def singles(
  original: Float[AnyArray, "b F H W 3"],
  reconstruction: Float[AnyArray, "b F H W 3"],
  swapped: Bool[AnyArray, "b"],
) -> Seen:
  """Shows each alone, the originals first; there is no order to swap."""
  ones = jnp.ones(len(swapped))
  video = jnp.concatenate([original, reconstruction])
  target = jnp.concatenate([ones, -ones])
  return Seen(video, target, (1.0 - target) / 2)


SEES = {"pair": pairs, "both-orders": both_orders, "clip": singles}
"""(original, reconstruction, swapped) -> Seen, by `sees`."""


class Form(NamedTuple):
  """A form of the losses: functions of y D."""

  discriminator: Callable[[Array], Array]
  generator: Callable[[Array], Array]


FORMS = {
  "hinge": Form(lambda yd: jax.nn.relu(1.0 - yd), lambda yd: yd),
  "logistic": Form(lambda yd: jax.nn.softplus(-yd), jax.nn.softplus),
}
"""Forms of the losses, by name."""


def _of_clip(values: Logits) -> Target:
  return jnp.mean(values, axis=(1, 2, 3))


def _margin(logits: Logits, target: Target) -> Logits:
  return target[:, None, None, None] * logits


def discriminator_loss(form: Form, logits: Logits, target: Target) -> Float[Array, ""]:
  """Returns the loss of a discriminator: low if it tells right."""
  return jnp.mean(form.discriminator(_margin(logits, target)))


def generator_loss(
  form: Form, logits: Logits, target: Target, made: Target
) -> Float[Array, ""]:
  """Returns the adversarial loss of the VAE: low if the discriminator tells wrong."""
  of_clips = _of_clip(form.generator(_margin(logits, target)))
  return jnp.sum(made * of_clips) / jnp.sum(made)


def accuracy(logits: Logits, target: Target) -> Float[Array, ""]:
  """Returns the share of patches that are told right; a logit of 0 counts half."""
  return jnp.mean(0.5 + 0.5 * jnp.sign(_margin(logits, target)))


def r1(
  judge: Callable[[Array], Logits], video: Float[AnyArray, "n F H W k"]
) -> Float[Array, ""]:
  """Returns half the squared gradient of each clip's mean logit, over the pixels.

  Args:
    judge: Function from what is seen to logits.
    video: What is seen.
  """
  slope = jax.grad(lambda video: jnp.sum(_of_clip(judge(video))))(video)
  return 0.5 * jnp.mean(jnp.sum(jnp.square(slope), axis=(1, 2, 3, 4)))


def adaptive_weight(
  of_others: Float[AnyArray, "..."], adversarial: Float[AnyArray, "..."]
) -> Float[Array, ""]:
  """Returns the factor that gives the adversarial gradient the norm of the others'.

  Args:
    of_others: Gradient of the other losses at the decoder's last layer.
    adversarial: Gradient of the adversarial loss there.
  """
  ratio = jnp.linalg.norm(of_others) / (jnp.linalg.norm(adversarial) + _FLOOR)
  return jnp.clip(ratio, 0.0, MOST_ADAPTIVE)
