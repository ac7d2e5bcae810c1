"""A small T5 whose parameters and inputs are drawn by NumPy, shared by the tests."""

import zlib

import jax
import numpy as np

from ltx_jax.config import TextEncoderConfig
from ltx_jax.models import text_encoder

# Few buckets, so that short texts reach the last one; heads * d_kv is not d_model.
CONFIG = TextEncoderConfig(
  vocab_size=50,
  d_model=24,
  d_kv=10,
  d_ff=40,
  num_layers=3,
  num_heads=3,
  relative_attention_num_buckets=8,
  relative_attention_max_distance=20,
)
LENGTH = 24
REAL_TOKENS = (24, 13, 1)


def random_params(config=CONFIG):
  """Parameters away from their initialisation: no norm's scale is 1."""

  def draw(path, leaf):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(leaf.shape)
    if name.endswith("scale"):
      noise = 1 + 0.3 * noise
    elif name.endswith("kernel"):
      noise = noise * leaf.shape[-2] ** -0.5
    return noise.astype(np.float32)

  shapes = jax.eval_shape(lambda: text_encoder.init(config, jax.random.key(0)))
  return jax.tree_util.tree_map_with_path(draw, shapes)


def inputs():
  """Tokens [3 24], their mask, and a weight for each output (fixes a scalar loss)."""
  rng = np.random.default_rng(1)
  tokens = rng.integers(3, CONFIG.vocab_size, (len(REAL_TOKENS), LENGTH))
  mask = np.arange(LENGTH) < np.array(REAL_TOKENS)[:, None]
  weights = rng.standard_normal((*tokens.shape, CONFIG.d_model)).astype(np.float32)
  return np.where(mask, tokens, 0).astype(np.int32), mask, weights


def relative_error(out, ref):
  out, ref = np.asarray(out, np.float64), np.asarray(ref, np.float64)
  assert out.shape == ref.shape
  return np.linalg.norm(out - ref) / np.linalg.norm(ref)
