"""From a request to a video, in each of the ways."""

import contextlib
import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import ltx_jax
from ltx_jax import LongVideo, Sampling, TwoPasses
from ltx_jax.pipeline import generate as pipeline
from ltx_jax.pipeline.generate import generate
from ltx_jax.pipeline.model import OnePass
from ltx_jax.pipeline.multiscale import InTwoPasses, MultiScale, Upscaler
from ltx_jax.pipeline.request import Request, count
from ltx_jax.pipeline.windows import InWindows
from ltx_jax.planning import memory
from ltx_jax.sizes import Canvas
from tests import pipeline_case as case

PROMPTS = ["a red circle", "a blue star"]
SAMPLING = Sampling(steps=3, guidance=2.0)


@pytest.fixture(scope="module")
def ways(model):
  """Every way, as long as no upscaler is needed."""
  upscaler = ltx_jax.config.LatentUpsamplerConfig(in_channels=case.VAE.latent_channels)
  scales = MultiScale(model, Upscaler(upscaler, {}))
  return {
    "one pass": OnePass(model, SAMPLING),
    "two passes": InTwoPasses(scales, TwoPasses(SAMPLING, Sampling(sigmas=(0.5,)))),
    "windows": InWindows(LongVideo(model, 5, 3), SAMPLING),
  }


def request(prompts=(PROMPTS,), frames=5, **changes):
  return Request(tuple(prompts), Canvas.of(case.VAE, frames, 16, 24), 25.0, **changes)


def test_stages_follow_one_another_and_their_arrays_are_handed_over(ways):
  seen = []

  @contextlib.contextmanager
  def on_stage(name):
    seen.append(name)

    def ready(arrays):
      seen.append(f"{name}: {type(arrays).__name__}")
      return arrays

    yield ready
    seen.append(f"end of {name}")

  steps = lambda i, steps, x: seen.append((i, steps, x.shape))  # noqa: E731
  video = generate(ways["one pass"], request(), on_stage=on_stage, on_step=steps)
  assert video.shape == (2, 5, 16, 24, 3) and video.dtype == np.uint8
  shape = (2, *case.VAE.latent_shape(5, 16, 24), 6)
  assert seen[:5] == ["text", "text: list", "text: tuple", "end of text", "denoise"]
  assert seen[5:8] == [(i, 3, shape) for i in range(3)]
  assert seen[8:] == ["denoise: ArrayImpl", "end of denoise", "decode", "end of decode"]


def test_a_video_that_became_nan_is_refused(ways, monkeypatch):
  broken = lambda self, *_, **__: jnp.full((2, 3, 4, 6, 6), jnp.nan)  # noqa: E731
  monkeypatch.setattr(OnePass, "denoise", broken)
  with pytest.raises(
    ValueError, match="became NaN or infinite .* float32; download it"
  ):
    generate(ways["one pass"], request())


def test_what_a_callback_raises_ends_the_run_after_that_step(ways):
  class Cancelled(Exception):
    pass

  for way in (ways["one pass"], ways["windows"]):
    made = []

    def on_step(i, steps, latents, made=made):
      made.append(i)
      if i == 1:
        raise Cancelled

    with pytest.raises(Cancelled):
      generate(way, request(frames=7), on_step=on_step)
    assert made == [0, 1]


def test_texts_that_are_encoded_already_make_the_same_video(ways, model, monkeypatch):
  expected = generate(ways["one pass"], request())
  text, negative = model.encode_text(PROMPTS), model.encode_text([""])
  monkeypatch.setattr(ltx_jax.LTXVideo, "encode_text", None)
  encoded = request([text], negative=negative)
  assert encoded.clips == 2
  np.testing.assert_array_equal(generate(ways["one pass"], encoded), expected)


def test_tiles_are_planned_once_and_told_before_the_first_step(
  ways, monkeypatch, caplog
):
  planned, plan, notes = [], memory.plan, []

  def counted(*arguments, **options):
    planned.append(plan(*arguments, **options))
    return planned[-1]

  monkeypatch.setattr(memory, "plan", counted)
  way = dataclasses.replace(
    ways["one pass"], sampling=dataclasses.replace(SAMPLING, tiling=48)
  )
  on_step = lambda *_: notes.append(caplog.text)  # noqa: E731
  large = Request((PROMPTS,), Canvas.of(case.VAE, 5, 64, 80), 25.0)
  generate(way, large, on_step=on_step)
  assert [each.tiles is not None for each in planned] == [True]
  assert "decoding in" in notes[0] and caplog.text.count("decoding in") == 1
  generate(way, large, plan=planned[0])
  assert len(planned) == 1


@pytest.mark.parametrize(
  ("way", "asked", "message"),
  [
    ("one pass", {"prompts": ["a", "b"]}, "2 prompts for 1 window"),
    ("two passes", {"prompts": ["a", "b"]}, "2 prompts for 1 window"),
    ("windows", {"prompts": ["a", "b"]}, "2 prompts for 1 window"),
    ("windows", {"prompts": [], "frames": 7}, "0 prompts for 2 window"),
    ("windows", {"prompts": [["a", "b"], "c"], "frames": 7}, r"for \[2, 1\] videos"),
    ("windows", {"start": "a.mp4"}, "to start from is given, but .* in windows"),
    ("two passes", {"start": "a.mp4"}, "to start from is given, but .* two passes"),
  ],
)
def test_requests_that_do_not_fit_the_way_are_refused_before_anything_is_encoded(
  ways, monkeypatch, way, asked, message
):
  monkeypatch.setattr(pipeline, "encode", None)
  with pytest.raises(ValueError, match=message):
    generate(ways[way], request(**asked))


def test_videos_are_counted_before_anything_is_encoded():
  text = np.zeros((3, 4, 10), np.float32), np.ones((3, 4), bool)
  for prompt, expected in (("ab", 1), (["a", "b"], 2), (["a"], 1), (text, 3)):
    assert count(prompt) == expected
