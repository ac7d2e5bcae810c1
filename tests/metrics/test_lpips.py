import jax
import numpy as np
import pytest

from ltx_jax.losses import perceptual
from ltx_jax.metrics.lpips import lpips, no_vgg16
from tests.models.perceptual_case import SMALL, small_features


def clips():
  """Returns a clip of five frames, and a noisy one."""
  rng = np.random.default_rng(0)
  clip = rng.uniform(-1, 1, (5, 16, 20, 3)).astype(np.float32)
  noise = 0.1 * np.arange(1, 6).reshape(-1, 1, 1, 1) * rng.standard_normal(clip.shape)
  return clip, np.clip(clip + noise, -1, 1).astype(np.float32)


def measure(video, reference, at_once=8):
  return lpips(small_features, SMALL, video, reference, at_once)


def test_it_is_the_loss_of_the_clip_however_many_frames_at_once():
  clip, noisy = clips()
  expected = perceptual.lpips(small_features, SMALL, noisy[None], clip[None])
  for at_once in (2, 5, 8):
    found = measure(noisy, clip, at_once)
    assert isinstance(found, float)
    assert found == pytest.approx(float(expected[0]), rel=1e-5)


def test_equal_clips_have_no_distance_and_noise_has_some():
  clip, noisy = clips()
  assert measure(clip, clip) == 0
  frames = [measure(n[None], c[None]) for n, c in zip(noisy, clip, strict=True)]
  assert 0 < frames[0] < frames[2] < frames[4]
  assert measure(noisy, clip) == pytest.approx(np.mean(frames), rel=1e-5)


def test_clips_of_a_device_are_measured_by_one_program(compilations):
  clip, noisy = (jax.numpy.asarray(x) for x in clips())
  first = measure(noisy, clip, 3)
  with compilations() as events:
    again = measure(noisy, clip, 3)
  assert (again, events) == (first, [])


def test_clips_of_other_shapes_are_refused(unchecked):
  clip, noisy = clips()
  with pytest.raises(ValueError, match=r"shape \(5, 16, 20, 3\), its reference \(4,"):
    measure(clip, noisy[:4])


def test_without_weights_a_sentence_says_how_to_make_them():
  found = no_vgg16()
  assert found.value is None
  assert found.line.startswith("lpips-vgg16: no weights. lpips-vgg16 needs the weights")
  assert "train.perceptual_weights" in found.line
