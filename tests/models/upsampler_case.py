"""Small latent upsamplers of every kind, parameters and latents drawn by NumPy."""

import zlib

import jax
import numpy as np

from ltx_jax.config import LatentUpsamplerConfig
from ltx_jax.models import upsampler

# Name: (dims, in space, in time).
KINDS = {
  "spatial": (3, True, False),
  "temporal": (3, False, True),
  "both": (3, True, True),
  "frames": (2, True, False),
}
SHAPE = (2, 3, 4, 5, 6)  # b f h w c


def config(kind):
  dims, space, time = KINDS[kind]
  return LatentUpsamplerConfig(
    in_channels=SHAPE[-1],
    mid_channels=64,  # Two channels a group of the norms.
    num_blocks_per_stage=2,
    dims=dims,
    spatial_upsample=space,
    temporal_upsample=time,
  )


def random_params(config):
  """Parameters away from their initialisation: no scale is 1 and no bias 0."""

  def draw(path, leaf):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(leaf.shape)
    if name.endswith("scale"):
      noise = 1 + 0.3 * noise
    elif name.endswith("kernel"):
      stack = 1 if "blocks" in name else 0
      noise = noise / np.sqrt(np.prod(leaf.shape[stack:-1]))
    return noise.astype(np.float32)

  shapes = jax.eval_shape(lambda: upsampler.init_upsampler(jax.random.key(0), config))
  return jax.tree_util.tree_map_with_path(draw, shapes)


def latents():
  return np.random.default_rng(3).standard_normal(SHAPE, np.float32)


def relative_error(out, ref):
  out, ref = np.asarray(out, np.float64), np.asarray(ref, np.float64)
  assert out.shape == ref.shape
  return np.linalg.norm(out - ref) / np.linalg.norm(ref)
