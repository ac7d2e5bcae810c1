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

from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

AnyArray = jax.Array | np.ndarray

Params = dict[str, Any]
"""A nested dict of arrays, what every network's parameters are."""

Key = jax.Array
"""A typed JAX random key (`jax.random.key`)."""

Weights = Literal["int8", "fp8"]
"""What kernels are kept as in 8 bits (`checkpoints.quantization`)."""

Scalar = float | int | np.number | Float[AnyArray, ""]
"""One number: of Python, of NumPy, or traced."""

Whole = int | np.integer
"""A whole number by its type, for `isinstance` as well."""

Video = Float[AnyArray, "b F H W 3"]
"""Pixels in [-1, 1]."""

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
"""A text that may have other numbers of rows and tokens than the one it goes with."""


class NoiseLevels(NamedTuple):
  """Noise levels of tokens that take few values: those, and which token has which.

  The network's modulation is then computed s times a clip instead of n times.

  Attributes:
    sigma: The s levels that tokens of each clip have, in [0, 1]; s is small.
    index: Index of each token's level in `sigma`, in [0, s).
  """

  sigma: Float[AnyArray, "b s"]
  index: Int[AnyArray, "b n"]


Tiling = Literal["auto", "off"] | int | tuple[int, int]
"""Whether a video is decoded in tiles: where it would not fit otherwise, never, or in
tiles of at most a side in pixels, or (side, frames)."""

Sigma = Float[AnyArray, "b"] | Float[AnyArray, "b n"] | NoiseLevels
"""Noise levels in [0, 1]: of clips, of tokens, or of tokens by distinct level."""


class Perturbation(NamedTuple):
  """Which rows of a batch lose what in which block; all False is the network as it is.

  Attributes:
    values: Self-attention gives every token its own value, as if it saw no other.
    attention: Self-attention gives back its input.
    block: The whole block gives back its input.
  """

  values: Bool[AnyArray, "l b"]
  attention: Bool[AnyArray, "l b"]
  block: Bool[AnyArray, "l b"]


class Branches(NamedTuple):
  """What the rows of a batch are where they are not one clip a text.

  Guidance evaluates a clip several times: with and without its text, or perturbed.

  Attributes:
    text: Index of the text that each row is given; None: the texts are the rows'.
    perturbation: What is left out for which rows; None: nothing.
  """

  text: Int[AnyArray, "b"] | None = None
  perturbation: Perturbation | None = None


PLAIN = Branches()
"""Each row is a clip with its own text, and nothing is left out."""


@runtime_checkable
class VelocityFn(Protocol):
  """The network as the samplers see it; `models.transformer.velocity_fn` makes one.

  What it makes of the text and of the positions is the same in every step: it is made
  once, and passed in as pytrees that only the network looks into.
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
