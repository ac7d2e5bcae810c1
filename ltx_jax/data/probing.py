"""Measures clips: their size, frames and rate, as their files say.

Only the first frame is decoded; the duration is read at the end of the file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import av

from ltx_jax.data import decoding, video
from ltx_jax.data.clips import Clip, Clips, Fault, check_clip

STILL_FPS = 24.0
"""Frames per second assumed for an image; its single frame is at time 0 anyway."""

_PART = 1024
_ROUNDED = 0.05  # Of a frame.
_FAR = 1e6  # Seconds, beyond the end of any file.
_TRUNCATED = (0.95, 0.2)  # Share of the announced seconds, and seconds that may lack.


class Media(NamedTuple):
  """A file as a viewer shows it.

  Attributes:
    width: Width in square pixels, upright.
    height: Height in square pixels, upright.
    fps: Frames per second; 0 for a still image.
    seconds: Duration; 0 for a still image.
  """

  width: int
  height: int
  fps: float
  seconds: float


def measure(clip: Clip) -> Clip:
  """Returns a clip with the size, frames and rate of its file.

  A rate that the clip names is kept, and its frames are counted at that rate.

  Raises:
    ValueError: If the file cannot be read, as in `read_clip`.
  """
  media = _probe(clip)
  if not media.fps:
    return _sized(clip, media, 1, None)
  fps = clip.fps or media.fps
  start, end = clip.start or 0.0, media.seconds
  end = end if clip.end is None else min(clip.end, end + 0.5 / fps)
  # Texts round times, and files round them to milliseconds.
  frames = math.floor((end - start) * fps + _ROUNDED)
  if frames < 1:
    raise ValueError(
      f"{clip.path} lasts {media.seconds:.2f} seconds, but the clip {clip.id!r} begins "
      f"at {start:g}; correct its start and end."
    )
  return _sized(clip, media, frames, fps)


def _sized(clip: Clip, media: Media, frames: int, fps: float | None) -> Clip:
  size = {"width": media.width, "height": media.height}
  return check_clip(clip._replace(**size, frames=frames, fps=fps))


def measure_all(
  clips: Clips, on_done: Callable[[int, Fault | None], None] | None = None
) -> tuple[Clips, list[Fault]]:
  """Measures the clips that lack a size, several at once.

  Args:
    clips: Rows of a manifest.
    on_done: Callback after each clip, with the number of clips done and the fault, if
      any.

  Returns:
    The clips that can be read, and the faults of the others.
  """
  if (clips.sizes() > 0).all():
    return clips, []
  measured, faults = Clips(), []

  def attempt(row: int) -> Clip | Fault:
    clip = clips[row]
    known = clip.frames and clip.width and clip.height
    try:
      return clip if known else measure(clip)
    except ValueError as error:
      return Fault(clip.id, str(error))

  with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
    # In parts, because work handed to a pool takes more memory than the rows
    # themselves.
    for start in range(0, len(clips), _PART):
      part = range(start, min(start + _PART, len(clips)))
      for row, found in zip(part, pool.map(attempt, part), strict=True):
        fault = found if isinstance(found, Fault) else None
        faults.append(fault) if fault else measured.append(found)
        if on_done is not None:
          on_done(row + 1, fault)
  return measured, faults


def _probe(clip: Clip) -> Media:
  path = Path(clip.path)
  video.check_input(path)
  if video.is_picture(path):
    frames, fps = video.read(path)
    return Media(
      frames.shape[2], frames.shape[1], fps, len(frames) / fps if fps else 0.0
    )
  try:
    with decoding.opened(path) as (container, stream):
      fps = decoding.rate(container, stream) or STILL_FPS
      aspect = decoding.pixel_aspect(path, stream)
    with decoding.opened(path) as (container, stream):
      seconds = _seconds(path, container, stream, fps)
    with decoding.opened(path) as (container, stream):
      frame = next(container.decode(stream), None)
      if frame is None:
        raise EOFError("it holds a video track without a single frame")
      width, height = decoding.square_size(frame, aspect)
      upright = decoding.turns(frame) % 2 == 0
  except (av.FFmpegError, EOFError) as error:
    raise decoding.unreadable(path, error) from None
  size = (width, height) if upright else (height, width)
  return Media(*size, fps, seconds)


def _seconds(
  path: Path,
  container: av.container.InputContainer,
  stream: av.VideoStream,
  fps: float,
) -> float:
  """Returns the duration of the video track, by the packets at the file's end.

  Raises:
    ValueError: If it is far from the duration that the file announces.
  """
  seeks = decoding.seeks(container)
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
      if packet.stream is stream:  # Matroska leaves out the duration of a frame.
        own = max(own, end if lasts else end + 1 / fps)
  share, spare = _TRUNCATED
  announced = (container.duration or 0) / 1e6
  if seeks and latest < share * announced - spare:
    raise ValueError(
      f"{path} is truncated: it announces {announced:.1f} seconds, but ends after "
      f"{latest:.1f}; give a whole file."
    )
  begin = float((stream.start_time or 0) * stream.time_base)
  return own - begin if seeks else count / fps
