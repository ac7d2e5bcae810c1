"""Filters: order decides who drops, rows stay, shares become numbers, sums agree."""

import dataclasses

import numpy as np
import pytest

from ltx_jax.curation import details, filters, windows
from ltx_jax.curation.clip import Clip, Decision, from_json, to_json
from ltx_jax.curation.filters import Duplicates, Threshold
from ltx_jax.curation.table import DERIVED, tabled
from tests.curation.test_scenes import texture

LENGTH = Threshold("length", "length", "seconds", least=1.0, most=20.0)
MOTION = Threshold("motion", "static", "motion", least=0.005)
BEST = Threshold("aesthetic", "aesthetic", "aesthetic", best=0.3)


def clip(name, seconds=4.0, size=(640, 360), **given):
  codes = {name: given.pop(name, ()) for name in ("hashes", "windows", "details")}
  frames = round(25 * seconds)
  return Clip(
    *(name, "a", 0, "a.mp4", 0.0, seconds, *size, frames, 25.0),
    scores=given,
    **codes,
  )


def select(clips, filters_):
  return filters.select(tabled(clips), filters_)


def decided(selection):
  return {c.id: c.decision and c.decision.rule for c in selection.clips()}


def kept(selection):
  return [selection.table.ids[place] for place in selection.kept]


def test_a_dropped_clip_keeps_its_row_with_reason_value_and_threshold():
  short = clip("a", 0.5, motion=0.2)
  found = select([short, clip("b", motion=0.1)], [LENGTH, MOTION])
  first, second = found.clips()
  assert second.id == "b" and first == dataclasses.replace(
    short, decision=Decision("length", "length", 0.5, 1.0)
  )
  assert kept(found) == ["b"]
  (long,) = select([clip("c", 30.0)], [LENGTH]).clips()
  assert long.decision == Decision("length", "length", 30.0, 20.0)


def test_the_first_rule_that_drops_a_clip_is_recorded():
  clips = [clip("a", 0.5, motion=0.0), clip("b", motion=0.0), clip("c", motion=1.0)]
  found = select(clips, [LENGTH, MOTION])
  assert decided(found) == {"a": "length", "b": "motion", "c": None}
  assert [tuple(step) for step in found.steps] == [
    ("length", 3, 1, 0.5, 1),
    ("motion", 2, 1, 4.0, 2),
  ]
  other = select(clips, [MOTION, LENGTH])
  assert decided(other) == {"a": "motion", "b": "motion", "c": None}


def test_the_funnel_adds_up():
  rng = np.random.default_rng(0)
  clips = [
    clip(
      f"{k}", rng.uniform(0, 25), motion=rng.uniform(0, 0.01), aesthetic=rng.normal()
    )
    for k in range(200)
  ]
  found = select(clips, [LENGTH, MOTION, BEST])
  rows = filters.funnel(found)
  assert rows[0][1] == 200 and rows[-1][1] == len(found.kept) > 0
  assert [name for name, _, _ in rows] == ["found", "length", "motion", "aesthetic"]
  hours = sum(found.clip(k).seconds for k in found.kept) / 3600
  assert rows[-1][2] == pytest.approx(hours)
  assert all(a >= b for (_, a, _), (_, b, _) in zip(rows, rows[1:], strict=False))


def test_a_share_is_of_the_clips_that_reach_the_rule_and_becomes_a_number():
  clips = [
    clip(f"{k}", motion=0.001 * (k >= 50), aesthetic=float(k)) for k in range(100)
  ]
  found = select(clips, [BEST])
  assert kept(found) == [f"{k}" for k in range(70, 100)]
  moved = dataclasses.replace(MOTION, least=0.0, most=0.0005)
  found = select(clips, [moved, BEST])
  assert kept(found) == [f"{k}" for k in range(35, 50)]
  assert found.filters[1] == dataclasses.replace(BEST, best=None, least=35.0)
  assert found.decision(0) == Decision("aesthetic", "aesthetic", 0.0, 35.0)
  again = select(list(found.clips()), found.filters)
  assert list(again.clips()) == list(found.clips())


