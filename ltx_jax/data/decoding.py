"""Opens videos, and reads from streams and frames how they must be shown.

Whole files (`video`) and windows of clips (`videos`) share it.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import (
  ColorRange,
  Colorspace,
  Interpolation,
  VideoReformatter,
)
from jaxtyping import UInt8

from ltx_jax.data import images, timing
from ltx_jax.data.dynamic_range import BT2020, HLG, PQ, to_standard
from ltx_jax.data.suffixes import VIDEOS
from ltx_jax.errors import said

_IN_ORDER = ("avi", "mpeg")
"""Containers whose times are wrong after a seek; they are read from the start."""
_TIMED_PACKETS, _REORDERED = 3000, 16
_BACKGROUND = 0  # Level behind transparent pixels: black, as players show.
_BACK = (0.0, 1.0, 8.0)
_WIDEST_PIXEL = 8
_MOST_PIXELS = 40_000_000
"""Largest number of pixels of a frame, above 8K. A decoder keeps up to 20 frames."""

THREADS = 0
"""Threads of a decoder; 0 is one for each core. A process among many sets it to 1: each
thread keeps frames of its own. With several threads, their timing also decides how
damage in a file is concealed, and which frames count as damaged."""

BT709, _BT601 = 1, 5  # libav's numbers of the two matrices from YUV to RGB.
# Without all of these flags every pixel is darker by one or two levels of 255.
_EXACT = (
  Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND
)


# The text inside a file may be in any encoding. PyAV decides that itself from 19 on.
_ANY_TEXT = (
  {"metadata_errors": "surrogateescape"}
  if int(av.__version__.split(".")[0]) < 19
  else {}
)


class TooLarge(ValueError):
  """The frames of a file have more pixels than are read."""


class NoVideo(EOFError):
  """A media file has no moving images."""


def open_container(path: str | Path) -> av.container.InputContainer:
  """Opens a media file for reading, whatever the encoding of the text inside it.

  Raises:
    av.FFmpegError: If libav does not know it.
  """
  return av.open(str(path), **_ANY_TEXT)


def seeks(container: av.container.InputContainer) -> bool:
  """Whether a container may be read from the middle."""
  return container.format.name not in _IN_ORDER


def unreadable(path: Path, why: Exception) -> ValueError:
  """Returns the error for a file that libav cannot open or decode."""
  return ValueError(
    f"{path} cannot be read as a video, or breaks off ({said(why)}): it has "
    f"{path.stat().st_size} bytes; give a whole file."
  )


@contextlib.contextmanager
def opened(
  path: Path,
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
  """Opens a video and its main track, which is decoded in threads.

  The content of the file decides what it is, not its suffix. The main track is the
  largest of those that its maker marked so, or else of all, and the first of equals;
  the picture of a cover is none.

  Raises:
    ValueError: If the container is not in `VIDEOS`, the file is truncated, or its
      frames are too large.
    EOFError: If there is no video track, or no codec for it. `av.FFmpegError` is raised
      if it is no video.
  """
  with open_container(path) as container:
    names = container.format.name.split(",")
    if names[0].endswith("_pipe") or names[0] in ("image2", "gif"):
      raise EOFError(f"it is not an image, though taken for {names[0]!r}")
    if not set(names) & set(VIDEOS.values()):
      raise ValueError(
        f"{path} is a video in the container {names[0]!r}, which is not supported; "
        "convert it to .mp4."
      )
    stream = _main_track(container)
    if stream.codec_context is None:
      raise EOFError("its codec is not known")
    _check_index(path, stream)
    if stream.width * stream.height > _MOST_PIXELS:
      raise TooLarge(
        f"{path} has frames of {stream.width}x{stream.height} pixels; at most "
        f"{_MOST_PIXELS / 1e6:.0f} million are read: make it smaller."
      )
    stream.codec_context.options = {"max_pixels": str(_MOST_PIXELS)}
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = THREADS
    yield container, stream


def _main_track(container: av.container.InputContainer) -> av.VideoStream:
  cover, main = Disposition.attached_pic, Disposition.default
  tracks = [s for s in container.streams.video if not s.disposition & cover]
  if not tracks:
    found = ", ".join(stream.type for stream in container.streams) or "none"
    raise NoVideo(f"it has no video track; its tracks: {found}")
  marked = [stream for stream in tracks if stream.disposition & main]
  return max(marked or tracks, key=_pixels)


def _pixels(stream: av.VideoStream) -> int:
  """Returns the pixels of a track's frames; 0 if nothing can decode it."""
  return stream.width * stream.height if stream.codec_context is not None else 0


def rate(container: av.container.InputContainer, stream: av.VideoStream) -> float:
  """Returns the frames per second, by the first packets' time stamps in any order."""
  packets = itertools.islice(container.demux(stream), _TIMED_PACKETS)
  stamps = sorted(packet.pts for packet in packets if packet.pts is not None)
  seconds = [float(stamp * stream.time_base) for stamp in stamps]
  # Packets around the last ones may still be missing.
  seconds = seconds[:-_REORDERED] if len(stamps) > 2 * _REORDERED else seconds
  declared = (stream.average_rate, stream.guessed_rate)
  return timing.rate_of(seconds, [float(named) for named in declared if named])


def pixel_aspect(path: Path, stream: av.VideoStream) -> float:
  """Returns how many times wider than high a pixel is; the container's value wins.

  Raises:
    ValueError: If the ratio is one that no camera has.
  """
  aspect = float(stream.sample_aspect_ratio or 1)
  if not 1 / _WIDEST_PIXEL <= aspect <= _WIDEST_PIXEL:
    raise ValueError(
      f"{path} says that its pixels are {aspect:g} times as wide as high; correct the "
      f"file, because at most {_WIDEST_PIXEL} is read."
    )
  return aspect


