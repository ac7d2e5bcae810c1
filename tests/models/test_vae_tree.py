"""Paths, shapes and first values of the parameters of a VAE."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.checkpoints.trees import flatten
from ltx_jax.models.vae import (
  init_vae,
)
from tests.models.vae_case import (
  OPTIONS,
  SHORT_C,
  relative_error,
)


def _conv(path, n_in, out, *stack, size=3):
  kernel = (*stack, size, size, size, n_in, out)
  return {f"{path}/kernel": kernel, f"{path}/bias": (*stack, out)}


def _embedder(path, width):
  path = f"{path}/timestep_embedder"
  return {
    f"{path}/linear_1/kernel": (256, width),
    f"{path}/linear_1/bias": (width,),
    f"{path}/linear_2/kernel": (width, width),
    f"{path}/linear_2/bias": (width,),
  }


TREE = {
  **_conv("encoder/conv_in", 12, 8),
  **_conv("encoder/down_blocks_0/res_blocks/conv1", 8, 8, 2),
  **_conv("encoder/down_blocks_0/res_blocks/conv2", 8, 8, 2),
  **_conv("encoder/down_blocks_1/conv", 8, 4),
  **_conv("encoder/down_blocks_2/conv", 16, 8),
  **_conv("encoder/down_blocks_3/res_blocks/conv1", 16, 16, 1),
  **_conv("encoder/down_blocks_3/res_blocks/conv2", 16, 16, 1),
  **_conv("encoder/down_blocks_4/conv", 16, 4),
  **_conv("encoder/conv_out", 32, 9),
  **_conv("decoder/conv_in", 8, 32),
  **_conv("decoder/up_blocks_0/conv", 32, 128),
  **_conv("decoder/up_blocks_1/res_blocks/conv1", 16, 16, 2),
  **_conv("decoder/up_blocks_1/res_blocks/conv2", 16, 16, 2),
  "decoder/up_blocks_1/res_blocks/scale_shift_table": (2, 4, 16),
  "decoder/up_blocks_1/res_blocks/per_channel_scale1": (2, 16),
  "decoder/up_blocks_1/res_blocks/per_channel_scale2": (2, 16),
  **_embedder("decoder/up_blocks_1/time_embedder", 64),
  **_conv("decoder/up_blocks_2/conv", 16, 64),
  **_conv("decoder/up_blocks_3/res_blocks/conv1", 8, 8, 1),
  **_conv("decoder/up_blocks_3/res_blocks/conv2", 8, 8, 1),
  "decoder/up_blocks_3/res_blocks/scale_shift_table": (1, 4, 8),
  **_embedder("decoder/up_blocks_3/time_embedder", 32),
  **_conv("decoder/conv_out", 8, 12),
  "decoder/timestep_scale_multiplier": (),
  "decoder/last_scale_shift_table": (2, 8),
  **_embedder("decoder/last_time_embedder", 16),
  "per_channel_statistics/mean": (8,),
  "per_channel_statistics/std": (8,),
}


def test_tree_is_golden():
  tree = jax.eval_shape(lambda: init_vae(jax.random.key(0), SHORT_C))
  leaves = flatten(tree)
  assert type(tree) is dict and type(tree["encoder"]) is dict
  assert {path: leaf.shape for path, leaf in leaves.items()} == TREE
  assert {leaf.dtype for leaf in leaves.values()} == {jnp.dtype("float32")}


@pytest.mark.slow
def test_initial_values():
  init = jax.jit(lambda key: init_vae(key, SHORT_C))
  params = init(jax.random.key(0))
  leaves = flatten(params)
  for path, leaf in leaves.items():
    zero = path.endswith(("bias", "conv2/kernel", "statistics/mean"))
    zero = zero or "per_channel_scale" in path
    assert zero == (not np.any(leaf)), path
  assert (params["per_channel_statistics"]["std"] == 1).all()
  assert params["decoder"]["timestep_scale_multiplier"] == 1000
  first, second = params["encoder"]["down_blocks_0"]["res_blocks"]["conv1"]["kernel"]
  assert relative_error(first, second) > 1
  assert np.std(first) == pytest.approx((27 * 8) ** -0.5, rel=0.1)


def test_parameters_of_options():
  paths = flatten(jax.eval_shape(lambda: init_vae(jax.random.key(0), OPTIONS)))
  for path in (
    "decoder/up_blocks_6/res_blocks/attention/q_norm/scale",
    "decoder/up_blocks_2/per_channel_scale1",
    "decoder/up_blocks_4/norm3/scale",
    "encoder/down_blocks_2/conv_shortcut/kernel",
    "decoder/conv_norm_out/bias",
    "quant_conv/kernel",
    "latent_norm_out/var",
  ):
    assert path in paths
  assert not [p for p in paths if "up_blocks_2" in p and "shortcut" in p]
  shape = paths["encoder/down_blocks_2/conv_shortcut/kernel"].shape
  assert shape == (1, 1, 1, 8, 24)
