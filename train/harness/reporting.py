"""The report of a training run: curves, sample images, lines on the screen.

`metrics.jsonl` has one JSON object per logged step, `evaluation.jsonl` one per
evaluated step. Boards (`boards.py`) show the same numbers and the sample images. The
screen has a progress bar, or one plain line per logged step if the output is not a
terminal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich import progress
from rich.console import Console

from ltx_jax.cli.command_line import one_line
from ltx_jax.errors import check_number, shown
from ltx_jax.files import NotJSON, atomic_file, parse_json, read_lines
from train.harness.boards import Board, TensorBoard

METRICS_FILE = "metrics.jsonl"
EVALUATION_FILE = "evaluation.jsonl"
CONFIG_FILE = "config.json"
SAMPLES_FOLDER = "samples"
CAPTIONS_FILE = "captions.txt"

_NOT_SHOWN = ("seconds", "data_wait", "clips_per_second", "tokens_per_second")


def write_text(path: Path, text: str) -> None:
  """Writes a file under another name and renames it, so it is never half written."""
  with atomic_file(path) as file:
    file.write(text.encode())


def is_step(row: Any) -> bool:
  """Whether a row of curves is an object with the number of a step."""
  step = row.get("step") if isinstance(row, dict) else None
  return type(step) is int and 0 <= step < 2**63


def read_metrics(
  folder: str | os.PathLike, name: str = METRICS_FILE
) -> list[dict[str, Any]]:
  """Reads a run's curves; what is not a logged step is ignored.

  Nor is what follows a line that is not JSON, such as one that a kill cut off.
  """
  path = Path(folder) / name
  records = []
  for line in read_lines(path) if path.exists() else []:
    try:
      records.append(parse_json(line))
    except NotJSON:
      break
  return records


def _drop_later(folder: Path, name: str, start: int) -> list[dict[str, Any]]:
  """Rewrites a run's curves without the steps after `start`, and returns them.

  Raises:
    ValueError: If a line is not from a run.
  """
  rows = read_metrics(folder, name)
  for line, row in enumerate(rows, 1):
    if not is_step(row):
      raise ValueError(
        f"{folder / name} has {shown(row)} in line {line}; each line is an object with "
        "the number of its step. Remove that line."
      )
  kept = [row for row in rows if row["step"] <= start]
  if kept or (folder / name).exists() or name == METRICS_FILE:
    write_text(folder / name, "".join(json.dumps(record) + "\n" for record in kept))
  return kept


def _seconds(folder: Path, rows: Sequence[Mapping[str, Any]]) -> float:
  """How long a run has taken by its curves."""
  seconds = rows[-1].get("seconds") if rows else 0.0
  check_number(f"seconds in the last line of {folder / METRICS_FILE}", seconds)
  return float(seconds)


class Report:
  """Writes and shows one run; use it in a `with` statement."""

  def __init__(
    self,
    folder: str | os.PathLike,
    *,
    start: int,
    steps: int,
    boards: Sequence[Board] = (),
  ):
    """Opens the files, and drops what an earlier run logged after step `start`.

    Args:
      folder: Folder of the run.
      start: Step after which the run begins.
      steps: Number of steps of the whole run.
      boards: Boards besides TensorBoard; closed with the report.
    """
    self.folder = Path(folder)
    kept = [
      _drop_later(self.folder, name, start) for name in (METRICS_FILE, EVALUATION_FILE)
    ]
    self.seconds = _seconds(self.folder, kept[0])
    self._steps = steps
    self._jsonl = (self.folder / METRICS_FILE).open("a")
    self._boards = [TensorBoard(self.folder, start), *boards]
    console = Console()
    self._bar = _progress_bar(console) if console.is_terminal else None
    self._task = self._bar and self._bar.add_task("", total=steps, completed=start)

  def __enter__(self) -> Report:
    if self._bar:
      self._bar.start()
    return self

  def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
    if self._bar:
      self._bar.stop()
    self._jsonl.close()
    for board in self._boards:
      board.close(failed=kind is not None)

  def say(self, text: str) -> None:
    """Prints one line, above the progress bar if there is one."""
    if self._bar:
      self._bar.console.print(text, highlight=False, markup=False)
    else:
      print(text, flush=True)

  def advance(self, step: int) -> None:
    """Moves the progress bar."""
    if self._bar:
      self._bar.update(self._task, completed=step)

  def log(self, step: int, metrics: Mapping[str, float]) -> None:
    """Writes the numbers of a step: `seconds`, `steps_per_second` and any others."""
    self._jsonl.write(json.dumps({"step": step, **metrics}) + "\n")
    self._jsonl.flush()
    for board in self._boards:
      board.numbers(step, metrics)
    shown = {k: v for k, v in metrics.items() if k not in _NOT_SHOWN}
    text = "  ".join(f"{name} {value:.4g}" for name, value in shown.items())
    if self._bar:
      self._bar.update(self._task, completed=step, description=text)
      return
    left = (self._steps - step) / max(metrics["steps_per_second"], 1e-9)
    minutes, seconds = divmod(round(left), 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02d}:{seconds:02d}"
    self.say(f"step {step}/{self._steps}  {text}  ETA {clock}")

  def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
    """Writes the numbers of held-out clips, including their `loss`."""
    with (self.folder / EVALUATION_FILE).open("a") as file:
      file.write(json.dumps({"step": step, **metrics}) + "\n")
    for board in self._boards:
      board.numbers(step, {f"held_out/{name}": x for name, x in metrics.items()})
    self.say(f"step {step}  loss of held-out clips {metrics['loss']:.4g}")

  def pictures(
    self, step: int, images: Mapping[str, np.ndarray], captions: Sequence[str] = ()
  ) -> None:
    """Writes uint8 images [H W 3] as `samples/<name>_<step>.png` and to the boards.

    Args:
      step: Step of the images.
      images: The images by name.
      captions: Captions of their rows, written to `samples/captions.txt`, one per line.
    """
    folder = self.folder / SAMPLES_FOLDER
    folder.mkdir(exist_ok=True)
    captions = [one_line(caption) for caption in captions]
    if captions:
      lines = "".join(f"{caption}\n" for caption in captions)
      write_text(folder / CAPTIONS_FILE, lines)
    for name, image in images.items():
      with atomic_file(folder / f"{name}_{step:06d}.png") as file:
        Image.fromarray(image).save(file, format="png")
      for board in self._boards:
        board.picture(step, name, image, captions)


class Quiet:
  """A report that writes nothing, for every process except the first."""

  seconds = 0.0

  def __enter__(self) -> Quiet:
    return self

  def __exit__(self, *_: object) -> None:
    """Has nothing to close."""

  def say(self, text: str) -> None:
    """Says nothing."""

  def advance(self, step: int) -> None:
    """Shows nothing."""

  def log(self, step: int, metrics: Mapping[str, float]) -> None:
    """Writes nothing."""

  def evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
    """Writes nothing."""

  def pictures(
    self, step: int, images: Mapping[str, np.ndarray], captions: Sequence[str] = ()
  ) -> None:
    """Writes nothing."""


def _progress_bar(console: Console) -> progress.Progress:
  return progress.Progress(
    progress.MofNCompleteColumn(),
    progress.BarColumn(bar_width=20),
    progress.TimeElapsedColumn(),
    progress.TimeRemainingColumn(),
    progress.TextColumn("{task.description}"),
    console=console,
  )
