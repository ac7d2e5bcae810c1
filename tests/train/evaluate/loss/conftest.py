"""Shared by the tests of the loss: a finished training, and records of its VAE."""

import pytest

from ltx_jax.moving_shapes import world
from tests.train import trainer_case
from tests.train import transformer_case as case
from train import precompute
from train.trainers import transformer


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
  """The folder of a finished run of the tiny transformer."""
  folder = tmp_path_factory.mktemp("trained")
  state = case.fit(folder)
  run = trainer_case.in_folder(case.RUN, folder)
  transformer.export(run, state, trainer_case.frozen_vae())
  return folder


@pytest.fixture(scope="session")
def records(trained, tmp_path_factory):
  """Folders of records by what they hold of captions: encoded text, or tokens."""
  parent, model = tmp_path_factory.mktemp("records"), trained / "model"
  captions = world.train_captions()[::200]
  held_out = world.held_out_captions()[:2]
  sizes = "--buckets", "5x32x32", "--variants", "1", "--samples", "1"
  ways = {
    "text": ("--text-encoder", model),
    "tokens": ("--text-encoder", "none", "--tokenizer", model / "tokenizer"),
  }
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(world, "train_captions", lambda: captions)
    patch.setattr(world, "held_out_captions", lambda: held_out)
    for name, way in ways.items():
      given = "moving-shapes", "--model", model / "model.safetensors", *way, *sizes
      precompute.main([*map(str, given), "--output", str(parent / name)])
  return {name: parent / name for name in ways}
