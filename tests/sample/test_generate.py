"""The program that turns sentences into videos, from the command line to the files."""

import dataclasses
import shutil
import types

import jax
import numpy as np
import pytest
from PIL import Image

import ltx_jax
from ltx_jax.cli import console
from ltx_jax.config import SchedulerConfig
from ltx_jax.data import video
from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.pipeline.recipes import Recipe
from ltx_jax.releases.presets import PRESETS
from sample import generate
from sample.flags import SamplingFlags
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
  assert "2 x 40x32, 5 frames at 24 a second, seed 3, float32 on cpu" in out
  assert "note" not in out
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
  assert code == 0 and "note" not in out and "enhanced" not in out


def test_one_frame_is_a_picture_without_a_contact_sheet(program, tmp_path):
  one = (*SIZE, "--frames", "1", "--output", "still.png")
  code, out, _ = program(PROMPT, *one)
  assert code == 0 and "40x32, 1 frame at" in out
  assert [path.name for path in tmp_path.iterdir()] == ["still.png"]
  with Image.open("still.png") as still:
    assert still.size == (40, 32)


def test_an_image_is_given_with_a_strength(program):
  Image.fromarray(np.uint8(127.5 * (case.image()[0] + 1))).save("first.png")
  for strength in ("1", "0.5"):
    options = ("--image", "first.png", "--strength", strength)
    code, _, err = program(PROMPT, *SIZE, *options, "--output", f"{strength}.png")
    assert (code, err) == (0, "")
  assert not np.array_equal(video.read("1.png")[0], video.read("0.5.png")[0])


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


def test_a_strength_follows_the_last_colon():
  for text, expected in (
    ("a.safetensors", ("a.safetensors", 1.0)),
    ("a.safetensors:-.5", ("a.safetensors", -0.5)),
    ("C:a.safetensors", ("C:a.safetensors", 1.0)),
    ("C:a.safetensors:2", ("C:a.safetensors", 2.0)),
  ):
    assert console.path_and_strength(text) == expected


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
    (0, "encoding 1 prompt(s)"),
    (1, "denoising 1 clip(s) of 5 frames of 40x32"),
  ],
)
def test_memory_that_runs_out_while_waiting_is_one_sentence(
  program, monkeypatch, waits, what
):
  """What is dispatched fails where it is waited for."""
  before, wait = [], jax.block_until_ready

  def exhausted(arrays):
    before.append(arrays)
    if len(before) > waits:
      raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
    return wait(arrays)

  # Of the program alone: the library waits while it loads, the bar between steps.
  stand_in = types.SimpleNamespace(block_until_ready=exhausted)
  monkeypatch.setattr(generate, "jax", stand_in)
  code, _, err = program(PROMPT, *SIZE, "--output", "a.png")
  assert code == 2
  assert f"not enough memory for {what}; ask for fewer frames" in err
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
    (("--skip-initial", "1", "--frames", "9"), "has 5 frames and 9 are to be"),
  ):
    code, _, err = program(PROMPT, *options, *arguments, "--output", "no.png")
    assert code == 2 and message in err


FLAGS = [
  (("--steps", "7"), {"steps": 7}),
  (("--guidance", "2.5"), {"guidance": 2.5}),
  (("--cfg-star", "on"), {"cfg_star": True}),
  (("--stg", "1.5"), {"stg": 1.5}),
  (("--stg-mode", "attention_skip"), {"stg_mode": "attention_skip"}),
  (("--stg-blocks", "0,1"), {"stg_blocks": (0, 1)}),
  (("--rescale", "0.4"), {"rescale": 0.4}),
  (
    ("--guidance-sigmas", "1", "0.5", "--guidance", "1", "4", "--stg", "0", "2")
    + ("--rescale", "1", "0.5", "--stg-blocks", "none", "0,1"),
    {
      "guidance_sigmas": (1.0, 0.5),
      "guidance": (1.0, 4.0),
      "stg": (0.0, 2.0),
      "rescale": (1.0, 0.5),
      "stg_blocks": ((), (0, 1)),
    },
  ),
  (
    ("--schedule", "linear-quadratic"),
    {"schedule": SchedulerConfig(sampler="LinearQuadratic")},
  ),
  (("--sigmas", "1", "0.4"), {"sigmas": (1.0, 0.4), "steps": None}),
  (("--skip-initial", "2"), {"skip_initial": 2}),
  (("--skip-final", "2"), {"skip_final": 2}),
  (("--stochastic", "on"), {"stochastic": True}),
  (("--cache", "0.1"), {"cache": 0.1}),
  (("--condition-noise", "0.3"), {"condition_noise": 0.3}),
  (("--decode-sigma", "0.1"), {"decode_sigma": 0.1}),
  (("--decode-noise", "0.2"), {"decode_noise": 0.2}),
  (("--tone-map", "0.6"), {"tone_map": 0.6}),
  (("--tiling", "off"), {"tiling": "off"}),
  (("--tiling", "512"), {"tiling": 512}),
  (("--tiling", "512x65"), {"tiling": (512, 65)}),
]


