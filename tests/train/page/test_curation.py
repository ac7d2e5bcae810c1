"""The page of a curation: its numbers, its stills, and that no text breaks it."""

import dataclasses

import numpy as np
import pytest

from ltx_jax.curation.clip import Decision
from tests.train.page import curation_case as case
from tests.train.page.page_case import panels, parsed, rows, tables, words
from train.page import curation, gallery

HOSTILE = (
  "</style><script>alert(1)</script><img src=x onerror='a'>&amp;\"\u202e\0\x07\ud800"
)


def page_of(tmp_path, selection, refused=case.REFUSED, **given):
  path = tmp_path / "page.html"
  path.write_bytes(curation.page(selection, refused, **({"still": case.still} | given)))
  return parsed(path)


def sections(root):
  return {section.find("h2").text: section for section in root.iter("section")}


@pytest.fixture(scope="module")
def selection():
  return case.selected()


@pytest.fixture(scope="module")
def written(selection):
  return curation.page(selection, case.REFUSED, case.still)


@pytest.fixture(scope="module")
def root(written, tmp_path_factory):
  path = tmp_path_factory.mktemp("page") / "page.html"
  path.write_bytes(written)
  return parsed(path)


def test_the_funnel_adds_up(root, selection):
  head, found, *rules = rows(
    tables(root)["Clips and hours after each rule, in their order"]
  )
  assert head[:3] == ["Rule", "Share left", "Clips left"]
  assert found[:3] == ["found", "100 %", "120"]
  assert [line[0] for line in rules] == (
    ["black", "caption", "length", "static", "duplicates", "aesthetic"]
  )
  left = [int(line[2]) for line in [found, *rules]]
  dropped = [int(line[4]) for line in rules]
  assert [a - b for a, b in zip(left, left[1:], strict=False)] == dropped
  assert left[-1] == len(selection.kept) and f"{left[-1]} of 120 clips" in words(root)
  assert [int(line[6]) for line in rules] == [step.alone for step in selection.steps]
  keeps = {line[0]: line[7] for line in rules}
  assert keeps["length"] == "seconds at least 1 and at most 20"
  # The share of the best has become a number.
  assert keeps["aesthetic"] == f"aesthetic at least {selection.filters[-1].least:g}"


def test_a_rule_without_scores_is_said_to_be_off(tmp_path):
  bare = [dataclasses.replace(clip, scores={}) for clip in case.clips()]
  selection = case.of(bare)
  root = page_of(tmp_path, selection)
  lines = rows(tables(root)["Clips and hours after each rule, in their order"])
  keeps = {line[0]: line[-1] for line in lines}
  assert keeps["aesthetic"] == "off: no clip has the score aesthetic"
  assert keeps["length"] == "seconds at least 1 and at most 20"


def test_scores_are_drawn_with_their_thresholds(root, selection):
  drawn = panels(sections(root)["Scores"])
  (aesthetic,) = (f"{selection.filters[-1].least:g}",)
  assert list(drawn) == [
    "seconds: at least 1; at most 20",
    "motion: at least 0.005",
    f"aesthetic: at least {aesthetic}",
    "camera",
  ]
  said = drawn["motion: at least 0.005"].find("svg").get("aria-label")
  assert said.startswith(f"motion: 120 values, {len(selection.kept)} of them kept; ")
  assert said.endswith("; at least 0.005.")


def test_the_two_figures_of_the_paper(root, selection):
  drawn = panels(sections(root)["The training set"])
  assert list(drawn) == ["Words per caption", "Seconds per clip"]
  for figure in drawn.values():
    assert f": {len(selection.kept)} values" in figure.find("svg").get("aria-label")


def test_faults_of_captions_are_counted(root, selection):
  (table,) = [t for name, t in tables(root).items() if name.startswith("Faults of")]
  found = {line[0]: line[1:4] for line in rows(table)}
  # 119 of 120 have a caption: the black one was never asked about.
  assert words(table.find("caption")).startswith("Faults of 119 captions")
  assert found["short"] == ["0.84 %", "1", "0"]
  kept = sum("caption_faults" in selection.clip(k).extra for k in selection.kept)
  assert found["static"][2] == str(kept) and found["loop"] == ["0 %", "0", "0"]


def test_files_that_were_refused_are_counted_by_reason(root):
  assert rows(tables(root)["Files by reason"])[1:] == [
    ["no video", "1"],
    ["unreadable", "2"],
  ]
  assert ["a/song.mp4", "no video", "audio only"] in rows(tables(root)["Each file"])


