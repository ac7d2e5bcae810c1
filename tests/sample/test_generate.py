"""The program that turns sentences into videos, from the command line to the files."""

import contextlib
import dataclasses
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

import ltx_jax
from ltx_jax.cli import console
from ltx_jax.data import video
from ltx_jax.pipeline.recipes import Recipe
from ltx_jax.releases.presets import PRESETS
from tests import pipeline_case as case
from tests.checkpoints.test_lora import as_file, pairs

PROMPT = "a large red circle moving right on a navy background"
OTHER = "a small blue square moving up on a gray background"
SIZE = ("--width", "40", "--height", "32", "--frames", "5", "--steps", "2")


def test_prompts_make_numbered_videos_and_a_contact_sheet(program, tmp_path):
  options = (*SIZE, "--output", "out/clip.mp4", "--seed", "3")
  code, out, _ = program(PROMPT, OTHER, *options)
  assert code == 0
  names = ["clip-1.mp4", "clip-2.mp4", "clip-sheet.png"]
  assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
  first, fps = video.read(tmp_path / "out" / "clip-1.mp4")
  second, _ = video.read(tmp_path / "out" / "clip-2.mp4")
  assert first.shape == (5, 32, 40, 3)
  assert fps == 24
  assert not np.array_equal(first, second)
  for part in ("2 x 40x32", "5 frames", "24 a second", "seed 3", "float32 on cpu"):
    assert part in out
  assert "note" not in out
  # The size is said before the wait.
  assert out.index("2 x 40x32") < out.index("Compiling") < out.index("seconds:")
  seconds = out.split("seconds: ")[1].splitlines()[0]
  stages = [part.split()[0] for part in seconds.split(", ")]
  assert stages == ["compile", "load", "text", "denoise", "decode"]


def test_seeds_make_a_video_each_and_the_same_seed_the_same(program):
  program(PROMPT, *SIZE, "--output", "a.png", "--seed", "1", "2")
  program(PROMPT, *SIZE, "--output", "b.png", "--seed", "2")
  first, second, alone = (video.read(f)[0] for f in ("a-1.png", "a-2.png", "b.png"))
  assert np.abs(second.astype(int) - alone.astype(int)).max() <= 1
  assert not np.array_equal(first, second)


def test_frames_a_second_are_written_and_the_model_is_told(program, monkeypatch):
  told, denoise = [], ltx_jax.LTXVideo.denoise

  def recorded(model, text, *, fps, **rest):
    told.append(fps)
    return denoise(model, text, fps=fps, **rest)

  monkeypatch.setattr(ltx_jax.LTXVideo, "denoise", recorded)
  code, out, _ = program(PROMPT, *SIZE, "--fps", "10", "--output", "a.gif")
  assert code == 0 and "5 frames at 10 a second" in out
  assert video.read("a.gif")[1] == 10
  assert told == [10]


def test_the_contact_sheet_may_be_left_out(program, tmp_path):
  code, _, _ = program(PROMPT, *SIZE, "--no-sheet", "--output", "a.gif")
  assert code == 0
  assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


def test_it_is_computed_in_the_dtype_that_is_asked_for(program):
  code, out, _ = program(PROMPT, *SIZE, "--dtype", "bfloat16", "--output", "a.png")
  assert code == 0 and "bfloat16 on cpu" in out
  program(PROMPT, *SIZE, "--output", "b.png")
  half, full = (video.read(name)[0].astype(int) for name in ("a.png", "b.png"))
  assert 0 < np.abs(half - full).mean() < 8


def test_the_text_encoder_may_lie_elsewhere(program, model, tmp_path):
  alone = tmp_path / "alone" / "model.safetensors"
  alone.parent.mkdir()
  shutil.copy(f"{model}/model.safetensors", alone)
  arguments = (PROMPT, *SIZE, "--model", str(alone), "--output", "a.png")
  code, _, err = program(*arguments)
  assert code == 2 and "text_encoder" in err
  code, _, err = program(*arguments, "--text-encoder", model)
  assert (code, err) == (0, "")
  program(PROMPT, *SIZE, "--output", "b.png")
  np.testing.assert_array_equal(video.read("a.png")[0], video.read("b.png")[0])


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_the_suffix_decides_the_format(program, suffix):
  code, _, _ = program(PROMPT, *SIZE, "--output", f"clip{suffix}")
  assert code == 0
  assert video.read(f"clip{suffix}")[0].shape == (5, 32, 40, 3)


