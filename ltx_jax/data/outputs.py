"""Names of outputs, looked at before there is anything to lose.

Apart from `video`, which takes a while to import what it writes with.
"""

from __future__ import annotations

import os
from pathlib import Path

SUFFIXES = (".mp4", ".mov", ".webm", ".gif", ".webp", ".png", ".jpg", "")
"""What `video.write` can write; without a suffix, a folder of numbered PNGs."""


def check_output(path: str | os.PathLike, frames: int = 1) -> None:
  """Refuses what `write` could not write to, while there is nothing to lose yet.

  Args:
    path: File or folder to write to.
    frames: Number of frames.

  Raises:
    ValueError: for an unknown suffix, a folder that is there already, several frames in
      a `.jpg`, or a place that cannot be written to.
  """
  path = Path(path)
  suffix = path.suffix.lower()
  if suffix not in SUFFIXES:
    raise ValueError(
      f"{path} has the suffix {suffix!r}; what can be written are "
      f"{' '.join(filter(None, SUFFIXES))}, and without a suffix a folder of PNGs."
    )
  if suffix == ".jpg" and frames > 1:
    raise ValueError(
      f"{path} is not written: .jpg holds one frame, and there are {frames}; give "
      "another suffix, or ask for one frame."
    )
  if path.is_dir() and (suffix or any(path.iterdir())):
    raise ValueError(
      f"{path} is a folder that is there already; give a file, such as "
      f"{path / 'video.mp4'}, or a new folder for numbered PNGs."
    )
  there = next(parent for parent in path.absolute().parents if parent.exists())
  if not there.is_dir() or not os.access(there, os.W_OK):
    raise ValueError(f"{path} cannot be written: {there} is no folder to write to.")
