"""Frames of files as cameras, editors and damage leave them; why some are refused."""

import dataclasses
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from ltx_jax.curation import borders, frames
from ltx_jax.curation.clip import Decision, Source, Span, spans
from ltx_jax.data import video
from tests.data import media_case
from tests.data.media_case import levels, numbers


def decoded(path):
  """All frames of a file, from all of its spans."""
  source = frames.probe(path)
  assert isinstance(source, Source), source
  found = [frames.read(span) for span in spans(source)]
  assert all(isinstance(part, frames.Frames) for part in found), found
  return source, found


def refusal(path):
  """Why a file is refused, when it is probed or read."""
  source = frames.probe(path)
  if isinstance(source, Source):
    found = [frames.read(span) for span in spans(source)]
    source = next((part for part in found if isinstance(part, Decision)), source)
  return source


def test_a_plain_file(tmp_path):
  path = media_case.write(tmp_path / "a.mp4", levels(25, 144, 256), 25)
  source, (found,) = decoded(path)
  assert (source.width, source.height, source.frames) == (256, 144, 25)
  assert source.fps == pytest.approx(25) and source.seconds == pytest.approx(1.0)
  assert source.id == str(path) and source.bytes == path.stat().st_size
  assert found.small.shape == (25, 72, 128, 3)
  assert numbers(found.small) == list(range(25))
  np.testing.assert_allclose(found.seconds, np.arange(25) / 25, atol=1e-3)
  assert found.profiles.rows.shape == (4, 3, 144)
  assert found.profiles.columns.shape == (4, 3, 256)
  assert found.profiles.frames.tolist() == [0, 8, 16, 24]
  assert found.stills.shape == (1, 144, 256, 3) and found.corrupt == 0
  assert frames.rate(found.seconds) == pytest.approx(25)


def test_one_still_a_second(tmp_path):
  path = media_case.write(tmp_path / "a.mp4", levels(30, 288, 512), 10)
  _, (found,) = decoded(path)
  assert found.stills.shape == (3, 256, 455, 3)
  assert found.still_frames.tolist() == [0, 10, 20]
  assert numbers(found.stills) == [0, 10, 20]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".ts", ".avi", ".mpg"])
def test_spans_together_are_one_plain_decoding(tmp_path, monkeypatch, suffix):
  options = {"bf": "3", "g": "9"} if suffix in (".mp4", ".mkv", ".ts") else {}
  if options:
    options["x264-params"] = "open-gop=1"
  path = media_case.write(tmp_path / f"a{suffix}", levels(31), 25, options=options)
  monkeypatch.setattr(frames, "MOST_FRAMES", 8)
  source, parts = decoded(path)
  assert source.frames == 31 and len(parts) == len(source.edges) == 4
  assert [n for part in parts for n in numbers(part.small)] == list(range(31))
  seconds = np.concatenate([part.seconds for part in parts])
  np.testing.assert_allclose(seconds, np.arange(31) / 25, atol=2e-3)


def test_a_span_does_not_last_longer_than_allowed(tmp_path, monkeypatch):
  monkeypatch.setattr(frames, "MOST_SECONDS", 0.5)
  path = media_case.write(tmp_path / "a.mp4", levels(30), 24)
  source = frames.probe(path)
  assert np.diff((*source.edges, source.seconds)).max() <= 0.5 + 1 / 24
  assert len(source.edges) == 3


def test_variable_frame_rates_keep_their_times(tmp_path):
  times = [0, 40, 80, 400, 440, 1000]
  path = media_case.write(tmp_path / "a.mp4", levels(6), times=times)
  source, (found,) = decoded(path)
  np.testing.assert_allclose(found.seconds, np.array(times) / 1000, atol=2e-3)
  assert source.frames == 6 and source.fps == pytest.approx(5.0, rel=0.01)


