"""The manifest that trainers read, and the report, of a selection."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ltx_jax.curation.clip import Clip, row_of
from ltx_jax.data.manifest import write_manifest


def manifest(clips: Sequence[Clip], into: Path) -> Path:
  """Writes the manifest of a selection.

  Args:
    clips: The clips that are kept.
    into: Folder of the selection.

  Returns:
    The file.
  """
  path = into / "manifest.jsonl"
  bare = (dataclasses.replace(clip, extra={}) for clip in clips)
  write_manifest(path, map(row_of, bare))
  return path
