"""Contact sheets: a few frames of every clip in a grid, with a label below each."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from ltx_jax.data import video as video_lib

_GAP, _FONT_SIZE = 6, 13
_PAPER, _INK, _ALARM = (255, 255, 255), (30, 30, 30), (200, 30, 30)


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
  """Breaks a text into lines of at most `width` pixels, if its words allow that."""
  lines = [""]
  for word in text.split():
    longer = f"{lines[-1]} {word}".strip()
    if lines[-1] and font.getlength(longer) > width:
      lines.append(word)
    else:
      lines[-1] = longer
  return lines


def _strip(clip: np.ndarray, frames: int, height: int) -> np.ndarray:
  """Returns [height, ?, 3]: frames spread evenly, with the first and the last."""
  chosen = np.unique(np.linspace(0, len(clip) - 1, frames).round().astype(int))
  width = max(1, round(clip.shape[2] * height / clip.shape[1]))
  images = video_lib.cover(clip[chosen], height, width)
  gap = np.full((height, 2, 3), 255, np.uint8)
  return np.concatenate([x for image in images for x in (image, gap)][:-1], axis=1)


def contact_sheet(
  path: str | os.PathLike,
  clips: Sequence[UInt8[np.ndarray, "_ _ _ 3"]],
  labels: Sequence[str],
  *,
  marked: Sequence[bool] | None = None,
  columns: int = 2,
  frames: int = 5,
  height: int = 96,
) -> None:
  """Writes clips as one image.

  Args:
    path: A `.png` or a `.webp`.
    clips: Clips, which may differ in size and length.
    labels: One label per clip.
    marked: Labels to write in red.
    columns: Number of clips per row.
    frames: Number of frames shown per clip.
    height: Height of one frame on the sheet, in pixels.

  Raises:
    ValueError: If there are no clips, or not one label per clip.
  """
  if not clips or len(clips) != len(labels):
    raise ValueError(
      f"A contact sheet needs clips and a label for each, found {len(clips)} clips and "
      f"{len(labels)} labels."
    )
  font = ImageFont.load_default(_FONT_SIZE)
  line = _FONT_SIZE + 4
  marked = [False] * len(clips) if marked is None else marked
  strips = [_strip(clip, frames, height) for clip in clips]
  width = max(max(strip.shape[1] for strip in strips), 160)
  texts = [wrapped(label, font, width) for label in labels]
  cell = height + 2 * _GAP + line * max(map(len, texts))
  columns = min(columns, len(clips))
  rows = -(-len(clips) // columns)
  sheet = Image.new(
    "RGB", (columns * (width + _GAP) + _GAP, rows * cell + _GAP), _PAPER
  )
  draw = ImageDraw.Draw(sheet)
  for i, (strip, text, mark) in enumerate(zip(strips, texts, marked, strict=True)):
    x, y = _GAP + i % columns * (width + _GAP), _GAP + i // columns * cell
    sheet.paste(Image.fromarray(strip), (x, y))
    for row, words in enumerate(text):
      place = (x, y + height + 2 + row * line)
      draw.text(place, words, fill=_ALARM if mark else _INK, font=font)
  video_lib.write(path, np.asarray(sheet)[None], 1.0)
