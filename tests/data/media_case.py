"""Small media whose frames show their number: frame i is gray of level 8 i."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

STEP = 8
CODECS = {
  ".mp4": ("libx264", {}),
  ".mkv": ("libx264", {}),
  ".mov": ("libx264", {}),
  ".webm": ("libvpx-vp9", {}),
  ".avi": ("mpeg4", {}),
  ".mpg": ("mpeg2video", {}),
  ".ts": ("libx264", {}),
}


def levels(count: int, height: int = 64, width: int = 96) -> np.ndarray:
  ramp = np.arange(count, dtype=np.uint8)[:, None, None, None] * STEP
  return np.broadcast_to(ramp, (count, height, width, 3))


def numbers(frames: np.ndarray) -> list[int]:
  """Which frames of `levels` these are."""
  means = frames.reshape(len(frames), -1).mean(axis=1)
  return np.rint(means / STEP).astype(int).tolist()


def write(
  path: Path,
  frames: np.ndarray,
  fps: float = 24,
  *,
  times: Sequence[int] | None = None,
  options: dict[str, str] | None = None,
  rotation: int = 0,
  aspect: Fraction | None = None,
) -> Path:
  """Writes a video as cameras might; `times` are milliseconds of each frame."""
  codec, extra = CODECS[path.suffix]
  with av.open(str(path), "w") as container:
    stream = container.add_stream(codec, fps, options=extra | (options or {}))
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = "yuv420p"
    stream.bit_rate = 4_000_000
    if rotation:
      stream.set_display_rotation(rotation)
    if aspect:
      stream.codec_context.sample_aspect_ratio = aspect
    if times is not None:
      stream.codec_context.time_base = Fraction(1, 1000)
    for i, image in enumerate(frames):
      frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
      if times is not None:
        frame.pts, frame.time_base = times[i], Fraction(1, 1000)
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  return path


def write_sound(path: Path) -> Path:
  with av.open(str(path), "w") as container:
    stream = container.add_stream("aac", 44100)
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
    frame.rate = 44100
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  return path


def write_deep(path: Path, level: int, transfer: int, primaries: int) -> Path:
  """One gray level of 10 bits (full range counts 0 to 1023), in few frames."""
  with av.open(str(path), "w") as container:
    stream = container.add_stream("libx264", 24, options={"crf": "4"})
    stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p10le"
    context = stream.codec_context
    context.color_trc, context.color_primaries = transfer, primaries
    context.colorspace, context.color_range = 9 if primaries == 9 else 1, 1
    for _ in range(3):
      frame = av.VideoFrame(96, 64, "yuv420p10le")
      values = (round(64 + level * 876 / 1023), 512, 512)
      for plane, value in zip(frame.planes, values, strict=True):
        plane.update(np.full(plane.buffer_size // 2, value, np.uint16).tobytes())
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  return path


def write_colors(path: Path, image: np.ndarray, matrix: int, full: bool) -> Path:
  """Three frames of an image, in a matrix and a range that the file names."""
  with av.open(str(path), "w") as container:
    stream = container.add_stream("libx264", 24, options={"crf": "1"})
    stream.height, stream.width = image.shape[:2]
    stream.pix_fmt = "yuvj420p" if full else "yuv420p"
    context = stream.codec_context
    context.colorspace, context.color_range = matrix, 2 if full else 1
    for _ in range(3):
      frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
        format=stream.pix_fmt,
        dst_colorspace=matrix,
        dst_color_range=2 if full else 1,
      )
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  return path
