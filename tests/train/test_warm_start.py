"""Both trainers, started from the weights of a checkpoint."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import tiny
from ltx_jax.checkpoints.lightricks import save_checkpoint
from ltx_jax.config import ModelConfig, SchedulerConfig
from ltx_jax.diffusion import statistics
from ltx_jax.releases.presets import ASSETS
from tests.policies import QUICK
from tests.train import trainer_case as case
from train.harness import model as model_files
from train.harness import start
from train.trainers import transformer, vae, vae_step

TEXT = str(ASSETS / "moving_shapes")
AVERAGED = case.with_optimizer(tiny.vae(), ema_decay=0.9)
TRANSFORMER = dataclasses.replace(tiny.transformer(), text_folder=TEXT)


def fresh(module, run):
  return jax.jit(functools.partial(module.init_state, run))(jax.random.key(1))


def in_halves(tree):
  """As a model is written: in bfloat16."""
  return jax.tree.map(lambda x: np.asarray(x).astype(jnp.bfloat16).astype("f4"), tree)


def assert_fresh(state, first):
  """Whether all but the weights is as in a first state."""
  assert int(state.step) == 0
  case.assert_same_bits(state.opt_state, first.opt_state)
  case.assert_same_bits(state.ema, state.params)


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
  """A VAE, and the state that was exported."""
  folder = tmp_path_factory.mktemp("vae")
  state = case.moved(fresh(vae_step, AVERAGED))
  rng = np.random.default_rng(2)
  mean = rng.standard_normal(tiny.VAE.latent_channels, np.float32)
  state = state._replace(extra={"mean": mean, "mean_square": mean**2 + 4})
  # Its statistics would be measured of the averaged encoder: of the decoder's, kept.
  alone = dataclasses.replace(AVERAGED, trained="decoder")
  params = vae.exported_params(alone, QUICK, state, ())
  return vae.export(case.in_folder(AVERAGED, folder), params), state


def test_a_vae_starts_from_what_was_exported(codec):
  path, exported = codec
  run = dataclasses.replace(AVERAGED, init_from=str(path))
  first = fresh(vae_step, run)
  state = start.vae_start(run)(first)
  case.assert_same_bits(state.params, exported.ema)
  assert_fresh(state, first)
  for name, value in statistics.statistics(exported.extra).items():
    np.testing.assert_allclose(
      statistics.statistics(state.extra)[name], value, rtol=1e-5
    )
  without = case.with_optimizer(run, ema_decay=0.0)
  assert start.vae_start(without)(fresh(vae_step, without)).ema == {}
  assert start.vae_start(AVERAGED) is None


def test_another_vae_is_refused(codec):
  wide = dataclasses.replace(tiny.VAE, decoder_base_channels=16)
  run = dataclasses.replace(AVERAGED, vae=wide, init_from=str(codec[0]))
  message = f"vae in {codec[0]} is another network.*channels is 8 there and 16 here"
  with pytest.raises(ValueError, match=message):
    start.vae_start(run)


def test_what_was_started_from_may_be_gone_when_a_run_is_resumed(tmp_path):
  gone = str(tmp_path / "gone.safetensors")
  run = dataclasses.replace(case.in_folder(AVERAGED, tmp_path), init_from=gone)
  with pytest.raises(ValueError, match="gone.safetensors"):
    start.vae_start(run)
  (tmp_path / "checkpoints" / "4").mkdir(parents=True)
  assert start.vae_start(run) is not None  # And it will not be called.


def test_weights_wait_on_the_host_and_not_on_a_device(codec):
  run = dataclasses.replace(AVERAGED, init_from=str(codec[0]))
  state = start.vae_start(run)(fresh(vae_step, run))
  leaves = jax.tree.leaves((state.params, state.ema))
  assert all(type(leaf) is np.ndarray for leaf in leaves)
  shared = map(np.shares_memory, *map(jax.tree.leaves, (state.params, state.ema)))
  assert not any(shared)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
  """The folder of a model, and the state that was exported."""
  folder = tmp_path_factory.mktemp("model")
  state = case.moved(fresh(transformer, TRANSFORMER))
  run = case.in_folder(TRANSFORMER, folder)
  of_run = model_files.model_of(run, state.ema, case.frozen_vae(), QUICK)
  return model_files.export(run, of_run), state


def starting(model, **changed):
  return dataclasses.replace(TRANSFORMER, init_from=str(model[0]), **changed)


def test_a_transformer_and_its_text_encoder_start_from_what_was_exported(model):
  first = fresh(transformer, TRANSFORMER)
  state = start.transformer_start(starting(model))(first)
  case.assert_same_bits(state.params, in_halves(model[1].ema))
  assert_fresh(state, first)
  frozen = starting(model, text_encoder="frozen")
  state = start.transformer_start(frozen)(fresh(transformer, frozen))
  assert set(state.params) == set(state.ema) == {"transformer"}
  assert start.transformer_start(TRANSFORMER) is None


def test_other_networks_are_refused(model):
  deeper = dataclasses.replace(tiny.TRANSFORMER, num_layers=3)
  message = "transformer in .*model.safetensors is another.*num_layers is 2 there and 3"
  with pytest.raises(ValueError, match=message):
    start.transformer_start(starting(model, transformer=deeper))
  text = dataclasses.replace(tiny.TEXT, d_ff=32)
  message = f"text encoder in {model[0]} is another network.*d_ff is 24 there and 32"
  with pytest.raises(ValueError, match=message):
    start.transformer_start(starting(model, text=text))


def check_vae(run, config, params):
  found = ModelConfig(transformer=None, vae=config, scheduler=SchedulerConfig())
  start.check_vae(dataclasses.replace(run, vae="a/b"), found, params)


def test_the_vae_must_be_the_one_that_the_model_was_trained_on(model):
  own = case.frozen_vae()
  check_vae(TRANSFORMER, own.config, own.params)
  # The model's file has it in bfloat16, the VAE's own in float32.
  check_vae(starting(model), own.config, own.params)
  noted = dataclasses.replace(own.config, extra=(("note", "x"),))
  check_vae(starting(model), noted, own.params)

  path = model[0] / "model.safetensors"
  message = f"{path} holds another VAE than a/b, .* take --vae {path}, or"
  bent = jax.tree.map(np.array, own.params)
  bent["per_channel_statistics"]["std"][0] += 1e-6
  causal = dataclasses.replace(own.config, causal_decoder=True)
  for config, params in ((own.config, bent), (causal, own.params)):
    check_vae(TRANSFORMER, config, params)
    with pytest.raises(ValueError, match=message):
      check_vae(starting(model), config, params)


def test_the_vae_has_the_latents_of_the_transformer(tmp_path, model):
  wide = dataclasses.replace(tiny.VAE, latent_channels=16)
  message = (
    "in this run's config has in_channels = 8, .* in a/b has latent_channels = 16"
  )
  with pytest.raises(ValueError, match=message):
    check_vae(TRANSFORMER, wide, {})
  # For a model without a VAE of its own, the name identifies the release.
  alone = ModelConfig(
    transformer=tiny.TRANSFORMER, vae=None, scheduler=SchedulerConfig(), name="one"
  )
  params = {"transformer": jax.device_get(model[1].params["transformer"])}
  save_checkpoint(tmp_path / "model.safetensors", alone, params)
  run = dataclasses.replace(TRANSFORMER, init_from=str(tmp_path), vae="a/b")
  own = case.frozen_vae()
  check_vae(run, own.config, own.params)
  found = ModelConfig(None, own.config, SchedulerConfig(), name="two")
  message = (
    f"transformer in {tmp_path}/model.safetensors is of 'one', but the VAE in a/b is of"
  )
  with pytest.raises(ValueError, match=message):
    start.check_vae(run, found, own.params)
