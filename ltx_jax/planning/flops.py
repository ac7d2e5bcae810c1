"""Floating-point operations of the networks' mathematics, by formula.

Matrix products, convolutions and attention are counted, a multiply-add as two
operations. Norms, activations and other work that grows only with the activations are
not. Products with the zeros around a frame do not count, and neither do a kernel's
outer time steps if a clip is a single frame, so an implementation that computes them
anyway does not look better. An output pixel of a 3 x 3 kernel meets 9 pixels inside a
frame of h x w, 6 at its sides and 4 in its corners, together

  sum over pixels of taps = (3 h - 2) (3 w - 2).

For 2B, 256 video and 128 text tokens: 0.93 TFLOP per velocity. For VAE C and 25 frames
of 256 x 256: 4.74 TFLOP to encode, 2.05 to decode.
"""

from __future__ import annotations

from ltx_jax.config import TextEncoderConfig, TransformerConfig, VAEConfig
from ltx_jax.config.adversarial import AdversarialConfig
from ltx_jax.planning.vae_walk import (
  embedder_flops,
  walk_decoder,
  walk_discriminator,
  walk_encoder,
  walk_perceptual,
)

_MLP_RATIO = 4


def text_encoder(config: TextEncoderConfig, text_tokens: int) -> int:
  """Counts encoding one prompt, its padding included."""
  inner = config.num_heads * config.d_kv
  dense = 4 * config.d_model * inner + 3 * config.d_model * config.d_ff
  attention = 2 * text_tokens * inner
  return 2 * text_tokens * config.num_layers * (dense + attention)


def text_state(config: TransformerConfig, text_tokens: int) -> int:
  """Counts the projection of the text, and its keys and values in every layer."""
  d = config.width
  projection = config.caption_channels * d + d**2
  return 2 * text_tokens * (projection + config.num_layers * 2 * d**2)


def denoise(config: TransformerConfig, tokens: int, text_tokens: int) -> int:
  """Counts one velocity of one clip at one noise level, with a given text state."""
  d = config.width
  dense = 6 * d**2 + 2 * _MLP_RATIO * d**2  # q, k, v, out; q, out of the text; MLP.
  attention = 2 * (tokens + text_tokens) * d  # q k^T and weights v, of one token.
  ends = (config.in_channels + config.out_channels) * d
  per_token = config.num_layers * (dense + attention) + ends
  return 2 * tokens * per_token + embedder_flops(d) + 2 * d * 6 * d


def attention(config: TransformerConfig, tokens: int, text_tokens: int) -> int:
  """Counts the part of a velocity without weights: q k^T and weights v, all layers."""
  return 4 * config.num_layers * tokens * (tokens + text_tokens) * config.width


def velocity(config: TransformerConfig, tokens: int, text_tokens: int) -> int:
  """Counts one evaluation of the transformer for one clip at one noise level."""
  return text_state(config, text_tokens) + denoise(config, tokens, text_tokens)


def encoder(config: VAEConfig, frames: int, height: int, width: int) -> int:
  """Counts encoding one clip of 8k + 1 frames, height and width multiples of 32."""
  return sum(layer.flops for layer in walk_encoder(config, frames, height, width))


def decoder(config: VAEConfig, frames: int, height: int, width: int) -> int:
  """Counts decoding one clip, sizes being those of its latents."""
  return sum(layer.flops for layer in walk_decoder(config, frames, height, width))


def vae_training(
  config: VAEConfig,
  adversarial: AdversarialConfig,
  size: tuple[int, int, int],
  *,
  encoder_trained: bool,
  compared_frames: int = 0,
) -> int:
  """Counts the passes of one clip that training a VAE needs, forwards and backwards.

  Backwards every product has two: for its input, and for its weights. No gradient is
  needed at the pixels of the original. The discriminator passes forwards once, and its
  layers pass two gradients to their inputs: the VAE's, and their own. R1 is left out.

  Args:
    size: Frames, height and width of the clip.
    encoder_trained: Whether gradients pass through the encoder.
    compared_frames: Number of frames that LPIPS compares.
  """
  encoding = [layer.flops for layer in walk_encoder(config, *size)]
  total = 3 * sum(encoding) - encoding[0] if encoder_trained else sum(encoding)
  total += 3 * decoder(config, *config.latent_shape(*size))
  if adversarial.weight:
    judging = [layer.flops for layer in walk_discriminator(adversarial, *size)]
    total += adversarial.judged * (4 * sum(judging) - judging[0])
  if compared_frames:
    # Of the original and of the reconstruction, which alone passes a gradient.
    total += 3 * perceptual(min(compared_frames, size[0]), *size[1:])
  return total


def perceptual(frames: int, height: int, width: int) -> int:
  """Counts the features of VGG16 of some frames."""
  return sum(layer.flops for layer in walk_perceptual(frames, height, width))
