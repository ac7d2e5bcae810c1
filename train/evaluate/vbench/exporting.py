"""Puts clips under the names that a suite looks for.

The folder holds nothing but clips, since the suites take whatever else lies there for
one. Seeds and texts stand beside it, in FOLDER.json.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.progress import track

from ltx_jax.data import prompt_list
from ltx_jax.data.prompt_list import Prompt
from ltx_jax.files import atomic_file
from train.evaluate.vbench import suites
from train.evaluate.vbench.suites import Suite, Wanted


def some(names: Sequence[str]) -> str:
  """Returns up to ten names, and how many more there are."""
  more = f" and {len(names) - 10} more" if len(names) > 10 else ""
  return ", ".join(names[:10]) + more


def plan(clips: Sequence[Wanted], images: Path | None) -> list[Prompt]:
  """Returns the list of prompts that makes the clips; the index is the seed.

  Raises:
    ValueError: If a start image is missing, or nobody asks for them.
  """
  asked = sorted({clip.image for clip in clips if clip.image})
  if bool(asked) != (images is not None):
    what = "needs" if asked else "has no start images; leave out"
    raise ValueError(f"This suite {what} --images.")
  missing = [name for name in asked if not (images / name).is_file()]
  if missing:
    raise ValueError(
      f"{len(missing)} start images are not in {images}: {some(missing)}; give the "
      "folder of one ratio that the suite's script cuts."
    )
  return [
    Prompt(c.id, c.text, images / c.image if c.image else None, seed=c.index)
    for c in clips
  ]


def write_plan(path: Path, prompts: Sequence[Prompt]) -> None:
  """Writes the list of prompts."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with atomic_file(path) as file:
    file.write(prompt_list.lines(prompts).encode())


def sources(clips: Sequence[Wanted], folder: Path) -> dict[str, Path]:
  """Returns the file of each clip, by its id.

  Raises:
    ValueError: If clips are missing, or the folder holds something else.
  """
  if not folder.is_dir():
    raise ValueError(f"There is no folder {folder}; give the one with ID.mp4 for each.")
  known = {f"{clip.id}.mp4": clip.id for clip in clips}
  found = {path.name: path for path in sorted(folder.iterdir())}
  missing = [name for name in known if name not in found]
  if missing:
    raise ValueError(
      f"{len(missing)} of {len(known)} clips are not in {folder}: {some(missing)}; "
      "make them, since the suite only prints what it misses."
    )
  stray = [name for name in found if name not in known]
  if stray:
    raise ValueError(
      f"{folder} also holds {some(stray)}; it may hold the clips of the plan only."
    )
  return {known[name]: path for name, path in found.items()}


def export(
  suite: Suite,
  clips: Sequence[Wanted],
  folder: Path,
  output: Path,
  say: Callable[[str], None],
) -> None:
  """Copies clips to the names of a suite; the folder appears when all are there.

  Args:
    suite: The suite.
    clips: What it asks for.
    folder: Folder with ID.mp4 for each clip.
    output: Folder of the suite; it must not exist.
    say: Function that tells the owner what to know.

  Raises:
    ValueError: If clips are missing, or names fall together here.
  """
  if output.exists():
    raise ValueError(f"{output} is there already; give another name.")
  found = sources(clips, folder)
  pairs = suites.twins([clip.name for clip in clips])
  if pairs:
    say(
      f"{len(pairs)} names differ from another one only in case, such as "
      f"{pairs[0][1]}; do not copy them to a computer that takes both for one."
    )
  output.parent.mkdir(parents=True, exist_ok=True)
  hidden = output.with_name(f".{output.name}-{secrets.token_hex(4)}")
  try:
    hidden.mkdir()
    if pairs and folds_case(hidden):
      raise ValueError(
        f"{output.parent} takes names for one that differ only in case, and the suite "
        f"has such, as {pairs[0][1]}; export to another disk."
      )
    for clip in track(clips, "Copying clips"):
      path = hidden / clip.name
      path.parent.mkdir(exist_ok=True)
      shutil.copyfile(found[clip.id], path)
    with atomic_file(record_of(output)) as file:
      file.write(_record(suite, clips, folder).encode())
    hidden.rename(output)
  finally:
    shutil.rmtree(hidden, ignore_errors=True)


def record_of(folder: Path) -> Path:
  """Returns the file beside a folder with the seeds and texts of its clips."""
  return folder.with_name(f"{folder.name}.json")


def folds_case(folder: Path) -> bool:
  """Says whether names that differ only in case are one file there."""
  small, large = folder / "twin", folder / "Twin"
  small.touch()
  one = large.exists()
  small.unlink()
  return one


def _record(suite: Suite, clips: Sequence[Wanted], folder: Path) -> str:
  rows = {
    clip.name: {"id": clip.id, "seed": clip.index, "text": clip.text} for clip in clips
  }
  content = {"suite": suite, "clips from": str(folder), "clips": rows}
  return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
