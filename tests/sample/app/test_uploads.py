"""Uploads: decoded by a child process with limits, refused in a sentence."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ltx_jax.data import video
from sample.app.uploads import Limits, decode

CLIP = np.random.default_rng(0).integers(0, 256, (4, 16, 24, 3), np.uint8)


def test_frames_are_those_that_the_library_reads(tmp_path):
  for name in ("clip.mp4", "clip.png"):
    video.write(tmp_path / name, CLIP, 8.0)
    found = decode(tmp_path / name, Limits(frames=3))
    np.testing.assert_array_equal(found, video.read(tmp_path / name, 3)[0])


def bomb(path, side):
  """A PNG that announces side x side pixels, in a few bytes."""

  def chunk(name, data):
    body = name + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

  header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
  rows = zlib.compress(bytes(1000))
  path.write_bytes(
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", header)
    + chunk(b"IDAT", rows)
    + chunk(b"IEND", b"")
  )


@pytest.mark.slow
def test_hostile_files_are_refused_without_a_folder_in_the_sentence(tmp_path):
  bomb(tmp_path / "bomb.png", 100_000)
  (tmp_path / "page.png").write_text("<html><script>alert(1)</script></html>")
  (tmp_path / "image.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
  (tmp_path / "short.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42")
  Image.fromarray(CLIP[0]).resize((400, 300)).save(tmp_path / "wide.png")
  for name, limits, message in (
    ("bomb.png", Limits(), "bomb.png has 100000x100000 pixels; at most 40 million"),
    ("page.png", Limits(), "page.png cannot be "),
    ("image.svg", Limits(), "image.svg cannot be |image.svg has the suffix"),
    ("short.mp4", Limits(), "short.mp4 cannot be "),
    ("wide.png", Limits(pixels=100_000), "wide.png has 400x300 pixels"),
    ("wide.png", Limits(megabytes=0), "at most 0 MB are taken"),
  ):
    with pytest.raises(ValueError, match=message) as refused:
      decode(tmp_path / name, limits)
    assert str(tmp_path) not in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.slow
def test_decoding_that_takes_too_long_or_too_much_is_ended(tmp_path):
  path = tmp_path / "large.png"
  Image.fromarray(np.zeros((4000, 4000, 3), np.uint8)).save(path)
  with pytest.raises(ValueError, match="large.png (takes too much|cannot be)"):
    decode(path, Limits(memory=20_000_000))
  with pytest.raises(ValueError, match="large.png takes longer than 0 seconds"):
    decode(path, Limits(seconds=0))
