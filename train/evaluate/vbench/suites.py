"""Which clips a suite of the VBench family asks for, by the suite's own prompt files.

| suite | prompts                      | clips a prompt           | name             |
|-------|------------------------------|--------------------------|------------------|
| short | `all_dimension.txt`          | 5; 25 of static prompts  | PROMPT-I.mp4     |
| long  | the same                     | the same                 | PROMPT-I.mp4     |
| i2v   | `vbench2_i2v_full_info.json` | 5                        | PROMPT-I.mp4     |
| 2.0   | a folder of DIMENSION.txt    | 3; 20 for Diversity      | the same, in     |
|       |                              |                          | folder DIMENSION |

Names hold the short prompt, whatever text the model read. Those of 2.0 hold its first
180 characters. A prompt that is listed twice is one prompt.

Source: Huang et al., "VBench" (arXiv:2311.17982), and the code of its suites.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ltx_jax.errors import shown
from ltx_jax.files import NotJSON, parse_json, read_lines, read_text

Suite = Literal["short", "long", "i2v", "2.0"]

CLIPS, STATIC_CLIPS = 5, 25
SECONDS = 5.0
"""Clips of that length or more belong to the suite for long ones."""

RATIOS = {"1-1": 1 / 1, "8-5": 8 / 5, "7-4": 7 / 4, "16-9": 16 / 9}
_CLIPS_2, _DIVERSITY, _DIVERSE = 3, "Diversity", 20
_LETTERS = 180
_CAMERA = ", camera "
_LONGEST_NAME = 255  # Bytes, of all usual file systems.


@dataclasses.dataclass(frozen=True)
class Wanted:
  """A clip that a suite asks for.

  Attributes:
    id: Name of the clip in lists of prompts.
    name: File in the folder of the suite.
    prompt: Prompt as the suite knows it.
    text: Text that the model reads.
    index: Number among the clips of the prompt.
    image: Name of the start image; None without one.
  """

  id: str
  name: str
  prompt: str
  text: str
  index: int
  image: str | None = None


@dataclasses.dataclass(frozen=True)
class _Subject:
  """A prompt, and how many clips it needs."""

  prompt: str
  text: str
  count: int
  image: str | None = None
  folder: str = ""


def wanted(
  suite: Suite, prompts: Path, longer: Path | None = None, static: Path | None = None
) -> list[Wanted]:
  """Returns the clips that a suite asks for, in the order of its prompts.

  Args:
    suite: The suite.
    prompts: Its own prompts, as the table of this module says.
    longer: The same prompts, lengthened for the model; None for the short ones.
    static: File of the prompts of which 25 clips are made, for `temporal_flickering`.

  Raises:
    ValueError: If a file is none of these, or a prompt cannot be in a file's name.
  """
  if suite == "i2v":
    _refuse(longer, "--longer", suite)
    subjects = _with_images(prompts)
  elif suite == "2.0":
    subjects = _by_dimension(prompts, longer)
  else:
    subjects = _plain(prompts, longer, CLIPS)
  if static is not None:
    if suite not in ("short", "long"):
      _refuse(static, "--static", suite)
    subjects = _more(subjects, static)
  found: dict[str, Wanted] = {}
  for number, subject in enumerate(subjects):
    stem = subject.prompt[:_LETTERS] if suite == "2.0" else subject.prompt
    for index in range(subject.count):
      name = _name(subject, stem, index)
      one = Wanted(
        f"{number:04d}-{index:02d}",
        name,
        subject.prompt,
        subject.text,
        index,
        subject.image,
      )
      found.setdefault(name, one)
  return list(found.values())


def twins(names: Sequence[str]) -> list[tuple[str, str]]:
  """Returns pairs of names that differ only in case: one file, on some computers."""
  seen: dict[str, str] = {}
  return [
    (seen[name.casefold()], name)
    for name in names
    if seen.setdefault(name.casefold(), name) != name
  ]


def _refuse(path: Path | None, flag: str, suite: str) -> None:
  if path is not None:
    raise ValueError(f"{flag} is not for the suite {suite}; leave it out.")


def _name(subject: _Subject, stem: str, index: int) -> str:
  """Returns the path of a clip in the suite's folder.

  Raises:
    ValueError: If no file can have that name.
  """
  name = f"{stem}-{index}.mp4"
  if "/" in stem or "\0" in stem or len(name.encode()) > _LONGEST_NAME:
    raise ValueError(
      f"The prompt {shown(stem)} cannot be part of a file's name: it has a slash, or "
      f"more than {_LONGEST_NAME} bytes; give the suite's own prompts, and lengthened "
      "ones with --longer."
    )
  return f"{subject.folder}/{name}" if subject.folder else name


def _prompts(path: Path) -> list[str]:
  found = [line.strip() for line in read_lines(path) if line.strip()]
  if not found:
    raise ValueError(f"{path} has no prompts; give the suite's own file.")
  return found


def _plain(path: Path, longer: Path | None, count: int) -> list[_Subject]:
  """Returns the prompts of a file, each once; of equal ones the first text counts."""
  prompts = _prompts(path)
  texts = prompts if longer is None else _prompts(longer)
  if len(texts) != len(prompts):
    raise ValueError(
      f"{path} has {len(prompts)} prompts and {longer} {len(texts)}; line by line they "
      "are the same ones."
    )
  found: dict[str, str] = {}
  for prompt, text in zip(prompts, texts, strict=True):
    found.setdefault(prompt, text)
  return [_Subject(prompt, text, count) for prompt, text in found.items()]


def _more(subjects: list[_Subject], static: Path) -> list[_Subject]:
  chosen = set(_prompts(static))
  unknown = sorted(chosen - {subject.prompt for subject in subjects})
  if unknown:
    raise ValueError(
      f"{static} has {len(unknown)} prompts that the suite does not have, such as "
      f"{shown(unknown[0])}; give its file of the dimension temporal_flickering."
    )
  return [
    dataclasses.replace(s, count=STATIC_CLIPS) if s.prompt in chosen else s
    for s in subjects
  ]


def _with_images(path: Path) -> list[_Subject]:
  """Returns prompts with the names of their start images.

  Prompts about the camera have none of their own: theirs is that of the rest of their
  words.
  """
  try:
    rows = parse_json(read_text(path))
  except NotJSON:
    rows = None
  found: dict[str, _Subject] = {}
  for row in rows if isinstance(rows, list) else [None]:
    prompt = _text(row, "prompt_en")
    if prompt is None:
      raise ValueError(
        f"{path} holds {shown(row)}; give the suite's list of objects with prompt_en "
        "(vbench2_i2v_full_info.json)."
      )
    image = _text(row, "image_name") or f"{prompt.partition(_CAMERA)[0]}.jpg"
    found.setdefault(prompt, _Subject(prompt, prompt, CLIPS, image))
  return list(found.values())


def _text(row: Any, name: str) -> str | None:
  value = row.get(name) if isinstance(row, dict) else None
  return value.strip() if isinstance(value, str) and value.strip() else None


def _by_dimension(folder: Path, longer: Path | None) -> list[_Subject]:
  files = sorted(folder.glob("*.txt")) if folder.is_dir() else []
  if not files:
    raise ValueError(
      f"{folder} is no folder with a file DIMENSION.txt for each dimension; give that "
      "of the suite."
    )
  found = []
  for path in files:
    count = _DIVERSE if path.stem == _DIVERSITY else _CLIPS_2
    texts = None if longer is None else longer / path.name
    each = _plain(path, texts, count)
    found += [dataclasses.replace(s, folder=path.stem) for s in each]
  return found
