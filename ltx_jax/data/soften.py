"""Makes media as soft as frames of a video: cropped, blurred, compressed as H.264.

A photo is sharper than any frame of the videos that the released models were trained
on, so they treat it as a still and hardly move it. Therefore the PyTorch original first
gives an image the softness of a video's frames. The frames of a clip are treated one by
one.
"""

from __future__ import annotations

import io

import av
import numpy as np
from jaxtyping import Float, UInt8

from ltx_jax.data.video import Frames
from ltx_jax.errors import said

_TAPS = np.exp(-0.5 * np.arange(-1, 2, dtype=np.float32) ** 2)
_TAPS /= _TAPS.sum()
_ALMOST = 1e-3  # Of a level: rounding must not lower a flat area by one.


def soften(
  video: Frames, height: int, width: int, crf: int
) -> UInt8[np.ndarray, "F _ _ 3"]:
  """Crops a clip to the proportions of a frame, blurs it and compresses it.

  Args:
    video: The clip.
    height: Height of the frame; the clip keeps its own scale.
    width: Width of the frame.
    crf: H.264's rate factor, from 0 (blur only) to 51 (coarsest); the original uses 29.

  Returns:
    Frames whose height and width are even, unless `crf` is 0.
  """
  cropped = _crop(video, height, width)
  blurred = _blur(cropped.astype(np.float32)) + _ALMOST
  whole = blurred.astype(np.uint8)  # Truncates, as in the original.
  if crf == 0:
    return whole
  rows, columns = (max(2, side // 2 * 2) for side in whole.shape[1:3])
  lines = [(0, 0), *((0, side % 2) for side in whole.shape[1:3]), (0, 0)]
  whole = np.pad(whole, lines, mode="edge")  # Of one pixel alone, two are made.
  try:
    return np.stack([_through_h264(frame[:rows, :columns], crf) for frame in whole])
  except av.FFmpegError as error:
    raise ValueError(
      f"A condition of {columns}x{rows} pixels cannot be softened ({said(error)}); "
      "make it smaller, or leave out its crf."
    ) from None


def _crop(video: Frames, height: int, width: int) -> UInt8[np.ndarray, "F _ _ 3"]:
  """Returns the largest centred part that has the proportions of a frame."""
  rows, columns = video.shape[1:3]
  if columns / rows > width / height:
    kept_rows, kept_columns = rows, max(1, int(rows * (width / height)))
  else:
    kept_rows, kept_columns = max(1, int(columns / (width / height))), columns
  top, left = (rows - kept_rows) // 2, (columns - kept_columns) // 2
  return video[:, top : top + kept_rows, left : left + kept_columns]


def _blur(video: Float[np.ndarray, "F H W 3"]) -> Float[np.ndarray, "F H W 3"]:
  """Blurs with a Gaussian of deviation 1 over 3 by 3 pixels; mirrors the edges."""
  for axis in (1, 2):
    if video.shape[axis] == 1:
      continue
    around = [(1, 1) if a == axis else (0, 0) for a in range(4)]
    padded = np.moveaxis(np.pad(video, around, mode="reflect"), axis, 0)
    parts = (
      tap * padded[i : len(padded) - 2 + i] for i, tap in enumerate(_TAPS.tolist())
    )
    video = np.moveaxis(sum(parts), 0, axis)
  return video


def _through_h264(frame: UInt8[np.ndarray, "H W 3"], crf: int) -> np.ndarray:
  """Encodes a frame as a video of one frame, and decodes it."""
  file = io.BytesIO()
  with av.open(file, "w", format="mp4") as container:
    options = {"crf": str(crf), "preset": "veryfast"}
    stream = container.add_stream("libx264", rate=1, options=options)
    stream.height, stream.width = frame.shape[:2]
    image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    container.mux(stream.encode(image.reformat(format="yuv420p")))
    container.mux(stream.encode(None))
  file.seek(0)
  with av.open(file) as container:
    return next(container.decode(video=0)).to_ndarray(format="rgb24")
