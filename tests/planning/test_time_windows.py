"""Windows of time for a round trip: by memory, asked for, and what they cost."""

import dataclasses

import jax
import numpy as np
import pytest

from configs import moving_shapes
from ltx_jax import programs
from ltx_jax.config import VAE_C
from ltx_jax.models import vae
from ltx_jax.planning import flops, time_windows
from ltx_jax.platforms import CPU, GPU
from ltx_jax.sizes import Canvas

LONG = Canvas.of(VAE_C, 241, 512, 768)


def chosen(canvas=LONG, **options):
  return time_windows.choose(VAE_C, GPU, canvas, **options)


def test_windows_cover_the_clip_and_share_what_is_dropped():
  windows = chosen()
  assert windows.size <= 13
  assert windows.encoder[0] == 0 and windows.encoder[-1] + windows.size == 31
  shared = windows.encoder[:-1] + windows.size - windows.encoder[1:]
  assert shared.min() >= time_windows.ENCODER_OVERLAP
  total = np.zeros(241)
  for start, weights in zip(
    windows.decoder.starts, windows.decoder.weights, strict=True
  ):
    total[8 * start :][: len(weights)] += weights
  np.testing.assert_allclose(total, 1, rtol=1e-5)


def test_a_short_clip_is_one_window_and_so_is_one_frame():
  for frames, size in ((97, 13), (20, 4), (1, 1)):
    windows = chosen(Canvas.of(VAE_C, frames, 512, 768))
    assert windows.size == size
    assert len(windows.encoder) == len(windows.decoder.starts) == 1


def test_windows_are_as_long_as_the_memory_allows():
  needed = {
    frames: time_windows.round_trip_bytes(VAE_C, GPU, (frames, 512, 768))
    for frames in (33, 65, 97)
  }
  assert needed[33] < needed[65] < needed[97]
  assert chosen(free=needed[97]).decoder.size > chosen(free=needed[65]).decoder.size
  assert chosen(free=needed[97] - 1).size <= 9
  with pytest.raises(
    ValueError, match=r"33 frames of 768x512 .* make the video smaller"
  ):
    chosen(free=needed[33] - 1)


def test_a_window_that_is_asked_for_is_taken_or_refused():
  assert chosen(window=33).size <= 5
  assert chosen(window=241).size == 31
  for window in (32, 25, 1, -7):
    with pytest.raises(ValueError, match=rf"window is {window}; it must be 8k \+ 1"):
      chosen(window=window)
  with pytest.raises(ValueError, match="ask for a shorter window, or make"):
    chosen(window=241, free=10**9)


def test_norms_over_all_frames_allow_no_windows():
  config = dataclasses.replace(VAE_C, norm_layer="group_norm")
  windows = time_windows.choose(config, GPU, LONG)
  assert windows.size == 31 and len(windows.decoder.starts) == 1
  with pytest.raises(ValueError, match=r"window is 33; group norm .* leave it out"):
    time_windows.choose(config, GPU, LONG, window=33)


def test_the_work_is_that_of_the_windows_sizes():
  windows = chosen(window=65)
  frames = 8 * (windows.size - 1) + 1
  encode, decode = time_windows.work(VAE_C, LONG, windows)
  assert encode == flops.encoder(VAE_C, frames, 512, 768)
  assert decode == flops.decoder(VAE_C, windows.decoder.size, 16, 24)
  note = time_windows.note(VAE_C, windows)
  assert f"{len(windows.encoder)} windows of {frames} frames" in note


def test_encoding_takes_what_is_estimated():
  config, size = moving_shapes.VAE, (17, 192, 192)
  policy = dataclasses.replace(CPU, unroll=False)
  params = jax.eval_shape(lambda: vae.init_vae(jax.random.key(0), config))
  clip = jax.ShapeDtypeStruct((1, *size, 3), np.float32)
  plan = programs.encode(config, policy).lower(params, clip, None).compile()
  analysis = plan.memory_analysis()
  taken = analysis.temp_size_in_bytes + 4 * np.prod(clip.shape)
  estimated = time_windows.encode_bytes(config, policy, size)
  assert 0.66 < estimated / taken < 1.5, estimated / taken
