"""The public methods of a model, on a small random one."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest

import ltx_jax
from ltx_jax import Condition, Sampling, programs
from ltx_jax.planning import decoding, memory
from ltx_jax.releases.presets import recipe_for
from ltx_jax.sizes import Canvas
from tests import pipeline_case as case
from tests.models.transformer_case import relative_error
from tests.policies import QUICK

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "pipeline.npz"
SIZE = {"width": 40, "height": 32, "frames": 5, "fps": 25}
PROMPT = "a large red circle moving right on a navy background"
OTHER = "a small blue square moving up on a gray background"


def make(scheduler="linear_quadratic"):
  return ltx_jax.LTXVideo(case.config(scheduler), case.params(), QUICK)


@pytest.mark.parametrize("name", case.RUNS)
def test_whole_runs_are_the_originals(name):
  golden, run = np.load(GOLDEN), case.RUNS[name]
  model = make(run.scheduler)
  latents = case.denoise(model, run)
  assert latents.dtype == np.float32
  assert relative_error(latents, golden[f"{name}/latents"]) < 1e-4
  options = run.sampling.decode_sigma, run.sampling.decode_noise
  video = model.decode(latents, *options, draws=case.draws)
  some = (video[:, ::2, ::4, ::4] + 1) / 2
  assert relative_error(some, golden[f"{name}/video"]) < 1e-3


@pytest.mark.parametrize("name", case.GUIDED)
def test_guided_batches_are_the_originals_clips(name):
  """The original was run for each clip alone, since it is wrong for batches."""
  golden, run = np.load(GOLDEN), case.GUIDED[name]
  latents = case.denoise(make(run.scheduler), run)
  assert relative_error(latents, golden[f"{name}/latents"]) < 1e-4


def test_other_guidance_compiles_nothing(compilations):
  """Mode, blocks, scales, schedule and CFG-star are numbers to one program."""
  model, first = make("shifted"), case.GUIDED["attention_values"]
  latents = case.denoise(model, first)
  changes = [
    {"stg_blocks": (0,)},
    {"stg_mode": "attention_skip", "rescale": 0.5},
    {"stg_mode": "transformer_block", "cfg_star": True},
    {"guidance_sigmas": (0.9, 0.5), "stg": (1.0, 3.0), "guidance": (2.0, 7.0)},
  ]
  with compilations() as programs:
    for change in changes:
      sampling = dataclasses.replace(first.sampling, **change)
      out = case.denoise(model, dataclasses.replace(first, sampling=sampling))
      assert relative_error(out, latents) > 1e-3
  assert programs == []


def test_the_step_cache_leaves_the_network_out(caplog):
  """Its own tests say where; here, that the model's denoiser has it."""
  model, run = make("shifted"), case.RUNS["soft_image"]
  plain = case.denoise(model, run)
  for cache, count, error in ((1e-9, 7, (0, 1e-5)), (1e9, 2, (1e-3, 2))):
    sampling = dataclasses.replace(run.sampling, cache=cache)
    out = case.denoise(model, dataclasses.replace(run, sampling=sampling))
    assert error[0] <= relative_error(out, plain) < error[1]
    assert f"evaluated in {count} of 7 steps" in caplog.messages[-1]


def test_memory_is_planned_for_all_branches(model, monkeypatch):
  planned = []
  check = memory.check

  def watched(*plan, **options):
    planned.append(plan[4])
    return check(*plan, **options)

  monkeypatch.setattr(memory, "check", watched)
  canvas = Canvas.of(case.VAE, 5, 32, 40)
  for options in ({"guidance": 1.0}, {}, {"stg": 1.0, "stg_blocks": (1,)}):
    model.check_memory(1, canvas, Sampling(**options))
  assert planned == [1, 2, 3]


def test_tone_mapping_reaches_the_decoder(model):
  options = SIZE | {"steps": None}
  plain, mapped = (
    model.generate(
      PROMPT, sampling=Sampling(steps=2, guidance=1.0, tone_map=tone_map), **options
    )
    for tone_map in (0.0, 0.8)
  )
  assert not np.array_equal(plain, mapped)


