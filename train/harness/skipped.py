"""The clips that a run skips: reported when they are found, counted and listed.

Clips that cannot be opened, or are too short for every bucket, are known before the
first step. Others show their faults when they are decoded. `skipped.jsonl` in the run's
folder has one line for each since the last start of the run, with the reason.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from ltx_jax.config.runs import Stage
from ltx_jax.data.assignment import too_short
from ltx_jax.data.clips import Fault
from ltx_jax.data.partial import read_json_lines, write_bytes
from ltx_jax.data.videos import Videos
from ltx_jax.files import json_bytes
from train.harness.data import ClipData
from train.harness.steps import News

FILE = "skipped.jsonl"
"""Name of the list of skipped clips, in the run's folder."""

DROPPED = "dropped.jsonl"
"""Name of the list of clips that `train.precompute` drops, in the records' folder."""

_SHOWN = 10
"""Number of clips that are named at a time."""


class Skipped:
  """The clips that a run skips of its videos; other sources have none to skip."""

  def __init__(self, clips: ClipData, stages: Sequence[Stage]):
    """Finds the clips that are too short.

    Args:
      clips: Clips to train on, and held-out clips.
      stages: Stages of the run, with buckets.
    """
    trained = [v for v in clips.trained.sources if isinstance(v, Videos)]
    aside = [clips.held_out] if isinstance(clips.held_out, Videos) else []
    self._videos = [*trained, *aside]
    self._count = sum(videos.count for videos in trained)
    buckets = [bucket for stage in stages for bucket in stage.buckets]
    self._short = [f for v in self._videos for f in too_short(v.clips, buckets)]
    self._told: set[Fault] = set()

  def faults(self) -> list[Fault]:
    """Returns all clips that were skipped so far."""
    # Parts of one manifest have their faults in common.
    unreadable = (fault for videos in self._videos for fault in videos.faults)
    return list(dict.fromkeys([*self._short, *unreadable]))

  def news(self, folder: Path | None = None) -> list[str]:
    """Returns lines about the faults found since the last call, with the total.

    Args:
      folder: Folder of the run, where the list is updated; None writes nothing.
    """
    found = self.faults()
    new = [fault for fault in found if fault not in self._told]
    self._told.update(new)
    if not new:
      return []
    if folder is not None:
      _write(file_in(folder), found)
    lines = [f"skipped {fault}" for fault in new[:_SHOWN]]
    lines += [f"and {len(new) - _SHOWN} more"] if len(new) > _SHOWN else []
    where = "" if folder is None else f" ({file_in(folder)})"
    return [*lines, f"skipped so far: {len(found)} of {self._count} clips{where}"]

  @contextlib.contextmanager
  def listed(self, folder: Path) -> Iterator[News]:
    """Yields the news of a run in a folder; prints the last ones however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(file_in(folder), self.faults())
    try:
      yield functools.partial(self.news, folder)
    finally:
      for line in self.news(folder):
        print(line)


def file_in(folder: Path) -> Path:
  """Returns this process's list of skipped clips; each process reads other rows."""
  number = jax.process_index()
  return folder / (FILE if not number else FILE.replace(".", f"_{number}."))


def dropped(folders: Sequence[str]) -> list[str]:
  """Says which records were made without some of their clips."""
  lists = {folder: Path(folder, DROPPED) for folder in folders}
  counts = {folder: len(read_json_lines(path)) for folder, path in lists.items()}
  return [
    f"{folder} was made without {count} of its clips ({lists[folder]})"
    for folder, count in counts.items()
    if count
  ]


def _write(path: Path, faults: Sequence[Fault]) -> None:
  rows = [{"id": fault.where, "reason": fault.reason} for fault in faults]
  text = b"".join(json_bytes(row) + b"\n" for row in rows)
  if text or path.exists():
    write_bytes(path, text)
