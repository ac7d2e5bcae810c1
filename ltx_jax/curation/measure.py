"""From the frames of a span to its clips, with all numbers that rules look at.

    span -> scenes -> pieces -> clips

Frames of a dissolve or a fade belong to no scene. A scene loses the frames next to its
cuts, which compression blends. It is split where its black bars change, and cut evenly
if it is too long. What is left is cropped to its image and measured: motion, flashes,
light, hashes, and a few stills for networks and people to look at.

Nothing vanishes: each frame of the span but those that are trimmed lies in one clip,
and clips that are not worth measuring have their decision.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from ltx_jax.curation import (
  borders,
  details,
  duplicates,
  frames,
  scenes,
  table,
  windows,
)
from ltx_jax.curation.borders import BorderRule, Crop, Profiles
from ltx_jax.curation.clip import Clip, Decision, Source, Span, clip_id
from ltx_jax.curation.frames import Frames
from ltx_jax.curation.motion import MotionRule, motion
from ltx_jax.curation.odd_borders import odd_borders
from ltx_jax.curation.scenes import SceneRule

RULE = "scenes"
"""Name of the rule that decides about pieces of scenes."""

_QUALITY = 90  # Of JPEG.


class ClipRule(NamedTuple):
  """How clips are made of scenes.

  Attributes:
    trim: Frames that are cut off next to a cut or a transition.
    shortest: Least number of frames of a clip.
    longest: Largest number of seconds of a clip; a longer one is cut evenly.
    stills: Largest number of stills of a clip.
  """

  trim: int = 2
  shortest: int = 25
  longest: float = 20.0
  stills: int = 5


class Measures(NamedTuple):
  """All numbers that a measurement depends on.

  Attributes:
    clips: How clips are made of scenes.
    scenes: What a cut, a dissolve and a black frame is.
    borders: What a black bar is.
    motion: How motion is measured.
  """

  clips: ClipRule = ClipRule()
  scenes: SceneRule = scenes.RULE
  borders: BorderRule = borders.RULE
  motion: MotionRule = MotionRule()


class Piece(NamedTuple):
  """Frames from `start` to before `stop`, and why they are not measured."""

  start: int
  stop: int
  decision: Decision | None = None


class Measured(NamedTuple):
  """A clip, and the JPEG of each of its stills by name."""

  clip: Clip
  stills: dict[str, bytes]


def measure(span: Span, found: Frames, rules: Measures) -> Iterator[Measured]:
  """Yields the clips of a span in the order of their times, dropped ones included."""
  if span.source.frames == 1:
    yield _measured(span, found, Piece(0, 1), rules)
    return
  for piece in pieces(found, rules):
    if piece.decision is None:
      yield _measured(span, found, piece, rules)
    else:
      yield Measured(_clip(span, found, piece), {})


def pieces(found: Frames, rules: Measures) -> Iterator[Piece]:
  """Yields the pieces that clips are made of, and those that belong to no clip."""
  last, end = 0, len(found.seconds)
  for scene in scenes.scenes(found.small, found.seconds, rules.scenes):
    if scene.start > last:
      yield _between(found, last, scene.start, rules.scenes)
    trim = rules.clips.trim
    start = scene.start + (trim if scene.start > 0 else 0)
    stop = scene.stop - (trim if scene.stop < end else 0)
    yield from _split(found, start, max(start, stop), rules)
    last = scene.stop
  if last < end:
    yield _between(found, last, end, rules.scenes)


def _between(found: Frames, start: int, stop: int, rule: SceneRule) -> Piece:
  """Returns frames between scenes, which are black or a transition."""
  light = scenes.light(found.small[start:stop])
  dark = float(scenes.black(*light, rule).mean())
  reason = "black" if dark > 0.5 else "transition"
  return Piece(start, stop, Decision(RULE, reason, round(dark, table.DIGITS), 0.5))


def _split(found: Frames, start: int, stop: int, rules: Measures) -> Iterator[Piece]:
  """Yields a scene's pieces: by their black bars, then evenly if they are too long."""
  moments = _within(found.profiles, start, stop)
  changes = borders.changes(moments, rules.borders)
  edges = [start, *(k for k in changes if start < k < stop), stop]
  for first, last in zip(edges, edges[1:], strict=False):
    if last - first < rules.clips.shortest:
      if last > first:
        too_short = Decision(RULE, "length", last - first, rules.clips.shortest)
        yield Piece(first, last, too_short)
      continue
    lasts = found.seconds[last - 1] - found.seconds[first]
    # As many parts as leave each of them long enough.
    parts = min(np.ceil(lasts / rules.clips.longest), (last - first) // 2)
    cuts = np.linspace(first, last, max(1, int(parts)) + 1).round().astype(int).tolist()
    yield from (Piece(a, b) for a, b in zip(cuts, cuts[1:], strict=False))


def _within(profiles: Profiles, start: int, stop: int) -> Profiles:
  """Returns the moments from `start` to before `stop`, or the nearest one."""
  inside = (profiles.frames >= start) & (profiles.frames < stop)
  if not inside.any():
    middle = (start + stop) / 2
    inside[np.abs(profiles.frames - middle).argmin()] = True
  return Profiles(*(np.asarray(column)[inside] for column in profiles))


def _clip(span: Span, found: Frames, piece: Piece) -> Clip:
  """Returns a clip without measures."""
  source, times = span.source, found.seconds[piece.start : piece.stop]
  count, start = len(times), float(times[0])
  fps = frames.rate(times) or source.fps
  after = found.seconds[piece.stop : piece.stop + 1].tolist()
  end = min(float(times[-1]) + 1 / fps, *after, np.inf)
  if source.frames == 1:
    end = start
  return Clip(
    clip_id(source.id, start),
    source.id,
    span.number,
    source.path,
    round(start, 6),
    round(end, 6),
    source.width,
    source.height,
    count,
    round(fps, 6),
    decision=piece.decision,
  )


def _measured(span: Span, found: Frames, piece: Piece, rules: Measures) -> Measured:
  """Returns a clip with its crop, scores, codes and stills."""
  stored = borders.crop(_within(found.profiles, piece.start, piece.stop), rules.borders)
  whole = (0, 0, found.profiles.columns.shape[2], found.profiles.rows.shape[2])
  shown = _scaled(found.small[piece.start : piece.stop], stored, whole[2:])
  times = found.seconds[piece.start : piece.stop]
  places = [int(part * len(shown)) for part in duplicates.PARTS]
  images = list(_chosen(found, piece, stored, whole[2:], rules.clips))
  scores = _scores(shown, times, found.corrupt, rules.motion)
  apart = {"odd_borders": odd_borders(np.stack(images)), "bits": _bits(span.source)}
  scores |= {name: round(value, table.DIGITS) for name, value in apart.items()}
  stills = dict(map(_still, images))
  clip = dataclasses.replace(
    _clip(span, found, piece),
    crop=_used(found, stored),
    scores=scores,
    hashes=duplicates.to_text(duplicates.hashes(shown[places])),
    windows=windows.to_text(windows.windows(shown[places])),
    details=details.to_text(details.details(shown[places])),
    stills=tuple(stills),
  )
  return Measured(clip, stills)


def _bits(source: Source) -> float:
  """Returns the bits of a file for each of its pixels."""
  return 8 * source.bytes / (source.frames * source.width * source.height)


def _used(found: Frames, stored: Crop) -> Crop | None:
  """Returns a crop in square pixels, of even sizes; None if that is the whole image."""
  crop = found.crop(stored)
  return None if crop == (0, 0, *found.size) else crop


def _scaled(
  images: UInt8[np.ndarray, "n h w 3"], crop: Crop, stored: tuple[int, int]
) -> UInt8[np.ndarray, "n h2 w2 3"]:
  """Cuts a crop of the stored image's pixels out of smaller images."""
  x, y, width, height = crop
  across, down = images.shape[2] / stored[0], images.shape[1] / stored[1]
  # Inwards, but at least two pixels.
  left, top = int(np.ceil(x * across - 1e-6)), int(np.ceil(y * down - 1e-6))
  right = max(left + 2, int((x + width) * across + 1e-6))
  bottom = max(top + 2, int((y + height) * down + 1e-6))
  return images[:, top:bottom, left:right]


def _scores(
  shown: UInt8[np.ndarray, "F h w 3"],
  seconds: Float[np.ndarray, "F"],
  corrupt: float,
  rule: MotionRule,
) -> dict[str, float]:
  """Returns the measures by name; an image has no motion."""
  light, contrast = scenes.light(shown)
  found = {"luma": light.mean(), "contrast": contrast.mean(), "corrupt": corrupt}
  if len(shown) > 1:
    moved = motion(shown, seconds, rule)
    found |= {"motion": moved.mean, "motion_p90": moved.p90, "camera": moved.camera}
    found |= {"local": moved.local, "repeated": moved.repeated, "rate": moved.rate}
    found["flashes"] = float(scenes.flashes(light, seconds).max())
  return {name: round(float(value), table.DIGITS) for name, value in found.items()}


def _chosen(
  found: Frames, piece: Piece, crop: Crop, stored: tuple[int, int], rule: ClipRule
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
  """Yields the stills of a clip, evenly over its length."""
  inside = (found.still_frames >= piece.start) & (found.still_frames < piece.stop)
  images = found.stills[inside]
  if not len(images):  # A clip of less than a second.
    middle = (piece.start + piece.stop) // 2
    images = found.small[middle : middle + 1]
  count = min(rule.stills, len(images))
  places = ((np.arange(count) + 0.5) * len(images) / count).astype(int)
  yield from _scaled(images[places], crop, stored)


def _still(image: UInt8[np.ndarray, "h w 3"]) -> tuple[str, bytes]:
  """Returns the name of a still, which is its content's, and its JPEG."""
  buffer = io.BytesIO()
  Image.fromarray(np.ascontiguousarray(image)).save(buffer, "JPEG", quality=_QUALITY)
  content = buffer.getvalue()
  return f"{hashlib.sha256(content).hexdigest()[:32]}.jpg", content