@pytest.fixture
def decoded():
  """Latents of 3 frames of 64 x 64, and the key of the noise."""
  latents = np.random.default_rng(0).standard_normal((1, 2, 8, 8, 6))
  return latents.astype(np.float32), jax.random.key(0)


def test_decoding_in_tiles_makes_the_same_video_and_says_its_price(
  model, decoded, caplog
):
  latents, key = decoded
  whole = model.decode(latents, key=key, tiling="off")
  assert not caplog.messages
  tiled = model.decode(latents, key=key, tiling=48)
  assert tiled.dtype == np.float32
  np.testing.assert_allclose(tiled, whole, atol=1e-5)
  (said,) = caplog.messages
  assert "decoding in 9 tiles of 3 frames of 48x48" in said
  assert "% more work than whole." in said


def test_a_video_is_decoded_in_tiles_where_it_would_not_fit(
  model, decoded, monkeypatch, caplog
):
  latents, _ = decoded
  needed = decoding.decode_bytes(case.VAE, QUICK, 1, (2, 8, 8))
  whole = model.decode(latents)
  for free, tiles in ((needed, 0), (needed - 1, 1)):
    monkeypatch.setattr(memory, "free_memory", lambda *_, free=free: free)
    np.testing.assert_allclose(model.decode(latents), whole, atol=1e-5)
    assert len(caplog.messages) == tiles


def test_sampling_says_whether_to_decode_in_tiles(model, decoded, monkeypatch):
  made, make = [], programs.decode_in_tiles

  def recorded(config, policy, tiles, finish):
    made.append(tiles)
    return make(config, policy, tiles, finish)

  monkeypatch.setattr(programs, "decode_in_tiles", recorded)
  latents, _ = decoded
  canvas = Canvas.of(case.VAE, 3, 64, 64)
  for tiling in ("off", "auto", 48):
    model.to_pixels(latents, Sampling(tiling=tiling), canvas=canvas)
  assert [tiles.window for tiles in made] == [(2, 6, 6)]
  model.check_memory(1, canvas, Sampling(tiling=48))
  with pytest.raises(ValueError, match="tiling is 8; .* at least 48 pixels a side"):
    model.check_memory(1, canvas, Sampling(tiling=8))
  with pytest.raises(ValueError, match="tiling is 8; with its halo a tile"):
    model.decode(latents, tiling=8)


def test_another_call_compiles_nothing(model, compilations):
  image = case.image()

  def call(prompt, strength, **options):
    given = (Condition(image, 0, strength),)
    model.generate(prompt, **SIZE, **options)
    return model.generate(prompt, conditions=given, **SIZE, **options)

  first = call(PROMPT, 1.0, steps=3, guidance=3.0, seed=0)
  with compilations() as programs:
    second = call(OTHER, 0.4, steps=5, guidance=7.5, seed=11)
  assert programs == []
  assert first.shape == second.shape == (1, 5, 32, 40, 3)
  assert first.dtype == np.uint8
  assert not np.array_equal(first, second)


def test_positions_become_tables_once_a_call(model, monkeypatch):
  made, tables = [], programs.positions(case.TRANSFORMER, QUICK)
  make = lambda config, policy: lambda coords: made.append(tables(coords)) or made[-1]  # noqa: E731
  monkeypatch.setattr(programs, "positions", make)
  read, step = [], programs.step(case.TRANSFORMER, QUICK)
  watch = lambda config, policy: lambda *a: read.append(a[0].positions) or step(*a)  # noqa: E731
  monkeypatch.setattr(programs.networks, "step", watch)
  model.denoise(model.encode_text([PROMPT]), **SIZE, sampling=Sampling(steps=3))
  assert len(made) == 1 and made[0].cos.shape == (1, 60, 24)
  assert len(read) == 3 and all(positions is made[0] for positions in read)


