"""Low-rank updates of a model: training, sample images next to it, and files."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

import ltx_jax
from ltx_jax.checkpoints.quantization import is_quantized
from ltx_jax.checkpoints.trees import flatten
from ltx_jax.config.lora import LoRAConfig
from ltx_jax.data import video
from ltx_jax.parallel.mesh import make_mesh
from ltx_jax.training import lora
from tests.policies import QUICK
from tests.train import trainer_case as case
from tests.train import transformer_case as records
from train.harness import loop, model, shapes, start
from train.trainers import transformer


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """Updates of a model in a folder."""
  folder = tmp_path_factory.mktemp("lora")
  state = case.moved(jax.jit(records.INIT)(jax.random.key(0)))
  run = case.in_folder(records.RUN, folder / "base")
  made = model.model_of(run, state.params, case.frozen_vae(), QUICK)
  named = str(model.export(run, made))
  run = case.in_folder(records.RUN, folder / "run")
  few = LoRAConfig(rank=2, layers=("to_q", "to_v", "proj_in"))
  return dataclasses.replace(run, init_from=named, lora=few)


@pytest.fixture(scope="module")
def trained(run):
  """The state after a whole run, and the base."""
  base, text = start.base(run), transformer.TEXT["trained"](run, QUICK)
  networks = functools.partial(transformer.networks_of, run, frozen={"base": base})
  shown = records.source().shown
  state = loop.fit(
    run,
    init=functools.partial(transformer.init_state, run),
    update=transformer.make_update(run, QUICK, case.frozen_vae().config),
    loader=records.loader(),
    rules=transformer.RULES,
    frozen={"empty": records.source().empty, "base": base},
    hooks=loop.Hooks(
      pictures=model.make_pictures(
        run,
        lambda state: [base, networks(state.ema)],
        case.frozen_vae(),
        shown,
        QUICK,
        text,
      ),
      work=transformer.work_of(run),
    ),
  )
  return jax.device_get(state), base


@pytest.mark.slow
def test_updates_alone_are_trained_and_saved(run, trained):
  state, _ = trained
  assert set(state.params) == {"lora"}
  first = transformer.init_state(run, jax.random.key(run.seed)).params
  assert all(
    np.abs(a - b).max() > 0
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(first), strict=True)
  )
  assert set(state.ema) == {"lora"}


@pytest.mark.slow
def test_a_picture_shows_the_base_beside_what_was_learned(run, trained):
  (shown,) = case.place_of(run, "samples").iterdir()
  image = video.read(shown)[0][0]
  assert image.shape == (6 * 32, 2 * 5 * 32, 3)
  assert (image[:, : 5 * 32] != image[:, 5 * 32 :]).any()


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["diffusers", "comfyui"])
def test_what_is_written_makes_of_the_base_what_was_learned(run, trained, reader):
  state, base = trained
  transformer.export(run, state, case.frozen_vae())
  path = model.lora_file(run, reader)
  made = ltx_jax.load(run.init_from, dtype="float32", loras=[(path, 1.0)])
  plain = ltx_jax.load(run.init_from, dtype="float32")
  rng = np.random.default_rng(0)
  x = rng.standard_normal((1, 8, 8), np.float32)
  coords = rng.random((1, 8, 3), np.float32)
  text, mask = made.encode_text(["a small red circle"])
  inputs = x, coords, text, mask, np.float32([0.7])
  params = lora.joined(base["transformer"], state.ema["lora"], run.lora)
  module = transformer.transformer.Transformer(run.transformer, QUICK)
  expected = jax.jit(module.apply)({"params": params}, *inputs)
  scale = np.abs(expected).max()
  assert np.abs(made.velocity(*inputs) - expected).max() < 1e-4 * scale
  assert np.abs(plain.velocity(*inputs) - expected).max() > 1e-3 * scale


def test_the_base_may_be_in_8_bits_and_is_planned_so(run):
  run = dataclasses.replace(
    run, lora=dataclasses.replace(run.lora, base_weights="int8")
  )
  base, (bucket, *_) = start.base(run), run.stages[0].buckets
  assert is_quantized(base)
  mesh = make_mesh(data=1, devices=jax.devices()[:1])
  codec = case.frozen_vae().config
  planned = shapes.of_transformer(run, QUICK, mesh, bucket, 1, codec).arguments[1]
  sizes = [
    {path: (leaf.shape, leaf.dtype) for path, leaf in flatten(tree).items()}
    for tree in (planned["base"], base)
  ]
  assert sizes[0] == sizes[1]


def test_updates_of_nothing_are_refused():
  with pytest.raises(ValueError, match="lora.rank is 4; name the model"):
    dataclasses.replace(records.RUN, lora=LoRAConfig(rank=4))
  with pytest.raises(ValueError, match=r"layers is \('to_x',\); choose among"):
    LoRAConfig(rank=4, layers=("to_x",))
