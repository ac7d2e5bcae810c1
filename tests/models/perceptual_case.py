"""A VGG16, heads and two videos, drawn by NumPy: the original can draw them as well."""

import functools
import zlib

import jax.numpy as jnp
import numpy as np

from ltx_jax.checkpoints.perceptual import from_released, vgg_entries

SHAPE = (2, 2, 24, 36, 3)  # b F H W c; 36 is odd after two poolings.


def _draw(name, shape):
  rng = np.random.default_rng(zlib.crc32(name.encode()))
  return rng.standard_normal(shape, np.float32)


@functools.cache
def vgg():
  """Returns the tensors as torchvision names them; features keep their size."""
  tensors = {}
  for entry in vgg_entries():
    bias = len(entry.shape) == 1
    scale = 0.1 if bias else np.sqrt(2 / np.prod(entry.shape[1:]))
    tensors[entry.key] = np.float32(scale) * _draw(entry.key, entry.shape)
  return tensors


def heads():
  """Returns heads as the package lpips names them; some are 0, as in its own."""
  return {
    f"lin{i}.model.1.weight": np.maximum(_draw(f"lin{i}", (1, c, 1, 1)), 0)
    for i, c in enumerate((64, 128, 256, 512, 512))
  }


@functools.cache
def params():
  return from_released(vgg(), heads())


@functools.cache
def equal_params():
  return from_released(vgg(), None)


SMALL = {"heads": {"lin0": np.float32([1, 2, 0.5, 1]), "lin1": np.ones(3, "f4")}}
"""Heads of two layers; `small_features` has nothing to learn."""


def small_features(params, video):
  """A network in miniature: products and sums of neighbours, and a mean of patches."""
  video = jnp.asarray(video)
  mixed = [video[..., :1] * video[..., 1:2], jnp.roll(video, 1, 3)]
  b, frames, height, width, c = video.shape
  patches = video.reshape(b, frames, height // 2, 2, width // 2, 2, c).mean((3, 5))
  return [jnp.concatenate(mixed, -1), patches**3]


def videos():
  """Returns a video of smooth colours, and one with noise on it, in [-1, 1]."""
  b, frames, height, width, c = SHAPE
  rng = np.random.default_rng(7)
  t, y, x = np.meshgrid(*map(np.arange, (frames, height, width)), indexing="ij")
  waves = rng.uniform(0.05, 0.5, (b, 1, 1, 1, c, 3))
  phases = (np.stack([t, y, x], -1)[None, ..., None, :] * waves).sum(-1)
  video = 0.8 * np.sin(phases)
  noisy = video + 0.2 * rng.standard_normal(SHAPE)
  return video.astype(np.float32), np.clip(noisy, -1, 1).astype(np.float32)