def test_parts_of_a_prompt_are_for_windows(program):
  both = f"{PROMPT}  |  {OTHER}"
  code, out, _ = program(both, *SIZE, "--output", "a.png")
  assert code == 0 and "note: | parts a prompt with --window only" in out
  windows = ("--frames", "9", "--window", "5", "--overlap", "1")
  code, out, _ = program(both, *SIZE, *windows, "--output", "a.png")
  assert code == 0 and "note: |" not in out and "enhanced" not in out


def test_one_frame_is_a_picture_without_a_contact_sheet(program, tmp_path):
  one = (*SIZE, "--frames", "1", "--output", "still.png")
  code, out, _ = program(PROMPT, *one)
  assert code == 0 and "40x32, 1 frame at" in out
  assert [path.name for path in tmp_path.iterdir()] == ["still.png"]
  with Image.open("still.png") as still:
    assert still.size == (40, 32)


def test_an_image_is_the_first_frame_as_firmly_as_is_said(program, monkeypatch):
  picture = np.uint8(127.5 * (case.image()[0] + 1))
  Image.fromarray(picture).save("first.png")
  told, denoise = [], ltx_jax.LTXVideo.denoise

  def recorded(model, text, *, conditions, **rest):
    told.extend(conditions)
    return denoise(model, text, conditions=conditions, **rest)

  monkeypatch.setattr(ltx_jax.LTXVideo, "denoise", recorded)
  for strength in ((), ("--strength", "0.25")):
    options = ("--image", "first.png", *strength, "--output", "a.png")
    code, _, err = program(PROMPT, *SIZE, *options)
    assert (code, err) == (0, "")
  assert [(item.frame, item.strength) for item in told] == [(0, 1.0), (0, 0.25)]
  for item in told:
    np.testing.assert_allclose(item.media[0], picture / 127.5 - 1, atol=1e-6)


def test_a_video_and_a_contact_sheet_that_replace_files_say_so(program, tmp_path):
  arguments = (PROMPT, *SIZE, "--output", "clip.gif")
  _, out, _ = program(*arguments)
  assert "replaced" not in out
  _, out, _ = program(*arguments)
  assert "note: clip.gif existed, and is replaced." in out
  assert "note: clip-sheet.png existed, and is replaced." in out


def test_more_steps_than_there_are_say_what_happens(program, monkeypatch):
  made = []

  def denoise(model, text, *, sampling, **rest):
    made.append(len(sampling.levels(model.config.scheduler, 24)))
    return np.zeros((1, 3, 4, 5, 6), np.float32)

  monkeypatch.setattr(ltx_jax.LTXVideo, "denoise", denoise)
  steps = ("--steps", "1000000000000", "--output", "a.png")
  code, out, err = program(PROMPT, *SIZE[:-2], *steps)
  assert (code, err) == (0, "")
  assert made == [1000]
  assert "1,000,000,000,000 steps are asked for, but 1,000 are made" in out


def test_loras_change_the_video_by_their_strength(program):
  width, name = case.TRANSFORMER.width, "transformer_blocks.0.attn1.to_q"
  halves = pairs({name: (width, width)}, rank=width)
  as_file("a.safetensors", "diffusion_model.", ("lora_A", "lora_B"), halves)
  shown = {}
  for strength in ("", ":0", ":1", ":-2"):
    lora = ("--lora", f"a.safetensors{strength}", "--output", "clip.png")
    code, _, err = program(PROMPT, *SIZE, *lora)
    assert (code, err) == (0, "")
    shown[strength] = video.read("clip.png")[0]
  program(PROMPT, *SIZE, "--output", "plain.png")
  np.testing.assert_array_equal(shown[":0"], video.read("plain.png")[0])
  np.testing.assert_array_equal(shown[":1"], shown[""])
  assert not np.array_equal(shown[":1"], shown[":0"])
  assert not np.array_equal(shown[":-2"], shown[":1"])
  code, _, err = program(PROMPT, *SIZE, "--lora", "nowhere.safetensors")
  assert code == 2 and "Expected a safetensors file at nowhere.safetensors" in err


