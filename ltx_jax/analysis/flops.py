"""What the networks' mathematics costs in floating-point operations, by formula.

Matrix products, convolutions and attention are counted, a multiply-add as two; norms,
activations and other work that grows with the activations alone is not. Products with
the zeros around a frame do not count, nor do a kernel's outer time steps where a clip
is a single frame: an implementation that computes them all the same does not look
better for it. An output pixel of a 3 x 3 kernel meets 9 pixels inside a frame of h x w,
6 at its sides and 4 in its corners, together

  sum over pixels of taps = (3 h - 2) (3 w - 2).

For 2B, 256 video and 128 text tokens: 0.93 TFLOP a velocity. For VAE C and 25 frames
of 256 x 256: 4.74 TFLOP to encode, 2.05 to decode.
"""

from __future__ import annotations

import dataclasses
import math

from ltx_jax.config import (
  SPATIAL_DOWN,
  TEMPORAL_DOWN,
  Block,
  TransformerConfig,
  VAEConfig,
)

_TIMESTEP_CHANNELS = 256
_MLP_RATIO = 4


def _embedder(width: int) -> int:
  """Of the two dense layers that embed one noise level."""
  return 2 * (_TIMESTEP_CHANNELS * width + width**2)


def text_state(config: TransformerConfig, text_tokens: int) -> int:
  """Counts the projection of the text, and every layer's keys and values of it."""
  d = config.width
  projection = config.caption_channels * d + d**2
  return 2 * text_tokens * (projection + config.num_layers * 2 * d**2)


def denoise(config: TransformerConfig, tokens: int, text_tokens: int) -> int:
  """Counts a velocity of one clip at one noise level, its text state given."""
  d = config.width
  dense = 6 * d**2 + 2 * _MLP_RATIO * d**2  # q, k, v, out; q, out of the text; MLP.
  attention = 2 * (tokens + text_tokens) * d  # q k^T and weights v, of one token.
  ends = (config.in_channels + config.out_channels) * d
  per_token = config.num_layers * (dense + attention) + ends
  return 2 * tokens * per_token + _embedder(d) + 2 * d * 6 * d


def velocity(config: TransformerConfig, tokens: int, text_tokens: int) -> int:
  """Counts one evaluation of the transformer for one clip at one noise level."""
  return text_state(config, text_tokens) + denoise(config, tokens, text_tokens)


@dataclasses.dataclass
class _Activations:
  """The size of one clip on its way through a VAE, and what it has cost so far."""

  config: VAEConfig
  size: tuple[int, int, int]  # Frames, height, width.
  channels: int
  flops: int = 0

  def convolve(self, out: int, strides: tuple[int, int, int] = (1, 1, 1)) -> None:
    zeros = self.config.spatial_padding_mode == "zeros"
    taps = 1 if self.size[0] == 1 else 3 * ((self.size[0] - 1) // strides[0] + 1)
    for size, stride in zip(self.size[1:], strides[1:], strict=True):
      taps *= _taps(size, stride, zeros)
    self.flops += 2 * taps * self.channels * out
    self.size = tuple(
      (size - 1) // stride + 1 for size, stride in zip(self.size, strides, strict=True)
    )
    self.channels = out

  def pointwise(self, out: int, channels: int | None = None) -> None:
    """Adds a dense layer at every position; the channels stay as they are."""
    channels = self.channels if channels is None else channels
    self.flops += 2 * math.prod(self.size) * channels * out

  def resnet(self, out: int) -> None:
    if out != self.channels:
      self.pointwise(out)
    self.convolve(out)
    self.convolve(out)

  def attention(self) -> None:
    for _ in range(4):
      self.pointwise(self.channels)
    self.flops += 4 * math.prod(self.size) ** 2 * self.channels


def _taps(size: int, stride: int, zeros: bool) -> int:
  """Pixels along one side that a kernel of 3 meets, over all of its positions."""
  centres = range(0, size, stride)
  if not zeros:
    return 3 * len(centres)
  return sum(min(i + 1, size - 1) - max(i - 1, 0) + 1 for i in centres)


def _strides(block: Block) -> tuple[int, int, int]:
  """Over (time, height, width), of a block whose name starts with compress."""
  time = 2 if block.name in TEMPORAL_DOWN else 1
  space = 2 if block.name in SPATIAL_DOWN else 1
  return time, space, space


def encoder(config: VAEConfig, frames: int, height: int, width: int) -> int:
  """Counts encoding one clip of 8k + 1 frames, height and width multiples of 32."""
  p = config.patch_size
  size = (frames, height // p, width // p)
  x = _Activations(config, size, config.in_channels * p**2)
  x.convolve(config.encoder_base_channels)
  for block in config.encoder_blocks:
    grown = x.channels * (block.multiplier or 2)
    if block.name == "res_x":
      for _ in range(block.num_layers):
        x.resnet(x.channels)
    elif block.name == "res_x_y":
      x.resnet(grown)
    elif block.name.endswith("_res"):
      _space_to_depth(x, grown, _strides(block))
    elif block.name.endswith("_x_y"):
      x.convolve(grown, (2, 2, 2))
    else:
      x.convolve(x.channels, _strides(block))
  x.convolve(config.moment_channels)
  if config.use_quant_conv:
    x.pointwise(2 * config.latent_channels, 2 * config.latent_channels)
  return x.flops


def _space_to_depth(x: _Activations, out: int, strides: tuple[int, int, int]) -> None:
  frames, height, width = x.size
  x.size = (frames + strides[0] - 1, height, width)  # The first frame counts twice.
  x.convolve(out // math.prod(strides))
  x.size = tuple(n // stride for n, stride in zip(x.size, strides, strict=True))
  x.channels = out


def decoder(config: VAEConfig, frames: int, height: int, width: int) -> int:
  """Counts decoding one clip, sizes being those of its latents."""
  x = _Activations(config, (frames, height, width), config.latent_channels)
  if config.use_quant_conv:
    x.pointwise(config.latent_channels)
  x.convolve(_top_channels(config))
  for block in reversed(config.decoder_blocks):
    if block.name in ("res_x", "attn_res_x"):
      _decoder_stage(x, block)
    elif block.name == "res_x_y":
      x.resnet(x.channels // (block.multiplier or 2))
    else:
      out = x.channels
      if block.name == "compress_all":
        out //= block.multiplier or 1
      _depth_to_space(x, out, _strides(block))
  if config.timestep_conditioning:
    x.flops += _embedder(2 * x.channels)
  x.convolve(config.out_channels * config.patch_size**2)
  return x.flops


def _top_channels(config: VAEConfig) -> int:
  """Channels at the decoder's latent end."""
  grows = [
    block.multiplier or (2 if block.name == "res_x_y" else 1)
    for block in config.decoder_blocks
    if block.name == "res_x_y" or block.name.startswith("compress")
  ]
  return config.decoder_base_channels * math.prod(grows)


def _decoder_stage(x: _Activations, block: Block) -> None:
  if x.config.timestep_conditioning:
    x.flops += _embedder(4 * x.channels)
  for _ in range(block.num_layers):
    x.resnet(x.channels)
    if block.name == "attn_res_x":
      x.attention()


def _depth_to_space(x: _Activations, out: int, strides: tuple[int, int, int]) -> None:
  x.convolve(out * math.prod(strides))
  frames, height, width = (n * s for n, s in zip(x.size, strides, strict=True))
  x.size = (frames - strides[0] + 1, height, width)
  x.channels = out
