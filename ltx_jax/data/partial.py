"""Files that exist either whole or not at all, even after kills and power cuts.

A file is written under a hidden name, synced to disk, and then renamed. So a file that
a killed writer left behind is never taken for a complete one.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ltx_jax.files import NotJSON, named_in_errors, parse_json, read_lines

_SUFFIX = ".partial"


def hidden(path: Path) -> Path:
  """Returns a hidden name next to `path` that no reader looks at."""
  return path.with_name(f".{path.name}-{secrets.token_hex(4)}{_SUFFIX}")


def publish(temporary: Path, path: Path) -> None:
  """Syncs a complete file to disk and renames it to `path`."""
  with temporary.open("rb+") as file:
    os.fsync(file.fileno())
  temporary.replace(path)
  sync_folder(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
  """Writes a file that exists either whole or not at all."""
  temporary = hidden(path)
  try:
    with named_in_errors(path):
      temporary.write_bytes(content)
      publish(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
  """Syncs renames to disk, so that their order holds after a power cut."""
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def remove_partials(
  folder: Path, of: Callable[[str], bool] = lambda name: True
) -> list[str]:
  """Removes files that killed writers left in a folder, and returns their names.

  Args:
    folder: Folder that they wrote to.
    of: Function that says whether nobody is writing the file of a name; by default it
      is True for all.
  """
  found = sorted(folder.glob(f".*{_SUFFIX}"))
  left = [path for path in found if of(path.name[1:].rpartition("-")[0])]
  for path in left:
    path.unlink(missing_ok=True)
  return [path.name for path in left]


def read_json_lines(path: Path) -> list[dict[str, Any]]:
  """Reads the objects of a JSON Lines file to which lines are appended.

  A last line that a kill cut off is ignored; a missing file has no objects.
  """
  rows = []
  try:
    lines = read_lines(path)
  except ValueError:
    if path.is_file():
      raise
    return rows
  for line in lines:
    try:
      rows.append(parse_json(line))
    except NotJSON:
      continue
  return rows
