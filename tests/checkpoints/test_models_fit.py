"""The networks' trees agree with the key maps."""

import math

import jax
import pytest

from ltx_jax.checkpoints import keys
from ltx_jax.checkpoints.trees import flatten
from ltx_jax.config import (
  TRANSFORMER_2B,
  TRANSFORMER_13B,
  VAE_A,
  VAE_B,
  VAE_C,
  VAEConfig,
)
from ltx_jax.models.transformer import init
from ltx_jax.models.vae import init_vae
from tests.checkpoints import manifests, small

COUNTS = {
  "transformer_2b": 1_923_385_472,
  "transformer_13b": 13_042_569_344,
  "vae_a": 419_193_649,
  "vae_b": 934_976_434,
  "vae_c": 1_246_913_522,
}
TRANSFORMERS = {
  "transformer_2b": TRANSFORMER_2B,
  "transformer_13b": TRANSFORMER_13B,
  "small": small.TRANSFORMER,
}
VAES = {
  "vae_a": VAE_A,
  "vae_b": VAE_B,
  "vae_c": VAE_C,
  "small": small.VAE,
  **{
    name: VAEConfig.from_metadata(manifests.read(name)[0])
    for name in ("vae_demo", "vae_options_group", "vae_options_layer")
  },
}


def _shapes(tree):
  return {path: leaf.shape for path, leaf in flatten(tree).items()}


def _count(shapes):
  return sum(math.prod(s) for p, s in shapes.items() if not p.startswith(keys.MEASURED))


@pytest.mark.parametrize("name", VAES)
def test_the_vae_has_the_parameters_of_the_map(name):
  config = VAES[name]
  tree = jax.eval_shape(lambda: init_vae(jax.random.key(0), config))
  shapes = _shapes(tree)
  assert shapes == keys.tree_shapes(keys.vae_entries(config))
  assert _count(shapes) == COUNTS.get(name, _count(shapes))


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_the_transformer_has_the_parameters_of_the_map(name):
  config = TRANSFORMERS[name]
  shapes = _shapes(jax.eval_shape(lambda: init(config, jax.random.key(0))))
  assert shapes == keys.tree_shapes(keys.transformer_entries(config))
  assert _count(shapes) == COUNTS.get(name, _count(shapes))
