"""What a run says of itself: its batches, and what changed since its checkpoint."""

import dataclasses

import numpy as np
import pytest

from ltx_jax.checkpoints import training
from tests.train.harness.loop_case import OPTIMIZER, run_in, train
from train.harness import steps


def test_a_resumed_run_says_what_was_changed_and_a_short_one_cuts_its_warm_up(
  tmp_path, capsys
):
  train(run_in(tmp_path, steps=2))
  assert (
    "warm-up takes 1 step, half of the run's 2, not --opt" in capsys.readouterr().out
  )
  faster = dataclasses.replace(OPTIMIZER, learning_rate=0.5)
  train(run_in(tmp_path, steps=4, optimizer=faster, log_every=4))
  said = capsys.readouterr().out
  changed = "optimizer.learning_rate 0.01 -> 0.5, steps 2 -> 4."
  assert f"Changed since the checkpoint: {changed}" in said and "warm-up" not in said
  train(run_in(tmp_path, steps=4, optimizer=faster, log_every=4))
  assert "Changed" not in capsys.readouterr().out


def test_other_options_for_a_run_that_has_ended_are_refused_and_not_written_down(
  tmp_path,
):
  train(run_in(tmp_path, steps=4))
  config = (tmp_path / "config.json").read_text()
  faster = dataclasses.replace(OPTIMIZER, learning_rate=0.5)
  message = (
    "is at step 4, the last of this run, so no step is left to train with what "
    r"changed: optimizer.learning_rate 0.01 -> 0.5. Take more --steps"
  )
  with pytest.raises(ValueError, match=message):
    train(run_in(tmp_path, steps=4, optimizer=faster))
  assert (tmp_path / "config.json").read_text() == config


def test_of_a_list_of_stages_what_changed_alone_is_said():
  before = {"stages": [{"steps": 30, "tokens": 8}], "data": ["a", "b"]}
  now = {"stages": [{"steps": 32, "tokens": 8}, {"steps": 5}], "data": ["a", "c"]}
  assert training.changes(before, now) == [
    "data ['a', 'b'] -> ['a', 'c']",
    "stages[0].steps 30 -> 32",
    "stages[1].steps None -> 5",
  ]


def test_batches_are_described_in_words():
  video = {"video": np.zeros((2, 25, 64, 128, 3)), "seed": np.zeros(2)}
  assert steps.in_words(video) == "2 clips of 25 frames of 128x64"
  tokens = {"latents": np.zeros((1, 64, 8)), "reference": np.zeros((1, 64, 8))}
  assert steps.in_words(tokens) == "1 clip of 64 tokens with reference"
