"""The memory plan against the compiler's own figures, and the words of a refusal."""

import dataclasses
import math
import re

import jax
import numpy as np
import pytest

from configs import moving_shapes
from ltx_jax import programs
from ltx_jax.config import (
  TRANSFORMER_2B,
  VAE_C,
  ModelConfig,
  SchedulerConfig,
  TransformerConfig,
)
from ltx_jax.errors import OutOfMemory, memory_in_words, remedy_for_memory
from ltx_jax.models import transformer, vae
from ltx_jax.planning import decoding, memory
from ltx_jax.platforms import CPU, GPU
from ltx_jax.sizes import Canvas

# The published 2B model and VAE, compiled for an H100 at 768 x 512 x 121: the
# compiler's temporaries, 0.26 GB and 0.66 GB for one row and three, 2.3 GB to decode.
RELEASE = ModelConfig(TRANSFORMER_2B, VAE_C, SchedulerConfig())
SIZE = (121, 512, 768)


def shapes(*shape):
  return jax.ShapeDtypeStruct(shape, np.float32)


def compiled(program, *arguments):
  analysis = program.lower(*arguments).compile().memory_analysis()
  return analysis.temp_size_in_bytes + analysis.output_size_in_bytes


@pytest.mark.parametrize("clips", [1, 4])
def test_decoding_is_near_what_the_compiler_plans(clips):
  config, size = moving_shapes.VAE, (65, 192, 192)
  params = jax.eval_shape(lambda: vae.init_vae(jax.random.key(0), config))
  grid = config.latent_shape(*size)
  latents = shapes(clips, *grid, config.latent_channels)
  program = programs.decode(config, CPU)
  arguments = params, latents, shapes(), latents, shapes(), None
  found = decoding.decode_bytes(config, CPU, clips, grid)
  assert 0.75 < found / compiled(program, *arguments) < 1.33


@pytest.mark.slow
def test_decoding_by_winograd_is_near_what_the_compiler_plans():
  config, grid = dataclasses.replace(VAE_C, decoder_base_channels=64), (3, 16, 16)
  params = jax.eval_shape(lambda: vae.init_vae(jax.random.key(0), config))
  latents = shapes(1, *grid, config.latent_channels)
  arguments = params, latents, shapes(), latents, shapes(), None
  found = decoding.decode_bytes(config, CPU, 1, grid)
  assert 0.75 < found / compiled(programs.decode(config, CPU), *arguments) < 1.33


def test_denoising_is_near_what_the_compiler_plans():
  config = TransformerConfig(
    num_attention_heads=4, attention_head_dim=32, num_layers=2, cross_attention_dim=128
  )
  rows, n = 4, 1024
  params = jax.eval_shape(lambda: transformer.init(config, jax.random.key(0)))
  text = shapes(rows, memory.MAX_TOKENS, config.caption_channels)
  mask = jax.ShapeDtypeStruct(text.shape[:2], bool)
  make_state = programs.text_state(config, CPU)
  state = jax.eval_shape(make_state, params, text, mask)
  tables = jax.eval_shape(programs.positions(config, CPU), shapes(1, n, 3))
  arrays = jax.tree.leaves((state, tables))
  held = sum(math.prod(x.shape) * x.dtype.itemsize for x in arrays)
  options = CPU.options
  options["xla_cpu_opt_preset"] = "CPU_OPT_PRESET_DEFAULT"  # Not that of the tests.
  step = jax.jit(transformer.velocity_fn(config, CPU), compiler_options=options)
  tokens = shapes(rows, n, config.in_channels)
  needed = compiled(step, params, state, tokens, tables, shapes(rows))
  found = memory.denoise_bytes(config, CPU, rows, n)
  assert 0.75 < found / (needed + held) < 1.33


def test_releases_are_near_what_was_compiled_for_an_h100():
  config = RELEASE.transformer
  n = math.prod(VAE_C.latent_shape(*SIZE))
  text = 2 * config.num_layers * 256 * config.width * 2
  for rows, gigabytes in ((1, 0.26), (3, 0.66)):
    found = memory.denoise_bytes(config, GPU, rows, n) - rows * text
    assert 0.75 < found / (gigabytes * 1e9) < 1.33
  pixels = 4 * math.prod(SIZE) * 3
  found = decoding.decode_bytes(VAE_C, GPU, 1, VAE_C.latent_shape(*SIZE)) - pixels
  assert 0.75 < found / 2.3e9 < 1.33