def test_the_first_time_of_a_stream_is_an_offset(tmp_path):
  path = tmp_path / "a.ts"
  frame = av.VideoFrame.from_ndarray(levels(1)[0].copy(), format="rgb24")
  with av.open(str(path), "w") as container:
    stream = container.add_stream("libx264", 25, options={"bf": "0"})
    stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
    for k in range(10):
      frame.pts, frame.time_base = k + 125, Fraction(1, 25)
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  source, (found,) = decoded(path)
  assert source.offset >= 5 and found.seconds[0] == 0 and len(found.seconds) == 10


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotated_files_are_upright(tmp_path, rotation):
  image = np.zeros((1, 96, 160, 3), np.uint8)
  image[:, :24] = 235
  path = media_case.write(
    tmp_path / "a.mp4", np.repeat(image, 9, 0), 24, rotation=rotation
  )
  source, (found,) = decoded(path)
  shown = video.read(path)[0][0]
  assert (source.height, source.width) == shown.shape[:2]
  expected = np.asarray(Image.fromarray(shown).resize(found.small.shape[2:0:-1]))
  assert np.abs(found.small[0].astype(int) - expected).mean() < 6
  assert found.profiles.rows.shape[2] == shown.shape[0]
  bright = shown[..., 0].mean(1 if rotation == 180 else 0) > 100
  lines = found.profiles.rows if rotation == 180 else found.profiles.columns
  assert (lines[0, 0][bright] > 100).mean() > 0.9


def test_pixels_that_are_not_square_are_scaled_before_the_crop(tmp_path):
  image = np.full((9, 96, 120, 3), 120, np.uint8)
  image[:, :, :13] = image[:, :, -20:] = 0
  path = media_case.write(tmp_path / "a.mp4", image, 24, aspect=Fraction(4, 3))
  source, (found,) = decoded(path)
  assert (source.width, source.height) == (160, 96)
  assert found.small.shape[1:3] == (72, 120)
  stored = borders.crop(found.profiles)
  x, y, width, height = found.crop(stored)
  assert stored[0] in (13, 14) and (y, height) == (0, 96)
  assert x == int(np.ceil(stored[0] * 4 / 3)) and width % 2 == 0
  assert x + width <= (stored[0] + stored[2]) * 4 / 3


def test_crops_are_even(tmp_path):
  image = np.full((9, 90, 98, 3), 120, np.uint8)
  _, (found,) = decoded(media_case.write(tmp_path / "a.mp4", image, 24))
  assert found.crop((3, 0, 95, 89)) == (3, 0, 94, 88)