@pytest.mark.parametrize(("arguments", "changes"), FLAGS)
def test_flags_change_how_it_is_sampled_and_decoded(
  program, monkeypatch, arguments, changes
):
  """What the two stages are told; what they make of it is theirs to test."""
  base = Sampling(steps=5, guidance=1.0, stg_blocks=(1,))
  recipe = Recipe(40, 32, 5, 24.0, base)
  preset = dataclasses.replace(PRESETS["moving-shapes"], recipe=recipe)
  monkeypatch.setitem(PRESETS, "moving-shapes", preset)
  told = []

  def denoise(model, text, *, sampling, **rest):
    told.append(sampling)
    return np.zeros((1, 3, 4, 5, 6), np.float32)

  def to_pixels(model, latents, sampling, **rest):
    told.append(sampling)
    return np.zeros((1, 5, 32, 40, 3), np.uint8)

  monkeypatch.setattr(ltx_jax.LTXVideo, "denoise", denoise)
  monkeypatch.setattr(ltx_jax.LTXVideo, "to_pixels", to_pixels)
  code, _, err = program(PROMPT, *arguments, "--output", "a.png")
  assert (code, err) == (0, "")
  assert told == [dataclasses.replace(base, **changes)] * 2
  assert told[0] != base


def test_several_devices_work_on_a_video(program, monkeypatch):
  meshes = []

  def denoise(model, text, **rest):
    meshes.append(model.policy.mesh)
    return np.zeros((1, 3, 4, 5, 6), np.float32)

  def to_pixels(model, latents, sampling, **rest):
    kernel = model.params["vae"]["decoder"]["conv_in"]["kernel"]
    assert len(kernel.devices()) == 4
    return np.zeros((1, 5, 32, 40, 3), np.uint8)

  monkeypatch.setattr(ltx_jax.LTXVideo, "denoise", denoise)
  monkeypatch.setattr(ltx_jax.LTXVideo, "to_pixels", to_pixels)
  code, out, err = program(PROMPT, *SIZE, "--mesh", "data=2,tensor=2")
  assert (code, err) == (0, "")
  assert "float32 on 4 cpu devices (data=2,tensor=2)" in out
  assert meshes[0].shape == {"data": 2, "context": 1, "fsdp": 1, "tensor": 2}


def test_every_flag_of_sampling_is_among_those():
  tested = {argument for arguments, _ in FLAGS for argument in arguments}
  for field in dataclasses.fields(SamplingFlags):
    assert "--" + field.name.replace("_", "-") in tested


def test_a_flag_turns_off_what_the_recipe_has_on():
  recipe = Sampling(stochastic=True, cfg_star=True)
  off = SamplingFlags(stochastic="off", cfg_star="off").apply(recipe)
  assert off == Sampling()
  assert SamplingFlags().apply(recipe) == recipe


def test_steps_and_noise_levels_replace_one_another():
  distilled = Sampling(sigmas=(1.0, 0.5), guidance=1.0)
  assert SamplingFlags(steps=3).apply(distilled) == Sampling(steps=3, guidance=1.0)
  planned = Sampling(steps=30)
  assert SamplingFlags(sigmas=(0.9,)).apply(planned) == Sampling(sigmas=(0.9,))
  with pytest.raises(ValueError, match="3 steps are asked for and 1 noise levels"):
    SamplingFlags(steps=3, sigmas=(0.9,)).apply(planned)


def test_noise_levels_and_a_schedule_replace_one_another():
  scheduler = SchedulerConfig(sampler="LinearQuadratic")
  distilled = Sampling(sigmas=(1.0, 0.5), guidance=1.0)
  spaced = SamplingFlags(schedule="linear-quadratic").apply(distilled)
  assert spaced == Sampling(steps=2, schedule=scheduler, guidance=1.0)
  spaced = SamplingFlags(schedule="linear-quadratic", steps=2).apply(distilled)
  assert spaced == Sampling(steps=2, schedule=scheduler, guidance=1.0)
  planned = Sampling(steps=30, schedule=scheduler)
  assert SamplingFlags(sigmas=(0.9,)).apply(planned) == Sampling(sigmas=(0.9,))


