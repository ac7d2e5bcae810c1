"""What is wrong with a folder of clips, before a suite takes days to find out.

The suites print missing clips and go on, skip those that they cannot read, and take the
suffix of all clips from the first file in the folder. So all of it is said here.
"""

from __future__ import annotations

import collections
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.progress import track

from ltx_jax.data import probing
from ltx_jax.data.clips import Clip
from ltx_jax.errors import said
from train.evaluate.vbench.exporting import some
from train.evaluate.vbench.suites import RATIOS, SECONDS, Suite, Wanted

_SPLIT = "split_clip"
_EXACT = 1e-3  # Of a ratio of sides.


class Seen(NamedTuple):
  """What a clip is like.

  Attributes:
    size: Width and height.
    fps: Frames per second.
    frames: Number of frames.
    sha256: Hash of the file.
  """

  size: tuple[int, int]
  fps: float
  frames: int
  sha256: str

  @property
  def seconds(self) -> float:
    """Length of the clip."""
    return self.frames / self.fps


def check(suite: Suite, clips: Sequence[Wanted], folder: Path) -> list[str]:
  """Returns a sentence for each kind of fault; none if the folder is as it should be.

  Args:
    suite: The suite.
    clips: What it asks for.
    folder: The folder of clips.

  Raises:
    ValueError: If there is no such folder.
  """
  if not folder.is_dir():
    raise ValueError(f"There is no folder {folder}; give one that `export` wrote.")
  known = {clip.name: clip for clip in clips}
  names = _names(folder)
  there = [name for name in known if name in names]
  seen, broken = _looked_at(folder, there)
  return [
    *_missing([name for name in known if name not in names], names, len(known)),
    *_strays(sorted(names - set(known))),
    *broken,
    *_differences(seen),
    *_lengths(suite, seen),
    *(_ratios(seen) if suite == "i2v" else []),
    *_copies(seen, known),
  ]


def _names(folder: Path) -> set[str]:
  """Returns all files, as paths from the folder; empty folders as well.

  They come from lists of the system: a file that is asked for by another case answers,
  on some computers.
  """
  found = set()
  for place, folders, files in os.walk(folder):
    inner = Path(place).relative_to(folder)
    found |= {(inner / name).as_posix() for name in files}
    if not folders and not files and inner != Path():
      found.add(f"{inner.as_posix()}/")
  return found


def _missing(missing: list[str], names: set[str], count: int) -> list[str]:
  if not missing:
    return []
  folded = {name.casefold() for name in names}
  twins = [name for name in missing if name.casefold() in folded]
  lines = [f"{len(missing)} of {count} clips are missing: {some(missing)}."]
  if twins:
    lines.append(
      f"{len(twins)} of them have another case than a file that is there: "
      f"{some(twins)}; a disk that takes both for one keeps the last."
    )
  return lines


def _strays(strays: list[str]) -> list[str]:
  split = [name for name in strays if name.startswith(f"{_SPLIT}/")]
  videos = [name for name in strays if name not in split and name.endswith(".mp4")]
  other = [name for name in strays if name not in split and name not in videos]
  lines = []
  if split:
    lines.append(f"{_SPLIT} is left over from a run of the suite for long clips.")
  if videos:
    lines.append(f"{len(videos)} clips are of no prompt of the suite: {some(videos)}.")
  if other:
    lines.append(
      f"{len(other)} files are no clips: {some(other)}; the suite takes the suffix of "
      "all from the first file."
    )
  return lines


def _looked_at(folder: Path, names: Iterable[str]) -> tuple[dict[str, Seen], list[str]]:
  """Returns what readable clips are like, and a sentence about the others."""
  seen, broken = {}, {}
  for name in track(list(names), "Reading clips"):
    path = folder / name
    try:
      found = probing.measure(Clip(name, str(path)))
    except (ValueError, OSError) as error:
      broken[name] = said(error)
      continue
    if found.fps is None:
      broken[name] = "it is an image"
      continue
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    seen[name] = Seen((found.width, found.height), found.fps, found.frames, digest)
  if not broken:
    return seen, []
  first = next(iter(broken.values()))
  line = f"{len(broken)} clips cannot be read: {some(list(broken))} ({first})."
  return seen, [line]


def _differences(seen: Mapping[str, Seen]) -> list[str]:
  """Returns a sentence for each of size, rate and length in which clips differ."""
  kinds: dict[str, Callable[[Seen], str]] = {
    "sizes": lambda clip: f"{clip.size[0]}x{clip.size[1]}",
    "rates": lambda clip: f"{clip.fps:.5g} a second",
    "lengths": lambda clip: f"{clip.frames} frames",
  }
  lines = []
  for what, of in kinds.items():
    by = collections.defaultdict(list)
    for name, clip in seen.items():
      by[of(clip)].append(name)
    if len(by) > 1:
      usual = max(by, key=lambda value: len(by[value]))
      odd = [f"{n} ({v})" for v, names in by.items() if v != usual for n in names]
      lines.append(
        f"Clips have different {what}: {len(by[usual])} have {usual}, but not "
        f"{some(odd)}."
      )
  return lines


def _lengths(suite: Suite, seen: Mapping[str, Seen]) -> list[str]:
  """Returns which clips are of the other suite."""
  if suite not in ("short", "long"):
    return []
  wrong = [
    n for n, clip in seen.items() if (clip.seconds >= SECONDS) == (suite != "long")
  ]
  if not wrong:
    return []
  if suite == "short":
    what = f"have {SECONDS:g} seconds or more, and are for the suite long"
  else:
    what = f"are shorter than {SECONDS:g} seconds, and are for the suite short"
  return [f"{len(wrong)} clips {what}: {some(wrong)}."]


def _ratios(seen: Mapping[str, Seen]) -> list[str]:
  wrong = [
    f"{name} ({clip.size[0]}x{clip.size[1]})"
    for name, clip in seen.items()
    if all(abs(clip.size[0] / clip.size[1] / r - 1) > _EXACT for r in RATIOS.values())
  ]
  if not wrong:
    return []
  return [
    f"{len(wrong)} clips have none of the ratios {', '.join(RATIOS)}: {some(wrong)}."
  ]


def _copies(seen: Mapping[str, Seen], known: Mapping[str, Wanted]) -> list[str]:
  """Returns which clips of one prompt are the same file: one seed made them."""
  by = collections.defaultdict(list)
  for name, clip in seen.items():
    by[known[name].prompt, clip.sha256].append(name)
  twice = [name for names in by.values() for name in names[1:]]
  if not twice:
    return []
  return [
    f"{len(twice)} clips are copies of another one of their prompt: {some(twice)}."
  ]
