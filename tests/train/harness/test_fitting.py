"""A run's memory plan before compilation: choices, messages and refusals."""

import dataclasses

import pytest

from configs import ltxv_vae, tiny
from ltx_jax.config.runs import MeshConfig, VAERun
from ltx_jax.parallel.mesh import make_mesh
from ltx_jax.planning.training import FILLED
from ltx_jax.planning.vae_training import VAE_REMATS as REMATS
from ltx_jax.platforms import CPU, GPU
from train.harness import fitting, shapes

MESH = MeshConfig(data=4, fsdp=2)


def settle(run, memory, platform=CPU):
  mesh = make_mesh(**vars(MESH))
  policy = platform.in_dtype(run.dtype).for_training(mesh)
  said = []
  vae = run.vae if isinstance(run, VAERun) else tiny.VAE
  settled = fitting.settle(run, policy, mesh, vae, memory=memory, say=said.append)
  return settled, said


def needed(run):
  """Bytes that the plan of a run's largest step has."""
  mesh = make_mesh(**vars(MESH))
  policy = CPU.in_dtype(run.dtype).for_training(mesh)
  batch = max(fitting.batches(run, run.vae), key=lambda b: b.bucket.frames)
  return shapes.of_vae(run, policy, mesh, *batch).plan(run.remat).peak


def kept(run):
  """Bytes that the plan of a run's clips keeps for the backward pass."""
  mesh = make_mesh(**vars(MESH))
  policy = CPU.in_dtype(run.dtype).for_training(mesh)
  batch = max(fitting.batches(run, run.vae), key=lambda b: b.bucket.frames)
  return shapes.of_vae(run, policy, mesh, *batch).plan(run.remat).kept


def test_tpus_need_copies_of_what_convolutions_work_on():
  def plan(name):
    run = dataclasses.replace(tiny.vae(), remat="full")
    mesh = make_mesh(**vars(MESH))
    policy = dataclasses.replace(CPU, name=name, dtype="bfloat16").for_training(mesh)
    batch = max(fitting.batches(run, run.vae), key=lambda b: b.bucket.frames)
    return shapes.of_vae(run, policy, mesh, *batch).plan("full")

  gpu, tpu = plan("gpu"), plan("tpu")
  assert tpu.kept == pytest.approx(2.25 * gpu.kept, rel=1e-3)
  assert tpu.workspace == pytest.approx(2.25 * gpu.workspace, rel=1e-3)
  assert tpu.peak - tpu.kept - tpu.workspace == gpu.peak - gpu.kept - gpu.workspace


def test_what_is_left_open_is_chosen_and_the_plan_is_said():
  settled, (said,) = settle(tiny.transformer(), 10**9)
  assert settled == dataclasses.replace(tiny.transformer(), remat="none")
  assert "clip(s) of" in said and "of each device (state 0.0" in said
  assert said.endswith("; remat none.")
  asked = dataclasses.replace(tiny.transformer(), remat="attention")
  assert settle(asked, 10**9)[0] == asked
  assert settle(tiny.transformer(), None, GPU)[0].remat == "dots+attention"


def test_every_size_of_every_stage_is_planned():
  found = fitting.batches(tiny.vae(), tiny.VAE)
  assert [batch.describe() for batch in found] == [
    "16 clip(s) of 1 frames of 32x32",
    "8 clip(s) of 5 frames of 32x32",
  ]


@pytest.mark.slow
def test_too_little_memory_is_refused_with_what_fits():
  run = dataclasses.replace(tiny.transformer(), remat="full")
  stage = dataclasses.replace(run.stages[0], tokens=64 * 64)
  run = dataclasses.replace(run, stages=(stage,))
  needed = settle(run, None)[1][0]
  assert "512 clip(s) of 5 frames" in needed or "1024 clip(s) of 1 frames" in needed
  with pytest.raises(ValueError, match=r"with --remat full \d+ clip\(s\) of \d+ frame"):
    settle(run, 3 * 10**6)
  with pytest.raises(ValueError, match="not one clip a device fits: raise --mesh.fsdp"):
    settle(run, 10**4)


def test_a_vae_that_does_not_fit_is_computed_again_or_refused():
  with pytest.raises(ValueError, match="not one clip a device fits"):
    settle(tiny.vae(), 10**4)
  kept = dataclasses.replace(tiny.vae(), remat="none")
  assert settle(tiny.vae(), 10**9)[0] == kept
  run = ltxv_vae.vae()
  most, least = (needed(dataclasses.replace(run, remat=r)) for r in REMATS)
  assert least < 0.7 * most
  found = settle(run, int((least + most) / 2 / FILLED))[0]
  assert found == dataclasses.replace(run, remat="full")


def test_devices_of_a_cpu_share_its_memory():
  one, eight = (fitting.device_memory(make_mesh(data=n)) for n in (1, 8))
  assert one / 12 < eight < one / 6


def test_the_plan_of_a_vae_has_its_discriminator_and_what_it_compares():
  run = dataclasses.replace(ltxv_vae.vae(), remat="full")
  gan = dataclasses.replace(run.adversarial, weight=0.1)
  pair = dataclasses.replace(run, adversarial=gan)
  clip = dataclasses.replace(
    run, adversarial=dataclasses.replace(gan, sees="clip", patch_size=4)
  )
  loss = dataclasses.replace(run.loss, perceptual_weights="a.safetensors")
  near = dataclasses.replace(run, loss=loss)
  alone, one, two, compared = (kept(each) for each in (run, pair, clip, near))
  assert alone < one < two and alone < compared
