"""What a notebook shows while a video is denoised."""

import base64
import io
import re
import sys
import types

import numpy as np
import pytest
from PIL import Image

import ltx_jax
from ltx_jax.config import ModelConfig, SchedulerConfig
from ltx_jax.data import video
from ltx_jax.pipeline.preview import Preview
from ltx_jax.platforms import CPU
from sample import notebook


@pytest.fixture
def shown(monkeypatch):
  """What a notebook would show, with each update."""
  seen = []

  class Handle:
    update = staticmethod(seen.append)

  def display(thing, display_id=False):
    seen.append(thing)
    return Handle if display_id else None

  fake = types.ModuleType("IPython.display")
  fake.HTML, fake.display = str, display
  fake.Video = lambda path, **options: (path, options)
  monkeypatch.setitem(sys.modules, "IPython.display", fake)
  return seen


def image_in(text):
  (data,) = re.findall(r'base64,([^"]+)"', text)
  return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_the_panel_shows_a_bar_and_at_most_four_images():
  assert notebook.panel(1, 8, None) == (
    '<progress value="1" max="8"></progress> step 1 of 8'
  )
  pictures = np.zeros((6, 2, 3, 3), np.uint8)
  pictures[-1] = 200
  text = notebook.panel(8, 8, pictures)
  assert "step 8 of 8, then the video is decoded" in text
  image = image_in(text)
  assert image.shape == (128, 4 * 192 + 3 * 6, 3)
  assert image[:, :192].max() == 0 and (image[:, -192:] == 200).all()
  assert (image[:, 192:198] == 255).all()


def test_each_step_updates_the_panel_and_the_second_brings_a_preview(shown):
  sampling = ltx_jax.Sampling(steps=3)
  model = ltx_jax.LTXVideo(ModelConfig(None, None, SchedulerConfig()), {}, CPU)
  preview = Preview(np.eye(4, 3, dtype=np.float32), np.zeros(3, np.float32))
  on_step = notebook.live(model, preview, sampling)
  for index in range(3):
    on_step(index, 3, np.full((1, 2, 2, 2, 4), 0.1 * index, np.float32))
  begun, *panels = shown
  assert "Encoding" in begun
  assert [f"step {i} of 3" in panel for i, panel in enumerate(panels, 1)] == [True] * 3
  assert [panel.count("<img") for panel in panels] == [0, 0, 1]


def test_a_clip_is_written_and_played_inside_the_notebook(shown, tmp_path):
  path = tmp_path / "clip.mp4"
  notebook.play(path, np.zeros((9, 32, 32, 3), np.uint8), 24)
  assert len(video.read(path)[0]) == 9
  ((source, options),) = shown
  assert source == str(path) and options["embed"] is True and options["width"] == 256
