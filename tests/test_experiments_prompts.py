"""The experiments about wordings: what is asked, and the figures that follow."""

import json

import numpy as np
import pytest

from ltx_jax.metrics.estimates import Estimate
from ltx_jax.moving_shapes import world
from tests.experiments.prompts import figures, measure, page, wordings

CAPTION = "a large red circle moving right on a navy background"
SMALL = "a small gray square moving up on a black background"


@pytest.mark.parametrize(
  ("name", "said"),
  [
    ("as trained", CAPTION),
    ("reordered", "on a navy background a large red circle moving right"),
    ("synonyms", "a big red disc going rightwards on a navy backdrop"),
    ("upper case and full stop", f"{CAPTION.upper()}."),
    ("two sentences", "a large red circle moving right. the background is navy."),
  ],
)
def test_wordings_say_the_same_in_other_words(name, said):
  assert wordings.WORDINGS[name](CAPTION) == said


def test_every_attribute_is_left_out_of_some_caption_and_only_it():
  seen = set()
  for caption in world.held_out_captions():
    name, words = wordings.left_out(caption), world.parse(caption)
    said = wordings.without_one(caption).split()
    assert getattr(words, name) not in said
    kept = set(wordings.ATTRIBUTES) - {name}
    assert all(getattr(words, each) in said for each in kept)
    seen.add(name)
  assert seen == set(wordings.ATTRIBUTES)


def test_a_typo_changes_one_word_by_two_letters():
  for caption in world.held_out_captions():
    pairs = zip(caption.split(), wordings.mistyped(caption).split(), strict=True)
    ((word, typo),) = [(a, b) for a, b in pairs if a != b]
    assert sorted(word) == sorted(typo)
    assert sum(a != b for a, b in zip(word, typo, strict=True)) == 2


def test_matched_captions_were_trained_on_and_differ_by_little():
  held_out = world.held_out_captions()
  found = wordings.matched(held_out, world.train_captions())
  assert len(set(found)) == len(held_out) == 81
  assert not any(map(world.is_held_out, found))
  apart = [
    sum(a != b for a, b in zip(one.split(), other.split(), strict=True))
    for one, other in zip(held_out, found, strict=True)
  ]
  assert np.mean(apart) < 1.5


def _rows(rights, caption="a", **more):
  return [
    {"caption": caption, "seed": seed, "right": dict(zip("xyz", right, strict=False))}
    | more
    for seed, right in enumerate(rights)
  ]


def test_a_score_is_the_share_of_words_and_a_change_is_clip_by_clip():
  control = [*_rows([(1, 1), (1, 0)]), *_rows([(1, 1), (1, 1)], "b")]
  worse = [*_rows([(0, 1), (0, 0)]), *_rows([(0, 1), (0, 1)], "b")]
  assert figures.share(control).value == pytest.approx(7 / 8)
  found = figures.change(worse, control)
  assert found.value == pytest.approx(-0.5) and found.high == pytest.approx(-0.5)
  assert page.verdict(found) == "worse"
  assert page.verdict(figures.change(control, control)) == "no difference seen"


def test_the_interval_of_a_share_ends_where_shares_end():
  high, low = (
    Estimate(0.999, 0.997, 1.001, 1e-3, 80),
    Estimate(1e-3, -1e-3, 3e-3, 1e-3, 80),
  )
  assert page.percent(high) == "99.9 (99.7 to 100.0)"
  assert page.percent(low) == "0.1 (0.0 to 0.3)"
  assert page.percent(low, "+") == "+0.1 (-0.1 to +0.3)"


def test_a_word_that_was_not_asked_for_does_not_count():
  asked = _rows([(1, 0), (1, 0)])
  less = [row | {"right": {"x": True}} for row in asked]
  assert figures.share(less).value == 1
  assert figures.change(less, asked).value == 0


def test_components_tell_wording_from_seed():
  rng = np.random.default_rng(0)
  wording, seed = rng.normal(0, 3, (400, 7, 1)), rng.normal(0, 1, (400, 1, 4))
  found = figures.components(wording + seed + rng.normal(0, 0.5, (400, 7, 4)))
  np.testing.assert_allclose(found, [9, 1, 0.25], rtol=0.15)
  chance = figures.components(rng.normal(0, 3, (400, 7, 4)))
  assert max(chance[:2]) < 0.3 and chance.rest == pytest.approx(9, rel=0.1)
  assert figures.components(np.ones((2, 7, 4))) == (0, 0, 0)