def test_equal_scores_are_kept_or_dropped_together():
  clips = [clip(f"{k}", aesthetic=1.0 + 1e-7 * k) for k in range(10)]
  assert len(select(clips, [BEST]).kept) == 10


def test_new_thresholds_forget_what_old_ones_decided():
  clips = [clip("a", motion=0.002), clip("b", motion=0.2)]
  first = select(clips, [MOTION])
  looser = dataclasses.replace(MOTION, least=0.001)
  assert len(select(list(first.clips()), [looser]).kept) == 2


def test_decisions_of_other_rules_stay():
  broken = dataclasses.replace(
    clip("a"), decision=Decision("readable", "corrupt", 0.5, 0.02)
  )
  found = select([broken, clip("b")], [LENGTH])
  assert decided(found) == {"a": "readable", "b": None}
  assert found.steps[0] == ("readable", 2, 1, 4.0, 1)
  assert filters.funnel(found)[-1][1] == 1


def test_a_clip_without_a_measure_is_kept():
  assert len(select([clip("image", 0.04)], [MOTION, BEST]).kept) == 1


def test_a_rule_whose_score_no_clip_has_is_off_and_says_so():
  clips = [clip("a", motion=0.1), clip("b", motion=0.2)]
  most = dataclasses.replace(BEST, name="ugly", best=None, least=0.5)
  found = select(clips, [MOTION, BEST, most])
  assert len(found.kept) == 2 and found.filters == [MOTION, BEST, most]
  why = "off: no clip has the score aesthetic"
  assert found.off == {"aesthetic": why, "ugly": why}
  # Scores that only clips have that were dropped before.
  gone = select([clip("a", motion=0.0, aesthetic=1.0)], [MOTION, BEST])
  assert gone.off == {} and gone.filters[1] == BEST


def test_measures_that_every_clip_has():
  cropped = dataclasses.replace(clip("a"), crop=(0, 40, 640, 280))
  found = tabled([cropped, clip("b", motion=0.123456)])
  values = [found.measure(name)[0] for name in DERIVED]
  assert values == [4.0, 100, 25.0, 280, 640 * 280]
  np.testing.assert_equal(found.measure("motion"), [np.nan, 0.1235])
  assert np.isnan(found.measure("unknown")).all()


def test_the_largest_of_duplicates_is_kept():
  one, other = ("00ff00ff00ff00ff",) * 3, ("0f0f0f0f0f0f0f0f",) * 3
  clips = [
    clip("a", hashes=one, aesthetic=9.0),
    clip("b", size=(1280, 720), hashes=one),
    clip("c", hashes=other),
    clip("d"),
  ]
  for order in (clips, clips[::-1]):
    found = select(order, [Duplicates()])
    assert sorted(kept(found)) == ["b", "c", "d"]
    dropped = next(c for c in found.clips() if c.id == "a")
    assert dropped.decision == Decision("duplicates", "duplicate", "b")
  # What an earlier rule drops is nobody's duplicate.
  small = Threshold("size", "small", "side", most=400)
  assert decided(select(clips, [small, Duplicates()]))["a"] is None


def test_the_least_compressed_of_equally_large_duplicates_is_kept():
  same = {"hashes": ("00ff00ff00ff00ff",) * 3}
  clips = [clip("a", bits=0.02, **same), clip("b", bits=1.5, **same)]
  assert kept(select(clips, [Duplicates()])) == ["b"]
  longer = clip("a", seconds=4.5, bits=0.02, **same)
  assert kept(select([longer, clips[1]], [Duplicates()])) == ["b"]
  # People's scores say more.
  better = clip("a", bits=0.02, aesthetic=2.0, **same)
  worse = clip("b", bits=1.5, aesthetic=1.0, **same)
  assert kept(select([better, worse], [Duplicates()])) == ["a"]


