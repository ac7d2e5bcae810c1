"""The Video-VAE, its gradients and its convolution against the PyTorch original."""

import dataclasses

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("ltx_video")

from ltx_video.models.autoencoders.causal_conv3d import CausalConv3d  # noqa: E402
from ltx_video.models.autoencoders.causal_video_autoencoder import (  # noqa: E402
  create_video_autoencoder_demo_config,
)

from ltx_jax.config import VAEConfig  # noqa: E402
from ltx_jax.models.convolution import causal_conv  # noqa: E402
from ltx_jax.models.vae import decode, encode_moments  # noqa: E402
from ltx_jax.platforms import CPU  # noqa: E402
from tests.models.vae_case import (  # noqa: E402
  FULL,
  SHORT,
  SIGMA,
  injected_noise,
  inputs,
  random_params,
  relative_error,
  weights,
)
from tests.oracle.make_golden_vae import (  # noqa: E402
  channels_first,
  channels_last,
  official_state,
  reference_model,
  run_reference,
)

CONFIGS = FULL | SHORT
ROLLED = dataclasses.replace(CPU, unroll=False)
DIRECT = dataclasses.replace(ROLLED, convolution="direct")
POLICIES = {"small_model": CPU, "b": DIRECT, "group_norm": DIRECT}
PARTS = ("mean", "logvar", "decoded")
INPUTS = ("video", "latents", "sigma")


def test_the_demo_is_that_of_the_original():
  official = VAEConfig.from_metadata(create_video_autoencoder_demo_config(8))
  narrow = {"encoder_base_channels": 8, "decoder_base_channels": 8}
  assert dataclasses.replace(official, **narrow) == CONFIGS["demo"]


@pytest.mark.parametrize("positions", [0, 1, 2])
@pytest.mark.parametrize("name", CONFIGS)
def test_encode_and_decode(name, positions):
  config = CONFIGS[name]
  if positions == 2 and name not in ("a", "b", "c", "demo", "small_model"):
    pytest.skip("17 frames for released block lists only")
  policy = POLICIES.get(name, ROLLED)
  params = random_params(config)
  video, latents = inputs(config, positions)
  key = jax.random.key(7)

  @jax.jit
  def run(params, video, latents, key):
    moments = encode_moments(params, config, policy, video)
    return *moments, decode(params, config, policy, latents, SIGMA, key)

  ours = run(params, video, latents, key)
  model = reference_model(config, params)
  images = injected_noise(config, key, *latents.shape[2:4])
  with torch.no_grad():
    tensors = channels_first(video), channels_first(latents), torch.tensor(SIGMA)
    theirs = run_reference(model, *tensors, images)
  errors = [relative_error(a, b) for a, b in zip(ours, theirs, strict=True)]
  print(name, video.shape[1], *(f"{e:.1e}" for e in errors))
  assert max(errors) < 1e-4, dict(zip(PARTS, errors, strict=True))


def test_without_a_key_nothing_is_injected():
  config = CONFIGS["options"]
  params = random_params(config)
  video, latents = inputs(config)
  ours = jax.jit(lambda params, z: decode(params, config, ROLLED, z, SIGMA))
  model = reference_model(config, params)
  tensors = channels_first(video), channels_first(latents), torch.tensor(SIGMA)
  with torch.no_grad():
    theirs = run_reference(model, *tensors)[-1]
  assert relative_error(ours(params, latents), theirs) < 1e-4


def _gradients(config, policy, key):
  """Gradients of all three outputs' weighted sum, to parameters and inputs."""

  def loss(params, video, latents, sigma):
    moments = encode_moments(params, config, policy, video)
    outputs = *moments, decode(params, config, policy, latents, sigma, key)
    return sum((out * weights(out.shape)).sum() for out in outputs)

  return jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3)))


@pytest.mark.parametrize(
  "name", ["a", "b", "c", "demo", "small_model", "group_norm", "options"]
)
def test_gradients(name):
  config = CONFIGS[name]
  policy = POLICIES.get(name, ROLLED)
  params = random_params(config)
  video, latents = inputs(config)
  key = jax.random.key(7)
  gradients, *to_inputs = _gradients(config, policy, key)(params, video, latents, SIGMA)

  model = reference_model(config, params)
  tensors = [channels_first(video), channels_first(latents)]
  tensors.append(torch.tensor(SIGMA, requires_grad=True))
  images = injected_noise(config, key, *latents.shape[2:4])
  outputs = run_reference(model, *tensors, images)
  sum((out * torch.tensor(weights(out.shape))).sum() for out in outputs).backward()

  named = dict(model.named_parameters())
  state = official_state(config, gradients)
  assert named.keys() <= state.keys()
  pairs = {key: (state[key], named[key].grad) for key in named}
  for part, ours, tensor in zip(INPUTS, to_inputs, tensors, strict=True):
    if tensor.grad is None:  # A decoder without the noise level.
      assert not config.timestep_conditioning and not np.any(ours)
      continue
    grad = channels_last(tensor.grad) if tensor.ndim == 5 else tensor.grad
    pairs[f"to {part}"] = (ours, grad)
  # A bias before a group norm of one channel a group has no gradient but rounding.
  total = np.sqrt(sum(float((ref**2).sum()) for _, ref in pairs.values()))
  errors = {}
  for part, (ours, ref) in pairs.items():
    if name == "group_norm" and ref.norm() < 1e-6 * total:
      assert np.linalg.norm(ours) < 1e-6 * total
    else:
      errors[part] = relative_error(ours, ref)
  worst = max(errors, key=errors.get)
  print(f"{name}: gradients {errors[worst]:.1e} ({worst}), {len(errors)} arrays")
  assert errors[worst] < 1e-3, errors


@pytest.mark.parametrize("frames", [1, 5])
@pytest.mark.parametrize("strides", [(1, 1, 1), (2, 1, 1), (1, 2, 2), (2, 2, 2)])
@pytest.mark.parametrize("padding", ["zeros", "replicate", "reflect"])
def test_convolution(padding, strides, frames):
  rng = np.random.default_rng(0)
  # The CPU's choice is matmuls, and convolutions for the second; also for the fourth
  # where there are strides. The last is of Winograd's form where it can be.
  shapes = [(5, 3, 2, 2), (5, 3, 6, 4), (3, 8, 6, 4), (8, 3, 6, 4)]
  if strides == (1, 1, 1):
    shapes.append((64, 64, 22, 21))
  for c, out, height, width in shapes:
    theirs = CausalConv3d(c, out, 3, strides, spatial_padding_mode=padding)
    x = rng.standard_normal((2, frames, height, width, c)).astype(np.float32)
    kernel = theirs.weight.detach().permute(2, 3, 4, 1, 0).numpy()
    bias = theirs.conv.bias.detach().numpy()
    for causal in (True, False):
      with torch.no_grad():
        reference = channels_last(theirs(channels_first(x), causal=causal))
      for policy in (CPU, DIRECT):
        y = causal_conv(
          *map(jax.numpy.asarray, (x, kernel, bias)),
          strides=strides,
          causal=causal,
          padding=padding,
          policy=policy,
        )
        assert relative_error(y, reference) < 1e-5, (c, out, causal, policy)
