"""Long videos in windows, on a small random model with 2 frames per latent frame."""

import dataclasses

import jax
import numpy as np
import pytest

import ltx_jax
from ltx_jax import Condition, LongVideo, Reference, Sampling, programs
from ltx_jax.diffusion.conditioning import EncodedCondition
from ltx_jax.diffusion.draws import clip_keys
from ltx_jax.diffusion.latents import adain
from ltx_jax.pipeline import windows
from ltx_jax.pipeline.window_plan import Window, in_window, split
from ltx_jax.planning import memory
from ltx_jax.sizes import Canvas
from tests import pipeline_case as case
from tests.policies import QUICK

FRAMES, WINDOW, OVERLAP = 9, 5, 3
SIZE = {"width": 24, "height": 16, "fps": 25.0}
SAMPLING = Sampling(steps=2, guidance=1.0)


@pytest.fixture(scope="module")
def model():
  return ltx_jax.LTXVideo(case.config(), case.params(), QUICK)


@pytest.fixture
def told(monkeypatch):
  """Lists the arguments and the result of every call of `LTXVideo.denoise`."""
  calls, denoise = [], ltx_jax.LTXVideo.denoise

  def recorded(model, text, **options):
    made = denoise(model, text, **options)
    calls.append(options | {"text": text, "made": made})
    return made

  monkeypatch.setattr(ltx_jax.LTXVideo, "denoise", recorded)
  return calls


def prompts():
  """The texts of two prompts, each for one video."""
  text, mask = case.texts()[0]
  return [(text[i : i + 1], mask[i : i + 1]) for i in range(2)]


def make(model, texts, *, frames=FRAMES, conditions=(), draws=None, **options):
  long = LongVideo(model, WINDOW, OVERLAP, **options)
  return long.denoise(
    texts, **SIZE, frames=frames, sampling=SAMPLING, conditions=conditions, draws=draws
  )


def programs_compiled():
  """How many programs there are of the networks for a step and of the VAE."""
  config = case.config()
  of_vae = programs.encode(config.vae, QUICK), programs.decode(config.vae, QUICK)
  step = programs.step(config.transformer, QUICK)
  return step._cache_size(), [program._cache_size() for program in of_vae]


def test_windows_overlap_and_the_last_ends_with_the_video():
  assert split(9, 5, 3) == [Window(0, 0), Window(2, 5), Window(4, 7)]
  assert split(57, 25, 9) == [Window(0, 0), Window(16, 25), Window(32, 41)]
  assert split(49, 25, 9) == [Window(0, 0), Window(16, 25), Window(24, 41)]
  for frames in (1, 17, 25):
    assert split(frames, 25, 9) == [Window(0, 0)]


@pytest.mark.parametrize(
  ("kind", "frame", "count", "places"),
  [
    (Condition, 0, 1, [(0, 0, 1), None]),
    (Condition, 24, 1, [(24, 0, 1), None]),  # Which the second window is given.
    (Condition, 25, 1, [None, (9, 0, 1)]),
    (Condition, 40, 1, [None, (24, 0, 1)]),
    (Condition, 41, 1, [None, None]),
    (Condition, 8, 25, [(8, 0, 25), (8, 16, 9)]),  # From frame 24 on.
    (Condition, 24, 9, [(24, 0, 9), (8, 0, 9)]),
    (Reference, 0, 41, [(0, 0, 41), (0, 16, 25)]),
    (Reference, 8, 9, [(8, 0, 9), (0, 8, 1)]),
    (Reference, 0, 9, [(0, 0, 9), None]),
    (Reference, 32, 9, [None, (16, 0, 9)]),
  ],
)
def test_windows_are_told_what_is_given_beside_them(kind, frame, count, places):
  """As (frame of the window, first frame of the media, frames)."""
  item = kind(np.arange(count), frame, 0.5)
  for window, place in zip(split(41, 25, 9), places, strict=True):
    part = in_window(item, window, 25)
    if place is None:
      assert part is None
      continue
    assert type(part) is kind and part.strength == 0.5
    assert (part.frame, part.media[0], len(part.media)) == place