def refusal(free, clips=1, size=SIZE, tiling="off", config=RELEASE):
  canvas = Canvas.of(VAE_C, *size)
  with pytest.raises(ValueError) as error:
    memory.check(config, GPU, clips, canvas, 2, int(free), tiling=tiling)
  return str(error.value)


def test_a_video_that_fits_only_in_tiles_is_not_refused():
  canvas = Canvas.of(VAE_C, *SIZE)
  memory.check(RELEASE, GPU, 1, canvas, 2, int(2e9))
  assert memory.plan(RELEASE, GPU, 1, canvas, 2).decode > 2e9
  plan = memory.plan(RELEASE, GPU, 1, canvas, 2, free=int(2e9))
  assert plan.tiles is not None and plan.decode <= 2e9
  assert "one clip of 81 frames" in refusal(2e9, tiling="off")


def test_what_is_given_beside_a_clip_is_planned():
  canvas = Canvas.of(VAE_C, *SIZE)
  tokens = math.prod(VAE_C.latent_shape(*SIZE))
  alone, beside = (
    memory.plan(RELEASE, GPU, 1, canvas, 1, extra=extra) for extra in (0, tokens)
  )
  assert beside.decode == alone.decode
  config = RELEASE.transformer
  assert beside.denoise == memory.denoise_bytes(config, GPU, 1, 2 * tokens)
  memory.check(RELEASE, GPU, 1, canvas, 2, int(6e9))
  with pytest.raises(ValueError, match="one clip of .* frames of that size fits"):
    memory.check(RELEASE, GPU, 1, canvas, 2, int(6e9), extra=40 * tokens)


def test_a_video_too_long_to_decode_at_once_is_refused():
  canvas, free = Canvas.of(VAE_C, 2001, 512, 768), int(8e9)
  with pytest.raises(ValueError) as error:
    memory.check_decode(VAE_C, GPU, 1, canvas, free)
  said = str(error.value)
  assert said.startswith("Decoding 1 clip(s) of 2001 frames of 768x512 needs about")
  frames = int(re.search(r"8.0 GB are free; (\d+) frames of that size fit", said)[1])
  memory.check_decode(VAE_C, GPU, 1, Canvas.of(VAE_C, frames, 512, 768), free)
  with pytest.raises(ValueError, match=f"{frames} frames of that size fit"):
    memory.check_decode(VAE_C, GPU, 1, Canvas.of(VAE_C, frames + 8, 512, 768), free)
  memory.check_decode(VAE_C, GPU, 1, canvas, None)
  with pytest.raises(ValueError, match="no length fits"):
    memory.check_decode(VAE_C, GPU, 1, canvas, 1)


@pytest.mark.slow
def test_a_refusal_of_what_fits_in_no_tiles_names_what_does():
  free = int(0.5e9)
  said = refusal(free, tiling="auto")
  assert "GB to decode in tiles besides the weights, but 0.5 GB are free" in said
  frames = int(re.search(r"one clip of (\d+) frames of that size fits", said)[1])
  assert frames < SIZE[0]
  memory.check(RELEASE, GPU, 1, Canvas.of(VAE_C, frames, *SIZE[1:]), 2, free)
  assert "fits" in refusal(free, size=(frames + 8, *SIZE[1:]), tiling="auto")
  assert "3 clip(s) at a time fit." in refusal(2.4e9, clips=4, tiling="auto")


def test_group_norm_is_not_tiled_and_says_so():
  config = dataclasses.replace(
    RELEASE, vae=dataclasses.replace(VAE_C, norm_layer="group_norm")
  )
  said = refusal(2e9, tiling="auto", config=config)
  assert "are free; group norm takes its statistics over the whole frame, so" in said
  assert "tiles; one clip of 81 frames of that size fits." in said