def test_first_clip_of_a_batch_is_that_prompt_alone(model):
  options = SIZE | {
    "steps": 2,
    "guidance": 2.0,
    "conditions": [Condition(case.image())],
  }
  alone = model.generate(PROMPT, seed=5, **options)
  batch = model.generate([PROMPT, PROMPT], seed=5, **options)
  np.testing.assert_allclose(batch[0].astype(int), alone[0].astype(int), atol=1)
  assert not np.array_equal(batch[0], batch[1])
  seeds = model.generate([PROMPT, PROMPT], seed=(9, 5), **options)
  np.testing.assert_allclose(seeds[1].astype(int), alone[0].astype(int), atol=1)


def test_texts_are_as_long_as_the_text_encoder_says(model, caplog):
  long = f"{PROMPT} " * 4  # 41 tokens.
  text, mask = model.encode_text([long])
  assert mask.shape == (1, 256) and mask.sum() == 41
  config = dataclasses.replace(model.config.text_encoder, max_text_tokens=32)
  config = dataclasses.replace(model.config, text_encoder=config)
  short = dataclasses.replace(model, config=config)
  assert not caplog.records
  assert short.encode_text([long])[1].sum() == 32
  assert "Prompt 1 (41 tokens) is longer than the 32 tokens" in caplog.text
  # Padding changes none of the real numbers.
  whole, _ = model.encode_text([PROMPT])
  cut, mask = short.encode_text([PROMPT])
  real = mask[0]
  np.testing.assert_allclose(cut[0][real], whole[0, :32][real], rtol=1e-5, atol=1e-6)


def test_prompts_may_be_encoded_before(model):
  options = SIZE | {"steps": 2, "guidance": 2.0}
  text, mask = model.encode_text([PROMPT])
  assert text.shape == (1, mask.shape[1], 10)
  assert 0 < mask.sum() < mask.shape[1]
  expected = model.generate(PROMPT, **options)
  np.testing.assert_array_equal(model.generate((text, mask), **options), expected)


def test_negative_prompts_and_none_mean_what_they_say(model):
  options = SIZE | {"steps": 2}
  plain = model.generate(PROMPT, guidance=3.0, **options)
  empty = model.generate(PROMPT, guidance=3.0, negative_prompt="", **options)
  other = model.generate(PROMPT, guidance=3.0, negative_prompt=OTHER, **options)
  np.testing.assert_array_equal(plain, empty)
  assert not np.array_equal(plain, other)
  sampling = Sampling(steps=2, guidance=3.0)
  again = model.generate(PROMPT, sampling=sampling, **options | {"steps": None})
  np.testing.assert_array_equal(plain, again)


def test_other_sizes_are_cropped_from_larger_ones_and_said(model, caplog):
  options = {"fps": 25, "steps": 2, "guidance": 1.0}
  video = model.generate(PROMPT, width=37, height=30, frames=4, **options)
  assert video.shape == (1, 4, 30, 37, 3)
  assert "40x32 with 5 frames is generated and cropped" in caplog.text
  whole = model.generate(PROMPT, width=40, height=32, frames=5, **options)
  np.testing.assert_array_equal(video, whole[:, :4, 1:31, 1:38])


def test_given_image_is_seen_where_the_size_is_cropped(model):
  """The same image, whether we repeat its edges or the caller does."""
  image = case.image()[:, 1:31, 1:38]
  padded = np.pad(image, [(0, 0), (1, 1), (1, 2), (0, 0)], mode="edge")
  options = {"fps": 25, "steps": 2, "guidance": 1.0}
  ours = model.generate(
    PROMPT, width=37, height=30, frames=5, conditions=[Condition(image)], **options
  )
  whole = model.generate(
    PROMPT, width=40, height=32, frames=5, conditions=[Condition(padded)], **options
  )
  np.testing.assert_array_equal(ours, whole[:, :, 1:31, 1:38])


def test_one_frame_is_an_image(model):
  image = model.generate(PROMPT, **SIZE | {"frames": 1}, steps=2, guidance=1.0)
  assert image.shape == (1, 1, 32, 40, 3)


