"""Images of every mode, transparent or animated, as 8-bit RGB."""

import struct

import numpy as np
import pytest
from PIL import Image

from ltx_jax.data import images, video
from ltx_jax.moving_shapes import world

FRAME = world.clip(world.EXAMPLES[0], 0, 1, 64, 96)[0]
RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)


def _read(path):
  frames, fps = video.read(path)
  assert len(frames) == 1 and fps == 0
  return frames[0].astype(float)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA", "PA", "RGBX"])
def test_modes_of_8_bits_are_as_pillow_shows_them(mode):
  image = Image.fromarray(FRAME).convert("L" if mode == "LA" else "RGB").convert(mode)
  expected = np.asarray(image.convert("RGB"))
  np.testing.assert_array_equal(images.to_rgb(image), expected)


@pytest.mark.parametrize(
  ("name", "white", "dtype"),
  [
    ("ramp.png", 65535, "uint16"),
    ("ramp.tif", 65535, "uint16"),
    ("big.tif", 65535, ">u2"),
    ("float.tif", 1, "float32"),
  ],
)
def test_gray_of_more_than_8_bits_keeps_its_ramp(tmp_path, name, white, dtype):
  Image.fromarray((white * RAMP).astype(dtype)).save(tmp_path / name)
  found = _read(tmp_path / name)
  assert np.abs(found - 255 * RAMP[..., None]).max() < 1


def test_gray_of_12_bits_is_not_black(tmp_path):
  """As scanners write it: TIFF, two levels in three bytes."""
  levels = (4095 * RAMP).astype(np.uint32).reshape(-1, 2)
  packed = (levels[:, 0] << 12 | levels[:, 1]).astype(">u4").view(np.uint8)
  data = packed.reshape(-1, 4)[:, 1:].tobytes()
  tags = {256: 64, 257: 64, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 279: len(data)}
  entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()]
  directory = struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4)
  header = b"II" + struct.pack("<HI", 42, 8 + len(data))
  (tmp_path / "scan.tif").write_bytes(header + data + directory)
  assert np.abs(_read(tmp_path / "scan.tif") - 255 * RAMP[..., None]).max() < 1


def test_lab_becomes_the_color_it_means(tmp_path):
  # Lightness 53 of 100, a 80, b 67: the red of sRGB.
  lab = np.full((64, 64, 3), (round(53.24 * 2.55), 80, 67), np.uint8)
  Image.fromarray(lab, "LAB").save(tmp_path / "lab.tif")
  np.testing.assert_allclose(_read(tmp_path / "lab.tif")[3, 3], (254, 0, 0), atol=12)


def test_cmyk_becomes_the_color_it_means(tmp_path):
  for name in ("a.jpg", "a.tif"):
    Image.new("CMYK", (64, 64), (0, 255, 255, 0)).save(tmp_path / name)
    np.testing.assert_allclose(_read(tmp_path / name)[3, 3], (255, 0, 0), atol=3)


@pytest.mark.parametrize(
  ("values", "words"),
  [
    (np.full((8, 8), 70000, np.int32), "holds pixels of mode 'I'"),
    (np.full((8, 8), 255, np.float32), "holds floats .* from 255 to 255"),
    (np.full((8, 8), np.nan, np.float32), "holds floats .* from nan to nan"),
    (np.full((8, 8), -0.5, np.float32), "holds floats .* from -0.5 to -0.5"),
  ],
)
def test_pixels_whose_white_is_not_known_are_refused_by_name(tmp_path, values, words):
  path = tmp_path / "odd.tif"
  Image.fromarray(values).save(path)
  with pytest.raises(ValueError, match=f"odd.tif {words}"):
    video.read(path)


