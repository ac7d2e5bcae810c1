"""Folders cross between diffusers and this code, both ways, and compute the same."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from diffusers import (  # noqa: E402
  AutoencoderKLLTXVideo,
  FlowMatchEulerDiscreteScheduler,
  LTXConditionPipeline,
  LTXPipeline,
  LTXVideoTransformer3DModel,
)

import ltx_jax  # noqa: E402
from ltx_jax.checkpoints import diffusers, recognize  # noqa: E402
from ltx_jax.config import (  # noqa: E402
  ModelConfig,
  SchedulerConfig,
  TransformerConfig,
  VAEConfig,
)
from ltx_jax.models.vae import decode, encode_moments  # noqa: E402
from ltx_jax.platforms import CPU  # noqa: E402
from tests.checkpoints import folders  # noqa: E402
from tests.checkpoints.test_lora import as_file, pairs  # noqa: E402
from tests.models.transformer_case import relative_error  # noqa: E402

POLICY = dataclasses.replace(CPU, unroll=False)
SHIFTED = {
  "use_dynamic_shifting": True,
  "base_shift": 0.95,
  "max_shift": 2.05,
  "base_image_seq_len": 1024,
  "max_image_seq_len": 4096,
  "shift_terminal": 0.1,
}


def _randomise(model):
  """Gives every parameter and buffer a number of its own."""
  generator = torch.Generator().manual_seed(0)
  for key, tensor in model.state_dict().items():
    if key.endswith("timestep_scale_multiplier"):
      continue
    fan_in = max(tensor[0].numel(), 1) if tensor.ndim > 1 else 4
    noise = torch.empty(tensor.shape).normal_(generator=generator) / fan_in**0.5
    tensor.copy_(noise.abs() + 0.5 if key == "latents_std" else noise)
  return model.eval()


def _same_tensors(theirs, folder):
  """Their state dict and the tensors of a folder are equal, name by name."""
  tensors = folders.tensors(folder)
  assert tensors.keys() == theirs.keys()
  for key, tensor in theirs.items():
    np.testing.assert_array_equal(tensors[key], tensor.numpy(), err_msg=key)


def _compare_vae(model, params, config):
  """Moments and decoded video of diffusers' VAE and of ours."""
  rng = np.random.default_rng(1)
  frames, side = config.temporal_factor + 1, 2 * config.spatial_factor
  video = rng.standard_normal((1, frames, side, side, 3)).astype(np.float32)
  latents = rng.standard_normal((1, 2, 2, 2, config.latent_channels))
  latents = latents.astype(np.float32)
  sigma = np.array([0.05], np.float32)
  first = lambda x: torch.from_numpy(x).permute(0, 4, 1, 2, 3)  # noqa: E731
  with torch.no_grad():
    mean = model.encode(first(video)).latent_dist.mean.permute(0, 2, 3, 4, 1)
    told = torch.from_numpy(sigma) if config.timestep_conditioning else None
    decoded = model.decode(first(latents), told).sample.permute(0, 2, 3, 4, 1)

  @jax.jit
  def run(params, video, latents, sigma):
    moments = encode_moments(params, config, POLICY, video)
    return moments[0], decode(params, config, POLICY, latents, sigma)

  ours = run(params, video, latents, sigma)
  errors = [
    relative_error(a, b.numpy()) for a, b in zip(ours, (mean, decoded), strict=True)
  ]
  print(*(f"{error:.1e}" for error in errors))
  assert max(errors) < 1e-4


@pytest.fixture
def nothing_injected(monkeypatch):
  """Turns off the noise that diffusers draws and injects for generation B."""
  monkeypatch.setattr(torch, "randn", lambda *shape, **_: torch.zeros(*shape))


@pytest.mark.parametrize("name", folders.VAES)
def test_diffusers_reads_our_vae(tmp_path, name, nothing_injected):
  config = ModelConfig(None, folders.VAES[name], recognize.SHIFTED)
  params = folders.params(config)
  diffusers.save_checkpoint(tmp_path, config, params)
  model = AutoencoderKLLTXVideo.from_pretrained(tmp_path / "vae").eval()
  _same_tensors(model.state_dict(), tmp_path / "vae")
  assert model.spatial_compression_ratio == config.vae.spatial_factor
  assert model.temporal_compression_ratio == config.vae.temporal_factor
  _compare_vae(model, params["vae"], config.vae)


