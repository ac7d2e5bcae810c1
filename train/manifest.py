"""Checks clips and captions, and writes the manifest that training reads.

    python -m train.manifest clips/

PATH is a folder of videos and images, each with its caption in a text file of the same
name (dog.mp4 and dog.txt). It may also be a folder with a metadata.jsonl or
metadata.csv, or with videos.txt and prompts.txt, one line per clip; or such a file with
suffix .jsonl, .json, .csv or .tsv. The field path, media_path, file_name or video names
the file of a clip, and caption, text or prompt has its caption. Rows may also have id,
start and end (seconds in the file), crop (x, y, width, height in pixels), fps and
scores.

The program opens every file and notes its size, frames and frame rate. It writes:

    manifest.jsonl          one line per clip; edit it as you like, and train from it
    manifest.png            histograms of durations, sizes, frame rates and captions
    manifest.faults.jsonl   everything that is left out, each with the reason; only
                            if there is something

Captions belong to clips by id, so you may sort, edit and remove lines. The last lines
that it prints are the commands to continue with.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.progress import (
  BarColumn,
  MofNCompleteColumn,
  Progress,
  TextColumn,
  TimeRemainingColumn,
)
from rich.table import Table

from ltx_jax.cli import console as shared
from ltx_jax.cli.command_line import cli
from ltx_jax.data import survey as surveys
from ltx_jax.data.clips import Clips, Fault
from ltx_jax.data.layouts import CAPTIONS
from ltx_jax.data.manifest import CANONICAL, scan_manifest, write_manifest
from ltx_jax.data.survey import Survey
from ltx_jax.files import json_bytes, replacing
from train.harness import following

_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class Options:
  """What is looked through, and where the manifest goes."""

  path: Annotated[
    Path,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="PATH", help_behavior_hint=""),
  ]
  """Folder of clips, or a manifest in one of the layouts above."""

  captions: Annotated[
    Path | None, tyro.conf.arg(help_behavior_hint="(default: none)")
  ] = None
  """Text file of captions, one line per clip, if PATH is a text file of paths, one line
  per clip."""

  output: Annotated[
    Path | None, tyro.conf.arg(help_behavior_hint="(default: manifest.jsonl in PATH)")
  ] = None
  """Manifest to write (*.jsonl). The file must not exist yet."""


def main(argv: Sequence[str] | None = None) -> None:
  """Reads the command line, looks through the clips, and writes the manifest."""
  options = cli(Options, argv, program="python -m train.manifest", about=__doc__)
  output = _checked_output(options)
  console = Console(soft_wrap=True)
  from ltx_jax.data.probing import measure_all  # Its PyAV is slow to import.

  listed, faults = scan_manifest(options.path, options.captions)
  with _bar(console, len(listed)) as on_done:
    clips, unreadable = measure_all(listed, on_done)
  faults += unreadable
  if len(clips):
    write_manifest(output, clips)
    found = surveys.survey(clips)
    _draw(found, output.with_suffix(".png"))
    _show(console, clips, found)
  _write_faults(output.with_suffix(".faults.jsonl"), faults)
  _show_faults(console, faults)
  if not len(clips):
    raise ValueError(f"None of the clips of {options.path} can be used.")
  left_out = f", {shared.counted(len(faults), 'fault')} left out" if faults else ""
  console.print(f"wrote {output}: {shared.counted(len(clips), 'clip')}{left_out}")
  for line in following.after_manifest(output, clips.sizes()):
    console.print(line, markup=False, highlight=False)


def _checked_output(options: Options) -> Path:
  folder = options.path if options.path.is_dir() else options.path.parent
  output = options.output or folder / CANONICAL
  if output.suffix != ".jsonl":
    raise ValueError(
      f"--output is {output}; a manifest is a .jsonl file, so give such a name."
    )
  if output.exists():
    raise ValueError(
      f"{output} exists already, and may hold captions that were edited; remove it, or "
      "give another --output."
    )
  return output


@contextlib.contextmanager
def _bar(console: Console, total: int) -> Iterator[Callable[[int, Fault | None], None]]:
  """Yields a progress bar over the files to open, with the remaining time."""
  columns = (
    TextColumn("measure"),
    BarColumn(),
    MofNCompleteColumn(),
    TextColumn("clips,"),
    TimeRemainingColumn(),
    TextColumn("left"),
  )
  hidden = not console.is_terminal
  with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
    task = progress.add_task("measure", total=total)
    yield lambda done, _: progress.update(task, completed=done)


def _show(console: Console, clips: Clips, found: Survey) -> None:
  """Prints statistics of the clips, and duplicates."""
  moving = found.seconds > 0
  table = Table(show_header=True, header_style="bold", title_justify="left")
  for name in ("of each clip", "least", "median", "most", "sum"):
    table.add_column(name, justify="left" if name == "of each clip" else "right")
  for name, values in {
    "seconds": found.seconds[moving],
    "frames": found.sizes[moving, 0],
    "frames a second": found.fps[moving],
    "width": found.sizes[:, 2],
    "height": found.sizes[:, 1],
    "words of the caption": found.words[found.words > 0],
  }.items():
    if len(values):
      least, middle, most = (f"{f(values):.4g}" for f in (np.min, np.median, np.max))
      whole = f"{values.sum():,.0f}" if name in ("seconds", "frames") else ""
      table.add_row(name, least, middle, most, whole)
  pictures = int((~moving).sum())
  counts = [shared.counted(int(moving.sum()), "video")] if moving.any() else []
  counts += [shared.counted(pictures, "picture")] if pictures else []
  console.print(" and ".join(counts))
  console.print(table)
  sizes = surveys.common_sizes(found.sizes, _SHOWN)
  console.print("sizes: " + ", ".join(f"{size} ({n})" for size, n in sizes))
  _show_bare(console, clips, np.flatnonzero(found.words == 0).tolist())
  for caption, count in surveys.repeated_captions(clips, _SHOWN):
    console.print(f"{count} clips have the caption {_short(caption)!r}", markup=False)
  copies = surveys.copies(clips)
  for one, other in copies[:_SHOWN]:
    console.print(f"{one} is the same clip as {other}", markup=False)
  if len(copies) > _SHOWN:
    console.print(f"and {len(copies) - _SHOWN} more copies")


def _show_bare(console: Console, clips: Clips, rows: Sequence[int]) -> None:
  """Prints which clips have no caption, and fields that may have been meant as one."""
  if not rows:
    return
  them = "it" if len(rows) == 1 else "them"
  console.print(
    f"{shared.counted(len(rows), 'clip')} without a caption: a VAE can be trained on "
    f"{them}, a transformer cannot. Write a caption into NAME.txt next to NAME.mp4, "
    "remove the manifest, and run this again; or write it into the manifest."
  )
  shown = [clips[row] for row in rows[:_SHOWN]]
  for clip in shown:
    console.print(f"no caption: {clip.id}", markup=False, highlight=False)
  if len(rows) > _SHOWN:
    console.print(f"and {len(rows) - _SHOWN} more")
  others = sorted({name for clip in shown for name in clip.extra})
  if others:
    console.print(
      f"captions are in a field {', '.join(CAPTIONS[:-1])} or {CAPTIONS[-1]}; these "
      f"rows have {', '.join(others)}",
      markup=False,
    )


def _short(text: str) -> str:
  return text if len(text) <= 60 else text[:57] + "..."


def _show_faults(console: Console, faults: Sequence[Fault]) -> None:
  for fault in faults[:_SHOWN]:
    console.print(f"left out: {fault}", markup=False, highlight=False)
  if len(faults) > _SHOWN:
    console.print(f"and {len(faults) - _SHOWN} more")


def _write_faults(path: Path, faults: Sequence[Fault]) -> None:
  """Writes the list of faults; without faults, removes that of an earlier run."""
  if not faults:
    path.unlink(missing_ok=True)
    return
  with replacing(path) as temporary, temporary.open("wb") as file:
    for fault in faults:
      row = {"where": fault.where, "reason": fault.reason}
      file.write(json_bytes(row) + b"\n")


def _draw(found: Survey, path: Path) -> None:
  """Writes the histograms as an image."""
  import matplotlib

  matplotlib.use("Agg")
  from matplotlib import pyplot

  moving = found.seconds > 0
  panels = {
    "seconds": found.seconds[moving],
    "frames": found.sizes[moving, 0],
    "frames a second": found.fps[moving],
    "width": found.sizes[:, 2],
    "height": found.sizes[:, 1],
    "width / height": found.sizes[:, 2] / found.sizes[:, 1],
    "thousands of pixels": found.sizes[:, 1] * found.sizes[:, 2] / 1000,
    "words of the caption": found.words,
  }
  figure, axes = pyplot.subplots(2, 4, figsize=(13, 5.2))
  for axis, (name, values) in zip(axes.flat, panels.items(), strict=True):
    if len(values):
      axis.hist(values, bins=min(40, max(8, len(np.unique(values)))))
    axis.set_xlabel(name)
  for row in axes:
    row[0].set_ylabel("clips")
  figure.tight_layout()
  with replacing(path) as temporary:
    figure.savefig(temporary, dpi=110)
  pyplot.close(figure)


if __name__ == "__main__":
  shared.run(main)
