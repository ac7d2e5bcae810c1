"""Refusals before a run begins."""

import dataclasses

import pytest

from configs import tiny
from ltx_jax.config.runs import Bucket, MeshConfig, Stage
from ltx_jax.data.buckets import tokens_of
from tests.train import trainer_case as case
from train.harness import checks

TOKENS = tokens_of(tiny.VAE)


def test_recipes_pass():
  for run in (tiny.vae(), tiny.transformer()):
    checks.check_run(run, tiny.VAE, TOKENS)
    checks.check_run(case.with_optimizer(run, accumulate=8), tiny.VAE, TOKENS)


# A batch of images has 16 clips, one of clips has 8.
@pytest.mark.parametrize("count", [3, 16])
def test_micro_batches_divide_every_batch(count):
  run = case.with_optimizer(tiny.vae(), accumulate=count)
  size, clips = ("5x32x32", 8) if count == 16 else ("1x32x32", 16)
  message = f"accumulate is {count}, but a batch of {size} has {clips} clips; choose"
  with pytest.raises(ValueError, match=message):
    checks.check_run(run, tiny.VAE, TOKENS)


def test_a_mesh_of_more_devices_than_there_are_is_refused():
  mesh = dataclasses.replace(tiny.vae(), mesh=MeshConfig(3, 3))
  with pytest.raises(ValueError, match="cannot be laid over 8 device"):
    checks.check_run(mesh, tiny.VAE, TOKENS)


def test_sizes_that_the_vae_has_no_latents_of_are_refused():
  stages = (Stage(1, (Bucket(4, 32, 32),), tokens=64),)
  message = "A bucket is 4x32x32; this VAE takes 4k . 1 frames, and sides that are mult"
  with pytest.raises(ValueError, match=message):
    checks.check_run(dataclasses.replace(tiny.vae(), stages=stages), tiny.VAE, TOKENS)


def test_heads_divide_over_their_devices():
  run = tiny.transformer()
  checks.check_heads(run)
  mesh = MeshConfig(data=1, tensor=4)
  with pytest.raises(
    ValueError, match="mesh.tensor is 4, but .* has 2 attention heads"
  ):
    checks.check_heads(dataclasses.replace(run, mesh=mesh))


def test_a_run_does_not_write_over_what_it_is_made_from(tmp_path):
  old = tmp_path / "vae.safetensors"
  old.write_bytes(b"weights")
  (tmp_path / "link").symlink_to(tmp_path)
  checks.check_outputs([old], [("init_from", ""), ("vae", tmp_path / "other")])
  message = "would replace what init_from reads .* another --output.folder"
  for name in (old, tmp_path / "link" / "vae.safetensors"):
    with pytest.raises(ValueError, match=message):
      checks.check_outputs([old], [("init_from", str(name))])


def test_it_is_said_where_the_noise_leaves_nothing_to_see():
  run = tiny.transformer()
  assert checks.flow_warnings(run, lambda bucket: 6144) == []
  (said,) = checks.flow_warnings(run, lambda bucket: 27588 // bucket.frames)[-1:]
  assert "1x32x32 (27588 tokens) are shifted by 10.46: half" in said
  assert "--flow.shift-at-most 2.05 to 3" in said
  bounded = dataclasses.replace(run.flow, shift_at_most=3.0)
  bounded = dataclasses.replace(run, flow=bounded)
  assert checks.flow_warnings(bounded, lambda bucket: 27588) == []


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