def test_words_the_small_model_never_saw_are_answered(program):
  code, out, _ = program("a green dragon and a cat", *SIZE, "--output", "a.png")
  assert code == 0
  assert "never saw 'dragon', 'and', 'cat'" in out
  assert "Captions read" in out and out.count("moving") >= 3


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ((), "Give at least one prompt, for example"),
    ((PROMPT, "--output", "a.avi"), "a.avi has the suffix '.avi'"),
    ((PROMPT, "--image", "no.png"), "no.png does not exist"),
    ((PROMPT, "--model", "moving-shape"), "did you mean 'moving-shapes'"),
    ((PROMPT, "--steps", "0"), "steps is 0; it must be at least 1"),
    ((PROMPT, "--strength", "2", "--image", "no.png"), "condition is 2.0"),
    ((PROMPT, "--guidanse", "3"), "option --guidanse; did you mean --guidance?"),
    ((PROMPT, "--guidance", "much"), "--guidance"),
    ((PROMPT, "--stg-blocks", "1;2"), "--stg-blocks is 1;2; give numbers of blocks"),
    ((PROMPT, "--stg", "1"), "stg_blocks names no block to perturb"),
    ((PROMPT, "--stg", "1", "--stg-blocks", "42"), "stg_blocks names [42]"),
    ((PROMPT, "--guidance", "1", "6"), "guidance is a list of 2; give guidance_sig"),
    ((PROMPT, "--skip-initial", "1"), "skip_initial is 1 and there is no clip"),
    ((PROMPT, "--stg-mode", "values"), "--stg-mode"),
    ((PROMPT, "--tiling", "512 x 65"), "--tiling is 512 x 65; give auto, off, the s"),
    ((PROMPT, "--tiling", "4"), "tiling is 4; with its halo a tile of"),
    ((PROMPT, "--condition", "no.png@2:0.5"), "no.png does not exist"),
    ((PROMPT, "--condition", "no.png@5"), "starts at frame 5 of a video of 5 frames"),
    ((PROMPT, "--condition", "no.png:2"), "condition is 2.0"),
    ((PROMPT, "--multi-scale"), "recipe names no upscaler for --multi-scale; give"),
    ((PROMPT, "--scale", "0.5"), "--scale is for two passes; add --multi-scale"),
    ((PROMPT, "--upscaler", "u"), "--upscaler is for two passes"),
    ((PROMPT, "--second.tone-map", "1"), "--second.tone-map is for two passes"),
    ((PROMPT, "--dtype", "int8"), "--dtype"),
    ((PROMPT, "--fps"), "--fps"),
    ((PROMPT, "--seed"), "--seed needs a number"),
    ((PROMPT, "--seed", "4294967296"), "seed is 4294967296; it must be at least 0"),
    ((PROMPT, "--strength", "0.5"), "--strength is for --image; add it, or leave"),
    ((PROMPT, "--crf", "29"), "--crf is for --image or --condition; add it, or"),
    ((PROMPT, "--reference-downscale", "2"), "--reference-downscale is for --ref"),
    ((PROMPT, "--mesh", "data=2,model=4"), "--mesh is data=2,model=4; give numbers of"),
    ((PROMPT, "--mesh", "data=2,data=4"), "--mesh is data=2,data=4; give numbers of"),
    ((PROMPT, "--mesh", "context"), "--mesh is context; give numbers of devices for"),
    ((PROMPT, "--mesh", "context=3"), "context = 3 cannot be laid over 8 device(s)"),
    ((PROMPT, "--mesh", "tensor=4"), "tensor = 4, and the transformer in"),
  ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
  program, tmp_path, arguments, message
):
  code, _, err = program(*SIZE, *arguments)
  assert code == 2
  assert message in err
  assert len(err.strip().splitlines()) == 1
  assert list(tmp_path.iterdir()) == []


def test_compile_cache_lies_in_the_users_cache_unless_told_otherwise(monkeypatch):
  before = jax.config.jax_compilation_cache_dir
  try:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    jax.config.update("jax_compilation_cache_dir", None)
    console.use_compile_cache()
    assert jax.config.jax_compilation_cache_dir == "/somewhere/ltx-jax/xla"
    jax.config.update("jax_compilation_cache_dir", "/elsewhere")
    console.use_compile_cache()
    assert jax.config.jax_compilation_cache_dir == "/elsewhere"
  finally:
    jax.config.update("jax_compilation_cache_dir", before)


def test_clock_counts_nested_compilation_once(monkeypatch):
  now = [10.0]
  monkeypatch.setattr(console.time, "perf_counter", lambda: now[0])
  with console.Clock() as clock:
    with clock.stage("denoise"):
      for end, duration in ((12.0, 1.0), (14.0, 0.5), (15.0, 4.5), (17.0, 1.0)):
        now[0] = end
        clock._record("/jax/core/compile/some_duration", duration)
      clock._record("/jax/unrelated", 7.0)
      now[0] = 20.0
  assert clock.seconds == {"compile": 5.5, "denoise": 4.5}
