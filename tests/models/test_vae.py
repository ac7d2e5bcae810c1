import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.checkpoints.trees import flatten
from ltx_jax.config import Block
from ltx_jax.models.vae import (
  Decoder,
  decode,
  encode_moments,
  expand_moments,
  init_vae,
  normalize,
  unnormalize,
)
from ltx_jax.platforms import CPU
from tests.models.vae_case import (
  SHORT,
  SHORT_A,
  SHORT_C,
  SIGMA,
  inputs,
  random_params,
  relative_error,
  weights,
)
from tests.policies import QUICK

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "vae.npz"
# Of the pixels; both are coprime to every patch, so each place in a patch is seen.
THIN = (slice(None), slice(None), slice(None, None, 5), slice(None, None, 7))
MEASURED = dataclasses.replace(QUICK, convolution="measured")
BF16 = dataclasses.replace(QUICK, dtype="bfloat16")


# Checkpoints, sharding rules and optimisers rely on these names.


@pytest.fixture(scope="module")
def golden():
  with np.load(GOLDEN) as arrays:
    return dict(arrays)


@pytest.fixture(scope="module")
def params():
  return random_params(SHORT_C)


@functools.cache
def encoder(config, policy=QUICK):
  return jax.jit(lambda params, video: encode_moments(params, config, policy, video))


@functools.cache
def decoder(config, policy=QUICK):
  def run(params, latents, sigma, key=None):
    return decode(params, config, policy, latents, sigma, key)

  return jax.jit(run)


@pytest.mark.parametrize("name", SHORT)
def test_encode_and_decode_match_the_original(name, golden):
  config = SHORT[name]
  params = random_params(config)
  video, latents = inputs(config)
  outputs = {
    **dict(zip(("mean", "logvar"), encoder(config)(params, video), strict=True)),
    "video": decoder(config)(params, latents, SIGMA, jax.random.key(0))[THIN],
  }
  for part, out in outputs.items():
    assert out.dtype == jnp.float32
    assert relative_error(out, golden[f"{name}/{part}"]) < 1e-4


def test_gradients_match_the_original(params, golden):
  video, latents = inputs(SHORT_C)
  key = jax.random.key(0)

  def loss(params, video, latents, sigma):
    moments = encode_moments(params, SHORT_C, QUICK, video)
    outputs = *moments, decode(params, SHORT_C, QUICK, latents, sigma, key)
    return sum((out * weights(out.shape)).sum() for out in outputs)

  gradients = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3)))
  to_params, to_video, to_latents, to_sigma = gradients(params, video, latents, SIGMA)
  ours = {
    "video": to_video[THIN],
    "latents": to_latents,
    "sigma": to_sigma,
    "conv_in": to_params["decoder"]["conv_in"]["kernel"][1, ::2],
  }
  for part, gradient in ours.items():
    assert relative_error(gradient, golden[f"gradient/{part}"]) < 1e-3


@pytest.mark.parametrize("policy", [CPU, MEASURED], ids=["unrolled", "measured"])
def test_policies_agree(policy, params):
  video, latents = inputs(SHORT_C)
  ours, others = encoder(SHORT_C), encoder(SHORT_C, policy)
  for a, b in zip(ours(params, video), others(params, video), strict=True):
    assert relative_error(b, a) < 1e-5
  run, other = decoder(SHORT_C), decoder(SHORT_C, policy)
  out = run(params, latents, SIGMA)
  assert relative_error(other(params, latents, SIGMA), out) < 1e-5


def test_bfloat16(params):
  video, latents = inputs(SHORT_C)
  mean, logvar = encoder(SHORT_C, BF16)(params, video)
  out = decoder(SHORT_C, BF16)(params, latents, SIGMA)
  assert mean.dtype == logvar.dtype == out.dtype == jnp.float32
  assert relative_error(mean, encoder(SHORT_C)(params, video)[0]) < 0.05
  assert relative_error(out, decoder(SHORT_C)(params, latents, SIGMA)) < 0.05


