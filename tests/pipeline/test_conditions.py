"""Images and clips at any frame, and video-to-video."""

import pathlib

import numpy as np
import pytest

import ltx_jax
from ltx_jax import Condition, Reference, programs
from ltx_jax.pipeline.media import load_frames
from ltx_jax.planning import memory
from ltx_jax.sizes import Canvas
from tests import pipeline_case as base
from tests import tasks_case as case
from tests.models.transformer_case import relative_error
from tests.policies import QUICK

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "tasks.npz"


@pytest.fixture(scope="module")
def model():
  return ltx_jax.LTXVideo(case.CONFIG, case.params(), QUICK)


def run_task(model, task):
  """Returns our latents of a task, and the names of its draws."""
  names = []

  def draws(name, shape):
    names.append(name)
    return base.draws(name, shape)

  canvas = Canvas.of(case.VAE, case.FRAMES, case.HEIGHT, case.WIDTH)
  start = None
  if task.video:
    clip = case.media("video", case.FRAMES)
    start = model.encode_start(clip, canvas, clips=base.CLIPS, draws=draws)
  text, negative = base.texts()
  latents = model.denoise(
    text,
    width=case.WIDTH,
    height=case.HEIGHT,
    frames=case.FRAMES,
    fps=base.FPS,
    sampling=task.sampling,
    conditions=case.conditions(task),
    latents=start,
    negative=negative,
    draws=draws,
  )
  return latents, names


@pytest.mark.parametrize("name", case.TASKS)
def test_what_is_given_is_the_originals(model, name):
  latents, _ = run_task(model, case.TASKS[name])
  assert relative_error(latents, np.load(GOLDEN)[name]) < 1e-4


SIZE = {"width": case.WIDTH, "height": case.HEIGHT, "fps": 25.0}


def given(model, frames, *conditions):
  text, _ = base.texts()
  sampling = ltx_jax.Sampling(steps=2, guidance=1.0)
  return model.denoise(
    text, **SIZE, frames=frames, sampling=sampling, conditions=conditions
  )


def test_a_clip_ends_where_the_video_ends(model):
  """Of 17 frames from frame 8 on, 17 frames of video have room for 9."""
  clip = case.media("clip", 17)
  cut = given(model, 17, Condition(clip, 8))
  np.testing.assert_array_equal(cut, given(model, 17, Condition(clip[:9], 8)))


@pytest.mark.parametrize(
  ("frame", "count", "message"),
  [
    (17, 1, "starts at frame 17 of a video of 17 frames; give a frame from 0 to 16"),
    (4, 9, "9 frames starts at frame 4; .* multiple of 8, such as 0 or 8"),
  ],
)
def test_conditions_where_they_cannot_be_are_refused(model, frame, count, message):
  with pytest.raises(ValueError, match=message):
    given(model, 17, Condition(case.media("clip", count), frame))


def test_references_are_shown_beside_the_video_and_dropped(model):
  """One step, computed by hand from the network's velocity of all tokens."""
  clip, image = case.media("clip", 9, 16, 32), case.media("image", 1, 16, 32)
  text, _ = base.texts()
  latents = model.denoise(
    text,
    width=32,
    height=16,
    frames=9,
    fps=25.0,
    sampling=ltx_jax.Sampling(sigmas=(1.0,), guidance=1.0, condition_noise=0.0),
    conditions=[Reference(clip), Reference(image, 4, 0.25, downscale=2)],
    draws=base.draws,
  )
  encode = programs.encode(case.VAE, QUICK)
  drawn = base.draws("posterior/0", (2, 2, 2, 4, 6))
  shown = encode(model.params["vae"], clip[None], drawn).reshape(2, 16, 6)
  small = load_frames(image, height=8, width=16)
  drawn = base.draws("posterior/1", (2, 1, 1, 2, 6))
  z = encode(model.params["vae"], small[None], drawn)
  mixed = 0.75 * base.draws("condition/1", z.shape) + 0.25 * z
  noise = base.draws("initial", (2, 16, 6))
  tokens = np.concatenate([shown, mixed.reshape(2, 2, 6), noise], axis=1)
  grid = [(t, y, x) for t in (0, 1 / 25) for y in (0, 8) for x in (0, 8, 16, 24)]
  places = np.float32([*grid, (4 / 25, 0, 0), (4 / 25, 0, 16), *grid])
  coords = np.broadcast_to(places, (2, *places.shape))
  sigma = np.broadcast_to(np.float32([0] * 16 + [0.75] * 2 + [1] * 16), (2, 34))
  velocity = model.velocity(tokens, coords, *text, sigma)[:, 18:]
  assert latents.shape == (2, 2, 2, 4, 6)
  assert relative_error(latents.reshape(2, 16, 6), noise - velocity) < 1e-5


def test_references_count_in_the_memory_that_is_planned(model, monkeypatch):
  planned = []
  check = memory.check

  def watched(*plan, extra, **options):
    planned.append(extra)
    return check(*plan, extra=extra, **options)

  monkeypatch.setattr(memory, "check", watched)
  clip, canvas = case.media("clip", 9), Canvas.of(case.VAE, 9, 16, 32)
  for given, tokens in (
    ([], 0),
    ([Condition(clip), Condition(clip[:1], 3)], 8),
    ([Reference(clip), Reference(clip, downscale=2), Reference(clip, 8)], 16 + 4 + 8),
  ):
    model.check_memory(1, canvas, ltx_jax.Sampling(), given)
    assert planned.pop() == tokens


def test_a_reference_that_cannot_be_as_small_is_refused(model):
  with pytest.raises(ValueError, match="2 times smaller than 24x16; give .* of 16"):
    given(model, 9, Reference(case.media("clip", 9), downscale=2))


def test_what_is_made_over_is_long_enough(model):
  canvas = Canvas.of(case.VAE, 8, case.HEIGHT, case.WIDTH)
  clip = case.media("clip", 12)
  start = model.encode_start(clip, canvas, clips=2)
  assert start.shape == (2, 2, 2, 3, 6)
  assert np.abs(start[0] - start[1]).max() > 0
  longer = np.concatenate([clip[:8], clip[7:8]])
  whole = Canvas.of(case.VAE, 9, case.HEIGHT, case.WIDTH)
  np.testing.assert_array_equal(start, model.encode_start(longer, whole, clips=2))
  with pytest.raises(ValueError, match="has 7 frames, but the video is to have 8"):
    model.encode_start(clip[:7], canvas, clips=1)


def test_generate_makes_a_clip_over(model):
  text, _ = base.texts()
  clip = case.media("clip", 9)
  sampling = ltx_jax.Sampling(steps=4, guidance=1.0, skip_initial=2)

  def over(clip, sampling):
    return model.generate(text, **SIZE, frames=9, video=clip, sampling=sampling)

  made = over(clip, sampling)
  assert made.shape == (2, 9, case.HEIGHT, case.WIDTH, 3)
  assert not np.array_equal(made, over(-clip, sampling))
  with pytest.raises(ValueError, match="The first noise level is 1"):
    over(clip, ltx_jax.Sampling(steps=4, guidance=1.0))