def test_windows_begin_with_the_end_of_what_there_is(model, told):
  """Also: all of them are one program, whatever the length of the video."""
  before = programs_compiled()[0]
  video = make(model, prompts()[:1])
  assert programs_compiled()[0] == before + 1
  assert video.shape == (1, 5, 2, 3, 6) and video.dtype == np.float32
  first, *later = told
  assert len(later) == 2 and {call["frames"] for call in told} == {WINDOW}
  np.testing.assert_array_equal(video[:, :3], first["made"])
  held = first["made"]
  for start, call in enumerate(later, 1):
    (given,) = call["conditions"]
    assert (given.start, given.strength, given.latents.shape[1]) == (0, 1.0, 2)
    still = model.decode(held, 0.0, 0.0)[:, 2:3]
    np.testing.assert_allclose(given.latents[:, :1], model.encode(still), atol=1e-6)
    np.testing.assert_array_equal(given.latents[:, 1], video[:, start + 1])
    np.testing.assert_array_equal(video[:, start + 2], call["made"][:, 2])
    held = np.concatenate(
      [given.latents[:, :1], video[:, start + 1 : start + 3]], axis=1
    )
  compiled = programs_compiled()
  longer = make(model, prompts()[:1], frames=13)
  assert programs_compiled() == compiled
  np.testing.assert_array_equal(longer[:, :5], video)


def test_the_first_window_is_a_clip_like_any(model):
  texts = prompts()
  clip = model.denoise(texts[0], **SIZE, frames=WINDOW, sampling=SAMPLING)
  video = make(model, texts)
  np.testing.assert_allclose(video[:, :3], clip, rtol=1e-4, atol=1e-5)
  short = make(model, texts[:1], frames=WINDOW)
  np.testing.assert_array_equal(short, video[:, :3])


def test_prompts_are_those_of_their_windows(model, told):
  one, other = prompts()
  video, swapped, same = (
    make(model, texts) for texts in ([one, other], [other, one], [one])
  )
  shown = [one, other, other, other, one, one, one, one, one]
  for call, text in zip(told, shown, strict=True):
    np.testing.assert_array_equal(call["text"][0], text[0])
  np.testing.assert_array_equal(video[:, :3], same[:, :3])
  assert np.abs(video[:, 3] - same[:, 3]).max() > 1e-3
  assert np.abs(video[:, 0] - swapped[:, 0]).max() > 1e-3


def test_windows_draw_for_themselves(model):
  names = []

  def draws(name, shape):
    names.append(name)
    return case.draws(name, shape)

  make(model, prompts()[:1], draws=draws)
  own = ["initial", "step/0", "step/1"]
  assert names == [
    *own,
    *(f"window/1/{name}" for name in own),
    *(f"window/2/{name}" for name in own),
  ]


def test_a_clip_of_a_batch_draws_as_if_it_were_alone():
  def drawn(clips, window):
    return jax.random.key_data(windows._own_keys(clip_keys(0, clips), window))

  np.testing.assert_array_equal(drawn(1, 0), jax.random.key_data(clip_keys(0, 1)))
  keys = [drawn(2, window) for window in range(3)]
  for window, pair in enumerate(keys):
    np.testing.assert_array_equal(pair[:1], drawn(1, window))
  assert len(np.unique(np.concatenate(keys), axis=0)) == 6


