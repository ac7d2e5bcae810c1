import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ltx_jax.models.embeddings import TimestepEmbedder, sinusoid
from ltx_jax.platforms import CPU
from tests.models.vae_case import relative_error

LEVELS = jnp.array([0.0, 50.0, 1000.0])


def formula(t):
  angles = np.asarray(t, np.float64)[:, None] * 10000.0 ** (-np.arange(128) / 128)
  return np.concatenate([np.cos(angles), np.sin(angles)], axis=-1)


def test_cosines_come_first():
  embedding = sinusoid(LEVELS)
  assert embedding.dtype == jnp.float32
  np.testing.assert_array_equal(embedding[0], [1.0] * 128 + [0.0] * 128)
  # A float32 angle of 1000 is known to 6e-5.
  np.testing.assert_allclose(embedding, formula(LEVELS), atol=2e-4)
  np.testing.assert_allclose(embedding[1], formula(LEVELS)[1], atol=1e-5)


def test_levels_of_half_precision_are_embedded_in_float32():
  assert sinusoid(LEVELS.astype(jnp.bfloat16)).dtype == jnp.float32


def test_two_dense_layers_follow():
  embedder = TimestepEmbedder(12, CPU)
  params = embedder.init(jax.random.key(0), LEVELS)["params"]
  layers = params["timestep_embedder"]
  assert jax.tree.map(jnp.shape, layers) == {
    "linear_1": {"kernel": (256, 12), "bias": (12,)},
    "linear_2": {"kernel": (12, 12), "bias": (12,)},
  }
  layers = jax.tree.map(lambda leaf: leaf + 0.1, layers)
  first, second = (jax.tree.map(np.float64, layers[f"linear_{i}"]) for i in (1, 2))
  h = formula(LEVELS) @ first["kernel"] + first["bias"]
  expected = h / (1 + np.exp(-h)) @ second["kernel"] + second["bias"]
  variables = {"params": {"timestep_embedder": layers}}
  assert relative_error(embedder.apply(variables, LEVELS), expected) < 1e-4

  half = TimestepEmbedder(12, dataclasses.replace(CPU, dtype="bfloat16"))
  out = half.apply(variables, LEVELS)
  assert out.dtype == jnp.bfloat16
  assert relative_error(out, expected) < 2e-2
