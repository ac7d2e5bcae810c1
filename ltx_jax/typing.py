"""Array types and the letters of their dimensions, listed once.

| letter | meaning                          | letter | meaning                   |
|--------|----------------------------------|--------|---------------------------|
| b      | batch                            | n      | video tokens, n = f h w   |
| f h w  | latent frames, height, width     | m      | text tokens               |
| F H W  | frames, height, width in pixels  | e      | text embedding width      |
| c      | channels                         | d      | transformer width         |
| s      | denoising steps                  | k      | attention heads           |
| l      | layers of a scanned stack        | x      | width of one head         |

Layout is channels last everywhere; other layouts exist only in `checkpoints`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

AnyArray = jax.Array | np.ndarray

Params = dict[str, Any]
"""A nested dict of arrays; every network's parameters have this form."""

Key = jax.Array
"""A typed JAX random key (`jax.random.key`)."""

Weights = Literal["int8", "fp8"]
"""8-bit format of kernels (`checkpoints.quantization`)."""

Scalar = float | int | np.number | Float[AnyArray, ""]
"""One number, from Python, from NumPy, or traced."""

Whole = int | np.integer
"""A whole number by its type; also for `isinstance`."""

Video = Float[AnyArray, "b F H W 3"]
"""Pixels in [-1, 1]."""

FeaturesFn = Callable[[Params, Video], list[Float[jax.Array, "b F _ _ _"]]]
"""(params, video) -> features of every frame, layer by layer; `models.perceptual` has
one."""

Backbone = Callable[
  [UInt8[AnyArray, "b H W 3"]],
  tuple[list[Float[AnyArray, "b _"]], Float[AnyArray, "b k"] | None],
]
"""pictures -> (groups of features, logits of labels or None), of any network for
images; `models.aesthetic` has one."""

Latents = Float[AnyArray, "b f h w c"]
Tokens = Float[AnyArray, "b n c"]
Coords = Float[AnyArray, "b n 3"]
"""Positions of tokens: (seconds, y in pixels, x in pixels)."""

Text = Float[AnyArray, "b m e"]
TextMask = Bool[AnyArray, "b m"] | Int[AnyArray, "b m"]
"""True (1) for a real token, False (0) for padding."""

EncodedText = tuple[Text, TextMask]
NegativeText = tuple[
  Float[AnyArray, "u v e"], Bool[AnyArray, "u v"] | Int[AnyArray, "u v"]
]
"""A text whose numbers of rows and tokens may differ from those of the main text."""


class NoiseLevels(NamedTuple):
  """Noise levels of tokens as a few distinct values, and an index into them.

  The network's modulation is then computed s times per clip instead of n times.

  Attributes:
    sigma: The s distinct levels of each clip, in [0, 1]; s is small.
    index: Index of each token's level in `sigma`, in [0, s).
  """

  sigma: Float[AnyArray, "b s"]
  index: Int[AnyArray, "b n"]


Tiling = Literal["auto", "off"] | int | tuple[int, int]
"""Whether to decode a video in tiles: if it does not fit otherwise, never, or in tiles
of at most a side in pixels, or (side, frames)."""

Sigma = Float[AnyArray, "b"] | Float[AnyArray, "b n"] | NoiseLevels
"""Noise levels in [0, 1]: per clip, per token, or per token by distinct level."""


class Perturbation(NamedTuple):
  """Masks of rows and blocks to perturb; all False leaves the network unchanged.

  Attributes:
    values: Self-attention returns every token's own value, as if it saw no other.
    attention: Self-attention returns its input.
    block: The whole block returns its input.
  """

  values: Bool[AnyArray, "l b"]
  attention: Bool[AnyArray, "l b"]
  block: Bool[AnyArray, "l b"]


class Branches(NamedTuple):
  """The texts and perturbations of rows, if rows are not one clip per text.

  Guidance evaluates a clip several times: with and without its text, or perturbed.

  Attributes:
    text: Index of each row's text; None means that each row has its own.
    perturbation: Perturbed rows and blocks; None perturbs none.
  """

  text: Int[AnyArray, "b"] | None = None
  perturbation: Perturbation | None = None


PLAIN = Branches()
"""Each row is a clip with its own text, and nothing is perturbed."""


@runtime_checkable
class VelocityFn(Protocol):
  """The network as the samplers see it; `models.transformer.velocity_fn` makes one.

  The network's encodings of the text and of the positions are the same in every step.
  They are computed once, and passed in as pytrees that only the network reads.
  """

  def __call__(
    self,
    params: Params,
    text: Any,
    tokens: Tokens,
    positions: Any,
    sigma: Sigma,
    branches: Branches = PLAIN,
  ) -> Tokens:
    """Returns the velocity v = noise - x0 at noise level `sigma` in [0, 1]."""
    ...
