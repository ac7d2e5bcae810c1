"""From folders of clips to a study, and what is refused, naming it."""

import json

import numpy as np
import pytest

from ltx_jax.data import video
from ltx_jax.moving_shapes import world
from train.evaluate.study import design, making, raters
from train.evaluate.study.__main__ import main

WORDS = "a large red circle moving right on a black background"
ITEMS = ["one", "two", "three"]


def clip(path, *, frames=9, fps=8.0, size=(32, 48), seed=0):
  path.parent.mkdir(exist_ok=True)
  video.write(path, world.clip(WORDS, seed, frames, *size), fps)


@pytest.fixture
def folders(tmp_path):
  for seed, item in enumerate(ITEMS):
    clip(tmp_path / "ours" / f"{item}.mp4", seed=seed)
    clip(tmp_path / "theirs" / f"{item}.mp4", seed=seed, size=(64, 96))
  (tmp_path / "ours" / ".DS_Store").write_bytes(b"x")
  (tmp_path / "ours" / "model.json").write_text('{"checkpoint": "abc"}')
  rows = [{"id": item, "prompt": f"{item}: a/'\"b <i>"} for item in ITEMS]
  rows[0] |= {"image": "start.png", "tags": ["fast"]}
  video.write(tmp_path / "start.png", np.zeros((1, 32, 48, 3), np.uint8), 1.0)
  put(tmp_path, rows)
  return tmp_path


def put(folder, rows):
  lines = "".join(json.dumps(row) + "\n" for row in rows)
  (folder / "prompts.jsonl").write_text(lines)


def wanted(folder, **changes):
  given = {
    "models": (folder / "ours", folder / "theirs"),
    "prompts": folder / "prompts.jsonl",
    "output": folder / "study",
    "raters": 3,
    "votes": 2,
    "comparisons": None,
    "question": "Which?",
    "seed": 0,
    "fps": None,
    "drop": False,
    "cut": False,
  }
  return making.Wanted(**given | changes)


def made(folder, **changes):
  said = []
  tokens = making.make(wanted(folder, **changes), said.append)
  return design.read(folder / "study"), tokens, said


def test_a_study_of_folders(folders):
  study, tokens, said = made(folders)
  assert [item.id for item in study.items] == ITEMS
  assert study.pairs == (("ours", "theirs"),) and study.rate == 8.0
  assert study.models == {"ours": {"checkpoint": "abc"}, "theirs": {}}
  assert study.items[0].tags == ("fast",)
  assert said == [
    "ours: 8 frames a second.",
    "theirs: 8 frames a second; 3 clips scaled down.",
  ]
  files = {path.name for path in (folders / "study" / "media").iterdir()}
  assert files == set(study.clips())
  sizes = {video.read(p)[0].shape for p in (folders / "study/media").glob("*.mp4")}
  assert sizes == {(9, 32, 48, 3)}
  people = raters.read(folders / "study" / design.RATERS)
  assert [rater.token for rater in people] == [raters.hashed(t) for t in tokens]
  text = (folders / "study" / design.RATERS).read_text()
  assert not any(token in text for token in tokens)
  assert not list(folders.glob(".study*"))


def test_a_study_is_made_once(folders):
  made(folders)
  with pytest.raises(ValueError, match="is there already"):
    made(folders)


def test_missing_clips_are_listed_or_left_out_for_all(folders):
  (folders / "theirs" / "two.mp4").unlink()
  with pytest.raises(ValueError, match=r"1 clips are missing: theirs/two.*--drop"):
    made(folders)
  study, _, said = made(folders, drop=True)
  assert [item.id for item in study.items] == ["one", "three"]
  assert said[0] == "Items are left out, since clips are missing: theirs/two."


def test_shorter_clips_cut_the_others_if_it_is_allowed(folders):
  clip(folders / "theirs" / "two.mp4", frames=5)
  with pytest.raises(ValueError, match=r"two has 0.62 seconds by theirs and 1.12"):
    made(folders)
  _, _, said = made(folders, cut=True)
  assert "up to 4 frames cut off the end" in said[0]


def test_clips_of_another_rate_keep_their_motion(folders):
  for item in ITEMS:
    clip(folders / "theirs" / f"{item}.mp4", frames=27, fps=24.0)
  study, _, _ = made(folders)
  assert study.rate == 24.0
  counts = [
    len(np.unique(video.read(folders / f"study/media/{c.media}.mp4")[0], axis=0))
    for c in study.items[0].clips.values()
  ]
  assert counts[0] <= 9 * 3 and counts[1] == 27


def test_a_lower_rate_holds_for_all(folders):
  for item in ITEMS:
    clip(folders / "theirs" / f"{item}.mp4", frames=27, fps=24.0)
  assert made(folders, fps=8.0)[0].rate == 8.0


def broken(folder):
  path = folder / "theirs" / "two.mp4"
  path.write_bytes(path.read_bytes()[:400])


FAULTS = {
  "stray": (lambda f: (f / "ours" / "notes.txt").write_text("x"), "notes.txt"),
  "truncated": (broken, r"two\.mp4"),
  "empty": (lambda f: (f / "theirs" / "two.mp4").write_bytes(b""), "is empty"),
  "no prompt": (lambda f: clip(f / "ours" / "four.mp4"), "1 clips have no prompt"),
  "twice": (
    lambda f: put(f, [{"id": "one", "prompt": "a"}] * 2),
    "names an item again",
  ),
  "no id": (lambda f: put(f, [{"prompt": "a"}]), "Line 1 of"),
  "nothing": (lambda f: put(f, []), "has no prompts"),
  "notes": (lambda f: (f / "ours" / "model.json").write_text("{"), "is not JSON"),
  "image": (lambda f: (f / "start.png").unlink(), "start.png does not exist"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_compared_is_named_and_nothing_is_left(folders, fault):
  damage, words = FAULTS[fault]
  damage(folders)
  before = sorted(folders.iterdir())
  with pytest.raises(ValueError, match=words):
    made(folders)
  assert sorted(folders.iterdir()) == before


def test_models_need_different_names(folders):
  with pytest.raises(ValueError, match="give two folders or more"):
    made(folders, models=(folders / "ours", folders / "ours"))
  with pytest.raises(ValueError, match="give two folders or more"):
    made(folders, models=(folders / "ours",))


def test_there_are_as_many_raters_as_votes(folders):
  with pytest.raises(ValueError, match="--votes is 4, but there are 3 raters"):
    made(folders, votes=4)


def test_shares_of_checks_are_those_of_all_trials(folders):
  rules = making.rules_for(wanted(folders, comparisons=132), 1000, 2)
  assert (rules.trials, rules.damaged, rules.repeats) == (151, 9, 5)


def test_the_command_prints_each_link_once(folders, capsys):
  given = ["make", "--models", str(folders / "ours"), str(folders / "theirs")]
  given += ["--prompts", str(folders / "prompts.jsonl"), "--raters", "2"]
  main([*given, "--output", str(folders / "study")])
  out = capsys.readouterr().out
  links = [line.split()[-1] for line in out.splitlines() if "  /r/" in line]
  known = {r.token for r in raters.read(folders / "study" / design.RATERS)}
  assert {raters.hashed(link.removeprefix("/r/")) for link in links} == known
  with pytest.raises(SystemExit):
    main(["results", str(folders / "study")])
  assert "none of them a vote" in capsys.readouterr().err
  with pytest.raises(SystemExit):
    main(["results", str(folders / "ours")])
  assert "holds no study" in capsys.readouterr().err