def _hidden(form):
  """A green square on an invisible colour, red or magenta."""
  rgba = np.zeros((64, 64, 4), np.uint8)
  rgba[..., 0] = 255
  rgba[16:48, 16:48] = (0, 200, 0, 255)
  image = Image.fromarray(rgba, "RGBA")
  if form == "RGBA":
    return image, {}
  if form == "LA":
    return image.convert("LA"), {}
  if form == "RGB":  # One color stands for nothing.
    return Image.fromarray(rgba[..., :3]), {"transparency": (255, 0, 0)}
  if form == "16 bits":
    gray = np.full((64, 64), 40000, np.uint16)
    gray[16:48, 16:48] = 100 * 257
    return Image.fromarray(gray), {"transparency": 40000}
  indexed = Image.fromarray((rgba[..., 3] // 255).astype(np.uint8), "P")
  indexed.putpalette([255, 0, 255, 0, 200, 0] + [0] * 750)
  alphas = {"P": 0, "alphas of a palette": bytes([0, 255])}
  return indexed, {"transparency": alphas[form]}


@pytest.mark.parametrize(
  "form", ["RGBA", "LA", "RGB", "16 bits", "P", "alphas of a palette"]
)
def test_what_is_transparent_shows_white(tmp_path, form):
  image, how = _hidden(form)
  image.save(tmp_path / "cut.png", **how)
  found = _read(tmp_path / "cut.png")
  np.testing.assert_array_equal(found[0, 0], [255, 255, 255])
  assert found[32, 32, 0] < 130  # The square is there.


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_moving_pictures_are_laid_over_white(tmp_path, suffix):
  first = _hidden("RGBA")[0]
  second = Image.fromarray(np.roll(np.asarray(first), 16, axis=1), "RGBA")
  path = tmp_path / f"cut{suffix}"
  how = {"lossless": True} if suffix == ".webp" else {}
  first.save(
    path, save_all=True, append_images=[second], duration=100, disposal=2, **how
  )
  frames, fps = video.read(path)
  assert frames.shape == (2, 64, 64, 3) and fps == 10
  for frame in frames:
    np.testing.assert_array_equal(frame[0, 0], [255, 255, 255])
    np.testing.assert_allclose(frame[32, 40], [0, 200, 0], atol=4)


def test_half_transparent_is_half_white():
  image = Image.new("RGBA", (8, 8), (255, 0, 0, 51))
  np.testing.assert_array_equal(images.to_rgb(image)[0, 0], [255, 204, 204])


def test_durations_that_differ_keep_their_time(tmp_path):
  frames = [Image.fromarray(np.roll(FRAME, 9 * i, axis=1)) for i in range(4)]
  durations = [40, 60, 200, 40]
  frames[0].save(
    tmp_path / "a.webp", save_all=True, append_images=frames[1:], duration=durations
  )
  clip, fps = video.read(tmp_path / "a.webp")
  assert len(clip) / fps == pytest.approx(0.34, abs=0.5 / fps)
  first, same = video.read(tmp_path / "a.webp", frames=2)
  assert same == fps
  np.testing.assert_array_equal(first, clip[:2])


def test_pages_of_several_sizes_are_refused(tmp_path):
  pages = [Image.new("RGB", (8, 8)), Image.new("RGB", (8, 16))]
  pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
  with pytest.raises(ValueError, match=r"pages.tif holds .* sizes \(8x16, 8x8\)"):
    video.read(tmp_path / "pages.tif")


def test_a_phones_second_picture_is_left_out(tmp_path):
  pictures = [Image.fromarray(FRAME), Image.new("RGB", (8, 8))]
  pictures[0].save(
    tmp_path / "phone.jpg", "MPO", save_all=True, append_images=pictures[1:]
  )
  assert _read(tmp_path / "phone.jpg").shape == FRAME.shape


def test_a_picture_too_large_for_memory_is_refused(tmp_path, monkeypatch):
  Image.fromarray(FRAME).save(tmp_path / "bomb.png")
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
  with pytest.raises(ValueError, match="bomb.png cannot be read .* exceeds limit"):
    video.read(tmp_path / "bomb.png")