def test_a_refusal_gives_the_plan_and_what_fits():
  said = refusal(2e9)
  plan = memory.plan(RELEASE, GPU, 1, Canvas.of(VAE_C, *SIZE), 2)
  assert f"{plan.denoise / 1e9:.1f} GB to denoise" in said
  assert f"{plan.decode / 1e9:.1f} GB to decode" in said
  assert "2.0 GB are free; one clip of 81 frames of that size fits." in said
  assert "one clip of 17 frames of 768x512 fits." in refusal(
    0.9e9, size=(25, 2048, 3072)
  )
  assert "3 clip(s) at a time fit." in refusal(10e9, clips=4)
  assert "no size fits" in refusal(1e6)


@pytest.mark.parametrize("free", [0.6e9, 2e9])
@pytest.mark.parametrize(
  "size", [(9, 8192, 8192), (99_993, 512, 768), (99_993, 8192, 32), (1, 8192, 8192)]
)
def test_what_is_named_is_a_size_the_release_was_made_for(size, free, monkeypatch):
  """And few sizes are tried, whatever is asked for."""
  tried, least = [], decoding.least_bytes

  def counted(*arguments, **options):
    tried.append(arguments)
    return least(*arguments, **options)

  monkeypatch.setattr(decoding, "least_bytes", counted)
  said = refusal(free, size=size, tiling="auto")
  named = re.search(r"one clip of (\d+) frames of (?:(\d+)x(\d+)|that size) fits", said)
  frames = int(named[1])
  width, height = map(int, named.groups()[1:]) if named[2] else (size[2], size[1])
  assert frames <= 121 and width * height <= 768 * 512
  assert 1 / 3 < width / height < 3 and width % 32 == height % 32 == 0
  assert len(tried) < 60
  memory.check(RELEASE, GPU, 1, Canvas.of(VAE_C, frames, height, width), 2, int(free))


def test_what_is_named_fits_and_the_next_larger_does_not():
  for frames, fits in ((81, True), (89, False)):
    canvas = Canvas.of(VAE_C, frames, *SIZE[1:])
    assert (memory.plan(RELEASE, GPU, 1, canvas, 2).most <= 2e9) == fits


def test_what_fits_or_is_unknown_is_not_refused():
  canvas = Canvas.of(VAE_C, *SIZE)
  memory.check(RELEASE, GPU, 1, canvas, 2, int(8e9))
  memory.check(RELEASE, GPU, 1, canvas, 2, None)


def test_free_memory_is_the_devices_own_where_it_has_some():
  assert 1e8 < memory.free_memory() < 1e14
  assert memory.free_memory(jax.devices()[0]) > 1e8
  assert memory.free_of({"bytes_limit": 10, "bytes_in_use": 4}) == 6
  assert memory.free_of({}) is None


def test_memory_that_runs_out_names_stage_and_shapes():
  canvas = Canvas.of(VAE_C, 120, 500, 768)
  what = f"decoding {canvas.describe(2)}"
  message = (
    r"not enough memory for decoding 2 clip\(s\) of 121 frames of 768x512; ask for "
    r"fewer frames, a smaller size"
  )
  with pytest.raises(ValueError, match=message), memory_in_words(what):
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
  with (
    pytest.raises(ValueError, match="768x512; wait."),
    memory_in_words(what, "wait"),
  ):
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
  with pytest.raises(jax.errors.JaxRuntimeError), memory_in_words(what):
    raise jax.errors.JaxRuntimeError("INTERNAL: something else")


def test_memory_that_runs_out_against_the_plan_names_a_smaller_size():
  canvas = Canvas.of(VAE_C, 121, 512, 768)
  plan = memory.check(RELEASE, GPU, 1, canvas, 2, 10**12)
  (frames,) = re.findall(r"clip of (\d+) frames of that size fits", plan.instead)
  named = memory.plan(RELEASE, GPU, 1, Canvas.of(VAE_C, int(frames), 512, 768), 2)
  assert 0.5 * plan.most < named.most <= 2 / 3 * plan.most
  with (
    pytest.raises(OutOfMemory, match=rf"for denoising; one clip of {frames} frames of"),
    remedy_for_memory(plan.instead),
    memory_in_words("denoising"),
  ):
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
