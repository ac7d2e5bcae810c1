"""One clip's way through a VAE: the layers that it passes, with sizes and FLOPs.

Follows a config's block list as `models.vae` builds it, without building anything.
`planning.flops` and `planning.memory` add up the layers.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

from ltx_jax.config.adversarial import AdversarialConfig
from ltx_jax.config.perceptual import LAYERS
from ltx_jax.config.vae import Block, VAEConfig

TIMESTEP_CHANNELS = 256

Size = tuple[int, int, int]


class Layer(NamedTuple):
  """A convolution, a dense layer at every position, attention, or an embedder.

  Attributes:
    before: Frames, height and width of its input.
    after: Frames, height and width of its output.
    channels: Channels of its input.
    features: Channels of its output.
    flops: Floating-point operations for one clip; a multiply-add counts as two.
    kernel: Number of input positions that an output position meets along each side.
    in_block: Whether it is one of the two convolutions of a residual block.
  """

  before: Size
  after: Size
  channels: int
  features: int
  flops: int
  kernel: int = 1
  in_block: bool = False


def embedder_flops(width: int) -> int:
  """Counts the two dense layers that embed one noise level."""
  return 2 * (TIMESTEP_CHANNELS * width + width**2)


@dataclasses.dataclass
class _Walk:
  """The clip's current size and channels, and the layers so far."""

  config: VAEConfig
  size: Size
  channels: int
  layers: list[Layer] = dataclasses.field(default_factory=list)

  def convolve(self, out: int, strides: Size = (1, 1, 1)) -> None:
    zeros = self.config.spatial_padding_mode == "zeros"
    taps = 1 if self.size[0] == 1 else 3 * ((self.size[0] - 1) // strides[0] + 1)
    for size, stride in zip(self.size[1:], strides[1:], strict=True):
      taps *= _taps(size, stride, zeros)
    after = tuple(
      (size - 1) // stride + 1 for size, stride in zip(self.size, strides, strict=True)
    )
    count = 2 * taps * self.channels * out
    self.layers.append(Layer(self.size, after, self.channels, out, count, kernel=3))
    self.size, self.channels = after, out

  def pointwise(self, out: int, channels: int | None = None) -> None:
    """Adds a dense layer at every position, without changing the channels."""
    channels = self.channels if channels is None else channels
    count = 2 * math.prod(self.size) * channels * out
    self.layers.append(Layer(self.size, self.size, channels, out, count))

  def resnet(self, out: int) -> None:
    if out != self.channels:
      self.pointwise(out)
    for _ in range(2):
      self.convolve(out)
      self.layers[-1] = self.layers[-1]._replace(in_block=True)

  def attention(self) -> None:
    for _ in range(4):
      self.pointwise(self.channels)
    count = 4 * math.prod(self.size) ** 2 * self.channels
    layer = Layer(self.size, self.size, self.channels, self.channels, count)
    self.layers.append(layer)

  def embed(self, width: int) -> None:
    count = embedder_flops(width)
    self.layers.append(Layer((1, 1, 1), (1, 1, 1), TIMESTEP_CHANNELS, width, count))

  def space_to_depth(self, out: int, strides: Size) -> None:
    frames, height, width = self.size
    self.size = (frames + strides[0] - 1, height, width)  # The first counts twice.
    self.convolve(out // math.prod(strides))
    self.size = tuple(n // stride for n, stride in zip(self.size, strides, strict=True))
    self.channels = out

  def depth_to_space(self, out: int, strides: Size) -> None:
    self.convolve(out * math.prod(strides))
    frames, height, width = (n * s for n, s in zip(self.size, strides, strict=True))
    self.size = (frames - strides[0] + 1, height, width)
    self.channels = out


def _taps(size: int, stride: int, zeros: bool) -> int:
  """Counts the pixels along a side that a kernel of 3 meets, over all its positions."""
  centres = range(0, size, stride)
  if not zeros:
    return 3 * len(centres)
  return 3 * len(centres) - 1 - (centres[-1] == size - 1)  # Ends meet a zero.


def walk_encoder(
  config: VAEConfig, frames: int, height: int, width: int
) -> list[Layer]:
  """Returns the layers that encode one clip of 8k + 1 frames, sides of 32 k pixels."""
  p = config.patch_size
  size = (frames, height // p, width // p)
  x = _Walk(config, size, config.in_channels * p**2)
  x.convolve(config.encoder_base_channels)
  for block in config.encoder_blocks:
    out = block.channels_down(x.channels)
    if block.kind == "compress":
      x.convolve(out, block.strides)
    elif block.kind == "shuffle":
      x.space_to_depth(out, block.strides)
    else:
      for _ in range(block.resnets):
        x.resnet(out)
  x.convolve(config.moment_channels)
  if config.use_quant_conv:
    x.pointwise(2 * config.latent_channels, 2 * config.latent_channels)
  return x.layers


def walk_discriminator(
  config: AdversarialConfig, frames: int, height: int, width: int
) -> list[Layer]:
  """Returns the layers that judge one clip, or one pair of clips."""
  p = config.patch_size
  # It pads with zeros, as a VAE does by default.
  x = _Walk(VAEConfig(), (frames, height // p, width // p), config.inputs * p**2)
  x.convolve(config.channels)
  for i in range(config.layers):
    x.convolve(config.width(i + 1), (2, 2, 2))
  x.convolve(1)
  return x.layers


def walk_perceptual(frames: int, height: int, width: int) -> list[Layer]:
  """Returns the layers of VGG16 (`models.perceptual`) over the frames of one clip."""
  x = _Walk(VAEConfig(), (1, height, width), 3)
  layers: list[Layer] = []
  for i, (count, channels) in enumerate(LAYERS):
    if i:
      x.size = (1, *(side // 2 for side in x.size[1:]))
    for _ in range(count):
      x.convolve(channels)
  for layer in x.layers:  # A single frame meets the nine places of a flat kernel.
    before, after = (frames, *layer.before[1:]), (frames, *layer.after[1:])
    flops = frames * layer.flops
    layers.append(layer._replace(before=before, after=after, flops=flops))
  return layers


def walk_decoder(
  config: VAEConfig, frames: int, height: int, width: int
) -> list[Layer]:
  """Returns the layers that decode one clip; sizes are those of its latents."""
  return walk_tail(config, None, (frames, height, width))


def walk_head(
  config: VAEConfig, begin: int | None, size: Size
) -> tuple[list[Layer], Size, int]:
  """Returns the layers before a block of the decoder, and the size and channels there.

  Args:
    begin: Number of the block, as `models.vae.Decoder` counts them; None means the
      latents, which have no layers before them.
    size: Frames, height and width of the latents.
  """
  x = _Walk(config, size, config.latent_channels)
  if begin is not None:
    _enter(x)
    for block in config.decoder_blocks[::-1][:begin]:
      _decoder_block(x, block)
  return x.layers, x.size, x.channels


def walk_tail(config: VAEConfig, begin: int | None, size: Size) -> list[Layer]:
  """Returns the layers from a block of the decoder to the pixels.

  Args:
    begin: Number of the first block (see `walk_head`); None begins with the latents.
    size: Frames, height and width of that block's input.
  """
  channels = walk_head(config, begin, (1, 1, 1))[2]
  x = _Walk(config, size, channels)
  if begin is None:
    _enter(x)
  for block in config.decoder_blocks[::-1][begin:]:
    _decoder_block(x, block)
  if config.timestep_conditioning:
    x.embed(2 * x.channels)
  x.convolve(config.out_channels * config.patch_size**2)
  return x.layers


def _enter(x: _Walk) -> None:
  """Walks from the latents to the first block."""
  if x.config.use_quant_conv:
    x.pointwise(x.config.latent_channels)
  x.convolve(x.config.decoder_channels)


def _decoder_block(x: _Walk, block: Block) -> None:
  if block.kind == "stage":
    _decoder_stage(x, block)
  elif block.kind == "resnet":
    x.resnet(block.channels_up(x.channels))
  else:
    x.depth_to_space(block.channels_up(x.channels), block.strides)


def _decoder_stage(x: _Walk, block: Block) -> None:
  if x.config.timestep_conditioning:
    x.embed(4 * x.channels)
  for _ in range(block.num_layers):
    x.resnet(x.channels)
    if block.attention_head_dim is not None:
      x.attention()