def test_progress_shows_latents(model):
  seen = []
  text = model.encode_text([PROMPT])
  latents = model.denoise(
    text,
    **SIZE,
    sampling=Sampling(steps=3, guidance=1.0),
    on_step=lambda i, steps, x: seen.append((i, steps, np.asarray(x))),
  )
  assert [(i, steps) for i, steps, _ in seen] == [(0, 3), (1, 3), (2, 3)]
  np.testing.assert_array_equal(seen[-1][2], latents)
  assert latents.shape == (1, 3, 4, 5, 6)
  assert not np.array_equal(seen[0][2], latents)


def test_shorter_negative_text_is_padded():
  model, run = make(), case.RUNS["unguided"]
  (text, mask), (negative, negative_mask) = case.texts()
  sampling = Sampling(steps=2, guidance=2.0)
  both = []
  for length in (7, 3):  # Only the first two tokens are real.
    short = negative[:, :length], negative_mask[:, :length].astype(np.int32)
    both.append(case.denoise(model, run, sampling=sampling, negative=short))
  np.testing.assert_allclose(*both, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"width": 0}, "width is 0; it must be at least 1"),
    ({"frames": 0}, "frames is 0"),
    ({"fps": 0}, "fps is 0"),
    ({"steps": 0}, "steps is 0; it must be a whole number of at least 1"),
    ({"guidance": -1.0}, "guidance is -1.0"),
    ({"seed": (1, 2)}, "2 seeds for 1 clips"),
    ({"conditions": [Condition("nowhere.png")]}, "nowhere.png does not exist"),
  ],
)
def test_unusable_arguments_are_refused(model, options, message):
  with pytest.raises(ValueError, match=message):
    model.generate(PROMPT, **SIZE | {"steps": 2} | options)


def test_what_is_missing_is_named():
  model = make()
  text, _ = case.texts()
  with pytest.raises(ValueError, match="no text encoder; load it with text_encoder="):
    model.encode_text([PROMPT])
  with pytest.raises(ValueError, match='Guidance needs the encoding of ""'):
    model.denoise(text, **SIZE, sampling=Sampling(steps=2, guidance=3.0))
  config = dataclasses.replace(case.config(), vae=None)
  alone = ltx_jax.LTXVideo(config, case.params(), QUICK)
  with pytest.raises(ValueError, match="no vae"):
    alone.decode(np.zeros((1, 1, 1, 1, 6), np.float32))


def exhausted(*_, **__):
  raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")


def test_memory_that_runs_out_names_stage_and_shapes(model, monkeypatch):
  for name in ("encode_text", "text_state", "encode", "decode"):
    monkeypatch.setattr(programs, name, lambda *_: exhausted)
  text, _ = case.texts()
  calls = {
    r"denoising 2 clip\(s\) of 5 frames of 40x32": lambda: model.denoise(
      text, **SIZE, sampling=Sampling(steps=2, guidance=1.0)
    ),
    r"encoding a video of shape \(1, 5, 32, 40, 3\)": lambda: model.encode(
      np.zeros((1, 5, 32, 40, 3), np.float32)
    ),
    r"decoding latents of shape \(1, 3, 4, 5, 6\)": lambda: model.decode(
      np.zeros((1, 3, 4, 5, 6), np.float32)
    ),
  }
  for what, call in calls.items():
    with pytest.raises(ValueError, match=f"not enough memory for {what}; ask for few"):
      call()
  with pytest.raises(ValueError, match="not enough memory for the text encoder; take"):
    model.encode_text(["new"])


def test_distilled_models_refuse_other_levels():
  config = dataclasses.replace(case.config(), allowed_inference_steps=(1.0, 0.725))
  recipe = recipe_for(config)
  assert recipe.sampling == Sampling(sigmas=(1.0, 0.725), guidance=1.0)
  model = ltx_jax.LTXVideo(config, case.params(), QUICK, recipe=recipe)
  text, _ = case.texts()
  with pytest.raises(ValueError, match=r"not trained for the noise levels \[0.5\]"):
    model.denoise(text, **SIZE, sampling=Sampling(sigmas=(1.0, 0.5), guidance=1.0))
  with pytest.raises(ValueError, match="choose among .1.0, 0.725., for example with"):
    model.generate(text, **SIZE, steps=3)
