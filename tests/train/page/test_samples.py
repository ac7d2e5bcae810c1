"""Sample images in a page: small, and from as many steps as there is room for."""

import base64
import io

import pytest
from PIL import Image

from tests.train.page.page_case import picture, run
from train.page import record, samples

ROWS = [{"step": 1, "loss": 1.0}]


def opened(uri):
  kind, data = uri.split(",")
  assert kind == "data:image/webp;base64"
  return Image.open(io.BytesIO(base64.b64decode(data)))


def test_large_pictures_are_made_smaller_and_keep_their_shape(tmp_path):
  folder = run(tmp_path / "one", ROWS)
  picture(folder, "samples_000010", size=(1280, 400))
  (shelf,) = samples.shelves(record.read([folder]))
  image = opened(shelf.steps[10][0])
  assert image.size == (640, 200)
  red, green, blue = image.convert("RGB").getpixel((300, 100))
  assert red > 150 and max(green, blue) < 80


def test_other_files_are_no_pictures(tmp_path):
  folder = run(tmp_path / "one", ROWS)
  for name in ("samples_000010", "notes", "grid_x"):
    picture(folder, name)
  (shelf,) = samples.shelves(record.read([folder]))
  assert (shelf.name, list(shelf.steps), shelf.of) == ("samples", [10], 1)


def test_of_many_steps_some_are_taken_evenly_with_the_first_and_the_last(tmp_path):
  folder = run(tmp_path / "one", ROWS)
  for step in range(1, 48):
    picture(folder, f"samples_{step:06d}")
  (shelf,) = samples.shelves(record.read([folder]))
  assert list(shelf.steps) == list(range(47, 0, -2))
  assert shelf.of == 47


@pytest.mark.parametrize(("room", "shown"), [(3, [5, 3, 1]), (0.5, [5])])
def test_fewer_steps_are_taken_where_they_would_not_fit(
  tmp_path, monkeypatch, room, shown
):
  folder = run(tmp_path / "one", ROWS)
  for step in range(1, 6):
    picture(folder, f"samples_{step:06d}", colour=None)
  records = record.read([folder])
  (shelf,) = samples.shelves(records)
  size = len(shelf.steps[1][0])
  monkeypatch.setattr(samples, "MOST_BYTES", int((room + 0.1) * size))
  (shelf,) = samples.shelves(records)
  assert list(shelf.steps) == shown


def test_a_picture_that_is_none_is_refused_by_name(tmp_path):
  folder = run(tmp_path / "one", ROWS)
  picture(folder, "samples_000010")
  (folder / "samples" / "samples_000010.png").write_text("none")
  with pytest.raises(ValueError, match="samples_000010.png is not a readable image"):
    samples.shelves(record.read([folder]))
