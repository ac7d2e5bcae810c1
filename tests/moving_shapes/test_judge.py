import collections
import dataclasses

import numpy as np
import pytest

from ltx_jax.moving_shapes import judge as judge_lib
from ltx_jax.moving_shapes import world
from ltx_jax.moving_shapes.judge import Judgement, judge

CAPTION = "a small purple triangle moving up on a brown background"
CLIP = world.clip(CAPTION, 0, 9, 64, 64)


def _blurred(video, sigma):
  """Every frame convolved with a Gaussian of that many pixels."""
  reach = int(3 * sigma + 1)
  kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
  kernel /= kernel.sum()
  for axis in (1, 2):
    video = np.pad(video, [(reach * (a == axis),) * 2 for a in range(4)], "edge")
    width = video.shape[axis] - 2 * reach
    video = sum(
      weight * np.take(video, range(i, i + width), axis)
      for i, weight in enumerate(kernel)
    )
  return video


def _right(captions, size, damage=lambda video, rng: video):
  """The share of clips in which each word is found, and whether all five are."""
  right = collections.Counter()
  for i, caption in enumerate(captions):
    video = world.clip(caption, i, *size)
    video = damage(video, np.random.default_rng(i))
    agreement = judge(video).agreement(caption)
    right.update(agreement | {"all": all(agreement.values())})
  return {name: count / len(captions) for name, count in right.items()}


@pytest.mark.parametrize(
  ("size", "step"),
  [
    pytest.param((3, 128, 128), 1, marks=pytest.mark.slow),
    ((3, 128, 128), 7),
    ((25, 128, 128), 37),
    ((9, 64, 64), 5),
    ((2, 96, 160), 19),
  ],
)
def test_ground_truth_is_judged_without_a_mistake(size, step):
  right = _right(world.captions()[::step], size)
  assert set(right.values()) == {1.0} and len(right) == 6


@pytest.mark.parametrize("damage", [(0, 0), (1.5, 8), (2, 20)])
def test_later_captions_are_judged(damage):
  sigma, noise = damage

  def spoilt(video, rng):
    soft = _blurred(video.astype(np.float32), sigma) if sigma else video
    soft = soft + noise * rng.standard_normal(soft.shape, np.float32)
    return np.clip(soft, 0, 255).astype(np.uint8)

  right = _right(world.later_captions()[::5], (9, 128, 128), spoilt)
  assert set(right.values()) == {1.0} and len(right) == 6


@pytest.mark.parametrize(
  ("size", "sigma", "noise", "share"),
  [
    ((25, 128, 128), 1, 10, 1.0),  # About 28 dB.
    ((25, 128, 128), 2, 20, 1.0),  # About 22 dB.
    ((25, 128, 128), 3, 40, 0.85),  # About 17 dB.
    ((9, 64, 64), 1, 10, 1.0),
    ((9, 64, 64), 2, 20, 0.9),
  ],
)
def test_blurred_and_noisy_ground_truth_is_judged(size, sigma, noise, share):
  def damage(video, rng):
    soft = _blurred(video.astype(np.float32), sigma)
    soft += noise * rng.standard_normal(soft.shape, np.float32)
    return np.clip(soft, 0, 255).astype(np.uint8)

  right = _right(world.captions()[::61], size, damage)
  assert right["all"] >= share, right
  for name in ("color", "direction", "background"):
    assert right[name] == 1, right


def test_a_tint_and_a_dark_corner_do_not_matter():
  def damage(video, rng):
    shade = np.linspace(0.85, 1.1, video.shape[2], dtype=np.float32)[:, None]
    return np.clip(video * shade + rng.uniform(-8, 8, 3), 0, 255).astype(np.uint8)

  right = _right(world.captions()[::31], (9, 64, 64), damage)
  assert right["all"] == 1, right


@pytest.mark.parametrize(
  ("name", "change"),
  [
    ("direction", lambda v: v[::-1]),
    ("shape", lambda v: v[:, ::-1][::-1]),  # The triangle stands on its head.
    ("color", lambda v: v[..., ::-1]),
    ("size", lambda v: np.kron(v[:, 16:48, 16:48], np.ones((1, 2, 2, 1), np.uint8))),
  ],
)
def test_a_clip_that_differs_in_one_word_is_told(name, change):
  caption = CAPTION if name != "color" else CAPTION.replace("purple", "red")
  caption = caption.replace("brown", "black")
  video = world.clip(caption, 0, 9, 64, 64)
  if name == "size":
    video = video[3:6]  # Enlarging the middle would cut the shape off elsewhere.
  agreement = judge(np.ascontiguousarray(change(video))).agreement(caption)
  assert not agreement[name]


def test_every_other_caption_is_told_apart():
  words = dataclasses.asdict(world.parse(CAPTION))
  judgement = judge(CLIP)
  for caption in world.captions():
    other = dataclasses.asdict(world.parse(caption))
    expected = {name: words[name] == other[name] for name in words}
    assert judgement.agreement(caption) == expected


@pytest.mark.parametrize("shape", world.SHAPES)
def test_a_shape_fits_its_own_outline_by_far_the_best(shape):
  caption = f"a large white {shape} moving up on a black background"
  cover = (world.clip(caption, 0, 1, 128, 128)[0, ..., 0] - 10.0) / 230
  mask = cover > 0.5
  rows, columns = np.nonzero(mask)
  centroid = float(rows.mean() + 0.5), float(columns.mean() + 0.5)
  misfits = judge_lib._misfits(cover, float(mask.sum()), *centroid)
  own = misfits.pop(shape)
  assert own < 0.02 and min(misfits.values()) > 8 * own


def test_words_of_a_judgement():
  assert judge(CLIP) == Judgement("small", "purple", "triangle", "up", "brown")


def test_what_cannot_be_told_is_none():
  assert judge(CLIP[:1]) == Judgement("small", "purple", "triangle", None, "brown")
  still = np.repeat(CLIP[3:4], 9, axis=0)
  assert judge(still) == Judgement("small", "purple", "triangle", None, "brown")
  empty = np.full((9, 64, 64, 3), (15, 20, 70), np.uint8)
  assert judge(empty) == Judgement(None, None, None, None, "navy")
  dot = empty.copy()
  dot[:, 30:33, 30:33] = 240
  assert judge(dot) == Judgement(None, None, None, None, "navy")
  seldom = empty.copy()
  seldom[:3] = world.clip(world.EXAMPLES[0], 0, 3, 64, 64)
  assert judge(seldom) == Judgement(None, None, None, None, "navy")


def test_frames_that_show_nothing_are_left_out():
  video = CLIP.copy()
  video[[2, 5]] = video[0, 0, 0]
  assert judge(video) == judge(CLIP)
