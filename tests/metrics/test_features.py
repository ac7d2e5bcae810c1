import dataclasses

import numpy as np
import pytest

from ltx_jax.metrics import features
from ltx_jax.metrics.fvd import frechet, moments
from ltx_jax.moving_shapes import world

CAPTION = "a small red circle moving right on a gray background"


def clips(direction, seeds, shuffled=False):
  """Clips of all colours and shapes that move one way."""
  captions = [c for c in world.captions() if f"moving {direction} " in c]
  rng = np.random.default_rng(0)
  order = rng.permutation(9) if shuffled else np.arange(9)
  return np.stack(
    [
      world.clip(captions[seed * 37 % len(captions)], seed, 9, 32, 32)[order]
      for seed in seeds
    ]
  )


def test_a_shape_has_its_colours_place_speed_way_and_size():
  found = features.shape_features().call(world.clip(CAPTION, 3, 9, 64, 64)[None])[0]
  np.testing.assert_allclose(found[:3], np.array([90, 90, 90]) / 255, atol=0.01)
  np.testing.assert_allclose(found[3:6], np.array([220, 40, 40]) / 255, atol=0.03)
  center = world.centers(world.parse(CAPTION), 3, 9, 64, 64).mean(0) / 64
  np.testing.assert_allclose(found[6:8], center, atol=0.01)
  np.testing.assert_allclose(found[8:10], [0, 2 * world.TRAVEL], atol=0.01)
  assert found[11] == pytest.approx(2 * world.TRAVEL, abs=0.01)
  assert found[12] == pytest.approx(world.SIZES["small"], abs=0.01)


def test_backwards_turns_the_speed_and_shuffling_lengthens_the_way():
  clip = world.clip(CAPTION, 3, 9, 64, 64)
  call = features.shape_features().call
  there, back = call(np.stack([clip, clip[::-1]]))
  np.testing.assert_allclose(back[8:10], -there[8:10], atol=1e-9)
  np.testing.assert_allclose(np.delete(back, [8, 9]), np.delete(there, [8, 9]))
  shuffled = call(clip[None, [4, 0, 8, 2, 6, 1, 7, 3, 5]])[0]
  assert shuffled[11] > 2 * there[11]


def test_an_empty_clip_has_its_background_alone():
  found = features.shape_features().call(np.full((1, 4, 32, 32, 3), 51, np.uint8))[0]
  np.testing.assert_allclose(found, [0.2] * 3 + [0] * 10)


def test_frechet_distance_of_shapes_sees_motion_and_order_in_time():
  """The bar: over ten times the distance of two halves, by wrong directions and by the
  right frames in a wrong order. Single frames are the same in the second."""
  call = features.shape_features()
  right, again = clips("right", range(64)), clips("right", range(64, 128))
  real, halves, left, mixed = (
    moments(features.features_of(call, [x[:32], x[32:]]))
    for x in (right, again, clips("left", range(64)), clips("right", range(64), True))
  )
  same = frechet(real, halves)
  assert frechet(real, left) > 10 * same
  assert frechet(real, mixed) > 10 * same


def test_clips_that_are_too_short_and_no_clips_are_refused():
  call = dataclasses.replace(features.shape_features(), frames=10)
  with pytest.raises(ValueError, match="Clips of 9 frames .* shapes; give at least 10"):
    features.features_of(call, [clips("left", range(2))])
  with pytest.raises(ValueError, match="There are no clips"):
    features.features_of(call, [])


def test_precomputed_features_are_read_with_their_names(tmp_path):
  rows, path = np.arange(6, dtype=np.float32).reshape(3, 2), tmp_path / "vjepa.npz"
  np.savez(path, features=rows, clips=["a", "b", "c"])
  found = features.read_precomputed(path)
  np.testing.assert_array_equal(found.features, rows)
  assert (found.name, found.clips) == ("vjepa", ("a", "b", "c"))
  np.savez(path, features=rows, network="V-JEPA")
  again = features.read_precomputed(path)
  assert again.name == "V-JEPA" and again.fingerprint != found.fingerprint


def test_other_files_are_refused_with_what_they_should_hold(tmp_path):
  path = tmp_path / "some.npz"
  with pytest.raises(ValueError, match="There is no file .*some.npz; give an .npz"):
    features.read_precomputed(path)
  path.write_bytes(b"PK\x03\x04 torn")
  with pytest.raises(ValueError, match="no readable .npz file"):
    features.read_precomputed(path)
  np.savez(path, features=np.array([object()], dtype=object))
  with pytest.raises(ValueError, match="no readable .npz file"):
    features.read_precomputed(path)
  np.savez(path, mean=np.zeros(3))
  with pytest.raises(ValueError, match=r"holds \{'mean': \(\(3,\)"):
    features.read_precomputed(path)
  np.savez(path, features=np.zeros((2, 3)), clips=["a"])
  with pytest.raises(ValueError, match="2 rows of features and 1 clips"):
    features.read_precomputed(path)


def test_without_weights_the_figure_says_what_to_do():
  found = features.no_i3d()
  assert found.value is None and found.shown == "no weights"
  assert "safetensors" in found.line and ".npz" in found.line
