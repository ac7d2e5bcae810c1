"""Windows hold the frames of their times, shown as players do, to fill the bucket."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from ltx_jax.config.runs import Bucket
from ltx_jax.data import video
from ltx_jax.data.clip_reader import read_clip
from ltx_jax.data.clips import Clip
from ltx_jax.data.probing import STILL_FPS, measure
from ltx_jax.moving_shapes import world
from tests.data import media_case

BUCKET = Bucket(9, 32, 32)
SHAPES = world.clip(world.EXAMPLES[0], 0, 9, 96, 128)


def _clip(path, **fields):
  return Clip("clip", str(path), **fields)


@pytest.mark.parametrize("suffix", media_case.CODECS)
@pytest.mark.parametrize("first", [0, 1, 7, 13, 21])
def test_a_window_holds_the_frames_of_its_times(tmp_path, suffix, first):
  options = {"g": "6", "bf": "2"}  # Few key frames, and frames out of order.
  path = media_case.write(
    tmp_path / f"a{suffix}", media_case.levels(30), options=options
  )
  frames, fps = read_clip(_clip(path), BUCKET, first)
  assert frames.shape == (9, 32, 32, 3) and frames.dtype == np.uint8
  assert fps == pytest.approx(24) and media_case.numbers(frames) == [
    *range(first, first + 9)
  ]


@pytest.mark.parametrize("suffix", media_case.CODECS)
def test_clips_are_measured_as_they_are_read(tmp_path, suffix):
  path = media_case.write(tmp_path / f"a{suffix}", media_case.levels(30))
  clip = measure(_clip(path))
  found = (clip.frames, clip.height, clip.width, round(clip.fps, 3))
  assert found == (30, 64, 96, 24.0)
  last, _ = read_clip(clip, BUCKET, clip.frames - 9)
  assert media_case.numbers(last) == [*range(21, 30)]
  with pytest.raises(ValueError, match="too short: .* needs 31 frames"):
    read_clip(clip, BUCKET, clip.frames - 8)


def test_a_clip_begins_and_ends_at_its_times(tmp_path):
  path = media_case.write(tmp_path / "a.mp4", media_case.levels(30))
  clip = measure(_clip(path, start=0.5, end=1.0))
  assert clip.frames == 12
  frames, _ = read_clip(clip, BUCKET, 3)
  assert media_case.numbers(frames) == [*range(15, 24)]
  with pytest.raises(ValueError, match="needs 13 frames, but it ends at 1 s"):
    read_clip(clip, BUCKET, 4)
  assert measure(_clip(path, start=0.5, end=9.0)).frames == 18
  with pytest.raises(
    ValueError, match=r"lasts 1.25 seconds, but the clip 'clip' begins"
  ):
    measure(_clip(path, start=2.0))


def test_times_that_are_rounded_lose_no_frame(tmp_path):
  path = media_case.write(
    tmp_path / "a.mp4", media_case.levels(30), Fraction(30000, 1001)
  )
  clip = measure(_clip(path, start=0.334, end=0.734))  # 10 and 22 frames at 29.97.
  assert clip.frames == 12
  assert media_case.numbers(read_clip(clip, BUCKET)[0]) == [*range(10, 19)]


def test_another_rate_takes_the_frames_shown_at_its_times(tmp_path):
  path = media_case.write(tmp_path / "a.mp4", media_case.levels(30))
  clip = measure(_clip(path, fps=12.0))
  assert (clip.fps, clip.frames) == (12.0, 15)
  assert media_case.numbers(read_clip(clip, BUCKET)[0]) == [*range(0, 18, 2)]
  faster = measure(_clip(path, fps=48.0))
  assert faster.frames == 60
  assert media_case.numbers(read_clip(faster, BUCKET)[0]) == [0, 0, 1, 1, 2, 2, 3, 3, 4]


def test_a_frame_that_is_held_is_repeated_for_its_time(tmp_path):
  times = [40 * i for i in range(10)] + [1360 + 40 * i for i in range(10)]
  path = media_case.write(tmp_path / "a.mkv", media_case.levels(20), 25, times=times)
  clip = measure(_clip(path))
  assert clip.fps == pytest.approx(25) and clip.frames == 44
  whole, _ = read_clip(clip, Bucket(44, 32, 32))
  expected = [*range(9), *[9] * 25, *range(10, 20)]
  assert media_case.numbers(whole) == expected
  window, _ = read_clip(clip, BUCKET, 29)
  assert media_case.numbers(window) == expected[29:38]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("aspect", [None, Fraction(2), Fraction(1, 2)])
@pytest.mark.parametrize("crop", [None, (10, 20, 40, 50)])
def test_frames_are_shown_cropped_and_covered(tmp_path, rotation, aspect, crop):
  path = tmp_path / "a.mp4"
  media_case.write(path, SHAPES, options={"crf": "4"}, rotation=rotation, aspect=aspect)
  shown, _ = video.read(path)
  clip = measure(_clip(path, crop=crop))
  assert (clip.height, clip.width) == shown.shape[1:3]
  x, y, width, height = crop or (0, 0, shown.shape[2], shown.shape[1])
  for bucket in (Bucket(9, 32, 32), Bucket(9, 64, 32), Bucket(9, 96, 160)):
    cut = shown[:, y : y + height, x : x + width]
    expected = video.cover(cut, bucket.height, bucket.width).astype(float)
    frames, _ = read_clip(clip, bucket)
    # A cut between two pixels moves by up to half a pixel; the images are smooth.
    assert np.abs(frames - expected).mean() < 4
    assert abs((frames - expected).mean()) < 0.7


@pytest.mark.parametrize("matrix", [1, 5])
@pytest.mark.parametrize("full", [False, True])
def test_levels_stay_whatever_range_and_matrix_a_file_has(tmp_path, full, matrix):
  colors = np.array(
    [[0, 0, 0], [255, 255, 255], [200, 40, 30], [30, 90, 220]], np.uint8
  )
  image = np.repeat(np.repeat(colors.reshape(2, 2, 3), 48, 0), 48, 1)
  path = media_case.write_colors(tmp_path / "a.mp4", image, matrix, full)
  whole = video.read(path)[0][:1]
  frames, _ = read_clip(_clip(path), Bucket(1, 32, 32))
  for found in (whole[:, 24::48, 24::48], frames[:, 8::16, 8::16]):
    assert np.abs(found[0].reshape(4, 3).astype(int) - colors).max() <= 3


def test_pictures_shrink_without_aliasing(tmp_path):
  stripes = np.zeros((9, 96, 96, 3), np.uint8)
  stripes[:, :, ::2] = 255
  path = media_case.write(tmp_path / "a.mp4", stripes, options={"crf": "4"})
  frames, _ = read_clip(_clip(path), BUCKET)
  assert np.abs(frames[:, 2:-2, 2:-2].astype(float) - 127).max() < 12


@pytest.mark.parametrize(
  ("level", "expected"),
  [(0, 0), (round(1023 * 0.5807), 241), (round(1023 * 0.4), 118), (1023, 255)],
)
def test_high_dynamic_range_is_brought_to_that_of_screens(tmp_path, level, expected):
  path = media_case.write_deep(tmp_path / "a.mp4", level, 16, 9)
  frames, _ = read_clip(_clip(path), Bucket(1, 32, 32))
  assert np.abs(frames.astype(int) - expected).max() <= 3
  np.testing.assert_array_equal(video.read(path)[0][:1, :32, :32], frames)


def test_ten_bits_are_rounded_to_eight(tmp_path):
  path = media_case.write_deep(tmp_path / "a.mp4", 600, 1, 1)
  frames, _ = read_clip(_clip(path), Bucket(1, 32, 32))
  assert np.abs(frames.astype(int) - 600 * 255 / 1023).max() <= 1


def _upright(path):
  exif = Image.Exif()
  exif[274] = 6  # To be turned by a quarter, clockwise.
  image = np.zeros((64, 96, 3), np.uint8)
  image[:, :32] = 255
  Image.fromarray(image).save(path, exif=exif, quality=95)


def _see_through(path):
  image = np.zeros((96, 64, 4), np.uint8)
  image[32:, :, 3] = 255
  Image.fromarray(image).save(path)


def _for_print(path):
  image = np.zeros((96, 64, 3), np.uint8)
  image[:32] = 255
  Image.fromarray(image).convert("CMYK").save(path, quality=95)


def _deep(path):
  image = np.zeros((96, 64), np.uint16)
  image[:32] = 65535
  Image.fromarray(image).save(path)


PICTURES = {
  "a.jpg": _upright,
  "a.png": _see_through,
  "b.jpg": _for_print,
  "b.png": _deep,
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_clips_of_one_frame(tmp_path, name):
  PICTURES[name](tmp_path / name)
  clip = measure(_clip(tmp_path / name))
  assert (clip.frames, clip.height, clip.width, clip.fps) == (1, 96, 64, None)
  frames, fps = read_clip(clip, Bucket(1, 96, 64))
  assert fps == STILL_FPS
  assert frames[0, :28].min() > 240 and frames[0, 36:].max() < 15
  cropped, _ = read_clip(clip._replace(crop=(0, 0, 64, 32)), Bucket(1, 32, 64))
  assert cropped[0, :28].min() > 240
  with pytest.raises(ValueError, match="needs 9 frames, but there are 1;"):
    read_clip(clip, BUCKET)


def test_pictures_that_move_are_clips_with_times(tmp_path):
  video.write(tmp_path / "a.gif", np.array(media_case.levels(20)), 10.0)
  clip = measure(_clip(tmp_path / "a.gif", start=0.5))
  assert (clip.frames, clip.fps) == (15, pytest.approx(10))
  assert media_case.numbers(read_clip(clip, BUCKET, 2)[0]) == [*range(7, 16)]


def _truncated(folder, suffix, size=60_000):
  noise = np.random.default_rng(0).integers(0, 255, (40, 64, 96, 3), np.uint8)
  path = media_case.write(folder / f"a{suffix}", noise)
  path.write_bytes(path.read_bytes()[:size])
  return path


def _unfinished(folder):
  path = media_case.write(folder / "a.mp4", SHAPES)
  content = path.read_bytes()
  path.write_bytes(content[: content.index(b"moov")])
  return path


def _made(path, content):
  path.write_bytes(content)
  return path


MEDIA = {
  "missing": (lambda f: f / "a.mp4", "a.mp4 does not exist; give a file with a video"),
  "folder": (lambda f: f, "is a folder; give a file with a video"),
  "zero-length": (lambda f: _made(f / "a.mp4", b""), r"a.mp4 is empty \(0 bytes\)"),
  "suffix": (
    lambda f: _made(f / "a.xyz", b"x"),
    "has the suffix '.xyz'; what can be r",
  ),
  "text": (lambda f: _made(f / "a.mp4", b"words " * 99), "cannot be read as a video"),
  "text as picture": (
    lambda f: _made(f / "a.png", b"words " * 99),
    "cannot be read as",
  ),
  "audio": (
    lambda f: media_case.write_sound(f / "a.mp4"),
    r"cannot be read as a video, .*it has no video track; its tracks: audio",
  ),
  "truncated mp4": (
    lambda f: _unfinished(f),
    "cannot be read as a video, or breaks off",
  ),
  "truncated mov": (
    lambda f: _faststart(f),
    "is truncated: its index reaches to byte [0-9]+, but it ends at byte",
  ),
  "truncated mkv": (
    lambda f: _truncated(f, ".mkv"),
    "is truncated: it announces 1.7 seconds, but ends after",
  ),
  "truncated png": (lambda f: _truncated_picture(f), "cannot be read as a video or an"),
  "other container": (
    lambda f: _flash(f),
    "a.mp4 is a video in the container 'flv', which is not supported; convert it",
  ),
}


def _flash(folder):
  with av.open(str(folder / "a.mp4"), "w", format="flv") as container:
    stream = container.add_stream("flv1", 24)
    stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
    frame = av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), format="rgb24")
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  return folder / "a.mp4"


def _truncated_picture(folder):
  noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
  path = folder / "a.png"
  Image.fromarray(noise).save(path)
  return _made(path, path.read_bytes()[:9000])


def _faststart(folder):
  noise = np.random.default_rng(0).integers(0, 255, (40, 64, 96, 3), np.uint8)
  video.write(folder / "a.mp4", noise, 24.0)
  return _made(folder / "a.mp4", (folder / "a.mp4").read_bytes()[:60_000])


def test_clips_are_known_by_what_they_hold_and_not_by_their_suffix(tmp_path):
  Image.new("RGB", (64, 48), (255, 0, 0)).save(tmp_path / "a.png")
  image = measure(_clip((tmp_path / "a.png").rename(tmp_path / "a.mp4")))
  assert (image.frames, image.width, image.height) == (1, 64, 48)
  clip = media_case.write(tmp_path / "b.mkv", media_case.levels(20))
  named = measure(_clip(clip.rename(tmp_path / "b.png")))
  assert named.frames == 20
  assert media_case.numbers(read_clip(named, BUCKET, 2)[0])[0] == 2


@pytest.mark.parametrize("kind", MEDIA)
def test_media_that_cannot_be_read_are_refused_in_a_sentence(tmp_path, kind):
  make, sentence = MEDIA[kind]
  with pytest.raises(ValueError, match=sentence):
    measure(_clip(make(tmp_path)))


def test_a_window_of_one_frame_more_than_there_are_is_refused(tmp_path):
  path = media_case.write(tmp_path / "a.mp4", media_case.levels(1))
  assert measure(_clip(path)).frames == 1
  with pytest.raises(ValueError, match="'clip' needs 9 frames, but there are 1;"):
    read_clip(_clip(path), BUCKET)


def test_a_crop_beyond_the_picture_is_refused(tmp_path):
  path = media_case.write(tmp_path / "a.mp4", media_case.levels(9))
  with pytest.raises(
    ValueError, match=r"\[0, 0, 97, 64\] goes beyond an image of 96x64"
  ):
    read_clip(_clip(path, crop=(0, 0, 97, 64)), BUCKET)
