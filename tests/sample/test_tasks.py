"""Flags of `sample.generate` for conditions, for two passes, and for windows."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

import ltx_jax
from ltx_jax.checkpoints.upsampler import save_upsampler
from ltx_jax.cli import console
from ltx_jax.data import video
from ltx_jax.diffusion.sampling import Sampling, TwoPasses
from ltx_jax.pipeline.recipes import Recipe
from ltx_jax.releases.presets import PRESETS
from tests import pipeline_case as case
from tests.models import upsampler_case
from tests.sample.test_flags import FLAGS
from tests.sample.test_generate import OTHER, PROMPT, SIZE


def test_conditions_are_given_where_and_as_firmly_as_is_said(program, monkeypatch):
  picture = np.uint8(127.5 * (case.image()[0] + 1))
  Image.fromarray(picture).save("still.png")
  video.write("clip@2.gif", np.stack([picture, 255 - picture, picture]), 24.0)
  told, denoise = [], ltx_jax.LTXVideo.denoise

  def recorded(model, text, *, conditions, **rest):
    told.extend((len(c.media), c.frame, c.strength) for c in conditions)
    return denoise(model, text, conditions=conditions, **rest)

  monkeypatch.setattr(ltx_jax.LTXVideo, "denoise", recorded)
  given = ("still.png", "still.png@4:0.25", "clip@2.gif@2")
  arguments = [a for text in given for a in ("--condition", text)]
  code, _, err = program(PROMPT, *SIZE, *arguments, "--output", "a.png")
  assert (code, err) == (0, "")
  assert told == [(1, 0, 1.0), (1, 4, 0.25), (3, 2, 1.0)]


def test_what_is_given_is_softened_where_that_is_asked_for(program):
  noise = np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8)
  Image.fromarray(noise).save("still.png")
  for crf in ("0", "40"):
    arguments = ("--image", "still.png", "--crf", crf, "--output", f"{crf}.png")
    code, _, err = program(PROMPT, *SIZE, *arguments)
    assert (code, err) == (0, "")
  assert not np.array_equal(video.read("0.png")[0], video.read("40.png")[0])


def test_places_and_strengths_follow_the_last_signs():
  for text, expected in (
    ("a.png", ("a.png", 0, 1.0)),
    ("a.png@8", ("a.png", 8, 1.0)),
    ("a.png:0.5", ("a.png", 0, 0.5)),
    ("C:me@home.png@16:.5", ("C:me@home.png", 16, 0.5)),
    ("me@home.png", ("me@home.png", 0, 1.0)),
  ):
    assert console.path_frame_strength(text) == expected


@pytest.fixture
def two_passes(tmp_path, monkeypatch):
  """A recipe of two passes and an upscaler; lists the arguments of each pass."""
  config = upsampler_case.config("spatial")
  params = upsampler_case.random_params(config)
  save_upsampler(tmp_path / "up.safetensors", config, params)
  passes = TwoPasses(
    Sampling(steps=3, guidance=1.0), Sampling(sigmas=(0.9, 0.4), guidance=1.0)
  )
  recipe = Recipe(48, 40, 5, 24.0, passes=passes, upscaler="up.safetensors")
  preset = dataclasses.replace(PRESETS["moving-shapes"], recipe=recipe)
  monkeypatch.setitem(PRESETS, "moving-shapes", preset)
  told = []

  def denoise(model, text, *, sampling, width, height, **rest):
    told.append((width, height, sampling))
    return np.zeros((1, 3, height // 8, width // 8, 6), np.float32)

  monkeypatch.setattr(ltx_jax.LTXVideo, "denoise", denoise)
  return passes, told


def test_two_passes_are_made_and_each_has_its_flags(program, two_passes):
  passes, told = two_passes
  first, second = passes.both
  changed = dataclasses.replace(second, tone_map=0.6)
  fewer = dataclasses.replace(first, steps=2)
  for arguments, expected in (
    ((), [(24, 24, first), (48, 48, second)]),
    (("--scale", "0.5"), [(24, 16, first), (48, 32, second)]),
    (("--second.tone-map", "0.6"), [(24, 24, first), (48, 48, changed)]),
    (("--steps", "2"), [(24, 24, fewer), (48, 48, second)]),
  ):
    told.clear()
    code, _, err = program(PROMPT, "--multi-scale", *arguments, "--output", "a.png")
    assert (code, err) == (0, "")
    assert told == expected
    assert video.read("a.png")[0].shape == (5, 40, 48, 3)


@pytest.mark.parametrize(("arguments", "changes"), FLAGS)
def test_each_flag_of_the_second_pass_is_its_own(
  program, two_passes, monkeypatch, arguments, changes
):
  base = Sampling(steps=5, guidance=1.0, stg_blocks=(1,))
  recipe = PRESETS["moving-shapes"].recipe
  recipe = dataclasses.replace(recipe, passes=TwoPasses(base, base))
  preset = dataclasses.replace(PRESETS["moving-shapes"], recipe=recipe)
  monkeypatch.setitem(PRESETS, "moving-shapes", preset)
  told = []

  def denoise(scales, text, *, passes, **rest):
    told.extend(passes.both)
    return np.zeros((1, 3, 6, 6, 6), np.float32)

  def to_pixels(model, latents, sampling, **rest):
    told.append(sampling)
    return np.zeros((1, 5, 40, 48, 3), np.uint8)

  monkeypatch.setattr(ltx_jax.MultiScale, "denoise", denoise)
  monkeypatch.setattr(ltx_jax.LTXVideo, "to_pixels", to_pixels)
  of_second = [argument.replace("--", "--second.") for argument in arguments]
  code, _, err = program(PROMPT, "--multi-scale", *of_second, "--output", "a.png")
  assert (code, err) == (0, "")
  changed = dataclasses.replace(base, **changes)
  assert told == [base, changed, changed]
  assert changed != base


def test_an_upscaler_is_the_one_that_is_asked_for(program, two_passes):
  code, _, err = program(PROMPT, "--multi-scale", "--upscaler", "other.safetensors")
  assert code == 2 and "There is no upscaler 'other.safetensors'" in err
  arguments = ("--multi-scale", "--video", "clip.gif", "--output", "a.png")
  code, _, err = program(PROMPT, *arguments)
  assert code == 2 and "--video works in one pass, but" in err


def test_references_are_given_as_is_said(program, monkeypatch):
  clip = np.random.default_rng(0).integers(0, 256, (5, 32, 48, 3), np.uint8)
  video.write("depth.gif", clip, 24.0)
  told = []

  def denoise(model, text, *, conditions, width, **rest):
    told[:] = conditions
    return np.zeros((1, 3, 4, width // 8, 6), np.float32)

  monkeypatch.setattr(ltx_jax.LTXVideo, "denoise", denoise)
  for width, arguments, expected in (
    ("40", ("--reference", "depth.gif"), [(1.0, 1)]),
    ("40", ("--reference", "depth.gif:0.5") * 2, [(0.5, 1)] * 2),
    ("48", ("--reference", "depth.gif", "--reference-downscale", "2"), [(1.0, 2)]),
  ):
    arguments = (*SIZE, "--width", width, *arguments, "--output", "a.png")
    code, _, err = program(PROMPT, *arguments)
    assert (code, err) == (0, "")
    assert [(item.strength, item.downscale) for item in told] == expected
    assert all(type(item) is ltx_jax.Reference for item in told)
    assert told[0].frame == 0 and len(told[0].media) == 5


WINDOWS = (*SIZE, "--frames", "9", "--window", "5", "--overlap", "3")


def test_long_videos_are_made_in_windows_with_prompts_of_their_own(
  program, monkeypatch
):
  told, denoise = [], ltx_jax.LTXVideo.denoise

  def recorded(model, text, *, frames, **rest):
    told.append((frames, np.asarray(text[0])))
    return denoise(model, text, frames=frames, **rest)

  monkeypatch.setattr(ltx_jax.LTXVideo, "denoise", recorded)
  texts = {}
  for prompt in (f"{PROMPT} | {OTHER}", PROMPT):
    told.clear()
    arguments = (*WINDOWS, "--guidance", "1", "--output", "a.png")
    code, out, err = program(prompt, *arguments)
    assert (code, err) == (0, "") and "note: |" not in out
    assert [frames for frames, _ in told] == [5, 5, 5]
    texts[prompt] = [text for _, text in told]
    assert video.read("a.png")[0].shape == (9, 32, 40, 3)
  first, second, third = texts[f"{PROMPT} | {OTHER}"]
  for text in texts[PROMPT]:
    np.testing.assert_array_equal(text, first)
  np.testing.assert_array_equal(second, third)
  assert np.abs(second - first).max() > 0


@pytest.mark.parametrize(
  ("arguments", "expected"),
  [
    (("--window", "27"), (27, 25, 1.0, 0.0)),
    (("--window", "7", "--overlap", "5"), (7, 5, 1.0, 0.0)),
    (("--window", "27", "--overlap-strength", "0.5"), (27, 25, 0.5, 0.0)),
    (("--window", "27", "--adain", "0.7"), (27, 25, 1.0, 0.7)),
  ],
)
def test_windows_are_as_is_said(program, monkeypatch, arguments, expected):
  told = []

  def denoise(long, texts, **rest):
    told.append((long.window, long.overlap, long.strength, long.adain))
    return np.zeros((1, 3, 4, 5, 6), np.float32)

  monkeypatch.setattr(ltx_jax.LongVideo, "denoise", denoise)
  code, _, err = program(PROMPT, *SIZE, *arguments, "--output", "a.png")
  assert (code, err) == (0, "")
  assert told == [expected]


def test_what_windows_cannot_do_is_refused(program):
  for prompt, arguments, message in (
    (PROMPT, ("--overlap", "9"), "--overlap is for windows; add --window, or leave it"),
    (PROMPT, ("--overlap-strength", "1"), "--overlap-strength is for windows"),
    (PROMPT, ("--adain", "1"), "--adain is for windows; add --window"),
    (PROMPT, ("--window", "4"), "window is 4; it must be 2k + 1 frames"),
    (PROMPT, ("--window", "5"), "overlap is 25 and window is 5"),
    (PROMPT, ("--window", "27", "--multi-scale"), "--window makes a video in one pass"),
    (PROMPT, ("--window", "27", "--video", "a.gif"), "--window makes a video in parts"),
    (f"{PROMPT}|", ("--window", "27"), "has an empty part; with --window, write"),
    (f"{PROMPT}|{OTHER}", ("--window", "27"), "2 prompts for 1 window(s); give one"),
  ):
    code, _, err = program(prompt, *SIZE, *arguments, "--output", "a.png")
    assert code == 2 and message in err
    assert len(err.strip().splitlines()) == 1
