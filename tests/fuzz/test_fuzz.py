"""The judge of mutated files can fail; a few dozen of them are read as they should."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import time

import pytest

from tests.fuzz import judge

_SENTENCES = (
  "It is no video; give another file.",
  "no sentence",
  "Two\nlines.",
  "It is too long: " + 5000 * "a" + ".",
)


def attempt(case):
  """Ends in the way of its number."""
  if case in (1, 2, 3, 4):
    raise ValueError(_SENTENCES[case - 1])
  if case == 5:
    raise KeyError("transformer")
  if case == 6:
    json.loads("{")
  if case == 7:
    time.sleep(60)
  while case == 14:
    pass
  if case == 8:
    os.kill(os.getpid(), signal.SIGSEGV)
  if case == 9:
    bytearray(30_000_000)
  if case == 10:
    bytes(10**13)
  if case == 11:
    open("/nowhere/at/all")
  if case == 12:
    raise OSError("it is cut off")


def test_the_judge_tells_faults_from_answers():
  limits = judge.Limits(seconds=1, patience=3, memory=10**7)
  found = {o.case: o for o in judge.judged(attempt, range(15), limits)}
  good = {0: judge.READ, 1: judge.REFUSED, 11: judge.REFUSED, 13: judge.READ}
  kinds = {case: found[case].kind for case in range(15)}
  assert kinds == dict.fromkeys(range(15), judge.FAULT) | good
  for case, words in (
    (2, "is no sentence"),
    (3, "is no sentence"),
    (4, "is 5017 characters long"),
    (5, "raises builtins.KeyError: 'transformer'; at tests/fuzz/test_fuzz.py"),
    (6, "raises json.decoder.JSONDecodeError"),
    (7, "has not ended after 3 s on the clock; it said: .*in attempt"),
    (8, "ended with code -11; it said: Fatal Python error: Segmentation fault"),
    (9, "takes 0.03 GB of memory"),
    (10, "raises builtins.MemoryError"),
    (12, "raises builtins.OSError: it is cut off"),
    (14, "has not ended after (1 s of the proc|3 s on the cl).*in attempt"),
  ):
    assert re.search(words, found[case].words, re.DOTALL), found[case].words


@pytest.mark.usefixtures("unchecked")
def test_a_few_dozen_mutated_files_are_read_or_refused(tmp_path):
  from tests.fuzz import cases, seeds

  names = ("single-file", "lora-diffusers", "read.mp4", "photo.png", "moving.gif")
  names += ("record", "records", "manifest.csv", "manifest.jsonl", "run-resumed")
  chosen = [n for n, seed in enumerate(cases.ALL) if seed.name in names]
  assert len(chosen) == len(names)
  seeds.write(tmp_path / "seeds", [cases.ALL[n] for n in chosen])
  attempt = functools.partial(cases.attempt, tmp_path / "seeds")
  numbers = [n + turn * len(cases.ALL) for turn in range(6) for n in chosen]
  found = [judge.answer(attempt, number) for number in numbers]
  assert [words for kind, words in found if kind == judge.FAULT] == []
  assert {kind for kind, _ in found} == {judge.READ, judge.REFUSED}


def test_a_case_is_made_of_its_number_alone(tmp_path):
  from tests.fuzz import cases, seeds

  number = next(n for n, s in enumerate(cases.ALL) if s.name == "manifest.jsonl")
  made = []
  for folder in ("one", "two"):
    seeds.write(tmp_path / folder, [cases.seed_of(number)])
    turns = (number + turn * len(cases.ALL) for turn in range(20))
    made.append([cases.make(tmp_path / folder, turn).content for turn in turns])
  assert made[0] == made[1]
  assert len(set(made[0])) > 10
