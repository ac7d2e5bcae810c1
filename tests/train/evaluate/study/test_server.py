"""What the server answers, keeps, and never says."""

import asyncio
import json
import os
import re
import threading
import time

import pytest

from tests.train.evaluate.study import folder_case
from tests.train.evaluate.study.asgi import ask, asked
from tests.train.evaluate.study.test_ballots import ballot
from train.evaluate.study import design, ledger, server, serving
from train.evaluate.study.ballots import SOONEST


class Served:
  """A study that is served, with a clock that tests move."""

  def __init__(self, folder, **how):
    self.folder, self.said, self.now = folder, [], time.time()
    self.study, self.tokens = folder_case.written(folder, **how)
    self.start()

  def start(self):
    self.server = serving.open_study(self.folder, self.said.append)
    self.server.clock = lambda: self.now
    self.app = self.server.app()

  def again(self):
    self.server.close()
    self.start()

  def get(self, path, rater=0):
    return ask(self.app, "GET", f"/r/{self.tokens[rater]}{path}")

  def state(self, rater=0):
    return self.get("/state", rater).json()

  def post(self, row, rater=0):
    body = row if isinstance(row, bytes) else json.dumps(row).encode()
    return ask(self.app, "POST", f"/r/{self.tokens[rater]}/vote", body)

  def vote(self, choice="left", rater=0, **changes):
    row = ballot(self.state(rater)["open"], choice, **changes)
    self.now += SOONEST + 1
    return self.post(row, rater)

  def chain(self):
    return ledger.read(self.folder / design.VOTES, self.study.sha256)


@pytest.fixture
def served(tmp_path):
  made = Served(tmp_path / "study")
  yield made
  made.server.close()


def test_a_vote_is_on_disk_when_it_is_answered(served):
  before = served.state()["open"]
  reply = served.vote("right")
  assert reply.status == 200 and reply.json()["open"]["trial"] == 1
  (row,) = served.chain().rows
  assert (row["choice"], row["trial"], row["rater"]) == ("right", 0, "r001")
  assert row["study"] == served.study.sha256
  assert reply.json()["last"]["left"] == before["left"]


def test_a_restart_shows_the_same_pair(served):
  for _ in range(3):
    served.vote()
  served.state(1)
  before = served.state()
  served.again()
  assert served.state() == before and before["done"] == 3
  assert served.said[-1] == "3 votes so far, 3 raters."


def test_the_same_vote_is_one_line_and_another_is_a_conflict(served):
  row = ballot(served.state()["open"])
  served.now += 5
  first, again = served.post(row), served.post(row)
  other = served.post({**ballot(row), "trial": 0})
  assert (first.status, again.status, other.status) == (200, 200, 409)
  assert again.json() == first.json() == other.json()
  assert len(served.chain().rows) == 1


def test_two_tabs_at_once_make_one_vote(served):
  row = ballot(served.state()["open"])
  served.now += 5
  path = f"/r/{served.tokens[0]}/vote"

  async def both():
    rows = [row, row, {**row, "vote": "0" * 8 + "-0000" * 3 + "-" + "0" * 12}]
    sends = (asked(served.app, "POST", path, json.dumps(r).encode()) for r in rows)
    return await asyncio.gather(*sends)

  assert [reply.status for reply in asyncio.run(both())] == [200, 200, 409]
  assert len(served.chain().rows) == 1


def test_nothing_that_a_browser_gets_names_a_model(served):
  heard = [served.get("")]
  while (state := served.get("/state")).json()["open"]:
    face = state.json()["open"]
    heard += [state, served.get(f"/media/{face['left']}.mp4")]
    heard.append(served.vote())
    heard.append(served.post(b"{}"))
  assert served.state()["done"] == served.study.rules.trials
  for reply in heard:
    text = json.dumps(reply.headers).encode() + reply.content
    for model in served.study.models:
      assert model.encode() not in text
    assert not re.search(rb"item\d|damaged|secret", text)


def test_clips_of_the_open_pair_are_sent_in_ranges_and_no_others(served):
  face = served.state()["open"]
  path = f"/r/{served.tokens[0]}/media/{face['left']}.mp4"
  whole = ask(served.app, "GET", path)
  assert whole.content == folder_case.content(face["left"])
  assert whole.headers["content-type"] == "video/mp4"
  assert whole.headers["cache-control"].startswith("private")
  part = ask(served.app, "GET", path, headers=[("Range", "bytes=4-9")])
  assert (part.status, part.content) == (206, whole.content[4:10])
  others = set(served.study.clips()) - {f"{face[s]}.mp4" for s in ("left", "right")}
  for name in sorted(others)[:5]:
    assert served.get(f"/media/{name}").status == 404


