"""I3D against a second reading of its paper and of PyTorch's ports, layer by layer.

The reference keeps batch norm apart, pads by the ports' formula, and pools zeros.
"""

import dataclasses
import math
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from ltx_jax.checkpoints import i3d as checkpoint
from ltx_jax.config.i3d import I3D, I3DConfig
from ltx_jax.metrics.features import i3d_features
from ltx_jax.models import i3d
from ltx_jax.platforms import CPU

SMALL = I3DConfig(
  stem=(3, 4, 5),
  blocks=tuple((name, (2, 3, 4, 2, 3, 2)) for name, _ in I3D.blocks),
  classes=6,
)


def tensors(config=SMALL):
  found = {}
  for name, shape in checkpoint.i3d_shapes(config).items():
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    drawn = rng.standard_normal(shape) / math.sqrt(max(1, np.prod(shape[1:]) / 2))
    kind = name.rsplit(".", 1)[1]
    if kind == "running_var" or (kind == "weight" and len(shape) == 1):
      drawn = 0.5 + rng.uniform(size=shape)
    found[name] = drawn.astype(np.float32)
  return found


def padded(x, size, stride):
  """Zeros on both sides, one more behind if they are odd, as the ports add them."""
  pads = [(0, 0)]
  for n, k, s in zip(x.shape[1:4], size, stride, strict=True):
    total = max(0, (math.ceil(n / s) - 1) * s + k - n)
    pads.append((total // 2, total - total // 2))
  return np.pad(x, [*pads, (0, 0)])


def unit(given, name, x, size=1, stride=1):
  x = padded(x, (size,) * 3, (stride,) * 3)
  kernel = np.moveaxis(given[f"{name}.conv3d.weight"], (0, 1), (4, 3))
  x = jax.lax.conv_general_dilated(
    x, kernel, (stride,) * 3, "VALID", dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
  )
  weight, bias, mean, variance = (
    given[f"{name}.bn.{part}"]
    for part in ("weight", "bias", "running_mean", "running_var")
  )
  x = (np.asarray(x) - mean) / np.sqrt(variance + 1e-5) * weight + bias
  return np.maximum(x, 0)


def pool(x, size, stride):
  x = padded(x, size, stride)
  return np.asarray(
    jax.lax.reduce_window(
      x, -jnp.inf, jax.lax.max, (1, *size, 1), (1, *stride, 1), "VALID"
    )
  )


def reference(given, video):
  x = unit(given, "Conv3d_1a_7x7", video, 7, 2)
  x = pool(x, (1, 3, 3), (1, 2, 2))
  x = unit(given, "Conv3d_2b_1x1", x)
  x = pool(unit(given, "Conv3d_2c_3x3", x, 3), (1, 3, 3), (1, 2, 2))
  for block in ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c"):
    if block == "4b":
      x = pool(x, (3, 3, 3), (2, 2, 2))
    if block == "5b":
      x = pool(x, (2, 2, 2), (2, 2, 2))
    name = f"Mixed_{block}"
    parts = [
      unit(given, f"{name}.b0", x),
      unit(given, f"{name}.b1b", unit(given, f"{name}.b1a", x), 3),
      unit(given, f"{name}.b2b", unit(given, f"{name}.b2a", x), 3),
      unit(given, f"{name}.b3b", pool(x, (3, 3, 3), (1, 1, 1))),
    ]
    x = np.concatenate(parts, -1)
  windows = [x[:, i : i + 2].mean((1, 2, 3)) for i in range(x.shape[1] - 1)]
  logits = given["logits.conv3d.weight"][:, :, 0, 0, 0]
  return np.mean([w @ logits.T for w in windows], 0) + given["logits.conv3d.bias"]


@pytest.mark.parametrize("shape", [(2, 18, 32, 32, 3), (1, 10, 31, 45, 3)])
def test_the_network_is_the_reference_at_even_and_odd_sizes(shape):
  given = tensors()
  video = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
  params = checkpoint.from_released(given, config=SMALL)
  found = jax.jit(i3d.I3D(SMALL, CPU).apply)({"params": params}, video)
  expected = reference(given, video)
  assert expected.std() > 0.01
  np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


def test_a_file_is_read_into_the_tree_that_the_network_draws(tmp_path):
  path = tmp_path / "i3d.safetensors"
  extra = {"Conv3d_1a_7x7.bn.num_batches_tracked": np.zeros((), np.int64)}
  save_file(tensors() | extra, path, {"epsilon": "1e-3"})
  params = checkpoint.load_i3d(path, SMALL)
  video = jnp.zeros((1, 10, 32, 32, 3))
  drawn = jax.eval_shape(i3d.I3D(SMALL, CPU).init, jax.random.key(0), video)["params"]
  shapes = jax.tree.map(np.shape, params)
  assert shapes == jax.tree.map(lambda x: x.shape, drawn)
  other = checkpoint.from_released(tensors(), config=SMALL)
  ours = params["stem1"]["conv"]["kernel"]
  assert not np.allclose(ours, other["stem1"]["conv"]["kernel"], rtol=1e-5)


def test_the_released_network_has_its_number_of_weights():
  shapes = checkpoint.i3d_shapes()
  count = sum(math.prod(shape) for name, shape in shapes.items() if "conv3d" in name)
  # 12.70 million with 400 classes.
  assert 12.6e6 < count < 12.8e6


def test_other_files_are_refused_by_name():
  given = tensors()
  given["Mixed_3b.b0.conv3d.weight"] = given.pop("Mixed_3c.b0.conv3d.weight")[:, :1]
  with pytest.raises(
    ValueError, match="differs in 2: .*Mixed_3b.b0.*; save the state dict"
  ):
    checkpoint.from_released(given, config=SMALL)


def test_features_are_logits_of_stretched_frames_and_short_clips_are_refused():
  params = checkpoint.from_released(tensors(), config=SMALL)
  found = i3d_features(params, CPU, SMALL)
  frames = np.random.default_rng(0).integers(0, 256, (1, 10, 8, 12, 3), np.uint8)
  logits = found.call(frames)
  assert logits.shape == (1, 6) and np.isfinite(logits).all()
  assert found.recipe.startswith("features i3d, frames stretched to 224x224, weights ")
  other = i3d_features(jax.tree.map(lambda x: x + 1, params), CPU, SMALL)
  assert other.fingerprint != found.fingerprint
  assert dataclasses.replace(found, size=None, fingerprint="").recipe == "features i3d"
  with pytest.raises(ValueError, match="Clips of 9 frames .* at least 10, and 16"):
    found.call(frames[:, :9])
