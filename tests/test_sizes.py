"""Sizes between those that a VAE makes, and memory that runs out."""

import numpy as np
import pytest

from ltx_jax.config import VAEConfig
from ltx_jax.sizes import Canvas


def test_whole_sizes_are_used_as_they_are():
  canvas = Canvas.of(VAEConfig(), 121, 512, 768)
  assert canvas.used == canvas.asked == (121, 512, 768)
  assert canvas.note is None


@pytest.mark.parametrize(
  ("asked", "used"),
  [((120, 500, 700), (121, 512, 704)), ((2, 1, 33), (9, 32, 64)), ((1, 32, 32),) * 2],
)
def test_other_sizes_are_rounded_up(asked, used):
  assert Canvas.of(VAEConfig(), *asked).used == used


def test_cropping_undoes_padding():
  canvas = Canvas.of(VAEConfig(), 9, 50, 40)
  video = np.random.default_rng(0).normal(size=(9, 50, 40, 3))
  padded = canvas.pad(video)
  assert padded.shape == (9, 64, 64, 3)
  np.testing.assert_array_equal(canvas.crop(padded[None])[0], video)
  np.testing.assert_array_equal(padded[:, :7, 12:-12], video[:, :1].repeat(7, axis=1))


def test_the_note_says_what_is_generated():
  note = Canvas.of(VAEConfig(), 120, 500, 700).note
  assert "700x500 with 120 frames is asked for; 704x512 with 121 frames" in note
  assert "multiples of 32 and frames 8k + 1" in note


@pytest.mark.parametrize("size", [0, -8, 25.5, 25.0, "25"])
def test_sizes_that_are_no_whole_numbers_are_refused(unchecked, size):
  with pytest.raises(ValueError, match=f"frames is {size!r}; .* at least 1, .* whole"):
    Canvas.of(VAEConfig(), size, 512, 768)