def test_a_weaker_overlap_is_blended(model, told):
  video = make(model, prompts()[:1], strength=0.5)
  first, second, third = (call["made"] for call in told)
  assert [call["conditions"][0].strength for call in told] == [0.0, 0.5, 0.5]
  assert np.abs(second[:, 1] - first[:, 2]).max() > 1e-3
  middle = (first[:, 2] + second[:, 1]) / 2
  np.testing.assert_allclose(video[:, 2], middle, rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(told[1]["conditions"][0].latents[:, 1], first[:, 2])
  np.testing.assert_array_equal(video[:, 4], third[:, 2])


def test_latents_get_the_moments_of_the_first_window(model, told):
  video = make(model, prompts()[:1], frames=7, adain=0.7)
  first, second = (call["made"] for call in told[:2])
  (given,) = told[1]["conditions"]
  whole = np.concatenate([given.latents, second[:, 2:]], axis=1)
  expected = adain(whole, first, 0.7)
  np.testing.assert_allclose(video[:, 3], expected[:, 2], rtol=1e-4, atol=1e-5)
  assert np.abs(video[:, 3] - second[:, 2]).max() > 1e-3


def test_what_is_given_goes_to_the_windows_it_lies_in(model, monkeypatch):
  told = []

  def denoise(model, text, *, conditions, **rest):
    told.append(conditions)
    return np.zeros((1, 3, 2, 3, 6), np.float32)

  monkeypatch.setattr(ltx_jax.LTXVideo, "denoise", denoise)
  still = np.zeros((1, 16, 24, 3), np.uint8)
  clip = Reference(np.zeros((9, 16, 24, 3), np.uint8))
  make(model, prompts()[:1], conditions=[Condition(still), Condition(still, 8), clip])
  kinds = [[type(item) for item in conditions] for conditions in told]
  assert kinds == [
    [Condition, Reference],
    [EncodedCondition, Reference],
    [EncodedCondition, Condition, Reference],
  ]
  assert told[2][1].frame == 4
  with pytest.raises(ValueError, match="3 frames starts at frame 5; a clip must start"):
    make(model, prompts()[:1], conditions=[Condition(np.repeat(still, 3, 0), 5)])


def test_generate_makes_what_is_asked_for(model):
  steps = []
  long = LongVideo(model, WINDOW, OVERLAP)
  options = {"width": 22, "height": 15, "frames": 8, "steps": 2, "guidance": 1.0}
  video, again, other = (
    long.generate(
      prompts(), **options, seed=seed, on_step=lambda *step: steps.append(step)
    )
    for seed in (3, 3, 4)
  )
  assert video.shape == (1, 8, 15, 22, 3) and video.dtype == np.uint8
  np.testing.assert_array_equal(video, again)
  assert not np.array_equal(video, other)
  assert [(i, count) for i, count, _ in steps] == [(i, 6) for i in range(6)] * 3
  assert steps[0][2].shape == (1, 3, 2, 3, 6)


def test_a_window_and_the_whole_video_are_planned(model, monkeypatch):
  parts, videos = [], []

  def check(config, policy, clips, canvas, *_, extra, **rest):
    parts.append((clips, canvas.used, extra))
    return memory.Plan(3, 5, (3, 2, 3))

  def check_decode(config, policy, clips, canvas, *_, **rest):
    videos.append((clips, canvas.used))
    return memory.Plan(0, 9, (5, 2, 3))

  monkeypatch.setattr(memory, "check", check)
  monkeypatch.setattr(memory, "check_decode", check_decode)
  reference = Reference(np.zeros((9, 16, 24, 3), np.uint8), 4)
  canvas = Canvas.of(case.VAE, FRAMES, 16, 24)
  long = LongVideo(model, WINDOW, OVERLAP)
  plan = long.check_memory(2, canvas, SAMPLING, [reference])
  assert plan == memory.Plan(3, 9, (5, 2, 3))
  assert parts == [(2, (5, 16, 24), 18)] and videos == [(2, (9, 16, 24))]


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"window": 4}, "window is 4; it must be 2k \\+ 1 frames, such as 7 or 13"),
    ({"overlap": 2}, "overlap is 2; it must be 2k \\+ 1"),
    ({"overlap": 5}, "overlap is 5 and window is 5; a window must be longer"),
    ({"strength": 0.0}, "strength is 0.0; it must be above 0 and at most 1"),
    ({"adain": 1.5}, "adain is 1.5; it must lie in"),
  ],
)
def test_windows_that_cannot_be_are_refused(model, options, message):
  with pytest.raises(ValueError, match=message):
    LongVideo(model, **{"window": WINDOW, "overlap": OVERLAP} | options)


def test_texts_that_do_not_fit_are_refused(model):
  one, other = prompts()
  both = case.texts()[0]
  for texts, message in (
    (
      [one, other, one, other],
      "4 prompts for 3 window.s.; give one for each, or fewer",
    ),
    ([], "0 prompts for 3 window"),
    ([one, both], r"have prompts for \[1, 2\] videos; give each window as many"),
  ):
    with pytest.raises(ValueError, match=message):
      make(model, texts)
  alone = dataclasses.replace(case.config(), vae=None)
  with pytest.raises(ValueError, match="Windows need a VAE"):
    LongVideo(dataclasses.replace(model, config=alone), WINDOW, OVERLAP)
