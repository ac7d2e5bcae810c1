"""The other sides of the benchmark do the same work as ours."""

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("ltx_video")

from ltx_jax.diffusion.sampling import Sampling  # noqa: E402
from sample.benchmark import comparison, ours, tasks, theirs, theirs_diffusers  # noqa: E402
from tests.sample import test_benchmark as case  # noqa: E402
from tests.sample import test_benchmark_vae as vae_case  # noqa: E402

# The original calls functions that PyTorch is to change.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize(
  "kind", ["velocity", "encode", "decode", "training", "generate"]
)
def test_every_task_runs_in_the_original(kind, tmp_path):
  made = {
    "velocity": lambda: tasks.velocity(case.TRANSFORMER, 9, 5),
    "encode": lambda: tasks.encode(case.VAE, case.VIDEO),
    "decode": lambda: tasks.decode(case.VAE, case.VIDEO),
    "training": lambda: tasks.training(case.TRANSFORMER, 2, 8, 5),
    "generate": lambda: case.generation(tmp_path),
  }
  spec = json.loads(json.dumps(made[kind]().spec)) | {"threads": 1}
  run, times = theirs.build(spec)
  out = np.asarray(run())
  shapes = {
    "velocity": (1, 9, 6),
    "encode": (1, 6, *case.VAE.latent_shape(*case.VIDEO)),
    "decode": (1, 3, *case.VIDEO),
    "training": (),
    "generate": (1, 3, *case.VIDEO),
  }
  assert out.shape == shapes[kind]
  assert np.isfinite(out).all() and np.any(out)
  assert times["warm_up"] > 0


def test_diffusers_makes_a_video_of_the_same_checkpoint(tmp_path):
  narrow = dataclasses.replace(
    tasks.EXPRESSIBLE_VAE, encoder_base_channels=8, decoder_base_channels=8
  )
  path = tasks.random_checkpoint(
    tmp_path / "model.safetensors", case.TRANSFORMER_OF_128, narrow
  )
  size = {"frames": 9, "height": 32, "width": 64, "sampling": Sampling(steps=2)}
  task = tasks.for_diffusers(path, tmp_path / "folder", text_tokens=7, **size)
  spec = json.loads(json.dumps(task.spec)) | {"threads": 1}
  for side in (ours, theirs_diffusers):
    run, times = side.build(spec)
    out = np.asarray(run())
    assert sorted(out.shape) == [1, 3, 9, 32, 64] and out.std() > 0
    assert run.stages.seconds.keys() == {"denoise", "decode"}
    assert times["versions"]
  with pytest.raises(ValueError, match="timed for 'generate', not 'decode'"):
    theirs_diffusers.build({"kind": "decode"})


def test_both_sides_compute_the_same_first_step_of_a_vae(tmp_path):
  task = vae_case.training(tmp_path)
  spec = vae_case.spec_of(task)
  (mine, _), (others, _) = (side.build(spec) for side in (ours, theirs))
  sides = [{"figures": run.figures} for run in (mine, others)]
  assert comparison._difference(task, sides) < comparison.AGREEMENT
  assert np.isfinite(others()) and others() != others.figures["loss"]


def test_the_original_convolves_as_often():
  task = tasks.vae_convolutions(case.VAE, clips=2, size=case.VIDEO)
  run, _ = theirs.build(vae_case.spec_of(task))
  for row, (y, grads) in zip(task.spec["convolutions"], run(), strict=True):
    assert y.shape[1] == row.features
    assert [grad is not None for grad in grads] == [row.to_input, True, False]