def test_broken_packets_do_not_end_a_file(tmp_path, monkeypatch):
  rng = np.random.default_rng(0)
  noise = rng.integers(60, 200, (60, 64, 96, 3), np.uint8)
  path = media_case.write(tmp_path / "a.mp4", noise, 30, options={"g": "10"})
  content = bytearray(path.read_bytes())
  for place in rng.integers(len(content) // 3, 2 * len(content) // 3, 40):
    content[place] ^= 0xFF
  path.write_bytes(content)
  found = refusal(path)
  assert found.reason == "corrupt" and found.value > found.threshold
  monkeypatch.setattr(frames, "_CORRUPT", 1.0)
  monkeypatch.setattr(frames, "_GAP", 9.0)
  _, (found,) = decoded(path)
  assert len(found.seconds) > 50 and 0.02 < found.corrupt < 1


def odd(tmp_path, kind):
  path = tmp_path / "a.mp4"
  if kind == "html":
    path.write_text("<html><body>404</body></html>")
  elif kind == "empty":
    path.write_bytes(b"")
  elif kind == "no moov":
    media_case.write(path, levels(20), 24)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  elif kind == "sound":
    media_case.write_sound(path)
  elif kind == "tiny":
    media_case.write(path, levels(5, 32, 96), 24)
  elif kind == "narrow":
    media_case.write(path, levels(5, 64, 320), 24)
  elif kind == "interlaced":
    options = {"x264-params": "interlaced=1"}
    media_case.write(path, levels(9), 24, options=options)
  elif kind == "missing":
    path = tmp_path / "none.mp4"
  return path


@pytest.mark.parametrize(
  ("kind", "reason"),
  [
    ("html", "unreadable"),
    ("empty", "unreadable"),
    ("missing", "unreadable"),
    ("no moov", "unreadable"),
    ("sound", "no video"),
    ("tiny", "small"),
    ("narrow", "shape"),
    ("interlaced", "interlaced"),
  ],
)
def test_odd_files_are_refused_with_a_reason(tmp_path, kind, reason):
  found = refusal(odd(tmp_path, kind))
  assert isinstance(found, Decision)
  assert (found.rule, found.reason) == ("readable", reason)
  assert found.value != ""


def test_a_cover_is_no_video(tmp_path):
  path = tmp_path / "a.mp4"
  with av.open(str(path), "w") as container:
    cover = container.add_stream("mjpeg", 1)
    cover.height, cover.width, cover.pix_fmt = 64, 96, "yuvj420p"
    cover.disposition = av.stream.Disposition.attached_pic
    frame = av.VideoFrame.from_ndarray(levels(1)[0].copy(), format="rgb24")
    container.mux(cover.encode(frame))
    container.mux(cover.encode(None))
  assert refusal(path).reason == "no video"


def test_large_files_are_refused_before_they_take_memory(tmp_path, monkeypatch):
  path = media_case.write(tmp_path / "a.mp4", levels(20), 24)
  monkeypatch.setattr(frames, "_MOST_IN_ALL", 12)
  assert refusal(path).reason == "too large"
  monkeypatch.undo()
  source = frames.probe(path)
  monkeypatch.setattr(frames, "MOST_FRAMES", 8)
  assert frames.read(Span(source)).reason == "too large"
  monkeypatch.setattr(frames.decoding, "_MOST_PIXELS", 64 * 95)
  assert frames.probe(path).reason == frames.read(Span(source)).reason == "too large"


def test_a_file_that_changed_or_went_is_refused(tmp_path):
  path = media_case.write(tmp_path / "a.mp4", levels(5), 24)
  span = Span(frames.probe(path))
  path.write_bytes(path.read_bytes() + b"\0")
  assert frames.read(span).reason == "changed"
  path.unlink()
  assert frames.read(span) == Decision("readable", "changed", -1, span.source.bytes)


def test_images_are_files_of_one_frame(tmp_path):
  Image.fromarray(levels(6)[5]).save(tmp_path / "a.png")
  source, (found,) = decoded(tmp_path / "a.png")
  assert (source.frames, source.fps, source.seconds) == (1, 24.0, 0.0)
  assert numbers(found.small) == numbers(found.stills) == [5]
  one = media_case.write(tmp_path / "b.mp4", levels(1), 24)
  source, (found,) = decoded(one)
  assert (source.frames, source.fps, source.seconds) == (1, 24.0, 0.0)


def test_moving_images_keep_their_rate(tmp_path):
  video.write(tmp_path / "a.gif", levels(10, 72, 96), 10)
  source, (found,) = decoded(tmp_path / "a.gif")
  assert source.frames == 10 and source.fps == pytest.approx(10)
  np.testing.assert_allclose(found.seconds, np.arange(10) / 10)


def test_ten_bits_are_read_as_eight(tmp_path):
  path = media_case.write_deep(tmp_path / "a.mp4", 512, 1, 1)
  _, (found,) = decoded(path)
  assert abs(int(found.small[0].mean()) - 128) <= 2
  assert found.profiles.luma[0] == pytest.approx(16 + 110, abs=2)


def test_a_name_that_is_no_text_is_read(tmp_path):
  path = media_case.write(tmp_path / "plain.mp4", levels(5), 24)
  odd = path.rename(tmp_path / "-\udcff'\n\".mp4")
  source, (found,) = decoded(odd)
  assert len(found.seconds) == 5
  assert source.path == str(odd) and source.id == str(odd).replace("\n", r"\n")
  assert frames.probe(odd, "a") == dataclasses.replace(source, id="a")