@pytest.mark.parametrize("name", folders.VAES)
def test_we_read_the_vae_of_diffusers(tmp_path, name, nothing_injected):
  options = folders.DIFFUSERS_VAES[name]
  model = _randomise(AutoencoderKLLTXVideo(**options))
  model.save_pretrained(tmp_path / "vae", max_shard_size="50KB")
  assert len(list((tmp_path / "vae").glob("*-of-*.safetensors"))) > 2
  config, params = diffusers.load_checkpoint(tmp_path)
  assert config.vae == folders.VAES[name]
  _compare_vae(model, params["vae"], config.vae)
  diffusers.save_checkpoint(tmp_path / "again", config, params)
  _same_tensors(model.state_dict(), tmp_path / "again" / "vae")


def _compare_transformer(model, velocity):
  """The velocity at a clip of 2 x 2 x 3 latents, of two levels and masked text."""
  rng = np.random.default_rng(2)
  draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
  tokens, text = draw(2, 12, 8), draw(2, 5, 16)
  grid = np.stack(np.meshgrid(range(2), range(2), range(3), indexing="ij"), -1)
  coords = grid.reshape(1, -1, 3).astype(np.float32) * np.array([8 / 25, 32, 32])
  coords = np.repeat(coords.astype(np.float32), 2, axis=0)
  mask = np.arange(5) < np.array([[3], [5]])
  sigma = np.array([0.3, 0.9], np.float32)
  with torch.no_grad():
    theirs = model(
      torch.from_numpy(tokens),
      encoder_hidden_states=torch.from_numpy(text),
      timestep=torch.from_numpy(sigma * 1000)[:, None],
      encoder_attention_mask=torch.from_numpy(mask.astype(np.int64)),
      video_coords=torch.from_numpy(coords.transpose(0, 2, 1).copy()),
      return_dict=False,
    )[0]
  error = relative_error(velocity(tokens, coords, text, mask, sigma), theirs.numpy())
  print(f"{error:.1e}")
  assert error < 1e-4


def test_diffusers_reads_our_transformer(tmp_path):
  config = ModelConfig(folders.TRANSFORMER, None, recognize.SHIFTED)
  params = folders.params(config)
  diffusers.save_checkpoint(tmp_path, config, params, max_shard_bytes=30_000)
  assert len(list((tmp_path / "transformer").glob("*-of-*.safetensors"))) > 2
  model = LTXVideoTransformer3DModel.from_pretrained(tmp_path / "transformer").eval()
  _same_tensors(model.state_dict(), tmp_path / "transformer")
  _compare_transformer(model, ltx_jax.load(tmp_path).velocity)


def test_we_read_the_transformer_of_diffusers(tmp_path):
  model = _randomise(LTXVideoTransformer3DModel(**folders.DIFFUSERS_TRANSFORMER))
  model.save_pretrained(tmp_path / "transformer", max_shard_size="30KB")
  config, params = diffusers.load_checkpoint(tmp_path)
  assert config.transformer == folders.TRANSFORMER
  _compare_transformer(model, ltx_jax.load(tmp_path).velocity)
  diffusers.save_checkpoint(tmp_path / "again", config, params)
  _same_tensors(model.state_dict(), tmp_path / "again" / "transformer")


@pytest.mark.parametrize("newer", [False, True])
def test_pipelines_of_diffusers_read_our_folder(tmp_path, newer):
  config = folders.config(newer)
  diffusers.save_checkpoint(tmp_path, config, folders.params(config))
  pipeline = LTXConditionPipeline if newer else LTXPipeline
  absent = {"text_encoder": None, "tokenizer": None}
  whole = pipeline.from_pretrained(tmp_path, **absent)
  assert isinstance(whole.transformer, LTXVideoTransformer3DModel)
  assert isinstance(whole.vae, AutoencoderKLLTXVideo)
  theirs = whole.scheduler.config
  assert theirs["use_dynamic_shifting"] is not newer
  assert theirs["shift_terminal"] == (None if newer else 0.1)
  assert diffusers.read_config(tmp_path) == config


