"""Reads windows of clips as frames of a bucket, and decodes only what is needed.

The frames of a clip are at times start + k / fps. For each time, the frame is taken
that is shown then, to within half a frame, whatever the file's own rate. From the
frame, or from its crop, the largest centred part with the bucket's shape is cut out and
scaled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.filter
import numpy as np
from jaxtyping import Float64, UInt8

from ltx_jax.config.runs import Bucket
from ltx_jax.data import decoding, video
from ltx_jax.data.clips import Clip, Crop
from ltx_jax.data.probing import STILL_FPS

Box = tuple[float, float, float, float]
"""(x, y, width, height) in pixels."""

Frames = UInt8[np.ndarray, "F H W 3"]


def read_clip(clip: Clip, bucket: Bucket, first: int = 0) -> tuple[Frames, float]:
  """Reads one window of a clip.

  Args:
    clip: Clip with its file and times; `fps` None takes the file's own rate.
    bucket: Frames, height and width of the window.
    first: Number of the window's first frame, counted in the clip's frames.

  Returns:
    The frames [F H W 3] and the frames per second, above 0.

  Raises:
    ValueError: If the file is missing, unreadable or damaged, or the clip is too short;
      the message names the file.
  """
  path = Path(clip.path)
  video.check_input(path)
  if video.is_picture(path):
    return _picture_window(clip, bucket, first)
  start = clip.start or 0.0
  try:
    fps, own, fit = _prepared(path, clip, bucket)
    times = start + (first + np.arange(bucket.frames)) / fps
    if clip.end is not None and times[-1] + 0.5 / fps > clip.end:
      raise _too_short(clip, bucket, first, f"it ends at {clip.end:g} s")
    frames = decoding.shown_from(path, times[0])
    rows = list(_at_times(frames, times, 0.5 / max(fps, own), fit))
  except (av.FFmpegError, EOFError) as error:
    raise decoding.unreadable(path, error) from None
  if len(rows) < bucket.frames:
    raise _too_short(clip, bucket, first, f"there are {first + len(rows)}")
  return np.stack(rows), fps


def _prepared(path: Path, clip: Clip, bucket: Bucket) -> tuple[float, float, _Fit]:
  """Returns the rate to read at, close to the file's, and what fits its frames."""
  with decoding.opened(path) as (container, stream):
    fps = clip.fps or decoding.rate(container, stream) or STILL_FPS
    own = float(stream.average_rate or stream.guessed_rate or fps)
    return fps, own, _Fit(clip.crop, bucket, decoding.pixel_aspect(path, stream))


class _Fit:
  """Cuts and scales the frames of one clip to a bucket."""

  def __init__(self, crop: Crop | None, bucket: Bucket, aspect: float):
    self._crop, self._bucket, self._aspect = crop, bucket, aspect
    self._convert = decoding.Converter()
    self._cutter: _Cutter | None = None

  def __call__(self, frame: av.VideoFrame) -> UInt8[np.ndarray, "H W 3"]:
    turns = decoding.turns(frame)
    size = self._bucket.width, self._bucket.height
    if self._cutter is None:
      self._cutter = _Cutter(frame, self._box(frame, turns))
    size = size[::-1] if turns % 2 else size
    matrix = decoding.matrix_of(frame)
    return np.rot90(self._convert(self._cutter(frame), size, matrix), turns)

  def _box(self, frame: av.VideoFrame, turns: int) -> Box:
    """Returns the part of a stored frame that fills the bucket, in its own pixels."""
    width, height = decoding.square_size(frame, self._aspect)
    upright = (height, width) if turns % 2 else (width, height)
    _check_crop(self._crop, *upright)
    box = covering(self._crop or (0, 0, *upright), self._bucket)
    x, y, across, down = as_stored(box, turns, (width, height))
    wide, high = frame.width / width, frame.height / height
    return x * wide, y * high, across * wide, down * high


class _Cutter:
  """Cuts a box out of frames before they are scaled, without a copy."""

  def __init__(self, frame: av.VideoFrame, box: Box):
    left, top = round(box[0]), round(box[1])
    width, height = max(1, round(box[2])), max(1, round(box[3]))
    left, top = min(left, frame.width - width), min(top, frame.height - height)
    self._graph = None
    if (width, height) != (frame.width, frame.height):
      self._graph = graph = av.filter.Graph()
      chain = [
        graph.add_buffer(
          width=frame.width,
          height=frame.height,
          format=frame.format,
          time_base=Fraction(1, 1000),
        ),
        graph.add("crop", f"{width}:{height}:{left}:{top}:exact=1"),
        graph.add("buffersink"),
      ]
      graph.link_nodes(*chain).configure()

  def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
    if self._graph is None:
      return frame
    self._graph.vpush(frame)
    return self._graph.vpull()


def covering(crop: Box | Crop, bucket: Bucket) -> Box:
  """Returns the largest centred box in a crop that has the bucket's shape."""
  x, y, width, height = crop
  scale = min(width / bucket.width, height / bucket.height)
  across, down = scale * bucket.width, scale * bucket.height
  return x + (width - across) / 2, y + (height - down) / 2, across, down


def as_stored(box: Box, turns: int, size: tuple[int, int]) -> Box:
  """Returns where a box of an upright frame lies in the stored frame of this size."""
  x, y, across, down = box
  width, height = size
  return (
    (x, y, across, down),
    (width - y - down, x, down, across),
    (width - x - across, height - y - down, across, down),
    (y, height - x - across, down, across),
  )[turns]


def _covered(
  frames: Frames, crop: Crop | None, bucket: Bucket
) -> UInt8[np.ndarray, "F H2 W2 3"]:
  if crop is not None:
    x, y, width, height = crop
    frames = frames[:, y : y + height, x : x + width]
  return video.cover(frames, bucket.height, bucket.width)


def _at_times(
  shown: Iterable[decoding.Shown],
  times: Float64[np.ndarray, "F"],
  tolerance: float,
  convert: Callable[[av.VideoFrame], np.ndarray],
) -> Iterator[np.ndarray]:
  """Yields for each time the last frame that appears by then, while one is shown.

  Args:
    shown: Frames in order.
    times: Times in order, in seconds.
    tolerance: Half the duration of a frame.
    convert: Function that turns a frame into an image; called once per frame.
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
  _check_crop(clip.crop, frames.shape[2], frames.shape[1])
  return _covered(frames[places], clip.crop, bucket), fps


def _too_short(clip: Clip, bucket: Bucket, first: int, found: str) -> ValueError:
  return ValueError(
    f"{clip.path} is too short: the clip {clip.id!r} needs {first + bucket.frames} "
    f"frames, but {found}; measure it again with train.manifest."
  )


def _check_crop(crop: Crop | None, width: int, height: int) -> None:
  if crop is not None and (crop[0] + crop[2] > width or crop[1] + crop[3] > height):
    raise ValueError(
      f"The crop {list(crop)} goes beyond an image of {width}x{height} pixels; correct "
      "it in the manifest."
    )