def test_rules_show_what_they_drop_next_to_what_they_keep(root, selection):
  place = sections(root)["Rule: aesthetic"]
  dropped, kept = place.findall("div")
  step = selection.steps[-1]
  assert words(dropped.find("h3")) == f"Dropped (20 of {step.dropped})"
  assert words(kept.find("h3")).startswith("Kept, by aesthetic (20 of ")
  assert len(list(dropped.iter("img"))) == len(list(kept.iter("img"))) == 20
  values = [float(words(f).split("aesthetic ")[-1]) for f in kept.iter("figure")]
  assert values == sorted(values) and values[0] >= selection.filters[-1].least
  for image in place.iter("img"):
    assert image.get("src").startswith("data:image/jpeg;base64,/9j/")
    assert image.get("alt").startswith("Still of videos/holiday ")


def test_duplicates_are_next_to_the_clip_that_is_kept_instead(root, selection):
  place = sections(root)["Rule: duplicates"]
  pairs = [node for node in place.iter("div") if node.get("class") == "pair"]
  instead = {
    clip.id: clip.decision.value
    for clip in selection.clips()
    if clip.decision and clip.decision.rule == "duplicates"
  }
  shown = {}
  for pair in pairs:
    one, other = pair.findall("figure")
    assert "dropped, 1280x720" in words(one) and "kept, 1280x720" in words(other)
    shown[one.find("figcaption/b").text] = other.find("figcaption/b").text
  assert shown == instead and len(shown) > 3


def test_equal_decisions_give_an_equal_page(written):
  refused = dict(reversed(case.REFUSED.items()))
  assert curation.page(case.selected(), refused, case.still) == written


def test_nothing_is_fetched_and_nothing_runs(written):
  text = written.decode()
  assert "default-src 'none'" in text and "<script" not in text
  assert "http:" not in text and "https:" not in text
  assert 'name="viewport"' in text


def test_no_text_breaks_the_page(tmp_path):
  odd = [
    dataclasses.replace(
      clip,
      id=f"{HOSTILE}{k}",
      source=HOSTILE,
      path=HOSTILE,
      caption=HOSTILE * 100,
      scores=clip.scores | {HOSTILE: 1.0},
    )
    for k, clip in enumerate(case.clips(12))
  ]
  odd[0] = dataclasses.replace(odd[0], decision=Decision(HOSTILE, "score", HOSTILE))
  refused = {HOSTILE: Decision("probe", "unreadable", HOSTILE)}
  found = case.of(odd)
  root = page_of(tmp_path, found, refused)
  tags = {node.tag for node in root.iter()}
  assert "script" not in tags and len(root.findall(".//style")) == 1
  assert all(image.get("src").startswith("data:") for image in root.iter("img"))
  assert not any(name.startswith("on") for node in root.iter() for name in node.keys())
  assert "<script>alert(1)" in words(root)


def test_nothing_at_all(tmp_path):
  root = page_of(tmp_path, case.of([]), {})
  assert "0 of 0 clips are kept" in words(root)
  assert list(sections(root)) == ["What each rule dropped"]
  root = page_of(tmp_path, case.of([], []), case.REFUSED)
  assert list(sections(root))[-1] == "Files that were refused"


def test_everything_is_dropped(tmp_path):
  none = [dataclasses.replace(case.FILTERS[0], least=1000.0, most=None)]
  root = page_of(tmp_path, case.of(case.clips(12), none))
  assert "0 of 12 clips are kept (0 %)" in words(root)


def test_images_and_clips_without_captions_or_scores(tmp_path):
  bare = [
    dataclasses.replace(
      clip, caption="", scores={}, extra={}, stills=(), frames=1, end=clip.start
    )
    for clip in case.clips(10)
  ]
  root = page_of(tmp_path, case.of(bare, case.FILTERS[1:]))
  assert "Captions" not in sections(root) and "The training set" not in sections(root)
  assert "No still" in words(root)


@pytest.mark.parametrize("most", [0, 50_000, 150_000])
def test_stills_weigh_no_more_than_allowed(tmp_path, selection, root, most):
  whole = sum(len(image.get("src")) for image in root.iter("img"))
  found = page_of(tmp_path, selection, most_bytes=most)
  size = sum(len(image.get("src")) for image in found.iter("img"))
  assert whole > 150_000 and size <= most and size >= 0.3 * most
  assert ("Dropped (0 of " in words(found)) == (most == 0)


def test_a_lost_still_is_no_image(tmp_path, selection):
  root = page_of(tmp_path, selection, still=lambda name: None)
  assert not list(root.iter("img")) and "No still" in words(root)


def test_a_choice_is_even_and_has_both_ends():
  places, values = np.arange(101), np.random.default_rng(0).permutation(101) / 1.0
  chosen = gallery.some(places)
  assert len(chosen) == gallery.MOST and (chosen[0], chosen[-1]) == (0, 100)
  some = values[gallery.some(places, values)]
  assert (some[0], some[-1]) == (0, 100) and (np.diff(some) > 0).all()
  assert gallery.some(places[:3]) == [0, 1, 2]
  assert gallery.some(places, np.full(101, np.nan)) == []
