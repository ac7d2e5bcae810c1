"""The Haar transform against PyWavelets."""

import itertools

import numpy as np
import pytest

pywt = pytest.importorskip("pywt")

import jax.numpy as jnp  # noqa: E402

from ltx_jax.losses.wavelet import haar_bands  # noqa: E402


@pytest.mark.parametrize("frames", [1, 5, 6])
def test_bands_are_those_of_pywavelets(frames):
  video = np.random.default_rng(0).standard_normal((2, frames, 6, 4, 3))
  bands = haar_bands(jnp.asarray(video, jnp.float32))
  if frames % 2:
    video = np.concatenate([video[:, :1], video], axis=1)
  reference = pywt.dwtn(video, "haar", axes=(1, 2, 3))
  order = ("".join(letters) for letters in itertools.product("ad", repeat=3))
  for band, name in zip(bands, order, strict=True):
    np.testing.assert_allclose(band, reference[name], atol=1e-5)
