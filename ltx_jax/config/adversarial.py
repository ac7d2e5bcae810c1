"""Frozen configuration of the discriminator that trains with a VAE."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from ltx_jax.config.metadata import COUNT, LAYERS, SIZE
from ltx_jax.config.optimizer import UpdateConfig
from ltx_jax.errors import check_fields

DISCRIMINATOR = "discriminator"
"""First name of the discriminator's parameters in a training state."""

_NETWORK = ("inputs", "patch_size", "channels", "layers", "spectral_norm")

_NOT_NEGATIVE = {"at_least": 0}
_SEEN = {"pair": (6, 1), "both-orders": (6, 2), "clip": (3, 2)}


@dataclasses.dataclass(frozen=True)
class AdversarialConfig:
  """The discriminator, and what the VAE learns from it (`losses.adversarial`).

  Attributes:
    weight: Weight of the adversarial loss; 0 trains no discriminator.
    sees: What the discriminator sees: `pair` is the original and the reconstruction of
      one clip in random order (the paper's reconstruction GAN), `both-orders` is that
      pair in both orders (twice the work, but it learns within tens of steps, because
      what the order does not change cancels), `clip` is one of them alone (an ordinary
      GAN).
    form: Form of the losses.
    adaptive: Scaling of the adversarial gradient to the norm that the other losses'
      gradient has at the decoder's last layer, before the weight.
    start: Step at which the discriminator begins to train.
    head_start: Number of steps that it then trains before the VAE learns from it. One
      that sees a pair in random order is at chance for its first hundred steps.
    ramp: Number of steps over which the weight then grows from 0.
    r1: Weight of the gradient penalty R1; 0 turns it off.
    patch_size: Side in pixels of the patches that the discriminator reads.
    channels: Channels of its first layer; each further layer has twice as many, up to
      four times.
    layers: Number of layers that halve frames, height and width.
    spectral_norm: Division of each kernel by its largest singular value.
    optimizer: Optimiser of the discriminator.
  """

  weight: float = 0.0
  sees: Literal["pair", "both-orders", "clip"] = "pair"
  form: Literal["hinge", "logistic"] = "hinge"
  adaptive: bool = True
  start: int = 0
  head_start: int = 0
  ramp: int = 200
  r1: float = 0.0
  patch_size: int = 4
  channels: int = 128
  layers: int = 2
  spectral_norm: bool = False
  optimizer: UpdateConfig = UpdateConfig(b1=0.5, b2=0.9, weight_decay=0.0)

  def __post_init__(self):
    bounds = dict.fromkeys(("weight", "r1"), _NOT_NEGATIVE)
    bounds |= dict.fromkeys(
      ("start", "head_start", "ramp"), _NOT_NEGATIVE | {"whole": True}
    )
    bounds |= {"patch_size": COUNT, "channels": SIZE, "layers": LAYERS}
    check_fields(self, bounds, "adversarial.{}")

  @property
  def inputs(self) -> int:
    """Number of colour channels that the discriminator reads."""
    return _SEEN[self.sees][0]

  @property
  def judged(self) -> int:
    """Number of clips or pairs that it judges for each clip of a batch."""
    return _SEEN[self.sees][1]

  @property
  def heard(self) -> tuple[int, int]:
    """Steps between which the weight grows from 0."""
    first = self.start + self.head_start
    return first, first + self.ramp

  @property
  def network(self) -> dict[str, Any]:
    """The fields that make the network; the others say how it is trained."""
    return {name: getattr(self, name) for name in _NETWORK}

  def width(self, layer: int) -> int:
    """Returns the channels after a number of layers that halve the sides."""
    return self.channels * min(2**layer, 4)
