"""The model behind the page."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ltx_jax.data import video
from ltx_jax.pipeline import preview
from ltx_jax.releases.presets import PRESETS
from sample.app import studio as module
from sample.app.form import Form
from sample.app.jobs import Job
from sample.app.studio import Studio, download_gb, is_here
from sample.settings import read_arguments
from tests.sample.app.test_jobs import finished
from tests.sample.test_generate import PROMPT


@pytest.fixture
def studio(model, tmp_path, monkeypatch):
  """A studio with a random model of the small size."""
  fitted = preview.Preview(np.zeros((6, 3), np.float32), np.zeros(3, np.float32))
  monkeypatch.setattr(preview, "fit", lambda model: fitted)
  return Studio(tmp_path, extra=(model,))


@pytest.fixture
def form(model):
  name = Path(model).name  # The page shows no folder.
  return Form(prompt=PROMPT, model=name, size="Small", seconds=0.2, steps=3)


def made(studio, form):
  job = finished(Job(lambda job: studio.make(job, form)).start())
  if job.error is not None:
    raise job.error
  return job


def test_a_video_is_made_shown_early_and_carries_its_settings(studio, form, program):
  job = made(studio, form)
  assert job.preview.shape[-1] == 3 and job.preview.dtype == np.uint8
  frames, fps = video.read(job.result.path)
  assert job.result.path.parent == studio.folder and fps == 24
  folder = str(Path(studio.extra[0]).parent)
  assert folder not in job.result.command + job.result.python
  assert folder not in str(studio.models())
  carried = read_arguments(job.result.path)
  assert carried[0] == PROMPT and "--steps" in carried
  assert job.result.command.startswith("python -m sample.generate 'a large red")
  there = {form.model: studio.extra[0]}
  program(*(there.get(word, word) for word in carried), "--output", "again.mp4")
  np.testing.assert_array_equal(video.read("again.mp4")[0], frames)
  compile(job.result.python, "program", "exec")


def test_size_memory_and_time_are_told_before_the_button_is_pressed(studio, form):
  assert studio.about(form).startswith("The model is loaded first; its size")
  shipped = Form(aspect="Photo 4:3", seconds=0.6)
  assert "128x96 pixels, 17 frames" in studio.about(shipped)
  cat = dataclasses.replace(shipped, prompt="a cat")
  assert "never saw 'cat'" in studio.about(cat)
  assert 'released model under "Model and sampling"' in studio.about(cat)
  made(studio, form)
  assert "This shape is compiled: it starts at once" in studio.about(form)
  assert "Memory: about" in studio.about(form)
  other = dataclasses.replace(form, seconds=0.6)
  assert "compiled first, for about" in studio.about(other)


@pytest.mark.slow
def test_an_uploaded_image_is_the_first_frame(studio, form, tmp_path, monkeypatch):
  video.write(tmp_path / "red.png", np.full((1, 64, 64, 3), 200, np.uint8), 1.0)
  frames = np.full((1, 64, 64, 3), 200, np.uint8)
  decoded = []

  def decode(path, limits):
    decoded.append(path)
    return frames

  monkeypatch.setattr(module, "decode", decode)
  given = dataclasses.replace(form, image=str(tmp_path / "red.png"))
  plain, changed = made(studio, form), made(studio, given)
  assert decoded == [tmp_path / "red.png"]
  pair = [video.read(job.result.path)[0] for job in (plain, changed)]
  assert not np.array_equal(*pair)


def test_models_that_are_not_here_name_their_size_and_licence_first(studio, form):
  name = "ltxv-2b-0.9.6-dev"
  shown = {value: label for label, value in studio.models()}
  assert not is_here(name) and "GB to download" in shown[name]
  assert list(shown.values())[1].startswith("moving-shapes")
  assert 5 < download_gb(PRESETS[name]) < 8
  absent = dataclasses.replace(form, model=name)
  for said in (lambda: studio.about(absent), lambda: made(studio, absent)):
    try:
      sentence = said()
    except ValueError as error:
      sentence = str(error)
    assert "not on this machine: about" in sentence
    assert "License" in sentence and "Tick Download" in sentence


def test_a_model_that_nobody_offers_is_refused(studio, form):
  with pytest.raises(ValueError, match="There is no model '/etc/passwd'; choose"):
    made(studio, dataclasses.replace(form, model="/etc/passwd"))