@pytest.mark.parametrize(("color", "there"), [("red", True), ("cyan", False)])
def test_a_colour_is_seen_where_it_takes_a_part(color, there):
  frame = world.clip(CAPTION, 0, 9, 64, 64)[4]
  assert measure.shows(frame, color, "navy") is there


def test_a_second_object_is_asked_for_in_another_colour():
  conditions = measure.conditions()
  two = conditions["a second object"]
  assert two.prompt(CAPTION) == (
    "a large red circle moving right and a small cyan square moving up on a navy "
    "background"
  )
  for caption in two.captions:
    assert two.second(caption) != world.parse(caption).color
  clip = world.clip(two.captions[0], 0, 9, 64, 64)
  assert measure.seen(two, 0, clip)["shown"] == [True, False]


class Renderer:
  """A model that renders what it is told, and says how often it was asked."""

  def __init__(self):
    self.calls = 0

  def generate(self, prompts, *, seed, frames, height, width, fps):
    self.calls += 1
    clips = [
      world.clip(*pair, frames, height, width)
      for pair in zip(prompts, seed, strict=True)
    ]
    return np.stack(clips)


def test_a_clip_is_generated_once_for_all_that_is_judged_of_it(tmp_path, monkeypatch):
  captions, model = world.held_out_captions()[:2], Renderer()
  size = 49, 64, 64
  asked = {
    "whole": measure.Condition(captions, size=size),
    "end": measure.Condition(captions, size=size, frames=25),
    "short": measure.Condition(captions, size=(25, 64, 64)),
  }
  monkeypatch.setattr(measure, "conditions", lambda: asked)
  monkeypatch.setattr(measure.ltx_jax, "load", lambda name: model)
  measure.measured(tmp_path)
  whole, end, _ = (
    json.loads(measure.file_of(tmp_path, name).read_text()) for name in asked
  )
  assert model.calls == 2
  assert len(whole) == len(end) == 2 * len(measure.SEEDS)
  assert [row["caption"] for row in whole] == [row["caption"] for row in end]
  assert all(row["right"]["shape"] for row in (*whole, *end))
  measure.measured(tmp_path)
  assert model.calls == 2


def test_what_the_prompt_leaves_out_is_not_judged():
  asked = measure.conditions()["one attribute left out"]
  clip = world.clip(asked.captions[0], 0, 25, 64, 64)
  right = measure.seen(asked, 0, clip)["right"]
  assert len(right) == 4 and wordings.left_out(asked.captions[0]) not in right
  assert all(right.values())


def test_the_page_tells_what_was_measured(tmp_path):
  assert "Not run yet." in page.section(tmp_path)
  held_out = world.held_out_captions()
  trained = wordings.matched(held_out, world.train_captions())
  right = dict.fromkeys(wordings.ATTRIBUTES, True)
  for name in (page.TRAINED, *wordings.WORDINGS, *page.judged_elsewhere()):
    captions = trained if name == page.TRAINED else held_out
    rows = [
      {"caption": caption, "seed": seed, "right": right | {"shape": name != "one typo"}}
      for caption in captions[:3]
      for seed in (0, 1)
    ]
    measure.file_of(tmp_path, name).write_text(json.dumps(rows))
  ceilings = dict.fromkeys(page.judged_elsewhere(), 1.0)
  noted = {"minutes": 3.2, "commit": "abc", "ceilings": ceilings}
  (tmp_path / "noted.json").write_text(json.dumps(noted))
  said = page.section(tmp_path)
  assert "3 minutes on two CPU cores at abc." in said
  assert (
    "| one typo | 6 | 80.0 (80.0 to 80.0) | -20.0 (-20.0 to -20.0) | worse |" in said
  )
  assert 'The worst wording is "one typo"' in said and "no gap is seen" in said
  assert "| 97 frames | 6 | 100.0" in said
