"""The real server under many raters, killed again and again: no vote is lost."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.train.evaluate.study import folder_case
from tests.train.evaluate.study.test_ballots import ballot
from train.evaluate.study import design, ledger
from train.evaluate.study.design import Rules

ROOT = Path(__file__).resolve().parents[4]
RULES = Rules(votes_per_pair=9, comparisons=10, damaged=1, repeats=0, same=1)


class Killed:
  """A server that is killed and started again."""

  def __init__(self, folder):
    self.folder, self.port, self.process = folder, None, None

  def start(self):
    command = [sys.executable, "-m", "train.evaluate.study", "serve", str(self.folder)]
    self.process = subprocess.Popen(
      [*command, "--port", "0"],
      cwd=ROOT,
      env=os.environ | {"PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    said = []
    for line in self.process.stdout:
      said.append(line)
      if found := re.search(r"http://127\.0\.0\.1:(\d+)/r/", line):
        self.port = int(found[1])
        return
    raise AssertionError("".join(said))

  def end(self, how):
    self.process.send_signal(how)
    said = self.process.communicate(timeout=60)[0]
    return said


def rater(server, token, stop, acknowledged, problems):
  """Votes until all is answered, as the page does: the same vote until it is told."""
  last = {}

  def ask(method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(method, f"/r/{token}{path}", body and json.dumps(body))
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    return reply.status, content

  while not stop.is_set():
    try:
      status, content = ask("GET", "/state")
      face = json.loads(content)["open"]
      if face is None:
        return
      last = ballot(face)
      while not stop.is_set():
        try:
          status, content = ask("POST", "/vote", last)
        except (OSError, http.client.HTTPException):
          time.sleep(0.05)
          continue
        if status == 200:
          acknowledged.append(last["vote"])
          break
        if status != 425 and status != 503:
          problems.append((status, content))
          break
        time.sleep(0.1)
    except (OSError, http.client.HTTPException, ValueError, TypeError):
      time.sleep(0.05)


@pytest.mark.slow
def test_no_acknowledged_vote_is_lost_when_the_server_is_killed(tmp_path):
  folder = tmp_path / "study"
  made, tokens = folder_case.written(folder, 9, rules=RULES)
  server, stop = Killed(folder), threading.Event()
  acknowledged, problems = [], []
  server.start()
  threads = [
    threading.Thread(target=rater, args=(server, token, stop, acknowledged, problems))
    for token in tokens
  ]
  for thread in threads:
    thread.start()
  try:
    for _ in range(4):
      time.sleep(3)
      server.end(signal.SIGKILL)
      server.start()
    for thread in threads:
      thread.join(timeout=120)
  finally:
    stop.set()
    said = server.end(signal.SIGINT)
  chain = ledger.read(folder / design.VOTES, made.sha256)
  names = [row["vote"] for row in chain.rows]
  assert chain.fault == "" and problems == []
  assert len(names) == len(set(names)) == 9 * RULES.trials
  assert set(acknowledged) == set(names)
  assert chain.head in said.replace("\n", " ")
