import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.models.vae_attention import AttentionBlock
from ltx_jax.models.vae_layers import (
  NORMS,
  DepthToSpaceUpsample,
  Downsample,
  ResnetBlock,
  SpaceToDepthDownsample,
  depth_to_space,
  patches_to_pixels,
  pixel_norm,
  pixels_to_patches,
  space_to_depth,
)
from tests.models.vae_case import SHORT_C, relative_error, weights
from tests.policies import QUICK


def array(*shape, seed=0):
  return jnp.asarray(weights(shape, seed))


def zeros_like_params(module, *arguments):
  shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *arguments))
  return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes["params"])


@pytest.mark.parametrize("p", [1, 2, 3])
def test_patchify_puts_the_x_offset_before_the_y_offset(p):
  video = array(2, 3, 2 * p, 4 * p, 3)
  patches = pixels_to_patches(video, p)
  assert patches.shape == (2, 3, 2, 4, 3 * p * p)
  for c, x, y in itertools.product(range(3), range(p), range(p)):
    channel = (c * p + x) * p + y
    np.testing.assert_array_equal(patches[..., channel], video[:, :, y::p, x::p, c])
  np.testing.assert_array_equal(patches_to_pixels(patches, p), video)


@pytest.mark.parametrize("strides", [(2, 1, 1), (1, 2, 2), (2, 2, 2), (1, 1, 1)])
def test_space_to_depth_orders_channel_time_y_x(strides):
  p, q, r = strides
  x = array(2, 2 * p, 3 * q, 2 * r, 3)
  deep = space_to_depth(x, strides)
  assert deep.shape == (2, 2, 3, 2, 3 * p * q * r)
  for c, t, i, j in itertools.product(range(3), range(p), range(q), range(r)):
    channel = ((c * p + t) * q + i) * r + j
    np.testing.assert_array_equal(deep[..., channel], x[:, t::p, i::q, j::r, c])
  np.testing.assert_array_equal(depth_to_space(deep, strides), x)


def test_pixel_norm_leaves_channels_of_mean_square_one():
  x = 100 * array(2, 3, 2, 2, 8)
  out = pixel_norm(x)
  np.testing.assert_allclose(jnp.mean(out**2, axis=-1), 1, rtol=1e-5)
  same = jnp.broadcast_to((out / x)[..., :1], x.shape)
  np.testing.assert_allclose(out / x, same, rtol=1e-5)
  assert not pixel_norm(jnp.zeros((1, 1, 1, 1, 4))).any()


@pytest.mark.parametrize("name, axes", [("layer_norm", -1), ("group_norm", (1, 2, 3))])
def test_norms_take_out_mean_and_size(name, axes):
  # 32 channels in 32 groups: a group norm is over time and space of one channel.
  x = 3 * array(2, 3, 2, 2, 32) + 5
  module = NORMS[name](QUICK)
  plain = module.apply({"params": {"scale": jnp.ones(32), "bias": jnp.zeros(32)}}, x)
  np.testing.assert_allclose(jnp.mean(plain, axis=axes), 0, atol=1e-5)
  np.testing.assert_allclose(jnp.var(plain, axis=axes), 1, rtol=1e-4)
  scale, bias = array(32), array(32, seed=1)
  out = module.apply({"params": {"scale": scale, "bias": bias}}, x)
  np.testing.assert_allclose(out, plain * scale + bias, atol=1e-5)


def test_up_sampling_drops_the_first_of_the_doubled_frames():
  up = DepthToSpaceUpsample(4, SHORT_C, QUICK, True, (2, 2, 2), False)
  x = array(1, 3, 2, 2, 8)
  params = zeros_like_params(up, x)
  # Without a kernel, the output is the bias: one number for each place in 2 x 2 x 2.
  params["conv"]["bias"] = jnp.arange(32.0)
  out = up.apply({"params": params}, x)
  assert out.shape == (1, 5, 4, 4, 4)
  for frame, t in enumerate((1, 0, 1, 0, 1)):
    for i, j in itertools.product(range(2), range(2)):
      expected = np.arange(4) * 8 + t * 4 + i * 2 + j
      np.testing.assert_array_equal(out[0, frame, i, j], expected)


def test_up_sampling_in_space_keeps_frames():
  up = DepthToSpaceUpsample(8, SHORT_C, QUICK, True, (1, 2, 2), False)
  x = array(1, 3, 2, 2, 8)
  assert up.apply({"params": zeros_like_params(up, x)}, x).shape == (1, 3, 4, 4, 8)


def test_up_samplings_skip_is_the_input_tiled():
  up = DepthToSpaceUpsample(8, SHORT_C, QUICK, True, (2, 2, 2), True)
  x = array(1, 3, 2, 2, 16)
  out = up.apply({"params": zeros_like_params(up, x)}, x)
  skip = depth_to_space(x, (2, 2, 2))[:, 1:]  # 2 channels
  np.testing.assert_array_equal(out, jnp.concatenate([skip] * 4, axis=-1))