@pytest.mark.parametrize("name", ["short_a", "short_c"])
def test_the_encoder_is_causal(name):
  config = SHORT[name]
  params = random_params(config)
  video, _ = inputs(config, positions=4)
  assert video.shape[1] == 17
  encode = encoder(config)
  mean, logvar = encode(params, video)
  for frames, positions in ((1, 1), (9, 3)):
    first = encode(params, video[:, :frames])
    for part, whole in zip(first, (mean, logvar), strict=True):
      assert part.shape[1] == positions
      np.testing.assert_allclose(part, whole[:, :positions], atol=3e-6)

  # Latent frame 2 sees pixel frame 8 and not pixel frame 9.
  for frame, seen in ((8, 2), (9, 3)):
    changed = video.copy()
    changed[:, frame] += 1
    other = encode(params, changed)[0]
    np.testing.assert_array_equal(other[:, :seen], mean[:, :seen])
    assert np.abs(other[:, seen] - mean[:, seen]).max() > 1e-3


def test_a_causal_decoder_decodes_prefixes_alike(params):
  config = dataclasses.replace(SHORT_C, causal_decoder=True)
  _, latents = inputs(config, positions=2)
  whole = decoder(config)(params, latents, SIGMA)
  assert whole.shape[1] == 9
  for positions, frames in ((1, 1), (2, 5)):
    first = decoder(config)(params, latents[:, :positions], SIGMA)
    assert first.shape[1] == frames
    assert relative_error(first, whole[:, :frames]) < 1e-5


def test_noise_is_drawn_from_the_key_alone(params):
  _, latents = inputs(SHORT_C)
  run = decoder(SHORT_C)
  out = run(params, latents, SIGMA, jax.random.key(0))
  again = run(params, latents, SIGMA, jax.random.key(0))
  np.testing.assert_array_equal(again, out)
  assert relative_error(run(params, latents, SIGMA, jax.random.key(1)), out) > 1e-2
  assert relative_error(run(params, latents, SIGMA), out) > 1e-2


def test_without_a_key_nothing_is_drawn(params):
  _, latents = inputs(SHORT_C)
  params = jax.tree.map(jnp.asarray, params)

  def program(key):
    run = functools.partial(decode, params, SHORT_C, QUICK, latents, SIGMA)
    return str(jax.make_jaxpr(run)(key))

  assert "random" not in program(None)
  assert "random" in program(jax.random.key(0))


def test_sigma_is_of_each_clip(params):
  _, latents = inputs(SHORT_C)
  run = decoder(SHORT_C)
  out = run(params, latents, SIGMA)
  other = run(params, latents, np.array([0.05, 0.1], np.float32))
  np.testing.assert_allclose(other[0], out[0], atol=1e-6)
  assert relative_error(other[1], out[1]) > 1e-2


def test_sigma_is_ignored_without_conditioning():
  params = random_params(SHORT_A)
  _, latents = inputs(SHORT_A)
  run = decoder(SHORT_A)
  np.testing.assert_array_equal(
    run(params, latents, SIGMA), run(params, latents, 0 * SIGMA)
  )


@pytest.mark.parametrize("kind", ["uniform", "per_channel", "constant", "none"])
def test_log_variances(kind):
  config = dataclasses.replace(SHORT_C, latent_channels=4, latent_log_var=kind)
  channels = {"uniform": 5, "per_channel": 8, "constant": 5, "none": 4}[kind]
  assert config.moment_channels == channels
  moments = jnp.asarray(weights((2, 1, 1, 3, channels)))
  expected = {
    "uniform": np.repeat(moments[..., 4:], 4, axis=-1),
    "per_channel": moments[..., 4:],
    "constant": np.full((2, 1, 1, 3, 4), -30.0),
    "none": np.full((2, 1, 1, 3, 4), -30.0),
  }[kind]
  mean, logvar = jnp.split(expand_moments(moments, config), 2, axis=-1)
  np.testing.assert_array_equal(mean, moments[..., :4])
  np.testing.assert_array_equal(logvar, expected)


def test_log_variances_are_clipped(params):
  video, _ = inputs(SHORT_C)
  for bias, expected in ((100.0, 20.0), (-100.0, -30.0)):
    conv_out = params["encoder"]["conv_out"]
    extreme = conv_out | {"bias": conv_out["bias"].copy()}
    extreme["bias"][-1] = bias
    changed = params | {"encoder": params["encoder"] | {"conv_out": extreme}}
    np.testing.assert_array_equal(encoder(SHORT_C)(changed, video)[1], expected)


def test_normalised_latents_have_the_statistics_taken_out(params):
  latents = weights((2, 3, 1, 2, 8))
  statistics = params["per_channel_statistics"]
  normalised = normalize(params, jnp.asarray(latents))
  expected = (latents - statistics["mean"]) / statistics["std"]
  np.testing.assert_allclose(normalised, expected, rtol=1e-5)
  np.testing.assert_allclose(unnormalize(params, normalised), latents, atol=1e-6)


