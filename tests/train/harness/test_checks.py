"""What is refused before a run begins."""

import dataclasses

import pytest

from configs import tiny
from ltx_jax.config.runs import Bucket, MeshConfig, OutputConfig, Stage
from tests.train import trainer_case as case
from train import latents
from train.harness import checks

TOKENS = latents.tokens_of(tiny.VAE)


def test_recipes_pass():
  for run in (tiny.vae(), tiny.transformer()):
    checks.check_run(run, tiny.VAE, TOKENS)
    checks.check_run(case.with_optimizer(run, accumulate=8), tiny.VAE, TOKENS)


# A batch of images has 16 clips, one of clips has 8.
@pytest.mark.parametrize("count", [0, 3, 16])
def test_micro_batches_divide_every_batch(count):
  run = case.with_optimizer(tiny.vae(), accumulate=count)
  size, clips = ("5x32x32", 8) if count == 16 else ("1x32x32", 16)
  message = f"accumulate is {count}, and a batch of {size} has {clips} clips; choose"
  with pytest.raises(ValueError, match=message):
    checks.check_run(run, tiny.VAE, TOKENS)


def test_mesh_and_intervals_are_checked():
  mesh = dataclasses.replace(tiny.vae(), mesh=MeshConfig(3, 3))
  with pytest.raises(ValueError, match="cannot be laid over 8 device"):
    checks.check_run(mesh, tiny.VAE, TOKENS)
  output = dataclasses.replace(tiny.vae(), output=OutputConfig(save_every=0))
  with pytest.raises(ValueError, match="output.save_every is 0; it counts steps"):
    checks.check_run(output, tiny.VAE, TOKENS)


def test_what_would_fail_late_is_refused_early():
  run = tiny.vae()
  for changed, message in (
    ({"output": OutputConfig(keep=0)}, "output.keep is 0; keep at least 1"),
    (
      {"optimizer": dataclasses.replace(run.optimizer, clip_norm=0.0)},
      "clip_norm is 0.0; .* it must be above 0",
    ),
    (
      {"stages": (Stage(1, (Bucket(4, 32, 32),), tokens=64),)},
      "A bucket is 4x32x32; this VAE takes 4k . 1 frames, and sides that are multiples",
    ),
  ):
    with pytest.raises(ValueError, match=message):
      checks.check_run(dataclasses.replace(run, **changed), tiny.VAE, TOKENS)
  run = tiny.transformer()
  checks.check_flow(run)
  with pytest.raises(ValueError, match="variants is 0; each caption has at least 1"):
    checks.check_flow(dataclasses.replace(run, variants=0))
  flow = dataclasses.replace(run.flow, quantiles=(0.999, 0.005))
  with pytest.raises(ValueError, match="must satisfy 0 < low < high < 1"):
    checks.check_flow(dataclasses.replace(run, flow=flow))


def test_networks_are_compared_without_what_this_code_does_not_use():
  more = dataclasses.replace(tiny.VAE, extra=(("note", "x"),))
  checks.check_same_network("vae", more, tiny.VAE, "a/b")
  other = dataclasses.replace(tiny.VAE, latent_channels=16, patch_size=4)
  message = (
    "The vae in a/b is another network than this run's: latent_channels is 16 there "
    "and 8 here; patch_size is 4 there and 8 here."
  )
  with pytest.raises(ValueError, match=message):
    checks.check_same_network("vae", other, tiny.VAE, "a/b")
