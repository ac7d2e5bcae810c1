"""Extra clips that clips are shown: at which steps, and which of their tokens."""

import numpy as np
import pytest

from ltx_jax.config.runs import Bucket, Stage
from ltx_jax.data import beside
from ltx_jax.data.loader import Loader
from ltx_jax.data.token_dropping import as_tokens, kept

SHARES = {"last": 0.25, "reference": 0.6}


def test_steps_show_each_thing_by_its_share_and_independently():
  shown = [beside.shown_at(step, SHARES, seed=3) for step in range(4000)]
  assert shown == [beside.shown_at(step, SHARES, seed=3) for step in range(4000)]
  has = {name: np.array([name in names for names in shown]) for name in SHARES}
  for name, share in SHARES.items():
    assert abs(has[name].mean() - share) < 4 * np.sqrt(share * (1 - share) / 4000)
  assert abs(np.corrcoef(has["last"], has["reference"])[0, 1]) < 4 / np.sqrt(4000)
  other = [beside.shown_at(step, SHARES, seed=4) for step in range(4000)]
  assert np.mean([a == b for a, b in zip(shown, other, strict=True)]) < 0.6


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_none_or_all_is_none_or_all(share):
  shown = {beside.shown_at(step, {"last": share}, 0) for step in range(500)}
  assert shown == {frozenset({"last"} if share else ())}


class _Clips:
  """Clips whose latents encode where they come from."""

  fingerprint = "clips"

  def assign(self, buckets):
    return [np.arange(6) for _ in buckets]

  def propose(self, auto, factors, tokens):
    raise NotImplementedError

  def read(self, bucket, ids, seeds):
    shape = (len(ids), bucket.frames, bucket.height, bucket.width, 1)
    latents = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    batch = {"latents": latents, "reference": -latents, "last": 0.5 + latents[:, -1:]}
    return as_tokens(batch | {"seed": seeds, "fps": np.float32(ids)})


def tokens(bucket):
  return bucket.frames * bucket.height * bucket.width


def loader(buckets, shares, token_dropping=0.0):
  return Loader(
    _Clips(),
    (Stage(40, buckets, tokens=48),),
    0,
    tokens,
    token_dropping=token_dropping,
    beside=shares,
  )


def test_a_batch_has_what_its_step_shows_and_no_more():
  batches = loader((Bucket(2, 2, 4),), SHARES)
  names = {"last": {"last", "last_places"}, "reference": {"reference"}}
  seen = set()
  for step in range(40):
    shown = beside.shown_at(step, SHARES, 0)
    expected = set().union(*(names[name] for name in shown))
    found = set(batches.batch(step))
    assert found & {"last", "last_places", "reference"} == expected
    seen.add(shown)
  assert len(seen) == 4


def test_an_image_is_not_shown_itself():
  batches = loader((Bucket(1, 4, 4), Bucket(2, 2, 4)), {"last": 1.0, "reference": 1.0})
  for step in range(40):
    frames = batches.bucket_at(step).frames
    batch = batches.batch(step)
    assert ("last" in batch) == (frames > 1) and "reference" in batch


def test_the_same_tokens_of_a_clip_and_of_its_reference_are_kept():
  buckets = Bucket(2, 3, 4), Bucket(2, 5, 2)
  batches = loader(buckets, {"last": 1.0, "reference": 1.0}, token_dropping=0.2)
  trimmed = 0
  for step in range(10):
    batch = batches.batch(step)
    clips = len(batch["seed"])
    assert batch["latents"].shape == batch["reference"].shape == (clips, 20, 1)
    np.testing.assert_array_equal(batch["reference"], -batch["latents"])
    # Of a last frame with 12 tokens 10 are kept, as many as the other one has.
    assert batch["last"].shape == (clips, 10, 1)
    for row in range(clips):
      height, width = batch["grid"][row, 1:]
      trimmed += height * width == 12
      places = batch["last_places"][row] @ [width, 1]
      chosen = kept(12, 10, int(batch["seed"][row]))
      whole = np.arange(10) if height * width == 10 else np.arange(12)[chosen]
      np.testing.assert_array_equal(places, whole)
      # Each is the token of the clip's last frame that stands there, and a half.
      of_clip = batch["places"][row]
      own = {
        int(y * width + x): float(value)
        for (frame, y, x), value in zip(
          of_clip, batch["latents"][row, :, 0], strict=True
        )
        if frame == 1
      }
      shown = zip(places.tolist(), batch["last"][row, :, 0].tolist(), strict=True)
      assert all(value == own[at] + 0.5 for at, value in shown if at in own)
  assert 0 < trimmed < 20


def test_what_is_shown_decides_the_plan_and_nothing_else_does():
  buckets = (Bucket(2, 2, 4),)
  prints = {
    loader(buckets, shares).fingerprint
    for shares in ({}, {"last": 0.5}, {"last": 0.4}, {"reference": 0.5})
  }
  assert len(prints) == 4
  plain = Loader(_Clips(), (Stage(40, buckets, tokens=48),), 0, tokens)
  assert plain.fingerprint == loader(buckets, {}).fingerprint
