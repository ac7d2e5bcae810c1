"""Which held-out clips are evaluated."""

import numpy as np
import pytest

from configs import tiny
from train.harness import evaluation


class Numbered:
  """A source without images, with a given number of clips."""

  def __init__(self, clips):
    self.clips = clips

  def assign(self, buckets):
    return [np.arange(self.clips if b == tiny.CLIP else 0) for b in buckets]

  def read(self, bucket, ids, seeds):
    return {"ids": ids, "seed": seeds}


def test_clips_of_each_bucket_are_spread_over_what_it_takes():
  found = evaluation.held_out_batches(Numbered(46), tiny.vae().stages)
  assert list(found) == ["5x32x32"]
  np.testing.assert_array_equal(found["5x32x32"]["ids"], np.arange(0, 46, 3))


def test_held_out_clips_that_fit_no_bucket_are_refused():
  with pytest.raises(ValueError, match="None of the clips that are held out fits a b"):
    evaluation.held_out_batches(Numbered(0), tiny.vae().stages)
