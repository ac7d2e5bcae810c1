"""Videos and images in every container, and what reads them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageCms

from ltx_jax.cli.command_line import cli
from ltx_jax.config.runs import Bucket
from ltx_jax.data import video
from ltx_jax.data.clip_reader import read_clip
from ltx_jax.data.clips import Clip
from ltx_jax.data.probing import measure
from ltx_jax.diffusion.conditioning import Condition
from ltx_jax.moving_shapes import world
from ltx_jax.pipeline import media
from ltx_jax.pipeline.recipes import Recipe
from sample.app.form import Form, from_options
from sample.options import Options
from sample.settings import as_json, read_arguments
from tests.fuzz.seeds import Seed

FRAMES = world.clip(world.EXAMPLES[0], 0, 5, 32, 48)
_OPTIONS = Options(prompts=("a red circle", "a ü"), fps=12.0, seed=(3, 4), width=64)
_CODECS = {
  ".mp4": "libx264",
  ".mov": "libx264",
  ".webm": "libvpx-vp9",
  ".mkv": "libx264",
  ".avi": "mpeg4",
  ".mpg": "mpeg2video",
  ".ts": "libx264",
}


def _video(suffix: str, pix_fmt: str = "yuv420p") -> Callable[[Path], None]:
  """Writes a clip; containers that draw a number for each file leave it out."""

  def write(folder: Path) -> None:
    exact = {"fflags": "+bitexact"}
    path = folder / f"clip{suffix}"
    with av.open(str(path), "w", container_options=exact) as container:
      container.metadata["comment"] = as_json(_OPTIONS)
      stream = container.add_stream(_CODECS[suffix], 24)
      stream.height, stream.width = FRAMES.shape[1:3]
      stream.pix_fmt, stream.codec_context.thread_count = pix_fmt, 1
      for image in FRAMES:
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        container.mux(stream.encode(frame))
      container.mux(stream.encode(None))

  return write


def _pictures(name: str, mode: str = "RGB", count: int = 5, **options: Any):
  """Writes an image, or several that move."""

  def write(folder: Path) -> None:
    images = [Image.fromarray(frame).convert(mode) for frame in FRAMES[:count]]
    given = {"save_all": True, "append_images": images[1:], "duration": 40}
    images[0].save(folder / name, **(given if count > 1 else {}), **options)

  return write


def _deep(name: str, dtype: Any, white: float) -> Callable[[Path], None]:
  """Writes gray of more than 8 bits."""

  def write(folder: Path) -> None:
    ramp = np.linspace(0, white, 32 * 48).reshape(32, 48)
    Image.fromarray(ramp.astype(dtype)).save(folder / name)

  return write


def _write_photo(folder: Path) -> None:
  """A JPEG as of a phone: turned, with a profile of its colours."""
  exif = Image.Exif()
  exif[0x0112], exif[0x010F] = 6, "A maker"
  exif.get_ifd(0x8769)[0x9003] = "2026:01:01 00:00:00"
  profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
  _pictures("photo.jpg", count=1, exif=exif.tobytes(), icc_profile=profile)(folder)


def _write_png_photo(folder: Path) -> None:
  exif = Image.Exif()
  exif[0x0112] = 8
  profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
  kept = {"exif": exif.tobytes(), "icc_profile": profile}
  _pictures("photo.png", "RGBA", 1, **kept)(folder)


def _only(folder: Path) -> Path:
  return next(path for path in sorted(folder.iterdir()) if path.is_file())


def _read(folder: Path) -> None:
  video.read(_only(folder))


def _read_some(folder: Path) -> None:
  video.read(_only(folder), 3)


def _train(folder: Path) -> None:
  clip = measure(Clip("one", str(_only(folder)), "a red circle"))
  read_clip(clip, Bucket(min(clip.frames, 3), 32, 32))


def _train_cropped(folder: Path) -> None:
  path = str(_only(folder))
  read_clip(Clip("one", path, start=0.05, crop=(4, 2, 30, 20)), Bucket(2, 32, 64))


def _condition(folder: Path) -> None:
  item = Condition(_only(folder), 0, 1.0)
  media.load_frames(item.media, height=32, width=64, frames=3, crf=30)


def _read_settings(folder: Path) -> None:
  """As the page fills its fields with the settings of a video."""
  words = read_arguments(folder / "clip.mp4")
  with contextlib.suppress(SystemExit):
    options = cli(Options, words, program="", about="")
    from_options(options, Form(), Recipe())


def _write_comment(folder: Path) -> None:
  (folder / "comment.json").write_text(as_json(_OPTIONS))


def _read_comment(folder: Path) -> None:
  text = (folder / "comment.json").read_bytes().decode("utf-8", "replace")
  comment = text.replace("\0", "")
  video.write(folder / "clip.mp4", FRAMES[:1], 24.0, comment=comment)
  _read_settings(folder)


_VIDEOS: Sequence[tuple[str, Callable[[Path], None], Callable[[Path], None]]] = (
  *((f"read{suffix}", _video(suffix), _read) for suffix in _CODECS),
  *((f"train{s}", _video(s), _train) for s in (".mp4", ".mov", ".webm", ".avi", ".ts")),
  ("crop.mp4", _video(".mp4"), _train_cropped),
  ("condition.mp4", _video(".mp4"), _condition),
  ("deep.mp4", _video(".mp4", "yuv420p10le"), _read),
  ("settings.mp4", _video(".mp4"), _read_settings),
  ("settings-written", _write_comment, _read_comment),
)
_IMAGES: Sequence[tuple[str, Callable[[Path], None], Callable[[Path], None]]] = (
  ("photo.jpg", _write_photo, _read),
  ("photo.png", _write_png_photo, _read),
  ("train.jpg", _write_photo, _train),
  ("condition.png", _write_png_photo, _condition),
  ("moving.png", _pictures("a.png"), _read),
  ("moving.gif", _pictures("a.gif"), _read),
  ("train.gif", _pictures("a.gif"), _train),
  ("moving.webp", _pictures("a.webp"), _read),
  ("moving.avif", _pictures("a.avif"), _read_some),
  ("still.avif", _pictures("a.avif", "RGBA", 1), _read),
  ("still.bmp", _pictures("a.bmp", count=1), _read),
  ("pages.tiff", _pictures("a.tiff", compression="tiff_lzw"), _read),
  ("cmyk.tif", _pictures("a.tif", "CMYK", 1), _read),
  ("lab.tif", _pictures("a.tif", "LAB", 1), _read),
  ("palette.png", _pictures("a.png", "P", 1, transparency=3), _read),
  ("gray16.png", _deep("a.png", "uint16", 65535), _read),
  ("float.tif", _deep("a.tif", "float32", 1), _read),
)
SEEDS = tuple(
  Seed(name, family, write, read, ("*",))
  for family, rows in (("videos", _VIDEOS), ("images", _IMAGES))
  for name, write, read in rows
)
