"""Duplicates: copies are found however they were made, and nothing else is."""

import importlib.util
import io

import numpy as np
import pytest
from PIL import Image

from ltx_jax.curation import details, duplicates, windows
from ltx_jax.curation.duplicates import RULE, DuplicateRule
from tests import real_clips
from tests.curation.globe import globe
from tests.curation.test_scenes import texture


def still(seed):
  return texture(seed)[:144, :256].clip(0, 255).astype(np.uint8)


def copied(image, kind):
  picture = Image.fromarray(image)
  if kind == "jpeg":
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=40)
    return np.asarray(Image.open(file).convert("RGB"))
  if kind == "half":
    return np.asarray(picture.resize((128, 72), Image.Resampling.BICUBIC))
  if kind == "bright":
    return (image * 0.9 + 20).clip(0, 255).astype(np.uint8)
  return image[:, ::-1].copy()


def differ(one, other):
  pair = duplicates.hashes(one[None]), duplicates.hashes(other[None])
  return int(np.bitwise_count(pair[0] ^ pair[1])[0])


def test_a_hash_says_where_it_gets_darker_to_the_right():
  ramp = np.tile(np.arange(252, 0, -7, dtype=np.uint8)[None, :, None], (16, 1, 3))
  assert duplicates.hashes(ramp[None]) == np.uint64(2**64 - 1)
  assert duplicates.hashes(ramp[None, :, ::-1]) == 0
  top = np.concatenate([ramp, ramp[:, ::-1]])
  assert duplicates.hashes(top[None]) == np.uint64(0xFFFFFFFF00000000)


@pytest.mark.parametrize("kind", ["jpeg", "half", "bright"])
def test_copies_differ_by_few_bits(kind):
  assert max(differ(still(k), copied(still(k), kind)) for k in range(4)) <= RULE.bits


def test_mirrored_and_other_stills_differ_by_many():
  assert min(differ(still(k), copied(still(k), "mirrored")) for k in range(4)) > 9
  assert min(differ(still(k), still(k + 1)) for k in range(4)) > 9


def test_hashes_are_written_and_read():
  found = duplicates.hashes(np.stack([still(0), still(1)]))
  assert duplicates.from_text(duplicates.to_text(found)) == found.tolist()
  with pytest.raises(ValueError, match="'xyz'.* 64 bits in hexadecimal"):
    duplicates.from_text(["xyz"])
  with pytest.raises(ValueError, match="64 bits"):
    duplicates.from_text(["1" * 17])


def flipped(rng, hashes, bits):
  """Hashes with so many bits changed in each."""
  found = hashes.copy()
  for row in np.ndindex(found.shape):
    for bit in rng.choice(64, bits, replace=False):
      found[row] ^= np.uint64(1) << np.uint64(bit)
  return found


def corpus(rng, clips, copies, bits):
  own = rng.integers(0, 2**64, (clips, 3), np.uint64)
  of = rng.choice(clips, copies, replace=False)
  return np.concatenate([own, flipped(rng, own[of], bits)]), of


@pytest.mark.parametrize(("bits", "least"), [(0, 1.0), (3, 1.0), (5, 0.95)])
def test_copies_are_found_among_many(bits, least):
  rng = np.random.default_rng(0)
  hashes, of = corpus(rng, 2000, 200, bits)
  found = duplicates.groups(hashes)
  recall = (found[2000:] == found[of]).mean()
  assert recall >= least
  assert len(np.unique(found)) == 2200 - round(200 * recall)


def test_the_order_does_not_matter():
  rng = np.random.default_rng(1)
  hashes, _ = corpus(rng, 300, 60, 4)
  features = rng.normal(size=(360, 8))
  rule = DuplicateRule(cosine=0.93, cell=40)
  ids = [f"{k:03d}" for k in range(360)]
  pixels, scores = rng.integers(1, 3, 360), rng.integers(0, 3, 360).astype(float)

  def kept(order):
    found = duplicates.groups(hashes[order], rule, features[order])
    names = [ids[k] for k in order]
    best = duplicates.chosen(found, [pixels[order], scores[order]], names)
    return {names[k] for k in np.flatnonzero(best)}

  plain = kept(np.arange(360))
  assert 100 < len(plain) < 300
  assert all(kept(rng.permutation(360)) == plain for _ in range(3))