def _check_index(path: Path, stream: av.VideoStream) -> None:
  """Refuses a file that ends before the last frame of its index."""
  end = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
  size = path.stat().st_size
  if end > size:
    raise ValueError(
      f"{path} is truncated: its index reaches to byte {end}, but it ends at byte "
      f"{size}; give a whole file."
    )


Shown = tuple[float, float, av.VideoFrame]
"""Seconds at which a frame appears, seconds that it lasts, and the frame."""


def shown(frames: Iterable[av.VideoFrame]) -> Iterator[Shown]:
  """Adds the time and duration of each frame; one without a time follows the last."""
  time = lasts = 0.0
  for frame in frames:
    time = time + lasts if frame.time is None else float(frame.time)
    lasts = float((frame.duration or 0) * (frame.time_base or 0))
    yield time, lasts, frame


Decode = Callable[
  [av.container.InputContainer, av.VideoStream], Iterator[av.VideoFrame]
]
"""Function that decodes a track, from where the container stands."""


def _every_frame(
  container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.VideoFrame]:
  return container.decode(stream)


def shown_from(
  path: Path, time: float, decode: Decode = _every_frame
) -> Iterator[Shown]:
  """Yields frames, with their times since the first, from a frame at or before `time`.

  A file's index lists the times when frames are decoded, which is before they are
  shown; some indices are wrong, and some files have none. So if a seek fails or leads
  beyond `time`, it is repeated from further back, and in the end the file is read from
  its start.
  """
  for back in (*_BACK, time):
    with opened(path) as (container, stream):
      begin = float((stream.start_time or 0) * stream.time_base)
      in_middle = back < time and seeks(container)
      if in_middle:
        ticks = int((begin + time - back) / stream.time_base)
        try:
          container.seek(ticks, stream=stream)
        except av.FFmpegError:  # A stream without an index.
          continue
      frames = shown(decode(container, stream))
      start = next(frames, None)
      if in_middle and (start is None or start[0] > begin + time):
        continue
      if start is not None:
        begin = begin if seeks(container) else start[0]
        for appears, lasts, frame in itertools.chain([start], frames):
          yield appears - begin, lasts, frame
      return


def turns(frame: av.VideoFrame) -> int:
  """Returns the quarter turns, counterclockwise, that make a frame upright: 0 to 3."""
  return round(frame.rotation / 90) % 4


def square_size(frame: av.VideoFrame, aspect: float) -> tuple[int, int]:
  """Returns (width, height) of a frame in square pixels; the smaller side grows."""
  return round(frame.width * max(1.0, aspect)), round(frame.height * max(1, 1 / aspect))


def to_rgb(frame: av.VideoFrame, aspect: float = 1.0) -> UInt8[np.ndarray, "H W 3"]:
  """Converts a frame to what a viewer shows: square pixels, upright, over black.

  Args:
    frame: Decoded frame.
    aspect: How many times wider than high its pixels are.
  """
  size = square_size(frame, aspect)
  return np.rot90(Converter()(frame, size, matrix_of(frame)), turns(frame))


def matrix_of(frame: av.VideoFrame) -> int:
  """Returns the matrix to RGB that a frame names, or that of SD or HD by its height."""
  if frame.colorspace in list(Colorspace):
    return frame.colorspace
  return BT709 if frame.height >= 720 else _BT601


def pixels_in_words(frame: av.VideoFrame) -> str:
  """Returns what a frame stores, such as "10 bits, BT.2020, PQ" or "8 bits"."""
  bits = max(component.bits for component in frame.format.components)
  full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
  facts = {
    f"{bits} bits": True,
    "full range": full,
    "BT.2020": frame.color_primaries == BT2020,
    "PQ": frame.color_trc == PQ,
    "HLG": frame.color_trc == HLG,
  }
  return ", ".join(fact for fact, holds in facts.items() if holds)


class Converter:
  """Scales similar frames and converts them to 8-bit RGB, over black.

  High dynamic range and wide gamuts are converted to those of ordinary screens.
  """

  def __init__(self):
    self._scale, self._color = VideoReformatter(), VideoReformatter()

  def __call__(
    self, frame: av.VideoFrame, size: tuple[int, int], matrix: int
  ) -> UInt8[np.ndarray, "H W 3"]:
    """Converts a frame as it is stored.

    Args:
      frame: Decoded frame.
      size: Width and height of the result.
      matrix: Matrix to RGB (`matrix_of`); for a part, that of the whole frame.
    """
    clear = any(component.is_alpha for component in frame.format.components)
    wide = frame.color_trc in (PQ, HLG) or frame.color_primaries == BT2020
    name = frame.format.name
    if name.startswith("yuv") and not wide and not clear:
      # Together with the colours, libswscale scales without SIMD, in twice the time.
      planes = "yuvj444p" if name.startswith("yuvj") else "yuv444p"
      frame = self._scale.reformat(
        frame, *size, format=planes, interpolation=int(_EXACT)
      )
    image = self._color.reformat(
      frame,
      *size,
      format="rgb48le" if wide else "rgba" if clear else "rgb24",
      src_colorspace=matrix,
      interpolation=int(_EXACT),
    ).to_ndarray()
    if wide:
      return to_standard(image, frame.color_trc, frame.color_primaries)
    return images.over_background(image, _BACKGROUND) if clear else image