@pytest.mark.parametrize(
  "path",
  [
    "/",
    "/study.json",
    "/votes.jsonl",
    "/r",
    "/r/",
    "/r/wrong",
    "/r/wrong/state",
    "/r/TOKEN/",
    "/r/TOKEN/results",
    "/r/TOKEN/media",
    "/r/TOKEN/media/",
    "/r/TOKEN/media/../study.json",
    "/r/TOKEN/media/..%2fstudy.json",
    "/r/TOKEN/media/study.json",
    "/r/TOKEN/media//etc/passwd",
    "/r/TOKEN/media/\0",
    "/r/" + "x" * 5000,
  ],
)
def test_all_else_is_not_found_without_a_hint(served, path):
  served.state()
  reply = ask(served.app, "GET", path.replace("TOKEN", served.tokens[0]))
  assert (reply.status, reply.content) == (404, b"")
  assert served.server.refused == 1


def test_other_methods_are_not_found(served):
  for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
    path = f"/r/{served.tokens[0]}/vote"
    assert ask(served.app, method, path).status == 404
  assert ask(served.app, "GET", path).status == 404


def test_a_link_that_was_closed_opens_nothing(served):
  path = served.folder / design.RATERS
  path.write_text(path.read_text().replace('"active"', '"closed"', 1))
  served.again()
  assert (served.get("").status, served.get("", 1).status) == (404, 200)


def test_a_long_body_is_refused(served):
  path = f"/r/{served.tokens[0]}/vote"
  reply = ask(served.app, "POST", path, parts=[b"x" * 1000] * 100)
  assert reply.status == 413
  assert served.chain().rows == []


@pytest.mark.parametrize(
  "body", [b"", b"{", b"[]", b"\xff", b"[" * 1900, b"null", b"9" * 1999]
)
def test_what_is_no_vote_is_refused(served, body):
  served.state()
  assert served.post(body).status == 400
  assert served.chain().rows == []


def test_a_browser_that_leaves_in_the_middle_leaves_nothing(served):
  served.state()
  path = f"/r/{served.tokens[0]}/vote"
  assert ask(served.app, "POST", path, parts=[b'{"vote"', None]).status == 400
  assert served.chain().rows == []


def test_the_page_allows_its_own_script_and_nothing_else(served):
  reply = served.get("")
  said = reply.headers["content-security-policy"]
  assert "default-src 'none'" in said and "unsafe" not in said
  assert said.count("'sha256-") == 2
  assert reply.headers["referrer-policy"] == "no-referrer"
  assert reply.headers["cache-control"] == "no-store"
  assert len(reply.content) < 60_000
  assert not re.search(rb"https?://|<[a-z]+[^>]* on[a-z]+=|style=", reply.content)


def test_a_slow_disk_is_answered_in_a_second_and_loses_nothing(served, monkeypatch):
  row = ballot(served.state()["open"])
  served.now += 5
  go, real = threading.Event(), os.fsync

  def slow(file):
    go.wait(30)
    real(file)

  monkeypatch.setattr(os, "fsync", slow)
  monkeypatch.setattr(server, "PATIENCE", 0.05)
  path, body = f"/r/{served.tokens[0]}/vote", json.dumps(row).encode()

  async def twice():
    first = await asked(served.app, "POST", path, body)
    go.set()
    while not served.server.ballots.state("r001")["done"]:
      await asyncio.sleep(0.01)
    return first, await asked(served.app, "POST", path, body)

  first, again = asyncio.run(twice())
  assert (first.status, again.status) == (503, 200)
  assert len(served.chain().rows) == 1


def test_a_full_disk_keeps_the_vote_with_the_page(served, monkeypatch, caplog):
  row = ballot(served.state()["open"])
  served.now += 5
  real = os.fsync

  def full(file):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(os, "fsync", full)
  assert served.post(row).status == 503
  assert "No space left on device" in caplog.text
  monkeypatch.setattr(os, "fsync", real)
  assert served.post(row).status == 200
  assert len(served.chain().rows) == 1 and served.chain().fault == ""


def test_a_changed_clip_study_or_vote_is_not_served(served):
  served.vote()
  served.server.close()

  def refused(path, change, words):
    before = path.read_bytes()
    path.write_bytes(change(before))
    with pytest.raises(ValueError, match=words):
      serving.open_study(served.folder, served.said.append)
    path.write_bytes(before)

  clip = served.folder / design.MEDIA / sorted(served.study.clips())[0]
  refused(clip, lambda b: b + b" ", f"{clip.name} was changed")
  fixed = served.folder / design.STUDY
  refused(fixed, lambda b: b.replace(b"Which?", b"Whose?"), "was changed after make")
  cast = served.folder / design.VOTES
  refused(
    cast, lambda b: b.replace(b'"left"', b'"item"', 1), "is no vote of this study"
  )
  refused(fixed, lambda b: b"[]", "no study of schema 1")
  served.start()


def test_a_torn_vote_is_said_and_sent_again(served):
  row = ballot(served.state()["open"])
  served.now += 5
  served.post(row)
  served.server.close()
  path = served.folder / design.VOTES
  path.write_bytes(path.read_bytes()[:-10])
  served.start()
  assert any("had no end" in words for words in served.said)
  assert served.post(row).status == 200
  assert len(served.chain().rows) == 1 and served.chain().fault == ""
