"""A filter on the scores of records: which are trained on, and which are held out."""

import dataclasses
import math

import numpy as np
import pytest

from ltx_jax.checkpoints.fingerprint import fingerprint
from ltx_jax.config.data import ScoreConfig
from ltx_jax.data.records import Record, SetInfo, Writer, write_index
from tests.train import records_case, transformer_case
from tests.train import trainer_case as case
from train.harness.captions import Captions

COUNT, ASIDE = 12, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Twelve images whose scores are their numbers; two have none."""
  path = tmp_path_factory.mktemp("scored")
  captions = Captions.of_tokenizer(records_case.TOKENIZER)
  vae = case.frozen_vae()
  made = fingerprint(vae.config, vae.params)
  shape = (*vae.config.latent_shape(1, 32, 32), vae.config.latent_channels)
  with Writer(path / "images.arrayrecord") as writer:
    for number in range(COUNT):
      writer.write(
        Record(
          f"{number:02d}",
          f"number {number}",
          np.full(shape, number, np.float32),
          *(24.0, 1, 32, 32),
          vae=made,
          text_encoder=captions.made_by,
          tokens=captions.tokens(f"number {number}"),
          scores={} if number in (2, 9) else {"aesthetic": float(number)},
          key=str(number),
        )
      )
  factors = vae.config.temporal_factor, vae.config.spatial_factor
  info = SetInfo(made, vae.config.latent_channels, factors, captions.made_by)
  write_index(path, info, captions.empty())
  return path


def opened(folder, **score):
  run = dataclasses.replace(
    transformer_case.RUN, held_out=ASIDE, score=ScoreConfig(**score)
  )
  return transformer_case.opened(folder, run)


def ids(source):
  return [int(name) for name in source.records.index.ids]


def test_records_with_the_score_are_trained_on_and_the_same_are_held_out(folder):
  every, best = opened(folder), opened(folder, at_least=5)
  (whole,), (few,) = every.trained.sources, best.trained.sources
  assert ids(best.held_out) == ids(every.held_out) and len(ids(every.held_out)) == ASIDE
  aside = set(ids(every.held_out))
  assert set(ids(whole)) == set(range(COUNT)) - aside
  assert set(ids(few)) == {5, 6, 7, 8, 10, 11} - aside
  assert few.fingerprint != whole.fingerprint


def test_what_a_score_leaves_out_is_counted(folder):
  (note,) = opened(folder, at_least=5).notes
  said = "6 of 12 records have the score 'aesthetic' of at least 5; 4 have less and 2"
  assert said in note and note.startswith(str(folder))
  assert opened(folder).notes == []


@pytest.mark.parametrize(
  ("score", "words"),
  [
    ({"name": "motion", "at_least": 1}, "has the score 'motion'; there are: aesthetic"),
    ({"at_least": 12}, "'aesthetic' of at least 12; the highest is 11: lower --score"),
  ],
)
def test_a_score_that_no_record_has_is_refused(folder, score, words):
  with pytest.raises(ValueError, match=words):
    opened(folder, **score)


def test_records_without_any_score_are_refused_in_a_sentence():
  with pytest.raises(ValueError, match="there are: held_out. Write it into the man"):
    transformer_case.opened(
      transformer_case.folder(),
      dataclasses.replace(transformer_case.RUN, score=ScoreConfig(at_least=5.0)),
    )


def test_a_least_score_is_a_number():
  with pytest.raises(ValueError, match="score.at_least is nan; it must be"):
    ScoreConfig(at_least=math.nan)
