"""What one decoding of a span leaves: small frames, profiles of lines, and stills.

All that is measured later is measured on these. A file may be of any size and length:
it is decoded in spans of at most `MOST_FRAMES` frames and `MOST_SECONDS`, its frames
are made small one by one, and full frames are never kept.

Frames are shown as a viewer shows them: upright, with square pixels, high dynamic range
as on ordinary screens, transparent parts over black (`data.decoding`). Packets are
decoded one by one, because a broken one must not end a file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from jaxtyping import Float, Int, UInt8

from ltx_jax.curation import borders
from ltx_jax.curation.borders import Crop, Profiles
from ltx_jax.curation.clip import Decision, Reason, Source, Span
from ltx_jax.data import decoding, probing, video
from ltx_jax.data.clips import Clip
from ltx_jax.errors import said

MOST_FRAMES, MOST_SECONDS = 4096, 300.0
"""Limits of a span."""

SMALL, STILL = 72, 256
"""Shorter side of the small frames and of the stills, in pixels."""

RULE = "readable"
"""Name of the rule in decisions about files."""

_MOST_IN_ALL = 1_000_000  # Frames of a file.
_LEAST_SIDE, _MOST_SHAPE = 64, 4.0
_PROFILED = 8  # Every eighth frame.
_CORRUPT, _GAP = 0.02, 0.2
_INTERLACED = 0.1
_BEFORE = 1.0  # Seconds: frames after a jump into the middle may lack their references.


class Frames(NamedTuple):
  """The frames of a span, sorted by their times.

  Attributes:
    seconds: Presentation time of each, the first of the file at 0.
    small: Each frame, with a shorter side of 72 pixels.
    profiles: Percentiles of luma of every eighth frame, at full size as it is stored,
      but upright.
    stills: One frame a second, with a shorter side of up to 256 pixels.
    still_frames: Number of the frame that each still is.
    size: Width and height of the file, in square pixels.
    corrupt: Share of frames that are damaged or missing.
  """

  seconds: Float[np.ndarray, "F"]
  small: UInt8[np.ndarray, "F h w 3"]
  profiles: Profiles
  stills: UInt8[np.ndarray, "n H W 3"]
  still_frames: Int[np.ndarray, "n"]
  size: tuple[int, int]
  corrupt: float = 0.0

  def crop(self, crop: Crop) -> Crop:
    """Returns a crop of the profiles' pixels in square pixels, inside it and even."""
    stored = self.profiles.columns.shape[2], self.profiles.rows.shape[2]
    found = []
    for side in (0, 1):
      scale = self.size[side] / stored[side]
      start = int(np.ceil(crop[side] * scale - 1e-6))
      stop = int((crop[side] + crop[side + 2]) * scale + 1e-6)
      found.append((start, max(2, (stop - start) // 2 * 2)))
    (x, width), (y, height) = found
    return x, y, width, height


def refused(reason: Reason, value: float | str, most: float | None = None) -> Decision:
  """Returns the decision that a file is not read."""
  return Decision(RULE, reason, value, most)


def probe(path: str | os.PathLike, identity: str | None = None) -> Source | Decision:
  """Returns a file's size, times and spans, or why it cannot be read.

  Its packets are read once, since what a file says about its duration may be wrong,
  and its first frame is decoded.

  Args:
    path: A video or an image.
    identity: Name of the file; None takes the path, on one line.
  """
  path = Path(path)
  try:
    video.check_input(path)
    found = _picture(path) if video.is_picture(path) else _track(path)
  except decoding.TooLarge as error:
    return refused("too large", str(error))
  except decoding.NoVideo as error:
    return refused("no video", str(error))
  except (ValueError, EOFError, av.FFmpegError, OSError) as error:
    return refused("unreadable", said(error))
  width, height = found.size
  if min(width, height) < _LEAST_SIDE:
    return refused("small", min(width, height), _LEAST_SIDE)
  if max(width, height) > _MOST_SHAPE * min(width, height):
    return refused("shape", max(width, height) / min(width, height), _MOST_SHAPE)
  times = found.times
  if np.isnan(times).any():
    times = np.arange(len(times)) / found.fps
  if len(times) >= _MOST_IN_ALL:
    return refused("too large", len(times), _MOST_IN_ALL)
  fps = rate(times) or found.fps
  return Source(
    str(path).replace("\n", r"\n") if identity is None else identity,
    str(path),
    width,
    height,
    len(times),
    fps,
    float(times[-1] - times[0]) + 1 / fps if len(times) > 1 else 0.0,
    found.offset,
    _edges(times),
    path.stat().st_size,
    found.track,
    found.pixels,
  )


def rate(seconds: Float[np.ndarray, "F"]) -> float:
  """Returns the frames per second between the first and the last; 0 for one alone."""
  lasts = float(seconds[-1] - seconds[0]) if len(seconds) else 0.0
  return (len(seconds) - 1) / lasts if lasts > 0 else 0.0


class _Looked(NamedTuple):
  """What a look at a file finds.

  Attributes:
    size: Width and height in square pixels, upright.
    times: Times of its frames, sorted, the first at 0; nan where it has none.
    fps: Frames per second that it names, or those of an image.
    offset: Time of its first frame in the file.
    track: Number of its track.
    pixels: What it stores, in words.
  """

  size: tuple[int, int]
  times: Float[np.ndarray, "F"]
  fps: float
  offset: float = 0.0
  track: int = 0
  pixels: str = ""


def _picture(path: Path) -> _Looked:
  found = probing.measure(Clip(RULE, str(path)))
  fps = found.fps or probing.STILL_FPS
  times = np.arange(found.frames or 1) / fps
  return _Looked((found.width, found.height), times, fps)


def _track(path: Path) -> _Looked:
  """Looks at the main track of a video, whose size is checked before it is decoded."""
  times, offset = _packet_times(path)
  with decoding.opened(path) as (container, stream):
    fps = float(stream.average_rate or stream.guessed_rate or probing.STILL_FPS)
    aspect = decoding.pixel_aspect(path, stream)
    frame = next(_Decoder()(container, stream), None)
    if frame is None:
      raise EOFError("not one of its frames can be decoded")
    size = decoding.square_size(frame, aspect)
    size = size[:: -1 if decoding.turns(frame) % 2 else 1]
    pixels = decoding.pixels_in_words(frame)
    return _Looked(size, times, fps, offset, stream.index, pixels)


def _packet_times(path: Path) -> tuple[np.ndarray, float]:
  """Returns the sorted times of a file's frames, by its packets, and their offset.

  A packet without a time has the time nan.
  """
  with decoding.opened(path) as (container, stream):
    begin = float((stream.start_time or 0) * stream.time_base)
    stamps = []
    for packet in container.demux(stream):
      if packet.size and not packet.is_discard:
        timed = packet.pts is not None
        stamps.append(float(packet.pts * stream.time_base) if timed else np.nan)
      if len(stamps) >= _MOST_IN_ALL:
        break
  if not stamps:
    raise EOFError("it holds a video track without a single frame")
  return np.sort(np.array(stamps)) - begin, begin


def _edges(times: np.ndarray) -> tuple[float, ...]:
  """Returns where spans of about equal numbers of frames begin."""
  lasts = times[-1] - times[0]
  parts = max(np.ceil(len(times) / MOST_FRAMES), np.ceil(lasts / MOST_SECONDS), 1)
  most = np.ceil(len(times) / parts)
  edges, first = [0.0], 0
  for k in range(1, len(times)):
    if k - first >= most or times[k] - times[first] >= MOST_SECONDS:
      edges.append(float(times[k]))
      first = k
  return tuple(edges)


def read(span: Span) -> Frames | Decision:
  """Decodes the frames of a span, or says why it cannot be used."""
  path, decoder = Path(span.source.path), _Decoder()
  size = path.stat().st_size if path.is_file() else -1
  if size != span.source.bytes:
    return refused("changed", size, span.source.bytes)
  try:
    if video.is_picture(path):
      return _collected(_of_pictures(path, span), span, decoder)
    begin = max(0.0, span.start - _BEFORE)
    return _collected(decoding.shown_from(path, begin, decoder), span, decoder)
  except decoding.TooLarge as error:
    return refused("too large", str(error))
  except (ValueError, EOFError, av.FFmpegError, OSError) as error:
    return refused("unreadable", said(error))


def _collected(
  shown: Iterable[decoding.Shown], span: Span, decoder: _Decoder
) -> Frames | Decision:
  collector = _Collector(span)
  for time, _, frame in shown:
    if time >= span.end:
      break
    refusal = collector.add(time, frame) if time >= span.start else None
    if refusal is not None:
      return refusal
  return collector.result(decoder.broken)


def _of_pictures(path: Path, span: Span) -> Iterator[decoding.Shown]:
  """Yields the images of a file as frames."""
  images, fps = video.read(path)
  for k, image in enumerate(images):
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    yield k / (fps or span.source.fps), 0.0, frame


class _Decoder:
  """Decodes a track packet by packet, and goes on after one that is broken.

  Attributes:
    broken: Number of packets that could not be decoded.
  """

  def __init__(self):
    self.broken = 0

  def __call__(
    self, container: av.container.InputContainer, stream: av.VideoStream
  ) -> Iterator[av.VideoFrame]:
    self.broken = 0
    packets = container.demux(stream)
    while True:
      try:
        packet = next(packets, None)
        decoded = [] if packet is None else packet.decode()
      except av.FFmpegError:
        # A container that is broken itself ends with this.
        self.broken += 1
        continue
      if packet is None:
        return
      yield from decoded


class _Collector:
  """Makes the frames of a span small, one by one."""

  def __init__(self, span: Span):
    width, height = self._size = span.source.width, span.source.height
    aspect = [side / min(width, height) for side in (width, height)]
    still = min(STILL, width, height)
    self._sizes = [
      (round(shorter * aspect[0]), round(shorter * aspect[1]))
      for shorter in (SMALL, still)
    ]
    # Two, because a converter is quick as long as its frames have one size.
    self._small, self._still = decoding.Converter(), decoding.Converter()
    most = MOST_FRAMES + MOST_FRAMES // 16
    self._frames = np.empty((most, *self._sizes[0][::-1], 3), np.uint8)
    self._seconds: list[float] = []
    self._profiles: list[tuple] = []
    self._stills: list[np.ndarray] = []
    self._still_frames: list[int] = []
    self._stored: tuple[int, int] | None = None
    self._next_still = span.start
    self.corrupt = self.interlaced = 0

  def add(self, time: float, frame: av.VideoFrame) -> Decision | None:
    """Adds a frame, or says why the file cannot be used."""
    k, turns = len(self._seconds), decoding.turns(frame)
    if k == len(self._frames):
      return refused("too large", k + 1, k)
    stored = (frame.width, frame.height)[:: -1 if turns % 2 else 1]
    self._stored = self._stored or stored
    if stored != self._stored:
      return refused("size changes", f"{stored[0]}x{stored[1]} at {time:.2f} s")
    self._seconds.append(time)
    self.corrupt += frame.is_corrupt
    self.interlaced += frame.interlaced_frame
    matrix = decoding.matrix_of(frame)

    def made(convert: decoding.Converter, size: tuple[int, int]) -> np.ndarray:
      size = size[::-1] if turns % 2 else size
      return np.rot90(convert(frame, size, matrix), turns)

    self._frames[k] = made(self._small, self._sizes[0])
    if k % _PROFILED == 0:
      self._profiles.append(borders.profile(np.rot90(_luma(frame), turns)))
    if time >= self._next_still:
      self._stills.append(made(self._still, self._sizes[1]))
      self._still_frames.append(k)
      self._next_still = np.floor(time - self._next_still) + self._next_still + 1
    return None

  def result(self, broken: int) -> Frames | Decision:
    """Returns all frames in order; `broken` packets could not be decoded."""
    count = len(self._seconds)
    if not count:
      return refused("unreadable", "it has no frame at that time")
    if self.interlaced > _INTERLACED * count:
      return refused("interlaced", self.interlaced / count, _INTERLACED)
    order = np.argsort(self._seconds, kind="stable")
    places = np.argsort(order)  # Of each frame, among the sorted ones.
    seconds = np.array(self._seconds)[order]
    corrupt = (self.corrupt + broken) / (count + broken)
    gap = float(np.diff(seconds).max(initial=0.0))
    if corrupt > _CORRUPT:
      return refused("corrupt", corrupt, _CORRUPT)
    if corrupt and gap > _GAP:
      return refused("corrupt", gap, _GAP)
    rows, columns, luma = map(np.array, zip(*self._profiles, strict=True))
    return Frames(
      seconds,
      self._frames[:count] if (np.diff(order) > 0).all() else self._frames[order],
      Profiles(rows, columns, luma, places[::_PROFILED]),
      np.stack(self._stills),
      places[self._still_frames],
      self._size,
      corrupt,
    )


def _over_background(frame: av.VideoFrame) -> UInt8[np.ndarray, "H W 3"]:
  size = frame.width, frame.height
  return decoding.Converter()(frame, size, decoding.matrix_of(frame))


def _luma(frame: av.VideoFrame) -> UInt8[np.ndarray, "H W"]:
  """Returns the luma of a frame as it is stored, at 8 bits, over the background."""
  parts = frame.format.components
  if any(component.is_alpha for component in parts):
    frame = av.VideoFrame.from_ndarray(_over_background(frame), format="rgb24")
  name = frame.format.name
  deep = any(component.bits > 8 for component in parts)
  if deep or not name.startswith(("yuv4", "yuvj4", "gray")):
    frame = frame.reformat(format="yuv420p")
  plane = frame.planes[0]
  pixels = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
  return pixels[: frame.height, : frame.width]
