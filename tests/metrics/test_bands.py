import math

import numpy as np
import pytest

from ltx_jax.metrics import bands
from ltx_jax.metrics.bands import BANDS, band_errors

RNG = np.random.default_rng(0)


def test_the_mean_over_bands_is_the_squared_error_of_the_pixels(monkeypatch):
  monkeypatch.setattr(bands, "_FRAMES", 4)
  reference = RNG.integers(0, 256, (10, 6, 8, 3), np.uint8)
  video = np.clip(reference + RNG.normal(0, 9, reference.shape), 0, 255)
  found = band_errors(video.astype(np.uint8), reference)
  difference = video.astype(np.uint8) - reference.astype(float)
  assert found.squared_error.mean() == pytest.approx(np.mean(difference**2), rel=1e-5)
  whole = np.mean(reference.astype(float) ** 2)
  assert found.energy.mean() == pytest.approx(whole, rel=1e-5)


def test_long_clips_give_the_same_in_parts(monkeypatch):
  reference = RNG.integers(0, 256, (9, 6, 8, 3), np.uint8)
  video = RNG.integers(0, 256, (9, 6, 8, 3), np.uint8)
  whole = band_errors(video, reference)
  monkeypatch.setattr(bands, "_FRAMES", 2)
  for parts, expected in zip(band_errors(video, reference), whole, strict=True):
    np.testing.assert_allclose(parts, expected, rtol=1e-5)


def test_detail_along_one_axis_is_missed_in_its_own_band():
  plain = np.full((4, 6, 8, 3), 100, np.uint8)
  for axis, band in enumerate(("HLL", "LHL", "LLH")):
    signs = (-1) ** np.indices(plain.shape)[axis]
    shares = band_errors(plain, (plain + 20 * signs).astype(np.uint8)).shares
    assert {name for name, share in shares.items() if share > 0.5} == {band}
    assert shares[band] == pytest.approx(1)
  assert BANDS[0] == "LLL" and BANDS[-1] == "HHH"


def test_an_error_where_there_was_nothing_is_infinite_and_odd_sizes_are_cut():
  plain = np.full((3, 7, 9, 3), 100, np.uint8)
  assert set(band_errors(plain, plain).shares.values()) == {0}
  striped = plain.copy()
  striped[:, :, ::2] += 20
  shares = band_errors(striped, plain).shares
  assert shares["LLH"] == math.inf
  striped[:, :, :8] = 100  # What is left differs in the last column alone.
  assert set(band_errors(striped, plain).shares.values()) == {0}
