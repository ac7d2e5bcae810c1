"""From pictures to scores: pairs, votes, training, scoring, through the programs."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

from ltx_jax.checkpoints.aesthetic import load_head, save_backbone
from ltx_jax.config.aesthetic import EfficientNetConfig
from ltx_jax.curation import aesthetics as pure
from ltx_jax.curation.clip import Clip, to_json
from ltx_jax.models import aesthetic
from ltx_jax.platforms import CPU
from tests.models.aesthetic_case import CONFIG
from train import aesthetics
from train.harness import preferences, scoring


def shrink(patch):
  """Gives the programs a tiny network instead of Lite0, and small views."""
  params = aesthetic.init_backbone(jax.random.key(0), CONFIG)
  net = aesthetic.backbone_fn(params, CPU, CONFIG)
  patch.setattr(scoring, "backbone", lambda file: (net, preferences.digest(file)))
  patch.setattr(pure, "SIDE", 32)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
  shrink(monkeypatch)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
  """A folder of noisy pictures of 8 sources, and a file that stands for weights."""
  root = tmp_path_factory.mktemp("corpus")
  rng = np.random.default_rng(0)
  for source in range(8):
    folder = root / "pictures" / f"film{source}"
    folder.mkdir(parents=True)
    for k in range(3):
      noise = rng.normal(0, 1 + 40 * ((k + source) % 3), (40, 48, 3))
      colour = rng.uniform(60, 190, 3)
      pixels = np.clip(colour + noise, 0, 255).astype(np.uint8)
      Image.fromarray(pixels).save(folder / f"{k}.png")
  (root / "weights").write_bytes(b"weights")
  return root


def noise_of(name):
  folder, file = name.split("/")
  return (int(file[0]) + int(folder[-1])) % 3


def run(*arguments):
  aesthetics.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def voted(corpus, tmp_path_factory):
  """A folder in which a person who dislikes noise voted."""
  folder = tmp_path_factory.mktemp("run")
  with pytest.MonkeyPatch.context() as patch:
    shrink(patch)
    weights = "--weights", corpus / "weights"
    run("pairs", corpus / "pictures", *weights, "--folder", folder)
  pairs = preferences.read_pairs(folder / "pairs.jsonl")
  rows = [
    {"first": a, "second": b, "vote": (1 + np.sign(noise_of(b) - noise_of(a))) / 2}
    for a, b in pairs
  ]
  preferences.append_rows(folder / "votes.jsonl", rows)
  return folder


def test_pairs_are_drawn_across_sources_and_features_are_kept(voted):
  table = preferences.read_table(voted / "features.safetensors")
  assert len(table.names) == 24 and len(set(table.sources)) == 8
  assert table.groups == 2 * CONFIG.groups
  assert table.features.shape == (24, sum(table.groups))
  pairs = preferences.read_pairs(voted / "pairs.jsonl")
  assert len(pairs) == 48
  assert all(a.split("/")[0] != b.split("/")[0] for a, b in pairs)


def test_pictures_that_were_seen_are_not_looked_at_again(voted, corpus, monkeypatch):
  read = []
  monkeypatch.setattr(preferences, "read_picture", lambda path: read.append(path))
  before = (voted / "features.safetensors").read_bytes()
  arguments = "pairs", corpus / "pictures", "--weights", corpus / "weights"
  run(*arguments, "--folder", voted, "--count", 48)
  assert not read
  assert (voted / "features.safetensors").read_bytes() == before


def test_a_head_learns_what_people_dislike_and_scores_pictures(voted, corpus, capsys):
  run("train", "--folder", voted, "--epochs", 40, "--folds", 2)
  results = json.loads((voted / "evaluation.json").read_text())
  assert results["accuracy"] > 0.8 and results["pairs"] > 5
  assert "of the pairs are in the order of the votes" in capsys.readouterr().out
  weights = "--weights", corpus / "weights"
  output = voted / "scores.jsonl"
  arguments = "score", corpus / "pictures", *weights, "--folder", voted
  run(*arguments, "--output", output)
  rows = [json.loads(line) for line in output.read_text().splitlines()]
  scores = {row["still"]: row["score"] for row in rows}
  levels = [[s for n, s in scores.items() if noise_of(n) == k] for k in range(3)]
  means = [np.mean(level) for level in levels]
  assert means[0] > means[1] > means[2]
  run("evaluate", voted / "aesthetic.safetensors", "--folder", voted)
  assert json.loads((voted / "evaluation.json").read_text())["accuracy"] > 0.9
  # Half of a line is what a kill leaves; the other scores are not made again.
  output.write_bytes(output.read_bytes()[:-5])
  run(*arguments, "--output", output)
  assert "1 scores added" in capsys.readouterr().out
  assert set(_names(output)) == set(scores)


def _names(path):
  return [row["still"] for row in preferences.partial.read_json_lines(path)]


def test_stills_of_a_curation_have_the_sources_of_their_clips(tmp_path):
  name = "ab" + "0" * 30 + ".jpg"
  clip = Clip("f@0", "f", 0, "f.mp4", 0.0, 1.0, 8, 8, 25, 25.0, stills=(name,))
  preferences.write_rows(tmp_path / "clips.jsonl", [to_json(clip)])
  found = preferences.find_pictures(tmp_path)
  assert found == ([name], [tmp_path / "stills" / "ab" / name], ["f"])


def test_votes_are_joined_over_people_and_orders():
  votes = {("a", "b", "x"): 1.0, ("b", "a", "y"): 0.0, ("a", "c", "x"): 0.5}
  votes |= {("b", "c", "x"): 1.0, ("b", "c", "y"): 0.0, ("a", "gone", "x"): 1.0}
  found = preferences.judged(["a", "b", "c"], votes)
  assert dict(zip(map(tuple, found.pairs.tolist()), found.votes, strict=True)) == {
    (0, 1): 1.0,
    (0, 2): 0.5,
    (1, 2): 0.5,
  }
  assert found.agreement == 0.5


def test_the_last_vote_counts_and_may_be_taken_back(tmp_path):
  path = tmp_path / "votes.jsonl"
  row = {"first": "a", "second": "b", "rater": "x"}
  preferences.append_rows(path, [row | {"vote": 1}, row | {"vote": 0}])
  assert preferences.read_votes(path) == {("a", "b", "x"): 0.0}
  preferences.append_rows(path, [row | {"vote": None}])
  assert preferences.read_votes(path) == {}


def test_errors_are_sentences(voted, corpus, tmp_path, capsys):
  (tmp_path / "votes.jsonl").write_text('{"first": "a", "second": "b", "vote": 7}\n')
  save_backbone(
    tmp_path / "backbone",
    aesthetic.init_backbone(jax.random.key(0), CONFIG),
    config=CONFIG,
  )
  features = voted / "features.safetensors"
  (tmp_path / "features.safetensors").write_bytes(features.read_bytes())
  weights = "--weights", corpus / "weights"
  here = "--folder", tmp_path
  for arguments, said in (
    (("pairs", tmp_path / "no", *weights), "There is no folder"),
    (("pairs", corpus / "pictures", *weights, "--count", 0), "--count is 0; it must"),
    (("pairs", tmp_path, *weights, *here), "has no pictures; give a folder with"),
    (("train", *here), "has the vote 7; it must be 1 for the first picture"),
    (("train", "--folder", tmp_path / "no"), "make it with python -m train.aesthetics"),
    (("train", "--folder", voted, "--folds", 1), "--folds is 1; it must be at least 2"),
    (("label", corpus / "pictures", *here), "There are no pairs in"),
    (("evaluate", tmp_path / "backbone", "--folder", voted), "is no aesthetic head"),
  ):
    with pytest.raises(SystemExit) as end:
      run(*arguments)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_head_of_another_backbone_is_refused(voted, corpus, tmp_path, capsys):
  run("train", "--folder", voted, "--epochs", 1, "--folds", 2)
  assert load_head(voted / "aesthetic.safetensors")[1]["backbone"]
  other = tmp_path / "weights"
  other.write_bytes(b"others")
  arguments = "score", corpus / "pictures", "--weights", other, "--folder", voted
  with pytest.raises(SystemExit):
    run(*arguments, "--output", tmp_path / "scores.jsonl")
  assert "trained on the features of another backbone" in capsys.readouterr().err


def test_the_backbone_is_read_from_its_file(tmp_path, monkeypatch):
  monkeypatch.undo()
  path = tmp_path / "lite0.safetensors"
  params = aesthetic.init_backbone(jax.random.key(0), EfficientNetConfig())
  save_backbone(path, params)
  fn, digest = scoring.backbone(path)
  assert digest == preferences.digest(path) and callable(fn)
