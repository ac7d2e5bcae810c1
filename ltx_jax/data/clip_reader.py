"""Windows of clips as frames of a bucket: just what is needed is decoded.

A clip's frames lie at times start + k / fps; the frame shown at such a time, to half a
frame, is taken, whatever the file's own rate. A frame is brought to the bucket in one
step: scaled so that the picture, or its crop, covers the bucket, and cut about the
middle.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import Float64, UInt8

from ltx_jax.config.runs import Bucket
from ltx_jax.data import decoding, video
from ltx_jax.data.clips import Clip, Crop

Frames = UInt8[np.ndarray, "F H W 3"]

STILL_FPS = 24.0
"""Frames a second that a picture counts as; a single frame has no other time than 0."""

_IN_ORDER = (".avi", ".mpg", ".mpeg")  # Times after a seek in these are wrong.
_BACK = (0.0, 1.0, 8.0)
_ROUNDED = 0.05  # Of a frame.
_FAR = 1e6  # Seconds, beyond the end of any file.
_TRUNCATED = (0.95, 0.2)  # Of the announced seconds, and seconds, that may lack.


class Media(NamedTuple):
  """A file as it is shown.

  Attributes:
    width: In square pixels, upright.
    height: In square pixels, upright.
    fps: Frames a second; 0 for a picture that does not move.
    seconds: How long it lasts; 0 for a picture that does not move.
  """

  width: int
  height: int
  fps: float
  seconds: float


class Placement(NamedTuple):
  """How a frame is brought to a bucket.

  Attributes:
    scale: Of the whole frame as displayed.
    left: Of the bucket in the scaled frame.
    top: Of the bucket in the scaled frame.
  """

  scale: float
  left: int
  top: int


def read_clip(clip: Clip, bucket: Bucket, first: int = 0) -> tuple[Frames, float]:
  """Reads one window of a clip.

  Args:
    clip: Where it lies in which file; `fps` None is the file's own rate.
    bucket: Frames, height and width of the window.
    first: Number of its first frame, counted in the clip's frames.

  Returns:
    The frames [F H W 3] and their number a second, above 0.

  Raises:
    ValueError: in a sentence that names the file, where it is missing, unreadable or
      damaged, or the clip is too short.
  """
  path = Path(clip.path)
  suffix = video.check_input(path)
  if suffix in video.PICTURES:
    return _picture_window(clip, bucket, first)
  start = clip.start or 0.0
  try:
    fps, own, fit = _prepared(path, suffix, clip, bucket)
    times = start + (first + np.arange(bucket.frames)) / fps
    if clip.end is not None and times[-1] + 0.5 / fps > clip.end:
      raise _too_short(clip, bucket, first, f"it ends at {clip.end:g} s")
    frames = _from(path, suffix, times[0])
    rows = list(_at_times(frames, times, 0.5 / max(fps, own), fit))
  except (av.FFmpegError, EOFError) as error:
    raise _unreadable(path, error) from None
  if len(rows) < bucket.frames:
    raise _too_short(clip, bucket, first, f"there are {first + len(rows)}")
  return np.stack(rows), fps


def _prepared(
  path: Path, suffix: str, clip: Clip, bucket: Bucket
) -> tuple[float, float, _Fit]:
  """Returns the rate to read at, about that of the file, and what fits its frames."""
  with decoding.opened(path, suffix) as (container, stream):
    fps = clip.fps or decoding.rate(container, stream) or STILL_FPS
    own = float(stream.average_rate or stream.guessed_rate or fps)
    return fps, own, _Fit(clip.crop, bucket, decoding.pixel_aspect(path, stream))


def measure(clip: Clip) -> Clip:
  """Returns a clip with its size, frames and rate as the file has them.

  A rate that the clip names already stays; its frames are counted at that rate.

  Raises:
    ValueError: as `read_clip`.
  """
  media = _probe(clip)
  if not media.fps:
    return clip._replace(width=media.width, height=media.height, frames=1, fps=None)
  fps = clip.fps or media.fps
  start, end = clip.start or 0.0, media.seconds
  end = end if clip.end is None else min(clip.end, end + 0.5 / fps)
  # Times are rounded in texts, and to milliseconds in files.
  frames = math.floor((end - start) * fps + _ROUNDED)
  if frames < 1:
    raise ValueError(
      f"{clip.path} lasts {media.seconds:.2f} seconds, and the clip {clip.id!r} begins "
      f"at {start:g}; correct its start and end."
    )
  return clip._replace(width=media.width, height=media.height, frames=frames, fps=fps)


def placement(
  width: float, height: float, crop: Crop | None, bucket: Bucket
) -> Placement:
  """Returns how a frame of a displayed size covers a bucket with its crop."""
  x, y, across, down = crop or (0, 0, width, height)
  scale = max(bucket.width / across, bucket.height / down)
  left = x * scale + (across * scale - bucket.width) / 2
  top = y * scale + (down * scale - bucket.height) / 2
  return Placement(scale, round(left), round(top))


class _Fit:
  """Brings frames of one clip to a bucket."""

  def __init__(self, crop: Crop | None, bucket: Bucket, aspect: float):
    self._crop, self._bucket, self._aspect = crop, bucket, aspect
    self._reformatter = VideoReformatter()  # Keeps its tables from frame to frame.

  def __call__(self, frame: av.VideoFrame) -> UInt8[np.ndarray, "H W 3"]:
    width, height = decoding.shown_size(frame, self._aspect)
    _check_crop(self._crop, width, height)
    place = placement(width, height, self._crop, self._bucket)
    if place.scale > 1:  # A small crop, enlarged with all around it, may be huge.
      image = decoding.to_rgb(frame, self._aspect)
      return _covered(image[None], self._crop, self._bucket)[0]
    image = decoding.to_rgb(frame, self._aspect, place.scale, self._reformatter)
    top = min(place.top, image.shape[0] - self._bucket.height)
    left = min(place.left, image.shape[1] - self._bucket.width)
    return image[top : top + self._bucket.height, left : left + self._bucket.width]


def _covered(
  frames: Frames, crop: Crop | None, bucket: Bucket
) -> UInt8[np.ndarray, "F H2 W2 3"]:
  if crop is not None:
    x, y, width, height = crop
    frames = frames[:, y : y + height, x : x + width]
  return video.cover(frames, bucket.height, bucket.width)


def _from(path: Path, suffix: str, time: float) -> Iterator[decoding.Shown]:
  """Yields frames, with their times since the first, from one at `time` or before it.

  An index names when frames are decoded, which is before they are shown, and some lie:
  where a seek leads beyond `time`, one further back follows, and at last none.
  """
  for back in (*_BACK, time):
    with decoding.opened(path, suffix) as (container, stream):
      begin = float((stream.start_time or 0) * stream.time_base)
      seeks = back < time and suffix not in _IN_ORDER
      if seeks:
        ticks = int((begin + time - back) / stream.time_base)
        container.seek(ticks, stream=stream)
      frames = decoding.shown(container.decode(stream))
      start = next(frames, None)
      if seeks and (start is None or start[0] > begin + time):
        continue
      if start is not None:
        begin = start[0] if suffix in _IN_ORDER else begin
        for appears, lasts, frame in itertools.chain([start], frames):
          yield appears - begin, lasts, frame
      return


def _at_times(
  shown: Iterable[decoding.Shown],
  times: Float64[np.ndarray, "F"],
  tolerance: float,
  convert: Callable[[av.VideoFrame], np.ndarray],
) -> Iterator[np.ndarray]:
  """Yields for each time the last frame that appears by then, as long as one is shown.

  Args:
    shown: In order.
    times: In order, in seconds.
    tolerance: Half the time of a frame.
    convert: Makes an image of a frame; called once each.
  """
  held = image = None
  end, k = 0.0, 0
  for time, lasts, frame in shown:
    while held is not None and k < len(times) and times[k] + tolerance < time:
      image = convert(held) if image is None else image
      yield image
      k += 1
    if k == len(times):
      return
    held, image, end = frame, None, time + max(lasts, 2 * tolerance)
  while held is not None and k < len(times) and times[k] + tolerance < end:
    image = convert(held) if image is None else image
    yield image
    k += 1


def _picture_window(clip: Clip, bucket: Bucket, first: int) -> tuple[Frames, float]:
  frames, own = video.read(clip.path)
  fps = clip.fps or own or STILL_FPS
  places = np.zeros(1, np.int64)
  if own:
    seconds = (clip.start or 0.0) + (first + np.arange(bucket.frames)) / fps
    places = np.rint(seconds * own).astype(np.int64)
  if len(places) < bucket.frames or places[-1] >= len(frames):
    raise _too_short(clip, bucket, first, f"there are {len(frames)}")
  _check_crop(clip.crop, float(frames.shape[2]), float(frames.shape[1]))
  return _covered(frames[places], clip.crop, bucket), fps


def _too_short(clip: Clip, bucket: Bucket, first: int, found: str) -> ValueError:
  return ValueError(
    f"{clip.path} is too short: the clip {clip.id!r} was to have "
    f"{first + bucket.frames} frames, and {found}; measure it anew with train.manifest."
  )


def _check_crop(crop: Crop | None, width: float, height: float) -> None:
  if crop is not None and (crop[0] + crop[2] > width or crop[1] + crop[3] > height):
    raise ValueError(
      f"The crop {list(crop)} goes beyond a picture of {round(width)}x{round(height)} "
      "pixels; correct it in the manifest."
    )


def _unreadable(path: Path, why: Exception) -> ValueError:
  reason = getattr(why, "strerror", None) or why
  return ValueError(
    f"{path} cannot be read as a video, or breaks off ({reason}): it has "
    f"{path.stat().st_size} bytes; give a whole file."
  )


def _probe(clip: Clip) -> Media:
  path = Path(clip.path)
  suffix = video.check_input(path)
  if suffix in video.PICTURES:
    frames, fps = video.read(path)
    return Media(
      frames.shape[2], frames.shape[1], fps, len(frames) / fps if fps else 0.0
    )
  try:
    with decoding.opened(path, suffix) as (container, stream):
      fps = decoding.rate(container, stream) or STILL_FPS
      aspect = decoding.pixel_aspect(path, stream)
    with decoding.opened(path, suffix) as (container, stream):
      seconds = _seconds(path, container, stream, fps)
    with decoding.opened(path, suffix) as (container, stream):
      frame = next(container.decode(stream), None)
      if frame is None:
        raise EOFError("it holds a video track without a single frame")
      width, height = decoding.shown_size(frame, aspect)
  except (av.FFmpegError, EOFError) as error:
    raise _unreadable(path, error) from None
  return Media(round(width), round(height), fps, seconds)


def _seconds(
  path: Path,
  container: av.container.InputContainer,
  stream: av.VideoStream,
  fps: float,
) -> float:
  """How long the video track lasts, by the packets at the file's end.

  Raises:
    ValueError: where these are far from what the file announces.
  """
  seeks = path.suffix.lower() not in _IN_ORDER
  if seeks:
    container.seek(int(_FAR / stream.time_base), stream=stream)
  own, latest, count = 0.0, 0.0, 0
  for packet in container.demux():
    if packet.stream is stream and packet.size:
      count += 1
    if packet.pts is not None:
      lasts = float((packet.duration or 0) * packet.time_base)
      end = float(packet.pts * packet.time_base) + lasts
      latest = max(latest, end)
      if packet.stream is stream:  # Matroska leaves out how long a frame lasts.
        own = max(own, end if lasts else end + 1 / fps)
  share, spare = _TRUNCATED
  announced = (container.duration or 0) / 1e6
  if seeks and latest < share * announced - spare:
    raise ValueError(
      f"{path} is truncated: it announces {announced:.1f} seconds and ends after "
      f"{latest:.1f}; give a whole file."
    )
  begin = float((stream.start_time or 0) * stream.time_base)
  return own - begin if seeks else count / fps