@pytest.mark.slow
def test_every_parameter_learns():
  # A few steps of gradient descent from the initial values move everything.
  start = params = jax.jit(lambda: init_vae(jax.random.key(0), SHORT_C))()
  video, latents = inputs(SHORT_C)

  @jax.jit
  def step(params):
    def loss(params):
      moments = encode_moments(params, SHORT_C, QUICK, video)
      key = jax.random.key(0)
      outputs = *moments, decode(params, SHORT_C, QUICK, latents, SIGMA, key)
      return sum(((out - weights(out.shape)) ** 2).mean() for out in outputs)

    return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params))

  for _ in range(3):
    params = step(params)
  before = flatten(start)
  for path, leaf in flatten(params).items():
    moved = np.abs(leaf - before[path]).max() > 0
    assert moved == ("per_channel_statistics" not in path), path


@pytest.mark.parametrize("frames, height, width", [(4, 16, 24), (5, 12, 24), (5, 8, 5)])
def test_other_sizes_are_refused(params, frames, height, width):
  video = jnp.zeros((1, frames, height, width, 3))
  match = f"{frames} frames of {width}x{height} pixels .* 4k \\+ 1, .* multiples of 8"
  with pytest.raises(ValueError, match=match):
    encode_moments(params, SHORT_C, CPU, video)


def test_latents_of_other_channels_are_refused(params):
  with pytest.raises(ValueError, match="Latents of 7 channels .* this VAE has 8"):
    decode(params, SHORT_C, CPU, jnp.zeros((1, 1, 1, 1, 7)), jnp.zeros(1))


def _init(config):
  return jax.eval_shape(lambda: init_vae(jax.random.key(0), config))


def _with(part, name, **options):
  blocks = (Block(name, **options),)
  return dataclasses.replace(SHORT_C, **{f"{part}_blocks": blocks})


@pytest.mark.parametrize(
  "part, name, options, match",
  [
    ("encoder", "attn_res_x", {"attention_head_dim": 4}, "no 'attn_res_x' blocks"),
    ("encoder", "compress_all_res", {"multiplier": 3}, "from 8 to 24 .* divide 64"),
    ("decoder", "compress_all_res", {}, "A decoder has no 'compress_all_res' blocks"),
    ("decoder", "compress_all_x_y", {}, "A decoder has no 'compress_all_x_y' blocks"),
    ("decoder", "compress_time", {"residual": True}, "'compress_time' has residual"),
    ("decoder", "res_x_y", {"inject_noise": True}, "Noise needs multiplier = 1"),
    ("decoder", "attn_res_x", {"attention_head_dim": 3}, "= 3; it must divide 8"),
    (
      "decoder",
      "compress_all",
      {"residual": True, "multiplier": 3},
      "from 24 to 8 .* divide 64",
    ),
  ],
)
def test_blocks_that_do_not_fit_are_refused(part, name, options, match):
  with pytest.raises(ValueError, match=match):
    _init(_with(part, name, **options))


@pytest.mark.parametrize("name, head_dim", [("attn_res_x", None), ("res_x", 8)])
def test_attention_has_heads_and_nothing_else_has(name, head_dim):
  with pytest.raises(
    ValueError, match="attention_head_dim = .* only 'attn_res_x' blocks"
  ):
    _with("decoder", name, attention_head_dim=head_dim)


def test_group_norm_wants_groups():
  config = dataclasses.replace(SHORT_C, norm_layer="group_norm")
  with pytest.raises(ValueError, match="'group_norm' meets 8 channels; .* of 32"):
    _init(config)


def test_an_encoder_takes_no_noise():
  # One list may serve both; the original gives its noise to the decoder alone.
  config = _with("encoder", "res_x", inject_noise=True)
  assert not [
    path for path in flatten(_init(config)) if "encoder/down" in path and "per_" in path
  ]


def test_the_decoder_module_takes_a_policy_of_no_machine():
  # Shapes follow from a config alone, for a machine that is not there.
  latents = jnp.zeros((1, 3, 2, 3, 8), jnp.bfloat16)
  module = Decoder(SHORT_C, dataclasses.replace(BF16, name="tpu"))
  variables = {"params": jax.tree.map(jnp.asarray, random_params(SHORT_C)["decoder"])}
  out = jax.eval_shape(lambda: module.apply(variables, latents, jnp.zeros(1)))
  assert out.shape == (1, 9, 16, 24, 3) and out.dtype == jnp.bfloat16
