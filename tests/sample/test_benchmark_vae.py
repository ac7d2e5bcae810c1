"""The benchmark's side by side of training the Video-VAE, on a tiny one."""

import json

import numpy as np
import pytest

from ltx_jax.planning import flops
from sample.benchmark import comparison, ours, tasks, vae_training
from tests.sample.test_benchmark import TRANSFORMER, VAE, VIDEO


def training(folder):
  path = tasks.random_checkpoint(folder / "model.safetensors", TRANSFORMER, VAE)
  return tasks.vae_training(path, folder, clips=2, size=VIDEO)


def spec_of(task):
  return json.loads(json.dumps(task.spec)) | {"threads": 1}


@pytest.mark.slow
def test_a_step_says_what_it_computed_first(tmp_path):
  run, times = ours.build(spec_of(training(tmp_path)))
  first = dict(run.figures)
  assert set(first) == set(vae_training.FIGURES)
  assert 0 < times["compile"] < times["warm_up"]
  loss = float(run())
  assert np.isfinite(loss) and loss != first["loss"] and run.figures == first
  # The wavelet loss counts from the first step on.
  weights = vae_training.recipe(tmp_path / "model.safetensors").loss
  parts = {"mse": weights.mse, "wavelet": weights.wavelet, "kl": weights.kl}
  total = sum(weight * first[name] for name, weight in parts.items())
  assert first["loss"] == pytest.approx(total, rel=1e-5)


def test_convolutions_are_those_of_the_step():
  task = tasks.vae_convolutions(VAE, clips=2, size=VIDEO)
  run, _ = ours.build(spec_of(task))
  out = np.asarray(run())
  rows = task.spec["convolutions"]
  # A result and two gradients each, and no gradient of the first one's pixels.
  assert len(out) == 3 * len(rows) - 1 and np.isfinite(out).all() and out.all()
  assert not rows[0].to_input and all(row.to_input for row in rows[1:])
  work = 0
  for row in rows:
    b, frames, height, width, c = row.x
    sides = zip((frames - 2, height, width), row.strides, strict=True)
    positions = b * int(np.prod([-(-side // stride) for side, stride in sides]))
    work += 2 * 27 * positions * c * row.features
  whole = flops.encoder(VAE, *VIDEO) + flops.decoder(VAE, *VAE.latent_shape(*VIDEO))
  # Products with the zeros around frames are no work; tiny frames have many.
  assert 0.6 * work < 2 * whole <= work


def test_sides_that_disagree_are_not_timed():
  task = tasks.vae_convolutions(VAE, clips=2, size=VIDEO)

  def sides(*losses):
    return [{"figures": {"loss": loss, "kl": 1.0}} for loss in losses]

  assert comparison._difference(task, [{"figures": {}}] * 2) is None
  assert comparison._difference(task, sides(2.0001, 2.0)) == pytest.approx(5e-5)
  for wrong in (2.001, float("nan")):
    with pytest.raises(ValueError, match="not compute the same.*: loss is"):
      comparison._difference(task, sides(wrong, 2.0))
