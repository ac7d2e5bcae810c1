"""Small transformers whose parameters and inputs are drawn by NumPy, for the tests."""

import dataclasses
import functools
import zlib

import jax
import numpy as np

from ltx_jax.config import TransformerConfig
from ltx_jax.models import transformer
from tests import tolerance
from tests.policies import QUICK

# 32 mod 6 = 2, as at the width of the 2B model: two channels in front do not turn.
CONFIG = TransformerConfig(
  num_attention_heads=2,
  attention_head_dim=16,
  num_layers=3,
  in_channels=6,
  out_channels=6,
  cross_attention_dim=32,
  caption_channels=10,
)
B, N, M = 3, 7, 5
# The widest sums are in the feed-forward layer, in three blocks.
ROUNDING = tolerance.of_sums(4 * CONFIG.width, layers=8 * CONFIG.num_layers)


def with_width(heads, head_dim, **options):
  width = heads * head_dim
  return dataclasses.replace(
    CONFIG,
    num_attention_heads=heads,
    attention_head_dim=head_dim,
    cross_attention_dim=width,
    **options,
  )


CONFIGS = {
  "released": CONFIG,
  "no_qk_norm": dataclasses.replace(CONFIG, qk_norm=None),
  "no_attention_bias": dataclasses.replace(CONFIG, attention_bias=False),
  "width_36": with_width(3, 12, positional_embedding_max_pos=(5, 100, 300)),
  "width_40": with_width(5, 8, out_channels=4, norm_eps=1e-3),
}


def shapes(config):
  return jax.eval_shape(functools.partial(transformer.init, config), jax.random.key(0))


def random_params(config=CONFIG, seed=0):
  """Parameters away from their initialisation: none is 0, no norm's scale is 1."""

  def draw(path, leaf):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    rng = np.random.default_rng(zlib.crc32(name.encode()) + seed)
    noise = rng.standard_normal(leaf.shape)
    if name.endswith("kernel"):
      noise *= leaf.shape[-2] ** -0.5
    elif name.endswith("scale"):
      noise = 1 + 0.3 * noise
    else:
      noise *= 0.3
    return noise.astype(np.float32)

  return jax.tree_util.tree_map_with_path(draw, shapes(config))


def inputs(config=CONFIG, n=N, seed=1):
  """Returns tokens, coords, text, mask; the last clip's text is all padding."""
  rng = np.random.default_rng(seed)
  tokens = rng.standard_normal((B, n, config.in_channels)).astype(np.float32)
  largest = np.array(config.positional_embedding_max_pos)
  coords = (rng.random((B, n, 3)) * largest).astype(np.float32)
  text = rng.standard_normal((B, M, config.caption_channels)).astype(np.float32)
  mask = np.arange(M) < np.array([[M], [2], [0]])
  return tokens, coords, text, mask


def network(params, config=CONFIG, policy=QUICK, remat="none"):
  """The whole network with its parameters: from tokens and text to velocities."""
  module = transformer.Transformer(config, policy, remat)
  return functools.partial(module.apply, {"params": params})


SIGMA = np.array([0.9, 0.3, 0.0], np.float32)
TOKEN_SIGMA = np.random.default_rng(2).random((B, N)).astype(np.float32)
SIGMAS = {"per_clip": SIGMA, "per_token": TOKEN_SIGMA}


def weights(config=CONFIG):
  """A weight for each output, which fixes a scalar loss."""
  shape = (B, N, config.out_channels)
  return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


def relative_error(out, ref):
  out, ref = np.asarray(out, np.float64), np.asarray(ref, np.float64)
  assert out.shape == ref.shape
  return np.linalg.norm(out - ref) / np.linalg.norm(ref)
