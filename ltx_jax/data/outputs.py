"""Checks of output names, made before a run starts.

This is apart from `video`, whose imports take a while.
"""

from __future__ import annotations

import os
from pathlib import Path

SUFFIXES = (".mp4", ".mov", ".webm", ".gif", ".webp", ".png", ".jpg", "")
"""Suffixes that `video.write` can write; none means a folder of numbered PNGs."""


def check_output(path: str | os.PathLike, frames: int = 1) -> None:
  """Refuses a path that `write` could not write to, before any work is done.

  Args:
    path: File or folder to write to.
    frames: Number of frames.

  Raises:
    ValueError: If the suffix is unknown, the path is an existing folder, a `.jpg` would
      get several frames, or the place cannot be written to.
  """
  path = Path(path)
  suffix = path.suffix.lower()
  if suffix not in SUFFIXES:
    raise ValueError(
      f"{path} has the suffix {suffix!r}; what can be written is "
      f"{' '.join(filter(None, SUFFIXES))}, and without a suffix a folder of PNGs."
    )
  if suffix == ".jpg" and frames > 1:
    raise ValueError(
      f"{path} is not written: .jpg holds one frame, but there are {frames}; give "
      "another suffix, or ask for one frame."
    )
  named = path.name not in ("", "..")
  if path.is_dir() and (suffix or not named or any(path.iterdir())):
    raise ValueError(
      f"{path} is a folder that exists already; give a file, such as "
      f"{path / 'video.mp4'}, or a new folder for numbered PNGs."
    )
  check_place(path)


def check_place(path: str | os.PathLike) -> None:
  """Refuses a file in a folder that cannot be written to, or cannot be made.

  Raises:
    ValueError: naming the file and the folder.
  """
  path = Path(path)
  there = next(parent for parent in path.absolute().parents if parent.exists())
  if not there.is_dir() or not os.access(there, os.W_OK):
    raise ValueError(f"{path} cannot be written: {there} is not a writable folder.")
