"""The page for votes: what is written, what is refused, and what it never says."""

import http.client
import json
import re
import threading

import numpy as np
import pytest
from PIL import Image

from train.harness import preferences
from train.harness.labelling import Labelling, Session

PAIRS = [("a.png", "b.png"), ("b.png", "c.png"), ("a.png", "c.png")]


@pytest.fixture
def served(tmp_path):
  paths = {}
  for name in "abc":
    path = tmp_path / "secret" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full((4, 4, 3), ord(name), np.uint8)).save(path)
    paths[f"{name}.png"] = path
  votes = tmp_path / "votes.jsonl"
  server = Labelling(Session(PAIRS, votes, "ada"), paths, 0)
  thread = threading.Thread(target=server.serve_forever, args=(0.02,))
  thread.start()
  yield server, votes, paths
  server.shutdown()
  thread.join()
  server.server_close()


def ask(server, path, body=None, **headers):
  """Returns status, kind and content of an answer."""
  connection = http.client.HTTPConnection(*server.server_address, timeout=10)
  headers = {name.replace("_", "-"): value for name, value in headers.items()}
  method = "GET" if body is None else "POST"
  connection.request(method, path, body, headers)
  reply = connection.getresponse()
  content = reply.read()
  connection.close()
  return reply.status, reply.headers["Content-Type"], content


def post(server, path, row):
  status, _, content = ask(server, path, json.dumps(row), X_Token=server.token)
  return json.loads(content) if status == 200 else (status, content.decode())


def rows(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_vote_is_written_at_once_and_the_next_pair_is_shown(served):
  server, votes, _ = served
  assert json.loads(ask(server, "/state")[2]) == {"pair": 0, "done": 0, "count": 3}
  assert post(server, "/vote", {"pair": 0, "vote": 1})["pair"] == 1
  assert rows(votes) == [
    {"first": "a.png", "second": "b.png", "vote": 1, "rater": "ada"}
  ]
  assert post(server, "/vote", {"pair": 1, "vote": 0.5})["pair"] == 2
  done = post(server, "/vote", {"pair": 2, "vote": 0})
  assert done == {"pair": None, "done": 3, "count": 3}
  assert [row["vote"] for row in rows(votes)] == [1, 0.5, 0]


def test_the_last_vote_is_taken_back(served):
  server, votes, _ = served
  post(server, "/vote", {"pair": 0, "vote": 1})
  post(server, "/vote", {"pair": 1, "vote": 1})
  assert post(server, "/undo", {}) == {"pair": 1, "done": 1, "count": 3}
  assert preferences.read_votes(votes) == {("a.png", "b.png", "ada"): 1.0}
  post(server, "/undo", {})
  assert post(server, "/undo", {})["done"] == 0  # Nothing is left to take back.
  assert preferences.read_votes(votes) == {}


def test_another_session_goes_on_after_a_kill(served):
  server, votes, _ = served
  post(server, "/vote", {"pair": 0, "vote": 1})
  with votes.open("a") as file:
    file.write('{"first": "b.png", "sec')  # A kill in the middle of a line.
  again = Session(PAIRS, votes, "ada")
  assert again.state() == {"pair": 1, "done": 1, "count": 3}
  again.vote(1, 0)
  assert len(preferences.read_votes(votes)) == 2
  assert Session(PAIRS, votes, "ada").state()["done"] == 2
  assert Session(PAIRS, votes, "bob").state()["done"] == 0


def test_pictures_are_asked_for_by_number(served):
  server, _, paths = served
  status, kind, content = ask(server, "/picture/1/0")
  assert (status, kind, content) == (200, "image/png", paths["b.png"].read_bytes())
  for path in ("/picture/3/0", "/picture/0/2", "/picture/-1/0", "/picture/x/0"):
    assert ask(server, path)[0] == 404
  for path in ("/../secret/a.png", "/secret/a.png", "/picture/0/../../a.png"):
    assert ask(server, path)[0] == 404
  paths["a.png"].write_bytes(b"<script>alert(1)</script>")
  assert ask(server, "/picture/0/0")[0] == 404
  paths["a.png"].unlink()
  assert ask(server, "/picture/0/0")[2] == b"The picture cannot be read."


def test_no_answer_names_a_file_or_shows_a_traceback(served, tmp_path, capfd):
  server, votes, paths = served
  paths["a.png"].unlink()
  votes.mkdir()  # So that votes cannot be written.
  answers = [
    ask(server, "/"),
    ask(server, "/picture/0/0"),
    ask(server, "/%00"),
    ask(server, "/vote", json.dumps({"pair": 0, "vote": 1}), X_Token=server.token),
    ask(server, "/vote", "[" * 900, X_Token=server.token),
    ask(server, "/vote", "{}", X_Token="schlüssel".encode("latin-1")),
  ]
  for _, _, content in answers:
    for word in (str(tmp_path), "secret", ".png", "Traceback", "Error", "errno"):
      assert word.encode() not in content
  assert answers[3][0] == 500 and b"could not be written" in answers[3][2]
  assert server.session.state()["done"] == 0
  assert capfd.readouterr() == ("", "")


def test_votes_of_other_pages_are_refused(served):
  server, votes, _ = served
  body = json.dumps({"pair": 0, "vote": 1})
  assert ask(server, "/vote", body)[0] == 403
  assert ask(server, "/vote", body, X_Token="guess")[0] == 403
  # A name that someone else's server answers to, and this machine's address.
  assert ask(server, "/state", Host="evil.example:80")[0] == 403
  assert not votes.exists()


@pytest.mark.parametrize(
  "row",
  [{}, [], 3, {"pair": 0}, {"pair": 0, "vote": 2}, {"pair": 9, "vote": 1}]
  + [{"pair": 0, "vote": True}, {"pair": "0/..", "vote": 1}, {"vote": 1}],
)
def test_what_is_no_vote_is_refused(served, row):
  server, votes, _ = served
  status, words = post(server, "/vote", row)
  assert status in (400, 404) and words.endswith(".")
  assert not votes.exists()


def test_a_long_request_is_not_read(served):
  server, _, _ = served
  assert ask(server, "/vote", "x" * 2000, X_Token=server.token)[0] == 400


def test_the_page_asks_no_other_server_and_knows_its_keys(served):
  server, _, _ = served
  status, kind, content = ask(server, "/")
  page = content.decode()
  assert status == 200 and kind == "text/html; charset=utf-8"
  assert server.token in page
  assert not re.search(r"https?://|//[a-z]", page)
  for key in ('"1": () => vote(1)', '"2": () => vote(0)', '" ": () => vote(0.5)'):
    assert key in page


def test_only_this_machine_can_connect(served):
  server, _, _ = served
  assert server.server_address[0] == "127.0.0.1"
  assert server.url.startswith("http://127.0.0.1:")
