"""The two models of a training are those of its last checkpoint."""

import shutil

import jax
import numpy as np
import pytest

import ltx_jax
from ltx_jax.checkpoints.training import TrainingCheckpoints, read_newest
from tests.train import trainer_case
from tests.train import transformer_case as case
from train.evaluate.loss import training
from train.harness import loop

pytestmark = pytest.mark.usefixtures("quick")


def test_both_are_as_they_were_trained(trained):
  raw, averaged = training.models_of(trained).values()
  run = trainer_case.in_folder(case.RUN, trained)
  state = loop.fit(
    run,
    init=case.INIT,
    update=case.update(),
    loader=case.loader(),
    rules=case.RULES,
    frozen=case.frozen_of(case.source()),
  )
  for part in ("transformer", "text_encoder"):
    trainer_case.assert_same_bits(raw.params[part], state.params[part])
    trainer_case.assert_same_bits(averaged.params[part], state.ema[part])
  exported = ltx_jax.load(trained / "model")
  # Which is the average, rounded.
  one, other = (
    np.concatenate([np.ravel(x) for x in jax.tree.leaves(each.params["transformer"])])
    for each in (exported, averaged)
  )
  np.testing.assert_allclose(one, other, rtol=2**-8, atol=1e-6)


def test_each_has_the_text_encoder_that_was_trained_with_it(trained):
  raw, averaged = training.models_of(trained).values()
  one, other = (model.encode_text(["a red circle"])[0] for model in (raw, averaged))
  assert not np.array_equal(one, other)


def test_a_run_without_an_average_has_one_model_alone(trained, tmp_path):
  raw, _ = training.models_of(trained).values()
  params = {part: raw.params[part] for part in ("transformer", "text_encoder")}
  where, about = tmp_path / "checkpoints", {"config": {}, "network": {}}
  with TrainingCheckpoints(where, keep=1, fingerprint="", **about) as checkpoints:
    checkpoints.save(1, {"params": params, "ema": {}})
  shutil.copytree(trained / "model", tmp_path / "model")
  with pytest.raises(ValueError, match="kept no averaged parameters"):
    training.models_of(tmp_path)


def test_what_is_no_finished_training_is_refused(trained, tmp_path):
  with pytest.raises(ValueError, match="has no model/, which a transformer's training"):
    training.models_of(tmp_path)
  shutil.copytree(trained / "model", tmp_path / "model")
  with pytest.raises(
    ValueError, match="There is no checkpoint in .*; name another run"
  ):
    training.models_of(tmp_path)


def test_a_checkpoint_of_another_network_is_refused(trained):
  wanted = {"ema/transformer": {"one": jax.ShapeDtypeStruct((2,), np.float32)}}
  with pytest.raises(ValueError, match="does not fit this run: ema/transformer/"):
    read_newest(trained / "checkpoints", wanted)
