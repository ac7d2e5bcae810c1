"""LPIPS against the package lpips, from its own files through our converter.

It needs torchvision, whose releases each want one release of torch, so it has an
environment of its own:

    pip install torch==2.14.1 torchvision==0.29.1 lpips -r requirements.txt
    python -m pytest tests/oracle/test_perceptual.py
"""

import pathlib

import jax
import numpy as np
import pytest

lpips = pytest.importorskip("lpips")
import torch  # noqa: E402

from ltx_jax.checkpoints.perceptual import load_perceptual  # noqa: E402
from ltx_jax.losses import perceptual  # noqa: E402
from ltx_jax.metrics import lpips as metric  # noqa: E402
from ltx_jax.models.perceptual import features_fn  # noqa: E402
from ltx_jax.platforms import CPU  # noqa: E402
from tests.models import perceptual_case as case  # noqa: E402
from tests.oracle import make_golden_perceptual as golden  # noqa: E402
from train import perceptual_weights  # noqa: E402

# The package asks torchvision for random weights in its old words.
pytestmark = pytest.mark.filterwarnings("ignore:.*weights:UserWarning:torchvision")

HEADS = pathlib.Path(lpips.__file__).parent / "weights" / "v0.1" / "vgg.pth"
FEATURES = features_fn(CPU)


@pytest.fixture(scope="module")
def model():
  torch.manual_seed(0)
  return golden.original()


@pytest.fixture(scope="module")
def params(model, tmp_path_factory):
  """What the original has, written as torchvision would and converted."""
  folder = tmp_path_factory.mktemp("weights")
  vgg, output = folder / "vgg16-397923af.pth", folder / "perceptual.safetensors"
  classifier = {"classifier.6.bias": torch.zeros(1000)}
  torch.save(golden.released_names(model) | classifier, vgg)
  perceptual_weights.main([str(vgg), "--heads", str(HEADS), "--output", str(output)])
  return load_perceptual(output)


@jax.jit
def value_and_gradient(params, noisy, video):
  def total(pixels):
    found = perceptual.lpips(FEATURES, params, pixels, video)
    return found.sum(), found

  gradient, found = jax.grad(total, has_aux=True)(noisy)
  return found, gradient


@pytest.mark.parametrize("size", [(24, 36), (64, 64)])
def test_distances_and_gradients_are_those_of_the_original(model, params, size):
  rng = np.random.default_rng(1)
  video = rng.uniform(-1, 1, (4, 1, *size, 3)).astype(np.float32)
  levels = np.float32([0.02, 0.1, 0.5, 2]).reshape(-1, 1, 1, 1, 1)
  noisy = video + levels * rng.standard_normal(video.shape, np.float32)
  found, gradient = value_and_gradient(params, noisy, video)
  expected = golden.distances(model, noisy, video)[:, 0]
  np.testing.assert_allclose(found, expected, rtol=1e-4)
  theirs = golden.gradient(model, noisy, video)
  for ours, clip in zip(gradient, theirs, strict=True):
    np.testing.assert_allclose(ours, clip, atol=1e-4 * np.abs(clip).max(), rtol=0)


def test_the_metric_is_the_mean_of_the_original_over_frames(model, params):
  video, noisy = case.videos()
  expected = golden.distances(model, noisy, video).mean(axis=1)
  for ours, theirs in zip(noisy, video, strict=True):
    found = metric.lpips(FEATURES, params, ours, theirs, at_once=3)
    assert found == pytest.approx(expected[0], rel=1e-4)
    expected = expected[1:]


def test_the_golden_file_is_what_the_original_makes():
  video, noisy = case.videos()
  with np.load(golden.GOLDEN) as arrays:
    made = golden.distances(golden.original(case.vgg(), case.heads()), noisy, video)
    np.testing.assert_allclose(made, arrays["distances"], rtol=1e-5)
    made = golden.distances(golden.unweighted(case.vgg()), noisy, video)
    np.testing.assert_allclose(made, arrays["equal"], rtol=1e-5)


def test_files_of_pytorch_that_hold_something_else_are_refused(tmp_path):
  path = tmp_path / "vgg16.pth"
  for content, said in (
    (torch.nn.Linear(2, 2), "cannot be read as a PyTorch file of tensors"),
    ({"epoch": 3}, "cannot be read as a PyTorch file of tensors"),
    ({"conv.weight": torch.zeros(2)}, "features.0.weight"),
  ):
    torch.save(content, path)
    with pytest.raises(ValueError, match=said):
      perceptual_weights.convert(path, None, tmp_path / "out.safetensors")
  path.write_bytes(b"<html>not found</html>")
  with pytest.raises(ValueError, match="vgg16.pth cannot be read .* download it again"):
    perceptual_weights.convert(path, None, tmp_path / "out.safetensors")
