"""Every release's recipe, step for step, against the original's pipeline, live.

A small random model stands for the release: with its scheduler, its way to count time
and the noise levels that it knows. Blocks are named at the same share of the depth.
The original does guidance right for one clip at a time, so there is one. One number
of a list off by a fifth, or one block, makes an error of 2e-3.
"""

import dataclasses
import functools
import pathlib
import tempfile

import jax
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("ltx_video")

import ltx_jax  # noqa: E402
from ltx_jax import MultiScale  # noqa: E402
from ltx_jax.checkpoints.lightricks import save_checkpoint  # noqa: E402
from ltx_jax.models import transformer  # noqa: E402
from ltx_jax.pipeline import multiscale  # noqa: E402
from ltx_jax.platforms import CPU  # noqa: E402
from ltx_jax.releases.presets import PRESETS, HubFile  # noqa: E402
from tests import pipeline_case as base  # noqa: E402
from tests import tasks_case as case  # noqa: E402
from tests.models import upsampler_case  # noqa: E402
from tests.models.transformer_case import relative_error  # noqa: E402
from tests.oracle import make_golden_tasks as theirs  # noqa: E402
from tests.oracle.make_golden_pipeline import (  # noqa: E402
  load_pipeline,
  replaced_draws,
  told,
)

pytestmark = pytest.mark.filterwarnings("ignore")

# A float8 file differs from its release in weights alone.
RELEASES = {
  name: preset
  for name, preset in PRESETS.items()
  if isinstance(preset.files, HubFile) and not name.endswith("-fp8")
}
TWO_PASSES = [name for name in RELEASES if RELEASES[name].recipe.passes is not None]
POLICY = dataclasses.replace(CPU, unroll=False)
LAYERS = 5
SIZE = (9, 16, 24)
ONE_CLIP = slice(0, 1)


def config(name):
  """The case's model, in everything but its size as the release."""
  of_release = RELEASES[name].config
  small = dataclasses.replace(
    base.TRANSFORMER,
    num_layers=LAYERS,
    causal_temporal_positioning=of_release.transformer.causal_temporal_positioning,
  )
  return dataclasses.replace(
    case.CONFIG,
    transformer=small,
    scheduler=of_release.scheduler,
    allowed_inference_steps=of_release.allowed_inference_steps,
  )


@functools.cache
def params():
  init = functools.partial(
    transformer.init, dataclasses.replace(base.TRANSFORMER, num_layers=LAYERS)
  )
  shapes = jax.eval_shape(init, jax.random.key(0))
  drawn = jax.tree_util.tree_map_with_path(base.drawn, shapes)
  return case.params() | {"transformer": drawn}


def reduced(sampling, name):
  """A recipe's sampling, its blocks at the same share of the small depth."""
  depth = RELEASES[name].config.transformer.num_layers

  def small(blocks):
    return tuple(sorted({block * LAYERS // depth for block in blocks}))

  blocks = sampling.stg_blocks
  listed = bool(blocks) and isinstance(blocks[0], tuple)
  blocks = tuple(map(small, blocks)) if listed else small(blocks)
  return dataclasses.replace(sampling, stg_blocks=blocks)


def passes_of(name):
  passes = RELEASES[name].recipe.passes
  first, second = (reduced(sampling, name) for sampling in passes.both)
  return dataclasses.replace(passes, first=first, second=second)


def model_of(name):
  return ltx_jax.LTXVideo(config(name), params(), POLICY)


def original(name):
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "model.safetensors"
    save_checkpoint(path, config(name), params())
    loaded = load_pipeline(path)
  # Handles the file's settings as the original's own program does.
  loaded.allowed_inference_steps = config(name).allowed_inference_steps
  loaded.set_progress_bar_config(disable=True)
  return loaded


def asked(size, drawn):
  """Arguments of both pipelines besides sampling; `drawn` collects names."""
  text, negative = base.texts()

  def draws(name, shape):
    drawn.append(name)
    return base.draws(name, shape)

  options = dict(zip(("frames", "height", "width"), size, strict=True))
  options |= {"fps": base.FPS, "negative": negative, "draws": draws}
  return tuple(x[ONE_CLIP] for x in text), options


@pytest.mark.parametrize("name", RELEASES)
@torch.no_grad()
def test_one_pass(name):
  sampling, drawn = reduced(RELEASES[name].recipe.sampling, name), []
  text, options = asked(SIZE, drawn)
  ours = model_of(name).denoise(text, sampling=sampling, **options)
  given = told(sampling, SIZE, ONE_CLIP) | {"output_type": "latent"}
  with replaced_draws(ONE_CLIP) as names:
    latents = original(name)(**given).images.moveaxis(1, -1)
  error = relative_error(ours, latents)
  print(f"{name}: {error:.1e}")
  assert error < 1e-4
  assert sorted(drawn) == sorted(names)


@pytest.mark.parametrize("name", TWO_PASSES)
@torch.no_grad()
def test_two_passes(name):
  passes, drawn = passes_of(name), []
  text, options = asked(case.LARGE, drawn)
  of_upscaler = upsampler_case.random_params(case.UPSAMPLER)
  scales = MultiScale(model_of(name), multiscale.Upscaler(case.UPSAMPLER, of_upscaler))
  ours = scales.denoise(text, passes=passes, **options)
  latents, names = theirs.latents_of_passes(original(name), passes, ONE_CLIP)
  error = relative_error(ours, latents)
  print(f"{name}: {error:.1e}")
  assert error < 1e-4
  assert sorted(drawn) == sorted(names)


def test_every_release_is_compared_and_blocks_stay_apart():
  assert len(RELEASES) == 10 and len(TWO_PASSES) == 5
  first = passes_of("ltxv-13b-0.9.8-dev").first
  assert first.stg_blocks == ((), (1, 2, 3, 4), (2, 3, 4), (2,), (2,), (2,), (2,))
