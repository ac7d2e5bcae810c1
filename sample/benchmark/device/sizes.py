"""Sizes of the rows: the released networks, or tiny ones for tests."""

from __future__ import annotations

import dataclasses

from ltx_jax.config import (
  TRANSFORMER_13B,
  Block,
  ModelConfig,
  SchedulerConfig,
  TextEncoderConfig,
  TransformerConfig,
  VAEConfig,
)
from ltx_jax.releases.presets import PRESETS
from ltx_jax.sizes import Canvas

Shape = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Networks and clips.

  Attributes:
    model: The smaller model: transformer, VAE, text encoder, scheduler.
    large: The larger transformer.
    names: Names of the two transformers.
    video: Frames, height and width of a clip.
    wide: Frames, height and width of the distilled model's clip.
    steps: Number of denoising steps of a clip.
    distilled_steps: Number of denoising steps of a clip by the distilled model.
    attention: Two numbers of video tokens at which attention is measured alone.
    pace: Factor on the expected seconds of the rows.
  """

  model: ModelConfig
  large: TransformerConfig
  names: tuple[str, str]
  video: Shape
  wide: Shape
  steps: int
  distilled_steps: int
  attention: tuple[int, int]
  pace: float

  @property
  def canvas(self) -> Canvas:
    """Canvas of a clip."""
    return Canvas.of(self.model.vae, *self.video)

  @property
  def wide_canvas(self) -> Canvas:
    """Canvas of the distilled model's clip."""
    return Canvas.of(self.model.vae, *self.wide)

  @property
  def tokens(self) -> int:
    """Number of video tokens of a clip."""
    f, h, w = self.grid
    return f * h * w

  @property
  def grid(self) -> Shape:
    """Frames, height and width of its latents."""
    return self.model.vae.latent_shape(*self.video)

  @property
  def text_tokens(self) -> int:
    """Number of tokens of a prompt."""
    return self.model.text_encoder.max_text_tokens

  @property
  def words(self) -> dict[str, str]:
    """Words that are filled into the descriptions of rows."""
    return {
      "small": self.names[0],
      "large": self.names[1],
      "clip": _written(self.video),
      "wide": _written(self.wide),
      "steps": str(self.steps),
      "few": str(self.distilled_steps),
      "short": str(self.attention[0]),
      "long": str(self.attention[1]),
      "text": str(self.text_tokens),
    }


def _written(video: Shape) -> str:
  frames, height, width = video
  return f"{width}x{height}x{frames}"


_RELEASED = PRESETS["ltxv-2b-0.9.6-dev"].config

FULL = Sizes(
  model=dataclasses.replace(_RELEASED, text_encoder=TextEncoderConfig()),
  large=TRANSFORMER_13B,
  names=("2B", "13B"),
  video=(121, 512, 768),
  wide=(121, 704, 1216),
  steps=20,
  distilled_steps=8,
  attention=(6144, 24576),
  pace=1.0,
)

_SMALL = TransformerConfig(
  num_attention_heads=2,
  attention_head_dim=16,
  num_layers=1,
  in_channels=8,
  out_channels=8,
  cross_attention_dim=32,
  caption_channels=16,
  causal_temporal_positioning=True,
)
_VAE = VAEConfig(
  patch_size=8,
  latent_channels=8,
  encoder_base_channels=8,
  decoder_base_channels=8,
  encoder_blocks=(Block("compress_all_res", multiplier=2),),
  decoder_blocks=(Block("compress_all", multiplier=2, residual=True),),
)
_TEXT = TextEncoderConfig(
  vocab_size=97, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2
)

TINY = Sizes(
  model=ModelConfig(
    transformer=_SMALL,
    vae=_VAE,
    scheduler=SchedulerConfig(sampler="LinearQuadratic"),
    text_encoder=dataclasses.replace(_TEXT, max_text_tokens=8),
  ),
  large=dataclasses.replace(_SMALL, num_attention_heads=4, cross_attention_dim=64),
  names=("tiny", "less tiny"),
  video=(5, 32, 48),
  wide=(5, 32, 48),
  steps=3,
  distilled_steps=2,
  attention=(16, 64),
  pace=0.1,
)

SIZES = {"full": FULL, "tiny": TINY}
