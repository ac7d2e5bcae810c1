"""What is wrong with how a case ended; nothing, where it is as it should be."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path

from tests.odd_inputs.case import PYTHON, Case
from tests.odd_inputs.child import Outcome

LONGEST = 1200
"""Letters of a message at most: up to ten tensors are named."""
MOST_SENTENCES = 3

TRACEBACK = re.compile(r"Traceback \(most recent call last\)|^  File \"", re.MULTILINE)
CLASS_NAME = re.compile(r"\b\w*(Error|Exception|Warning)\b(?=[:(])|\[Errno|<class '")
NOISE = re.compile(r"^[WEIF]\d{4} |Exception ignored|Aborted|core dumped", re.MULTILINE)
REMEDY = re.compile(
  r"""\b(
    add | allowed | ask | be | check | choose | come\ in | convert | cut |
    did\ you\ mean | download | finish | free | give | goes\ on | install |
    is\ for | leave | lists? | load | lower | make | may\ be | move | must | name |
    needed | needs | pass | pick | presets\ are | put | raise | read\ are | reads? |
    remove | run | save | start | such\ as | takes? | there\ are | train | use |
    want | write | written\ are
  )\b""",
  re.IGNORECASE | re.VERBOSE,
)
"""A word that says what to do, or what is allowed."""

_MEDIA = (".mp4", ".mov", ".webm", ".png", ".gif", ".webp", ".jpg")


def faults(case: Case, outcome: Outcome, shelf: Path) -> list[str]:
  """Returns what is wrong, a line for each fault."""
  found = [*_bounds(case, outcome), *_noise(outcome), *_files(case, outcome)]
  if outcome.code != case.code and outcome.code is not None:
    found.append(f"the exit code is {outcome.code}, not {case.code}")
  expected = [word.replace("{shelf}", str(shelf)) for word in case.names]
  if case.code == 0:
    found += [f"stdout lacks {w!r}" for w in expected if w not in outcome.stdout]
    found += [] if case.command[0] == PYTHON else _warnings(outcome)
  elif not case.silent:
    found += _message(outcome.stderr, expected, remedy=case.signal is None)
  return found


def _bounds(case: Case, outcome: Outcome) -> Iterator[str]:
  if outcome.code is None:
    yield f"it did not end, and was killed after {outcome.seconds:.0f} s of work"
  elif outcome.seconds > case.seconds:
    yield f"it takes {outcome.seconds:.1f} s, more than {case.seconds:g}"
  if outcome.megabytes > case.megabytes:
    yield f"it takes {outcome.megabytes:.0f} MB, more than {case.megabytes}"


def _noise(outcome: Outcome) -> Iterator[str]:
  for name, text in (("stdout", outcome.stdout), ("stderr", outcome.stderr)):
    for what in (TRACEBACK, CLASS_NAME, NOISE):
      if match := what.search(text):
        yield f"{name} has {match[0]!r}"


def _warnings(outcome: Outcome) -> Iterator[str]:
  if outcome.stderr.strip():
    yield "stderr is not empty, and all is well"


def _message(text: str, expected: list[str], remedy: bool) -> Iterator[str]:
  lines = [line for line in text.splitlines() if line.strip()]
  if len(lines) != 1:
    yield f"stderr has {len(lines)} lines, not one"
  said = " ".join(text.split())
  for word in expected:
    if " ".join(word.lower().split()) not in said.lower():
      yield f"the message does not name {word!r}"
  if len(said) > LONGEST:
    yield f"the message has {len(said)} letters, more than {LONGEST}"
  sentences = len(re.findall(r"[.!?](?=\s+[A-Z]|$)", said))
  if sentences > MOST_SENTENCES:
    yield f"the message has {sentences} sentences, more than {MOST_SENTENCES}"
  if said and said[-1] not in ".!?)":
    yield "the message does not end as a sentence does"
  if remedy and not REMEDY.search(said):
    yield "the message does not say what to do"


def _files(case: Case, outcome: Outcome) -> Iterator[str]:
  """What was changed, removed or left behind, and what is missing or unreadable."""
  for name, known in outcome.before.items():
    if name not in outcome.after and not _matches(name, case.leaves):
      yield f"{name} is gone"
    elif outcome.after.get(name, known) != known and not _matches(name, case.leaves):
      yield f"{name} was changed"
  new = sorted(outcome.after.keys() - outcome.before.keys())
  allowed = (*case.makes, *case.leaves)
  yield from (f"{name} is left behind" for name in new if not _matches(name, allowed))
  yield from (f"{name} is left in TMPDIR" for name in outcome.temporary)
  for pattern in case.makes:
    made = [name for name in new if fnmatch.fnmatch(name, pattern)]
    if not made:
      yield f"{pattern} was not made"
    for name in made:
      yield from _unreadable(outcome.folder / name)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
  return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def _unreadable(path: Path) -> Iterator[str]:
  """Says why a video or an image that was made is none."""
  from ltx_jax.data import video  # Imports JAX, whose settings come first.

  if path.suffix in _MEDIA and path.is_file():
    try:
      video.read(path)
    except ValueError as error:
      yield f"{path.name} is not whole: {error}"
