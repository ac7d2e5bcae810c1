"""EfficientNet and the head: shapes, padding, dropout, files, a released file."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.checkpoints import aesthetic as files
from ltx_jax.checkpoints.trees import flatten
from ltx_jax.config.aesthetic import EfficientNetConfig
from ltx_jax.models import aesthetic
from ltx_jax.platforms import CPU
from tests.models.aesthetic_case import CONFIG, released


@pytest.fixture(scope="module")
def params():
  return aesthetic.init_backbone(jax.random.key(0), CONFIG)


@pytest.fixture(scope="module")
def pictures():
  return np.random.default_rng(0).integers(0, 256, (3, 32, 36, 3), np.uint8)


def conv(x, kernel, stride):
  """A convolution with TensorFlow's padding, position by position."""
  size, out = kernel.shape[0], -(-np.array(x.shape[:2]) // stride)
  pads = np.maximum((out - 1) * stride + size - x.shape[:2], 0)
  x = np.pad(x, [(p // 2, p - p // 2) for p in pads] + [(0, 0)])
  rows = [
    [
      np.einsum("hwi,hwio->o", x[i : i + size, k : k + size], kernel)
      for k in range(0, out[1] * stride, stride)
    ]
    for i in range(0, out[0] * stride, stride)
  ]
  return np.array(rows)


def test_lite0_has_the_maps_and_the_sizes_of_the_original():
  config = EfficientNetConfig()
  channels = [config.stages[i].channels for i in config.maps]
  assert channels == [16, 24, 40, 112, 320]
  assert config.groups == (16, 16, 24, 24, 40, 40, 112, 112, 320, 320, 1280)
  stored = sum(np.prod(entry.shape) for entry in files.backbone_entries(config))
  channels = sum(conv.shape[0] for conv in files.convolutions(config))
  # Batch norm, which is folded, has two numbers for each channel and a bias only one.
  assert stored + channels == 4_652_008


def mean(maps):
  return np.mean(maps, (1, 2))


def log_deviation(maps):
  return np.log(np.std(maps, (1, 2)) + 0.01)


def test_maps_halve_from_stride_two(params, pictures):
  module = aesthetic.EfficientNet(CONFIG, CPU)
  seen = jax.jit(module.apply)({"params": params}, pictures)
  assert [m.shape for m in seen.maps] == [(3, 16, 18, 4), (3, 8, 9, 6)]
  assert seen.features.shape == (3, 10) and seen.labels.shape == (3, 7)
  features, labels = aesthetic.backbone_fn(params, CPU, CONFIG)(pictures)
  assert tuple(part.shape[1] for part in features) == CONFIG.groups
  assert CONFIG.groups == (4, 4, 6, 6, 10)
  expected = [f(m) for m in seen.maps for f in (mean, log_deviation)]
  for found, part in zip(features, [*expected, seen.features], strict=True):
    np.testing.assert_allclose(found, part, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(labels, seen.labels, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size, stride", [(3, 1), (3, 2), (5, 2)])
def test_depthwise_convolution_is_one_kernel_a_channel(size, stride):
  rng = np.random.default_rng(size)
  x = rng.standard_normal((1, 7, 8, 2)).astype(np.float32)
  kernel = rng.standard_normal((size, size, 1, 2)).astype(np.float32)
  module = aesthetic._Depthwise(size, stride, CPU)
  weights = {"kernel": jnp.array(kernel), "bias": jnp.array([0.0, 2.0])}
  found = jax.jit(module.apply)({"params": weights}, x)
  for channel in range(2):
    one = conv(x[0, :, :, channel, None], kernel[..., channel, None], stride)
    expected = one[..., 0] + 2 * channel
    np.testing.assert_allclose(found[0, :, :, channel], expected, atol=1e-5)


def test_released_batch_norm_is_folded_into_the_kernels(pictures):
  tensors = released(CONFIG)
  params = files.from_released(tensors, "a file", CONFIG)
  x = (np.float64(pictures[0]) - 127) / 128
  kernel = tensors["_conv_stem.weight"].transpose(2, 3, 1, 0)
  x = conv(x, kernel, 2)
  norm = {p: tensors[f"_bn0.{p}"] for p in ("weight", "bias")}
  mean, variance = tensors["_bn0.running_mean"], tensors["_bn0.running_var"]
  x = (x - mean) / np.sqrt(variance + 1e-3) * norm["weight"] + norm["bias"]
  stem = params["stem"]
  ours = conv((np.float64(pictures[0]) - 127) / 128, stem["kernel"], 2) + stem["bias"]
  np.testing.assert_allclose(ours, x, atol=1e-4)


def test_files_of_backbones_are_read_as_they_were(params, tmp_path):
  path = tmp_path / "backbone.safetensors"
  files.save_backbone(path, params, config=CONFIG)
  read = files.load_backbone(path, config=CONFIG)
  jax.tree.map(np.testing.assert_array_equal, read, dict(params))
  files.save_backbone(path, params, "bfloat16", CONFIG)
  halved = files.load_backbone(path, config=CONFIG)
  for name, array in flatten(halved).items():
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, flatten(params)[name], rtol=4e-3, atol=1e-6)


def test_other_files_are_refused_by_name(params, tmp_path):
  path = tmp_path / "backbone.safetensors"
  files.save_backbone(path, params, config=CONFIG)
  with pytest.raises(ValueError, match="stem.weight .*train.aesthetic_weights"):
    files.load_backbone(path)
  with pytest.raises(ValueError, match="is no aesthetic head: .*train.aesthetics"):
    files.load_head(path)
  tensors = released(CONFIG)
  del tensors["_bn1.bias"]
  with pytest.raises(ValueError, match=r"_bn1.bias \(expected \(10,\), found nothing"):
    files.from_released(tensors, "a file", CONFIG)


@pytest.fixture(scope="module")
def head():
  rng = np.random.default_rng(2)
  deviation = np.append(rng.uniform(0.1, 9, 11), 0)
  return aesthetic.init_head(jax.random.key(1), rng.normal(size=12), deviation, (12,))


def test_the_head_does_not_see_the_scale_of_features(head):
  features = np.random.default_rng(3).normal(size=(4, 12)).astype(np.float32)
  factors = np.logspace(-2, 2, 12).astype(np.float32)
  statistics = head["statistics"]
  scaled = {
    "mean": statistics["mean"] * factors,
    "scale": statistics["scale"] / factors,
  }
  other = {"layers": head["layers"], "statistics": scaled}
  np.testing.assert_allclose(
    aesthetic.scores(other, features * factors),
    aesthetic.scores(head, features),
    atol=1e-4,
  )


def test_groups_of_any_size_count_alike():
  groups = (2, 8, 50)
  head = aesthetic.init_head(jax.random.key(0), np.zeros(60), np.ones(60), groups)
  scale = np.square(head["statistics"]["scale"])
  sums = np.add.reduceat(scale, [0, 2, 10])
  np.testing.assert_allclose(sums, 20, rtol=1e-5)


def test_features_that_never_changed_are_not_looked_at(head):
  features = np.zeros((2, 12), np.float32)
  features[1, -1] = 1e6
  one, other = aesthetic.scores(head, features)
  assert one == other


def test_dropout_needs_a_key_and_keeps_the_mean(head):
  features = np.ones((1, 12), np.float32)
  plain = aesthetic.scores(head, features)[0]
  np.testing.assert_array_equal(aesthetic.scores(head, features)[0], plain)
  many = aesthetic.scores(head, features.repeat(4000, 0), jax.random.key(0))
  assert many.std() > 0
  assert many.mean() == pytest.approx(float(plain), abs=4 * float(many.std()) / 60)


def test_heads_are_read_as_they_were(head, tmp_path):
  path = tmp_path / "head.safetensors"
  files.save_head(path, head, {"backbone": "abc"})
  read, texts = files.load_head(path)
  jax.tree.map(np.testing.assert_array_equal, read, jax.tree.map(np.asarray, head))
  assert texts["backbone"] == "abc"
