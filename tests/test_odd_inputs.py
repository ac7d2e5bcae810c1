"""The harness of odd inputs: a few of each kind, and a judge that can fail."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.odd_inputs import running
from tests.program import ROOT

BAD = {
  "refuses": [],
  "traceback": ["has 'Traceback", "exit code is 1"],  # A line's number may have a 7.
  "hangs": ["did not end"],
  "works for ever": ["did not end"],
  "leaves": ["video.mp4.partial is left behind"],
  "changes": ["mine.txt was changed"],
  "forgets": ["is left in TMPDIR"],
  "eats": ["MB, more than"],
  "is fine": ["exit code is 0", "has 0 lines"],
  "rambles": ["letters, more than", "sentences, more than"],
  "stammers": ["has 2 lines"],
  "is vague": ["does not name '7'"],
  "is helpless": ["does not say what to do"],
  "names a class": ["has 'ValueError'"],
}
"""What a program of `tests.odd_inputs.bad` does, and what the judge finds."""

JUDGED = """
import dataclasses, json, sys
from pathlib import Path
from tests.odd_inputs import case, child, judge
found = {}
for what in sys.argv[1:]:
  bad = case.refused(
    "is bad", ("tests.odd_inputs.bad", what), "7", files={"mine.txt": "mine"},
    seconds=0.1, megabytes=200,
  )
  with child.done(bad, Path("/nowhere")) as outcome:
    found[what] = judge.faults(bad, outcome, Path("/nowhere"))
print(json.dumps(found))
"""


def test_the_judge_finds_what_a_bad_program_does():
  command = [sys.executable, "-c", JUDGED, *BAD]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
  found = json.loads(done.stdout)
  for what, expected in BAD.items():
    for fault in expected:
      assert any(fault in each for each in found[what]), (what, found[what])
    assert bool(found[what]) == bool(expected), (what, found[what])


def test_a_few_of_each_kind_end_as_they_should():
  command = [sys.executable, "-m", "tests.odd_inputs", "--few"]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_every_case_says_who_would_do_that():
  cases = running.all_cases()
  assert len(cases) >= 500
  for name, case in cases.items():
    assert 8 < len(case.who) < 90 and case.command, name
    assert case.code != 2 or case.names or case.silent, name


@pytest.mark.parametrize("name", ["numbers", "numbers/3"])
def test_cases_are_chosen_by_kind_and_by_number(name):
  found = running.chosen([name])
  assert found and all(each.startswith(name) for each in found)
