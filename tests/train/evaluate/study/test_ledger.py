"""The chain of votes: what is acknowledged is on disk, and every change is seen."""

import json
import os
import threading

import pytest

from train.evaluate.study import ledger
from train.evaluate.study.ledger import Ledger

STUDY = "5" * 64


def written(path, count, start=0):
  book = Ledger(path, ledger.read(path, STUDY).head)
  futures = [book.append({"vote": k, "study": STUDY}) for k in range(start, count)]
  for future in futures:
    future.result(timeout=10)
  book.close()
  return book.head


def numbers(path):
  return [row["vote"] for row in ledger.read(path, STUDY).rows]


def test_votes_of_two_sessions_make_one_chain(tmp_path):
  path = tmp_path / "votes.jsonl"
  written(path, 3)
  head = written(path, 6, start=3)
  chain = ledger.read(path, STUDY)
  assert numbers(path) == [0, 1, 2, 3, 4, 5]
  assert (chain.head, chain.fault) == (head, "")
  assert ledger.read(tmp_path / "none", STUDY) == ([], STUDY, "")


def swapped(lines):
  lines[1], lines[2] = lines[2], lines[1]


@pytest.mark.parametrize(
  ("change", "line"),
  [
    (
      lambda lines: lines.__setitem__(1, lines[1].replace(b'"vote": 1', b'"vote": 7')),
      3,
    ),
    (swapped, 2),
    (lambda lines: lines.pop(1), 2),
    (lambda lines: lines.insert(2, lines[1]), 3),
    (lambda lines: lines.__setitem__(2, b"{"), 3),
    (lambda lines: lines.__setitem__(2, b"[]"), 3),
  ],
)
def test_a_changed_line_breaks_the_chain(tmp_path, change, line):
  path = tmp_path / "votes.jsonl"
  written(path, 4)
  lines = path.read_bytes().split(b"\n")
  change(lines)
  path.write_bytes(b"\n".join(lines))
  assert ledger.read(path, STUDY).fault.startswith(f"line {line} ")


def test_lines_cut_off_the_end_change_the_head(tmp_path):
  path = tmp_path / "votes.jsonl"
  head = written(path, 4)
  path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
  chain = ledger.read(path, STUDY)
  assert chain.fault == "" and chain.head != head


def test_votes_of_another_study_are_named(tmp_path):
  path = tmp_path / "votes.jsonl"
  written(path, 2)
  assert "line 1 does not follow" in ledger.read(path, "6" * 64).fault


def test_a_torn_line_is_set_aside(tmp_path):
  path, torn = tmp_path / "votes.jsonl", tmp_path / "votes.torn"
  written(path, 2)
  whole = path.read_bytes()
  path.write_bytes(whole + b'{"vote": 2, "stu')
  assert numbers(path) == [0, 1]
  assert ledger.set_torn_aside(path, torn) == 16
  assert (path.read_bytes(), torn.read_bytes()) == (whole, b'{"vote": 2, "stu\n')
  assert ledger.set_torn_aside(path, torn) == 0
  written(path, 4, start=2)
  assert ledger.read(path, STUDY).fault == ""


def test_many_writers_share_a_batch_and_lose_nothing(tmp_path, monkeypatch):
  path, syncs = tmp_path / "votes.jsonl", []
  real = os.fsync
  monkeypatch.setattr(os, "fsync", lambda file: (syncs.append(file), real(file)))
  book = Ledger(path, STUDY)

  def vote(rater):
    for k in range(20):
      book.append({"vote": f"{rater}/{k}", "study": STUDY}).result(timeout=10)

  threads = [threading.Thread(target=vote, args=(k,)) for k in range(20)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  book.close()
  assert len(set(numbers(path))) == 400
  assert ledger.read(path, STUDY).fault == ""
  assert len(syncs) < 400


def test_a_full_disk_fails_the_batch_and_leaves_whole_lines(tmp_path, monkeypatch):
  path = tmp_path / "votes.jsonl"
  book = Ledger(path, STUDY)
  book.append({"vote": 0, "study": STUDY}).result(timeout=10)
  real = os.fsync

  def full(file):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(os, "fsync", full)
  with pytest.raises(OSError, match="No space"):
    book.append({"vote": 1, "study": STUDY}).result(timeout=10)
  assert numbers(path) == [0]
  monkeypatch.setattr(os, "fsync", real)
  book.append({"vote": 2, "study": STUDY}).result(timeout=10)
  book.close()
  chain = ledger.read(path, STUDY)
  assert [row["vote"] for row in chain.rows] == [0, 2] and chain.fault == ""
  assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_study_has_one_writer(tmp_path):
  book = Ledger(tmp_path / "votes.jsonl", STUDY)
  with pytest.raises(ValueError, match="Another program writes"):
    Ledger(tmp_path / "votes.jsonl", STUDY)
  book.close()
  with pytest.raises(OSError, match="closed"):
    book.append({}).result(timeout=10)
  Ledger(tmp_path / "votes.jsonl", STUDY).close()
