"""Reads and writes clips and images: PyAV for video, Pillow for images.

Inside this package a clip is uint8 RGB of shape [F H W 3], and an image is a clip of
one frame. The content of a file decides what it is, not its suffix. Files are written
under a temporary name in the same folder and then renamed, so that no half-written file
exists.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import itertools
import logging
import math
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from ltx_jax.data import decoding, images, outputs, timing
from ltx_jax.data.suffixes import PICTURES, VIDEOS
from ltx_jax.errors import said
from ltx_jax.files import replacing

Frames = UInt8[np.ndarray, "F H W 3"]

_LOG = logging.getLogger("ltx_jax")
_MOST_HELD = 500_000_000
"""Largest number of bytes of frames that only repeat the one before them."""

_KINDS = {"MPO": "JPEG"}  # Phones add a second image to theirs.


def read(path: str | os.PathLike, frames: int | None = None) -> tuple[Frames, float]:
  """Reads a clip or an image as a viewer shows it.

  The result is upright, has square pixels, shows black where a video is transparent
  and white where an image is, and has a constant rate that follows from the time
  stamps (`timing`).

  Args:
    path: A file with a suffix of `VIDEOS` or `PICTURES`.
    frames: Maximum number of frames, from the first one; None reads all.

  Returns:
    The frames, and the frames per second; 0 for a still image.

  Raises:
    ValueError: If the file is missing, empty, truncated or unreadable; the message
      names it and what was found.
  """
  path = Path(path)
  suffix = check_input(path)
  try:
    picture = Image.open(path, formats=_formats())
  except UnidentifiedImageError:
    if suffix in PICTURES:
      _note(path, suffix, "a video")
    return _read_video(path, frames)
  except Exception as error:  # Damaged images make Pillow raise almost anything.
    raise _unreadable(path, 0, error) from error
  with picture:
    kind = _KINDS.get(picture.format, picture.format)
    if kind != PICTURES.get(suffix):
      _note(path, suffix, f"a {kind} image")
    return _read_picture(path, picture, frames)


def is_picture(path: Path) -> bool:
  """Whether a file holds an image, whole or damaged, whatever its suffix says."""
  try:
    with Image.open(path, formats=_formats()):
      return True
  except UnidentifiedImageError:
    return False
  except Exception:  # As in `read`.
    return True


def _note(path: Path, suffix: str, found: str) -> None:
  _LOG.warning(f"{path} holds {found}, although its suffix is {suffix!r}.")


@functools.cache
def _formats() -> list[str]:
  """Returns the `PICTURES` that this Pillow reads; HEIF needs pillow-heif."""
  with contextlib.suppress(ImportError):
    importlib.import_module("pillow_heif").register_heif_opener()
  Image.init()
  return sorted(set(PICTURES.values()) & Image.OPEN.keys())


def check_input(path: Path) -> str:
  """Returns the suffix of a file that may be read.

  Raises:
    ValueError: If it is missing or empty, or its suffix is not that of media.
  """
  if not path.is_file():
    found = "is a folder" if path.is_dir() else "does not exist"
    raise ValueError(f"{path} {found}; give a file with a video or an image.")
  if path.stat().st_size == 0:
    raise ValueError(f"{path} is empty (0 bytes); give a video or an image.")
  suffix = path.suffix.lower()
  if suffix not in PICTURES and suffix not in VIDEOS:
    raise ValueError(
      f"{path} has the suffix {suffix!r}; what can be read is "
      f"{' '.join([*VIDEOS, *PICTURES])}."
    )
  return suffix


def _unreadable(path: Path, frames: int, why: Exception) -> ValueError:
  with path.open("rb") as file:
    start = file.read(16)
  return ValueError(
    f"{path} cannot be read as a video or an image, or breaks off, after {frames} "
    f"frames ({said(why)}): it has {path.stat().st_size} bytes and begins with "
    f"{start!r}; give a whole file."
  )


def _read_picture(
  path: Path, picture: Image.Image, frames: int | None
) -> tuple[Frames, float]:
  try:
    return images.read_frames(picture, frames)
  except images.TooLarge as error:
    raise decoding.TooLarge(f"{path} {error}") from None
  except (images.Unsuitable, timing.HeldTooLong) as error:
    raise ValueError(f"{path} {error}") from None
  except Exception as error:  # As in `read`.
    raise _unreadable(path, 0, error) from error


def _read_video(path: Path, frames: int | None) -> tuple[Frames, float]:
  rows: list[np.ndarray] = []
  try:
    with decoding.opened(path) as (container, stream):
      fps = decoding.rate(container, stream)
    with decoding.opened(path) as (container, stream):
      aspect = decoding.pixel_aspect(path, stream)
      decoded = decoding.shown(_decoded(path, container, stream))
      previous, held = None, 0
      for frame in itertools.islice(timing.at_constant_rate(decoded, fps), frames):
        again = frame is previous
        rows.append(rows[-1] if again else decoding.to_rgb(frame, aspect))
        previous, held = frame, held + again * rows[-1].nbytes
        if held > _MOST_HELD:
          raise timing.HeldTooLong(
            f"holds frames for so long that {len(rows)} are not the last; cut those "
            "parts out, or repair the file's time stamps."
          )
  except timing.HeldTooLong as error:
    raise ValueError(f"{path} {error}") from None
  except (av.FFmpegError, EOFError) as error:
    raise _unreadable(path, len(rows), error) from error
  if not rows:
    raise ValueError(f"{path} holds a video track without a single frame.")
  sizes = sorted({f"{row.shape[1]}x{row.shape[0]}" for row in rows})
  if len(sizes) > 1:
    raise ValueError(
      f"{path} holds frames of several sizes ({', '.join(sizes[:3])}); cut it where "
      "they change."
    )
  return np.stack(rows), fps


def _decoded(
  path: Path, container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.VideoFrame]:
  """Yields the frames; at the end, refuses a file that has less than it announces.

  Containers without a complete index (Matroska) can be judged only by the time that the
  packets of all their tracks cover.
  """
  seconds = 0.0
  for packet in container.demux():
    if packet.pts is not None:
      end = (packet.pts + (packet.duration or 0)) * packet.time_base
      seconds = max(seconds, float(end))
    if packet.stream is stream:
      yield from packet.decode()
  announced = (container.duration or 0) / 1e6
  if seconds < 0.95 * announced - 0.2:
    raise ValueError(
      f"{path} is truncated: it announces {announced:.1f} seconds, but ends after "
      f"{seconds:.1f}; give a whole file."
    )


def write(
  path: str | os.PathLike, video: Frames, fps: float, *, comment: str | None = None
) -> None:
  """Writes a clip in the format of the suffix.

  `.mp4` and `.mov` are H.264 and `.webm` is VP9 (yuv420p, BT.709). These need even
  sizes, so an odd size gets a copy of the last row or column. `.gif`, `.webp` and
  `.png` are animated if there are several frames; `.jpg` is one frame. A name without a
  suffix is a folder of numbered PNGs. Only PNGs are lossless.

  Args:
    path: File or folder to write to; missing folders are made.
    video: Frames of the clip, at least one.
    fps: Frames per second, positive.
    comment: Text stored in a video file next to its frames; images store none.

  Raises:
    ValueError: If the suffix is unknown, the clip is empty, fps is not positive, or a
      `.jpg` would get several frames.
  """
  outputs.check_output(path, len(video))
  if not video.size:
    raise ValueError(f"{path} is not written: a clip of shape {video.shape} is empty.")
  if not (fps > 0 and math.isfinite(fps)):
    raise ValueError(f"{path} is not written: fps must be positive, found {fps}.")
  with replacing(path) as temporary:
    _WRITERS[Path(path).suffix.lower()](temporary, video, fps, comment)


_CODECS = {  # Suffix: codec and its options.
  ".mp4": ("libx264", {"crf": "16"}),
  ".mov": ("libx264", {"crf": "16"}),
  ".webm": ("libvpx-vp9", {"crf": "20", "b": "0", "row-mt": "1", "cpu-used": "4"}),
}


def _write_video(path: Path, video: Frames, fps: float, comment: str | None) -> None:
  codec, options = _CODECS[path.suffix.lower()]
  even = [(0, size % 2) for size in video.shape[1:3]]
  video = np.pad(video, [(0, 0), *even, (0, 0)], mode="edge")
  quick = {} if codec == "libvpx-vp9" else {"movflags": "faststart"}
  with av.open(str(path), "w", options=quick) as container:
    if comment is not None:
      container.metadata["comment"] = comment
    rate = Fraction(fps).limit_denominator(1001)
    stream = container.add_stream(codec, rate, options=options)
    stream.height, stream.width = video.shape[1:3]
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = decoding.BT709
    context.color_range = ColorRange.MPEG
    for image in video:
      frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
      frame = frame.reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
      )
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _durations(frames: int, fps: float, tick: int) -> list[int]:
  """Returns the milliseconds of each frame, in whole ticks that sum to the duration."""
  ends = np.rint(np.arange(frames + 1) * (1000 / fps / tick))
  return [max(1, int(ticks)) * tick for ticks in np.diff(ends)]


def _write_gif(path: Path, video: Frames, fps: float, _: str | None) -> None:
  # One palette for all frames, from pixels of each; otherwise still areas would
  # flicker.
  sample = video[:, ::2, ::2].reshape(1, -1, 3)
  palette = Image.fromarray(sample).quantize(256, Image.Quantize.MEDIANCUT)
  images = [Image.fromarray(frame) for frame in video]
  images = [i.quantize(palette=palette, dither=Image.Dither.NONE) for i in images]
  _save_pictures(path, images, _durations(len(video), fps, 10))


def _write_webp(path: Path, video: Frames, fps: float, _: str | None) -> None:
  images = [Image.fromarray(frame) for frame in video]
  _save_pictures(path, images, _durations(len(video), fps, 1), quality=90)


def _write_png(path: Path, video: Frames, fps: float, _: str | None) -> None:
  images = [Image.fromarray(frame) for frame in video]
  _save_pictures(path, images, _durations(len(video), fps, 1))


def _write_jpg(path: Path, video: Frames, fps: float, _: str | None) -> None:
  Image.fromarray(video[0]).save(path, quality=95, subsampling=0)


def _write_folder(path: Path, video: Frames, fps: float, _: str | None) -> None:
  path.mkdir()
  for i, frame in enumerate(video):
    Image.fromarray(frame).save(path / f"{i:05d}.png")


def _save_pictures(
  path: Path,
  images: list[Image.Image],
  durations: list[int],
  quality: int | None = None,
) -> None:
  options = {} if quality is None else {"quality": quality}
  if len(images) > 1:
    options |= {"save_all": True, "append_images": images[1:]}
    options |= {"duration": durations, "loop": 0}
  images[0].save(path, **options)


_WRITERS: dict[str, Callable[[Path, Frames, float, str | None], None]] = {
  **dict.fromkeys(_CODECS, _write_video),
  ".gif": _write_gif,
  ".webp": _write_webp,
  ".png": _write_png,
  ".jpg": _write_jpg,
  "": _write_folder,
}


def cover(video: Frames, height: int, width: int) -> UInt8[np.ndarray, "F H2 W2 3"]:
  """Scales a clip so that it covers a frame, and crops it at the centre.

  Args:
    video: The clip.
    height: Height of the frame, in pixels.
    width: Width of the frame, in pixels.

  Returns:
    Frames of that size, resampled bicubically and without aliasing; the clip itself if
    it has that size already.
  """
  if video.shape[1:3] == (height, width):
    return video
  rows, columns = video.shape[1:3]
  scale = min(rows / height, columns / width)  # Clip pixels per frame pixel.
  top, left = (rows - scale * height) / 2, (columns - scale * width) / 2
  box = (left, top, left + scale * width, top + scale * height)
  images = (Image.fromarray(frame) for frame in video)
  bicubic = Image.Resampling.BICUBIC
  return np.stack([np.asarray(i.resize((width, height), bicubic, box)) for i in images])


def resized(
  image: UInt8[np.ndarray, "H W 3"], height: int, width: int
) -> UInt8[np.ndarray, "H2 W2 3"]:
  """Scales all of an image to a size, bicubically, whatever that does to its shape."""
  if image.shape[:2] == (height, width):
    return image
  size = width, height
  return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