@pytest.mark.parametrize(
  ("arguments", "encoded"),
  [
    (("--guidance", "3"), [[PROMPT], ["by the recipe"]]),
    (("--guidance", "3", "--negative", OTHER), [[PROMPT], [OTHER]]),
    (("--guidance", "3", "--negative", ""), [[PROMPT], [""]]),
    (("--guidance", "1", "--negative", OTHER), [[PROMPT]]),
  ],
)
def test_what_not_to_show_is_encoded_where_guidance_needs_it(
  program, monkeypatch, arguments, encoded
):
  asked, encode = [], ltx_jax.LTXVideo.encode_text

  def recorded(model, prompts):
    asked.append(prompts)
    return encode(model, prompts)

  monkeypatch.setattr(ltx_jax.LTXVideo, "encode_text", recorded)
  recipe = Recipe(negative_prompt="by the recipe")
  preset = dataclasses.replace(PRESETS["moving-shapes"], recipe=recipe)
  monkeypatch.setitem(PRESETS, "moving-shapes", preset)
  code, _, err = program(PROMPT, *SIZE, *arguments, "--output", "a.png")
  assert (code, err) == (0, "")
  assert asked == encoded


@pytest.mark.parametrize(
  ("waits", "what"),
  [
    (0, "the text of 1 clip(s) of 5 frames of 40x32"),
    (2, "denoising 1 clip(s) of 5 frames of 40x32"),
  ],
)
def test_memory_that_runs_out_while_waiting_is_one_sentence(
  program, monkeypatch, waits, what
):
  """Dispatched work fails where its result is waited for."""
  before, wait = [], jax.block_until_ready

  def exhausted(arrays):
    before.append(arrays)
    if len(before) > waits:
      raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
    return wait(arrays)

  # What the stages wait for; the library waits while it loads, the bar between steps.
  monkeypatch.setattr(
    console.Clock, "stage", lambda clock, name: contextlib.nullcontext(exhausted)
  )
  code, _, err = program(PROMPT, *SIZE, "--output", "a.png")
  assert code == 2
  assert f"not enough memory for {what}; " in err
  assert "one clip of " in err or "no size fits" in err
  assert len(err.strip().splitlines()) == 1


def test_rounded_sizes_are_said_and_strict_refuses_them(program, tmp_path):
  odd = (*SIZE, "--width", "37", "--frames", "4", "--output", "odd.png")
  code, _, err = program(PROMPT, *odd, "--strict")
  assert code == 2
  assert "--strict refuses this size: 37x32 with 4 frames" in err
  assert list(tmp_path.iterdir()) == []
  code, out, _ = program(PROMPT, *odd)
  assert code == 0
  assert out.count("40x32 with 5 frames is generated and cropped") == 1
  assert video.read("odd.png")[0].shape == (4, 32, 37, 3)


def test_a_clip_is_made_over_where_steps_are_skipped(program):
  rng = np.random.default_rng(0)
  clip = rng.integers(0, 255, (5, 32, 40, 3), np.uint8)
  video.write("clip.gif", clip, 24.0)
  options = (*SIZE, "--steps", "4", "--guidance", "1", "--video", "clip.gif")
  for skipped in ("1", "3"):
    code, _, err = program(
      PROMPT, *options, "--skip-initial", skipped, "--output", f"{skipped}.png"
    )
    assert (code, err) == (0, "")
  assert not np.array_equal(video.read("1.png")[0], video.read("3.png")[0])
  for arguments, message in (
    ((), "The first noise level is 1"),
    (
      ("--skip-initial", "1", "--frames", "9"),
      "has 5 frames, but the video is to have 9",
    ),
  ):
    code, _, err = program(PROMPT, *options, *arguments, "--output", "no.png")
    assert code == 2 and message in err


def test_words_the_small_model_never_saw_are_answered(program):
  code, out, _ = program("a green dragon and a cat", *SIZE, "--output", "a.png")
  assert code == 0
  assert "never saw 'dragon', 'and', 'cat'" in out
  assert "Captions read" in out and out.count("moving") >= 3
