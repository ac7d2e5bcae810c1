"""The manifest that trainers read, and the report, of a selection."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ltx_jax.curation.captions import Captioned
from ltx_jax.curation.clip import row_of
from ltx_jax.curation.filters import Filter, Selection, select
from ltx_jax.data import partial
from ltx_jax.data.manifest import write_manifest
from train.curation import selecting
from train.curation.folder import Folder, read_sources
from train.page.curation import page


def write(folder: Folder, into: Path, filters: Sequence[Filter]) -> Selection:
  """Writes manifest, decisions and report of a selection, with captions if it has some.

  Args:
    folder: The curation.
    into: Folder of the selection.
    filters: The rules that selected.

  Raises:
    ValueError: If nothing was selected yet.
  """
  captioned = {}
  if (into / selecting.CAPTIONED).exists():
    told = selecting.read_selected(into, selecting.CAPTIONED)
    captioned = {clip.id: clip for clip in told}
    filters = [*filters, Captioned.of(told)]
  selection = select(selecting.read_clips(folder, captioned), filters)
  selecting.write_decisions(folder, into, selection)
  # What captions note is not for trainers; what lists of files say is.
  given = {source.id: source.extra for source in read_sources(folder)}
  clips = map(selection.clip, selection.kept)
  kept = (dataclasses.replace(clip, extra=given[clip.source]) for clip in clips)
  write_manifest(into / "manifest.jsonl", map(row_of, kept))
  report = page(selection, selecting.refused_of(folder), _stills(folder))
  partial.write_bytes(into / "report.html", report)
  return selection


def _stills(folder: Folder):
  """Returns the function that reads a still by its name."""

  def read(name: str) -> bytes | None:
    path = folder.still(name)
    return path.read_bytes() if path.exists() else None

  return read
