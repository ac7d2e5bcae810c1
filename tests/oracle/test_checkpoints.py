"""Checkpoints cross between the PyTorch original and this code, both ways, as files."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("ltx_video")

import jax  # noqa: E402
import safetensors.torch  # noqa: E402
from ltx_video.models.autoencoders.causal_video_autoencoder import (  # noqa: E402
  CausalVideoAutoencoder,
)
from ltx_video.models.transformers.transformer3d import (  # noqa: E402
  Transformer3DModel,
)
from ltx_video.schedulers.rf import RectifiedFlowScheduler  # noqa: E402

from ltx_jax.checkpoints import keys  # noqa: E402
from ltx_jax.checkpoints.lightricks import load_checkpoint, save_checkpoint  # noqa: E402
from ltx_jax.config import SchedulerConfig  # noqa: E402
from ltx_jax.models.vae import decode, encode_moments  # noqa: E402
from ltx_jax.platforms import CPU  # noqa: E402
from tests.checkpoints import manifests, small  # noqa: E402
from tests.models.transformer_case import network  # noqa: E402

THIN = {"encoder_base_channels": 32, "decoder_base_channels": 32}
VAES = {
  "small": small.VAE.to_metadata(),
  "group_norm": manifests.read("vae_options_group")[0] | THIN,
  "layer_norm": manifests.read("vae_options_layer")[0] | THIN,
}


def _randomise(model, seed):
  """Gives every parameter and buffer a number of its own; returns the state dict."""
  generator = torch.Generator().manual_seed(seed)
  state = model.state_dict()
  for key, tensor in state.items():
    if tensor.is_floating_point():
      fan_in = max(tensor[0].numel(), 1) if tensor.ndim > 1 else 4
      noise = torch.randn(tensor.shape, generator=generator) / fan_in**0.5
      tensor.copy_(noise.abs() + 0.5 if "running_var" in key else noise)
  return state


def _statistics(channels):
  generator = torch.Generator().manual_seed(2)
  return {
    f"{keys.STATISTICS}mean-of-means": torch.randn(channels, generator=generator),
    f"{keys.STATISTICS}std-of-means": torch.rand(channels, generator=generator) + 0.5,
  }


def _vae(name):
  metadata = json.loads(json.dumps(VAES[name]))
  model = CausalVideoAutoencoder.from_config(dict(metadata)).eval()
  state = {k: v.contiguous() for k, v in _randomise(model, 0).items()}
  return metadata, model, state | _statistics(metadata["latent_channels"])


def _transformer():
  metadata = json.loads(json.dumps(small.TRANSFORMER.to_metadata()))
  model = Transformer3DModel.from_config(metadata).eval()
  return metadata, model, _randomise(model, 1)


def _write(path, parts):
  """Writes state dicts as a released file has them."""
  tensors, metadata = {}, {"scheduler": SchedulerConfig().to_metadata()}
  for part, (config, state) in parts.items():
    metadata[part] = config
    tensors |= {keys.PREFIXES[part] + key: tensor for key, tensor in state.items()}
  written = {"config": json.dumps(metadata)}
  safetensors.torch.save_file(tensors, str(path), metadata=written)
  return tensors


def _assert_same(tensors, expected):
  ignored = {keys.PREFIXES["vae"] + key for key in keys.IGNORED}
  assert tensors.keys() - ignored == expected.keys() - ignored
  for key in expected.keys() - ignored:
    assert tensors[key].dtype == expected[key].dtype
    assert torch.equal(tensors[key], expected[key]), key


def _close(ours, theirs, tolerance=1e-4):
  ours, theirs = np.asarray(ours), theirs.detach().numpy()
  assert ours.shape == theirs.shape
  error = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
  assert error < tolerance, error


def _last(tensor):
  return tensor.permute(0, 2, 3, 4, 1)


def test_a_vae_of_the_original_loads_here_and_computes_the_same(tmp_path, monkeypatch):
  metadata, model, state = _vae("small")
  path = tmp_path / "vae.safetensors"
  tensors = _write(path, {"vae": (metadata, state)})
  config, params = load_checkpoint(path)
  vae = config.vae

  generator = torch.Generator().manual_seed(3)
  t, s = 2 * vae.temporal_factor, 4 * vae.spatial_factor
  video = torch.randn(1, 3, t + 1, s, s, generator=generator)
  latents = torch.randn(1, vae.latent_channels, 2, 2, 2, generator=generator)
  monkeypatch.setattr(torch, "randn", lambda shape, **_: torch.zeros(shape))
  with torch.no_grad():
    mean = model.encode(video).latent_dist.mean
    sigma = torch.tensor([0.05])
    decoded = model.decode(latents, target_shape=video.shape, timestep=sigma).sample
  encode = jax.jit(lambda params, video: encode_moments(params, vae, CPU, video)[0])
  _close(encode(params["vae"], _last(video).numpy()), _last(mean))
  ours = jax.jit(lambda params, z, sigma: decode(params, vae, CPU, z, sigma))
  _close(ours(params["vae"], _last(latents).numpy(), sigma.numpy()), _last(decoded))

  again = tmp_path / "again.safetensors"
  save_checkpoint(again, config, params)
  _assert_same(safetensors.torch.load_file(again), tensors)


def test_a_transformer_of_the_original_loads_here_and_computes_the_same(tmp_path):
  metadata, model, state = _transformer()
  path = tmp_path / "transformer.safetensors"
  tensors = _write(path, {"transformer": (metadata, state)})
  config, params = load_checkpoint(path)
  assert config.transformer == small.TRANSFORMER

  generator = torch.Generator().manual_seed(4)
  tokens = torch.randn(2, 6, 8, generator=generator)
  coords = torch.rand(2, 3, 6, generator=generator) * torch.tensor([[[3], [64], [96]]])
  text = torch.randn(2, 5, 16, generator=generator)
  mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
  sigma = torch.tensor([0.3, 0.9])
  with torch.no_grad():
    theirs = model(
      tokens,
      indices_grid=coords,
      encoder_hidden_states=text,
      timestep=sigma[:, None],
      encoder_attention_mask=mask,
      return_dict=False,
    )[0]
  velocity = jax.jit(network(params["transformer"], config.transformer))
  given = (tokens, coords.permute(0, 2, 1), text, mask, sigma)
  _close(velocity(*(x.numpy() for x in given)), theirs)

  again = tmp_path / "again.safetensors"
  save_checkpoint(again, config, params)
  _assert_same(safetensors.torch.load_file(again), tensors)


def test_a_whole_file_of_the_original_arrives_unchanged(tmp_path):
  vae_metadata, _, vae = _vae("small")
  metadata, _, transformer = _transformer()
  parts = {"transformer": (metadata, transformer), "vae": (vae_metadata, vae)}
  one, two = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
  tensors = _write(one, parts)
  save_checkpoint(two, *load_checkpoint(one))
  _assert_same(safetensors.torch.load_file(two), tensors)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_original_loads_our_file_strictly(tmp_path, dtype):
  path = tmp_path / "ours.safetensors"
  save_checkpoint(path, small.CONFIG, small.params(), dtype=str(dtype).split(".")[1])
  tensors = safetensors.torch.load_file(path)
  transformer = Transformer3DModel.from_pretrained(path).state_dict()
  prefix = keys.PREFIXES["transformer"]
  of_transformer = {k: v for k, v in tensors.items() if k.startswith(prefix)}
  _assert_same({prefix + k: v for k, v in transformer.items()}, of_transformer)

  vae = CausalVideoAutoencoder.from_pretrained(path)
  state = vae.state_dict()
  statistics = {"mean_of_means": "mean-of-means", "std_of_means": "std-of-means"}
  for theirs, official in statistics.items():
    tensor = tensors[f"vae.{keys.STATISTICS}{official}"]
    assert torch.equal(state.pop(theirs), tensor)
  of_vae = {k: v for k, v in tensors.items() if k.startswith("vae.")}
  of_vae = {k: v.float() for k, v in of_vae.items() if keys.STATISTICS not in k}
  _assert_same({f"vae.{k}": v for k, v in state.items()}, of_vae)

  scheduler = RectifiedFlowScheduler.from_pretrained(path)
  assert scheduler.config["sampler"] == small.CONFIG.scheduler.sampler
  assert vae.config.patch_size == small.VAE.patch_size


@pytest.mark.parametrize("name", ["group_norm", "layer_norm"])
def test_every_option_crosses_both_ways(tmp_path, name):
  metadata, _, state = _vae(name)
  one, two = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
  tensors = _write(one, {"vae": (metadata, state)})
  save_checkpoint(two, *load_checkpoint(one))
  _assert_same(safetensors.torch.load_file(two), tensors)
  assert CausalVideoAutoencoder.from_pretrained(two).config.norm_layer == name


@pytest.mark.parametrize("name", manifests.NAMES)
def test_the_manifests_are_those_of_the_original(name):
  from tests.oracle import make_manifests

  made = make_manifests.manifest(name)
  config, parameters, shapes = manifests.read(name)
  assert made["config"] == config and made["parameters"] == parameters
  assert {k: tuple(v) for k, v in made["tensors"].items()} == shapes