def test_two_stills_must_agree():
  rng = np.random.default_rng(2)
  hashes = rng.integers(0, 2**64, (2, 3), np.uint64)
  hashes[1, 0] = hashes[0, 0]
  assert duplicates.groups(hashes).tolist() == [0, 1]
  hashes[1, 2] = hashes[0, 2]
  assert duplicates.groups(hashes).tolist() == [0, 0]
  assert duplicates.groups(hashes, DuplicateRule(stills=3)).tolist() == [0, 1]


def test_images_without_detail_are_no_copies():
  assert duplicates.groups(np.zeros((5, 3), np.uint64)).tolist() == [0, 1, 2, 3, 4]


def test_features_find_what_hashes_do_not():
  rng = np.random.default_rng(3)
  hashes = rng.integers(0, 2**64, (400, 3), np.uint64)
  features = rng.normal(size=(400, 16))
  features[399] = 3 * features[7] + 0.01 * rng.normal(size=16)
  assert len(np.unique(duplicates.groups(hashes))) == 400
  found = duplicates.groups(hashes, DuplicateRule(cell=50), features)
  assert found[399] == found[7] and len(np.unique(found)) == 399


def test_the_largest_best_first_is_kept():
  groups = np.array([0, 0, 0, 3, 3, 5])
  pixels = np.array([100, 400, 400, 50, 50, 1])
  scores = np.array([9.0, 1.0, 2.0, 1.0, 1.0, 0.0])
  ids = ["a", "b", "c", "e", "d", "f"]
  kept = duplicates.chosen(groups, [pixels, scores], ids)
  assert [i for i, k in zip(ids, kept, strict=True) if k] == ["c", "d", "f"]
  # Among equal ones the next measure decides, before the smallest id.
  longest = duplicates.chosen(
    np.zeros(3, int), [*np.ones((2, 3)), np.arange(3.0)], list("abc")
  )
  assert longest.tolist() == [False, False, True]


def copies_of(clips):
  """Groups of clips, each of three stills, and of a compressed copy of each."""
  everyone = [*clips, *([copied(image, "jpeg") for image in clip] for clip in clips)]
  kinds = duplicates.hashes, windows.windows, details.details
  hashes, seen, finer = (
    np.stack([kind(np.stack(c)) for c in everyone]) for kind in kinds
  )
  crops = windows.cropped(seen, RULE.stills)
  return duplicates.groups(hashes, crops=crops, finer=finer)


def test_globes_are_copies_of_themselves_only():
  clips = [[globe(10 * k + still) for still in range(3)] for k in range(8)]
  assert copies_of(clips).tolist() == 2 * list(range(8))
  hashes = np.stack([duplicates.hashes(np.stack(clip)) for clip in clips])
  assert len(np.unique(duplicates.groups(hashes))) < 4


@pytest.mark.skipif(
  importlib.util.find_spec("gradio") is None, reason="the gradio wheel is not installed"
)
def test_real_views_of_the_earth_are_copies_of_themselves_only():
  cut = next(cut for cut in real_clips.CUTS if cut.scene == "earth")
  frames, _ = real_clips.frames_of(real_clips.source(cut))
  starts = (cut.start + cut.every * k for k in range(len(cut.captions)))
  clips = [
    [frames[start + at].reformat(256, 144, "rgb24").to_ndarray() for at in (4, 12, 20)]
    for start in starts
  ]
  count = len(clips)
  assert copies_of(clips).tolist() == 2 * list(range(count))
  hashes = np.stack([duplicates.hashes(np.stack(clip)) for clip in clips])
  assert len(np.unique(duplicates.groups(hashes))) < count / 2


def test_none_is_no_group():
  assert duplicates.groups(np.zeros((0, 3), np.uint64)).shape == (0,)


def test_a_crowd_of_one_band_takes_no_time():
  """Titles on black share bits; each is compared with a few others only."""
  rng = np.random.default_rng(4)
  hashes = rng.integers(0, 2**16, (3000, 3), np.uint64) | np.uint64(0xABCD << 48)
  hashes[2999] = hashes[5]
  found = duplicates.groups(hashes, DuplicateRule(crowd=8, plain=0))
  assert found[2999] == found[5]