def test_images_are_compared_by_their_only_still():
  same = [clip(name, hashes=("00ff00ff00ff00ff",)) for name in "ab"]
  assert len(select(same, [Duplicates()]).kept) == 1


def seen(seed, cut=0):
  """The windows of three stills, with a part cut off."""
  picture = texture(seed)[: 144 - cut, cut:256].clip(0, 255).astype(np.uint8)
  return {"windows": windows.to_text(windows.windows(np.stack([picture] * 3)))}


def test_a_cropped_copy_is_a_duplicate_of_the_whole():
  codes = [(4 * text,) * 3 for text in ("00ff", "0f0f", "33cc")]
  whole = clip("a", size=(1280, 720), hashes=codes[0], **seen(1))
  crop = clip("b", hashes=codes[1], **seen(1, 12))
  clips = [crop, whole, clip("c", hashes=codes[2], **seen(2)), clip("d")]
  for order in (clips, clips[::-1]):
    found = select(order, [Duplicates()])
    assert sorted(kept(found)) == ["a", "c", "d"]
    (dropped,) = (c for c in found.clips() if c.decision)
    assert dropped.decision == Decision("duplicates", "duplicate", "a")
  # What an earlier rule drops is nobody's duplicate, and counts alone.
  small = Threshold("size", "small", "side", most=400)
  found = select(clips, [small, Duplicates()])
  assert decided(found) == {"a": "size", "b": None, "c": None, "d": None}
  assert found.steps[1].alone == 1
  assert found.filters[1] == Duplicates()


def test_copies_are_looked_for_once(monkeypatch):
  calls = []
  found = windows.cropped
  monkeypatch.setattr(windows, "cropped", lambda *a: calls.append(a) or found(*a))
  clips = [clip(name, hashes=("00ff00ff00ff00ff",) * 3, **seen(1)) for name in "ab"]
  assert select(clips, [Duplicates()]).steps[0].alone == 1
  assert len(calls) == 1


def test_stills_with_the_same_outline_are_compared_in_detail():
  one, other = details.to_text(
    np.random.default_rng(0).integers(0, 2**64, (2, details.WORDS), np.uint64)
  )
  hashes = ("00ff00ff00ff00ff",) * 3
  clips = [
    clip("a", hashes=hashes, details=(one,) * 3),
    clip("b", hashes=hashes, details=(other,) * 3),
    clip("c", hashes=hashes, details=(one, other, one)),
  ]
  found = decided(select(clips, [Duplicates()]))
  assert found == {"a": None, "b": None, "c": "duplicates"}


def test_clips_without_windows_and_details_are_compared_by_their_hashes():
  """An earlier version measured them."""
  codes = ("00ff00ff00ff00ff",) * 3
  rows = [to_json(clip(name, hashes=codes)) for name in "ab"]
  for row in rows:
    del row["windows"], row["details"]
  clips = [from_json(Clip, row) for row in rows]
  assert len(filters.select(tabled(clips, rows), [Duplicates()]).kept) == 1


@pytest.mark.parametrize("name", ["hashes", "windows", "details"])
def test_a_clip_of_too_many_stills_is_refused(name):
  codes = ("00ff00ff00ff00ff",) * 4
  with pytest.raises(ValueError, match=f"a has {name} of 4 stills; 3 are known"):
    tabled([clip("a", **{name: codes})])
  with pytest.raises(ValueError, match="windows 'x' are not"):
    tabled([clip("a", windows=("x",))])


@pytest.mark.parametrize(
  ("given", "message"),
  [
    ({}, "give least, most or both, or best alone"),
    ({"least": 1.0, "best": 0.5}, "give least, most or both, or best alone"),
    ({"best": 1.5}, "best of the rule 'r' is 1.5; it must be above 0 and at most 1"),
  ],
)
def test_a_threshold_is_one_kind_of_number(given, message):
  with pytest.raises(ValueError, match=message):
    Threshold("r", "score", "motion", **given)


def test_names_of_rules_differ():
  with pytest.raises(ValueError, match="Rules share a name"):
    select([], [LENGTH, LENGTH])
