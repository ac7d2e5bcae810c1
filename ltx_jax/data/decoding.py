"""Opening videos, and what of a stream or frame decides how it is seen.

Shared by whole files (`video`) and windows of clips (`videos`).
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation
from jaxtyping import UInt8

from ltx_jax.data import images, timing

VIDEOS = {  # Suffix: one of the names that libav has for the container.
  ".mp4": "mp4",
  ".m4v": "mp4",
  ".mov": "mov",
  ".mkv": "matroska",
  ".webm": "webm",
  ".avi": "avi",
  ".mpg": "mpeg",
  ".mpeg": "mpeg",
  ".ts": "mpegts",
}
_TIMED_PACKETS, _REORDERED = 3000, 16
_WIDEST_PIXEL = 8
BT709, _BT601 = 1, 5  # libav's numbers of the two matrices from YUV to RGB.
# Without the last two flags every pixel comes out darker, by one or two levels of 255.
_EXACT = (
  Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND
)


def wrong_suffix(path: Path, suffix: str, found: str) -> ValueError:
  """What to raise where a file is not what its name says."""
  return ValueError(
    f"{path} has the suffix {suffix!r} and holds {found}; rename it to what it is."
  )


@contextlib.contextmanager
def opened(
  path: Path, suffix: str
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
  """Opens a video and its first track, which it decodes in threads.

  Raises:
    ValueError: where the container is not the suffix's, or the file is truncated.
    EOFError: where there is no video track; `av.FFmpegError` where it is no video.
  """
  with av.open(str(path)) as container:
    names = container.format.name.split(",")
    if names[0].endswith("_pipe") or names[0] in ("image2", "gif"):
      raise EOFError(f"it is no picture, though taken for {names[0]!r}")
    if VIDEOS.get(suffix) not in names:
      raise wrong_suffix(path, suffix, f"a video in the container {names[0]!r}")
    if not container.streams.video:
      tracks = ", ".join(stream.type for stream in container.streams) or "none"
      raise EOFError(f"it has no video track; its tracks: {tracks}")
    stream = container.streams.video[0]
    _check_index(path, stream)
    stream.thread_type = "AUTO"
    yield container, stream


def rate(container: av.container.InputContainer, stream: av.VideoStream) -> float:
  """Frames a second by the time stamps of the first packets, which come unordered."""
  packets = itertools.islice(container.demux(stream), _TIMED_PACKETS)
  stamps = sorted(packet.pts for packet in packets if packet.pts is not None)
  seconds = [float(stamp * stream.time_base) for stamp in stamps]
  # Those around the last ones may still be to come.
  seconds = seconds[:-_REORDERED] if len(stamps) > 2 * _REORDERED else seconds
  declared = (stream.average_rate, stream.guessed_rate)
  return timing.rate_of(seconds, [float(named) for named in declared if named])


def pixel_aspect(path: Path, stream: av.VideoStream) -> float:
  """How many times wider than high a pixel is shown; the container's word goes first.

  Raises:
    ValueError: for a ratio that no camera has.
  """
  aspect = float(stream.sample_aspect_ratio or 1)
  if not 1 / _WIDEST_PIXEL <= aspect <= _WIDEST_PIXEL:
    raise ValueError(
      f"{path} says that its pixels are {aspect:g} times as wide as high; repair that, "
      f"at most {_WIDEST_PIXEL} is read."
    )
  return aspect


def _check_index(path: Path, stream: av.VideoStream) -> None:
  """Refuses a file that ends before the last frame of its index."""
  end = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
  size = path.stat().st_size
  if end > size:
    raise ValueError(
      f"{path} is truncated: its index reaches to byte {end}, and it ends at byte "
      f"{size}; give a whole file."
    )


def to_rgb(frame: av.VideoFrame, aspect: float = 1.0) -> UInt8[np.ndarray, "H W 3"]:
  """Converts a frame as it is meant to be seen: square pixels, upright, over white.

  Args:
    frame: Decoded. One that does not name its matrix is taken for SD or HD by height.
    aspect: How many times wider than high its pixels are shown. The smaller side grows,
      so that nothing is lost.
  """
  matrix = frame.colorspace
  if matrix not in list(Colorspace):
    matrix = BT709 if frame.height >= 720 else _BT601
  clear = any(component.is_alpha for component in frame.format.components)
  image = frame.to_ndarray(
    format="rgba" if clear else "rgb24",
    width=round(frame.width * max(1.0, aspect)),
    height=round(frame.height * max(1.0, 1 / aspect)),
    src_colorspace=matrix,
    interpolation=int(_EXACT),
  )
  image = images.over_background(image) if clear else image
  return np.rot90(image, round(frame.rotation / 90)) if frame.rotation else image