@pytest.mark.parametrize("newer", [False, True])
def test_we_read_the_folder_of_a_pipeline(tmp_path, newer):
  name = "c" if newer else "a"
  vae = _randomise(AutoencoderKLLTXVideo(**folders.DIFFUSERS_VAES[name]))
  transformer = LTXVideoTransformer3DModel(**folders.DIFFUSERS_TRANSFORMER)
  shift = {} if newer else SHIFTED
  pipeline = LTXConditionPipeline if newer else LTXPipeline
  pipeline(
    scheduler=FlowMatchEulerDiscreteScheduler(**shift),
    vae=vae,
    text_encoder=None,
    tokenizer=None,
    transformer=_randomise(transformer),
  ).save_pretrained(tmp_path)
  config = diffusers.read_config(tmp_path)
  assert config == dataclasses.replace(folders.config(newer), name=None)


def test_the_schedules_of_a_folder_are_those_of_diffusers(tmp_path):
  scheduler = FlowMatchEulerDiscreteScheduler(**SHIFTED)
  steps, tokens = 9, 2000
  mu = 0.95 + (2.05 - 0.95) * (tokens - 1024) / (4096 - 1024)
  scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps), mu=mu)
  config = folders.config(False)
  read = functools.partial(ltx_jax.Sampling(steps=steps).levels, tokens=tokens)
  ours = np.asarray(read(config.scheduler))
  np.testing.assert_allclose(ours, scheduler.sigmas[:-1], atol=2e-6)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")
@pytest.mark.parametrize("layout", ["diffusers", "comfyui", "with_settings"])
def test_loras_change_the_velocity_as_with_peft(tmp_path, layout):
  pytest.importorskip("peft")
  config = ModelConfig(folders.TRANSFORMER, None, recognize.SHIFTED)
  diffusers.save_checkpoint(tmp_path, config, folders.params(config))
  model = LTXVideoTransformer3DModel.from_pretrained(tmp_path / "transformer").eval()
  plain = model.state_dict()
  names = ["attn1.to_q", "attn2.to_k", "attn2.to_out.0", "ff.net.0.proj", "ff.net.2"]
  shapes = {
    (name := f"transformer_blocks.{i}.{layer}"): plain[f"{name}.weight"].shape[::-1]
    for i in (0, 2)
    for layer in names
  }
  prefix = "diffusion_model." if layout == "comfyui" else "transformer."
  settings = {}
  if layout == "with_settings":
    adapter = {
      "r": 4,
      "lora_alpha": 6,
      "alpha_pattern": {"ff.net.2": 1},
      "rank_pattern": {},
      "target_modules": list(shapes),
    }
    adapter = {f"transformer.{key}": value for key, value in adapter.items()}
    settings = {"lora_adapter_metadata": json.dumps(adapter)}
  loras = []
  for seed, strength in ((1, 0.7), (2, -0.4)):
    file = tmp_path / f"{seed}.safetensors"
    halves = {k: (0.3 * a, 0.3 * b) for k, (a, b) in pairs(shapes, 4, seed).items()}
    as_file(file, prefix, ("lora_A", "lora_B"), halves, **settings)
    state, read = LTXPipeline.lora_state_dict(str(file), return_lora_metadata=True)
    LTXPipeline.load_lora_into_transformer(
      state, transformer=model, adapter_name=f"lora_{seed}", metadata=read
    )
    loras.append((file, strength))
  model.set_adapters(["lora_1", "lora_2"], [0.7, -0.4])
  _compare_transformer(model, ltx_jax.load(tmp_path, loras=loras).velocity)


def test_the_released_folder_is_what_the_original_takes_it_for():
  theirs = pytest.importorskip("ltx_video.utils.diffusers_config_mapping")
  parts = {"transformer": TransformerConfig, "vae": VAEConfig}
  parts["scheduler"] = SchedulerConfig
  found = diffusers._config(
    {part: getattr(theirs, f"DIFFUSERS_{part.upper()}_CONFIG") for part in parts}
  )
  for part, config_class in parts.items():
    official = dict(getattr(theirs, f"OURS_{part.upper()}_CONFIG"))
    if part == "scheduler":
      official.pop("_class_name")
    expected = config_class.from_metadata(official)
    assert dataclasses.replace(expected, extra=()) == getattr(found, part)