@pytest.mark.parametrize(
  "strides, features", [((2, 1, 1), 4), ((1, 2, 2), 8), ((2, 2, 2), 16), ((2, 2, 2), 8)]
)
def test_down_samplings_skip_is_means_of_groups(strides, features):
  down = SpaceToDepthDownsample(features, SHORT_C, QUICK, True, strides)
  x = array(2, 5 if strides[0] == 2 else 3, 4, 2, 4)
  out = down.apply({"params": zeros_like_params(down, x)}, x)
  if strides[0] == 2:
    x = jnp.concatenate([x[:, :1], x], axis=1)
  deep = space_to_depth(x, strides)
  size = deep.shape[-1] // features
  for i in range(features):
    mean = deep[..., i * size : (i + 1) * size].mean(axis=-1)
    np.testing.assert_allclose(out[..., i], mean, atol=1e-6)


def test_strided_convolutions_halve():
  x = array(1, 9, 8, 4, 4)
  down = Downsample(6, SHORT_C, QUICK, True, (2, 2, 2))
  assert down.apply({"params": zeros_like_params(down, x)}, x).shape == (1, 5, 4, 2, 6)


def test_residual_blocks_start_as_the_identity():
  block = ResnetBlock(8, SHORT_C, QUICK, True)
  x = array(2, 3, 2, 2, 8)
  variables = block.init(jax.random.key(0), x)
  assert np.any(variables["params"]["conv1"]["kernel"])
  np.testing.assert_array_equal(block.apply(variables, x), x)


def test_noise_is_one_image_for_batch_and_frames():
  block = ResnetBlock(8, SHORT_C, QUICK, True, inject_noise=True)
  x = array(2, 3, 4, 6, 8)
  params = zeros_like_params(block, x)
  strength = params["per_channel_scale2"] = 0.5 + jnp.arange(8.0)
  key = jax.random.key(3)
  noise = (block.apply({"params": params}, x, None, key) - x) / strength
  image = jax.random.normal(jax.random.split(key)[1], (4, 6))
  expected = jnp.broadcast_to(image[:, :, None], x.shape)
  np.testing.assert_allclose(noise, expected, atol=1e-5)
  np.testing.assert_array_equal(block.apply({"params": params}, x), x)


def test_modulation_is_shift_and_scale_of_each_norm():
  block = ResnetBlock(8, SHORT_C, QUICK, True, conditioned=True)
  x = array(2, 3, 2, 2, 8)
  embedding = array(2, 32, seed=1)
  variables = block.init(jax.random.key(0), x, embedding)
  params = jax.tree.map(lambda leaf: leaf + 0.1, variables["params"])
  out = block.apply({"params": params}, x, embedding)

  # An embedding is added to the table: with it inside, an embedding of 0 does the same.
  for clip in range(2):
    table = params["scale_shift_table"] + embedding[clip].reshape(4, 8)
    shifted = params | {"scale_shift_table": table}
    alone = block.apply({"params": shifted}, x[clip : clip + 1], jnp.zeros((1, 32)))
    np.testing.assert_allclose(alone[0], out[clip], atol=1e-5)

  # Rows are shift, scale of the first norm, then of the second; a scale of -1 leaves
  # the shift alone, so the second convolution sees a constant.
  table = jnp.zeros((4, 8)).at[3].set(-1.0).at[2].set(array(8, seed=2))
  constant = params | {"scale_shift_table": table}
  centre = block.apply({"params": constant}, x, jnp.zeros((2, 32))) - x
  same = jnp.broadcast_to(centre[:1, :1], centre.shape)
  np.testing.assert_allclose(centre, same, atol=1e-5)
  assert np.abs(centre).max() > 1e-2


def test_attention_is_over_all_positions_and_adds_the_input():
  block = AttentionBlock(4, QUICK)
  x = array(2, 2, 3, 2, 8)
  params = block.init(jax.random.key(0), x)["params"]
  assert jax.tree.map(jnp.shape, params["q_norm"]) == {"scale": (8,)}
  out = block.apply({"params": params}, x)
  # No position is special: shuffled in, shuffled out.
  order = np.random.default_rng(0).permutation(12)
  shuffle = lambda a: a.reshape(2, 12, 8)[:, order].reshape(a.shape)  # noqa: E731
  shuffled = block.apply({"params": params}, shuffle(x))
  assert relative_error(shuffled, shuffle(out)) < 1e-5
  # One clip does not see another; one position sees all.
  changed = x.at[1, 0, 0, 0].add(1.0)
  difference = np.abs(block.apply({"params": params}, changed) - out).max(axis=-1)
  assert not difference[0].any() and (difference[1] > 1e-4).all()
  muted = params | {"to_out": jax.tree.map(jnp.zeros_like, params["to_out"])}
  np.testing.assert_array_equal(block.apply({"params": muted}, x), x)


def test_attention_of_the_policy_is_used():
  block = AttentionBlock(4, dataclasses.replace(QUICK, attention="cudnn"))
  with pytest.raises(ValueError, match="'cudnn' got float32"):
    block.init(jax.random.key(0), array(1, 1, 2, 2, 8))
