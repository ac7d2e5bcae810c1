"""Captions: order, one more try, what faults do, and a second run that asks nothing."""

import dataclasses
import threading
import time

import pytest

from ltx_jax.curation import captions, filters
from ltx_jax.curation.captions import (
  FAULTS,
  Captioned,
  CaptionRule,
  caption,
  faults_of,
  prompt,
)
from ltx_jax.curation.clip import Decision, row_of
from ltx_jax.curation.filters import Threshold
from ltx_jax.curation.replies import Cache, Captioner, NoReply, Reply
from ltx_jax.curation.table import tabled
from tests.curation.caption_case import Scripted, clip, said_of, stills_of

CLIPS = [clip(f"c{k}") for k in range(40)]
STATIC = (
  "A white cup and a blue plate are on a wooden table next to a window, in soft light "
  "from the left, with a grey wall behind them."
)


def good(question):
  return said_of(question.stills)


def once(text):
  """Replies with a text, and without a fault to the question that names one."""
  return lambda q: good(q) if "An earlier description" in q.prompt else text


def run(tmp_path, captioner, clips=CLIPS, **given):
  cache = Cache(tmp_path / "replies.jsonl")
  return list(caption(clips, stills_of, captioner, cache, **given))


def test_clips_keep_their_order_whatever_that_of_replies(tmp_path):
  def slow_at_first(question):
    time.sleep(0.05 if question.stills.images[0].startswith(b"c0 ") else 0.001)
    return good(question)

  captioner = Scripted(slow_at_first)
  assert isinstance(captioner, Captioner)
  found = run(tmp_path, captioner)
  assert found == [dataclasses.replace(c, caption=said_of(stills_of(c))) for c in CLIPS]
  assert len(captioner.questions) == len(CLIPS)


def test_a_second_run_asks_nothing_and_is_equal(tmp_path):
  first = run(tmp_path, Scripted(once("Too short.")))
  again = Scripted(good)
  assert run(tmp_path, again, first) == first
  assert again.questions == []


def test_an_interrupted_run_asks_only_for_the_rest(tmp_path):
  cache = Cache(tmp_path / "replies.jsonl")
  some = caption(CLIPS, stills_of, Scripted(good, at_once=1), cache)
  next(some)
  some.close()
  time.sleep(0.1)  # A call that is on its way when a run ends is not called back.
  kept = len(Cache(tmp_path / "replies.jsonl"))
  rest = Scripted(good)
  assert len(run(tmp_path, rest)) == len(CLIPS)
  assert 1 <= kept < len(CLIPS) and len(rest.questions) == len(CLIPS) - kept


def test_calls_run_at_the_same_time_but_no_more_than_allowed(tmp_path):
  running, most, lock = [0], [0], threading.Lock()

  def counted(question):
    with lock:
      running[0] += 1
      most[0] = max(most[0], running[0])
    time.sleep(0.01)
    with lock:
      running[0] -= 1
    return good(question)

  run(tmp_path, Scripted(counted, at_once=4))
  assert 2 <= most[0] <= 4


def test_batches_are_full_although_some_clips_need_no_caption(tmp_path):
  sizes = []

  class Batches(Scripted):
    def __call__(self, questions):
      sizes.append(len(questions))
      return super().__call__(questions)

  dropped = Decision("motion", "static", 0.0, 0.1)
  mixed = [
    dataclasses.replace(c, decision=dropped if k % 3 else None)
    for k, c in enumerate(CLIPS)
  ]
  found = run(tmp_path, Batches(good, batch=4, at_once=1), mixed)
  assert sizes == [4, 4, 4, 2]
  assert [c.id for c in found] == [c.id for c in CLIPS]
  assert [bool(c.caption) for c in found] == [not k % 3 for k in range(len(CLIPS))]


def test_a_fault_is_named_in_one_more_question(tmp_path):
  captioner = Scripted(once("Too short."))
  (found,) = run(tmp_path, captioner, CLIPS[:1])
  assert found.caption == said_of(stills_of(found)) and found.decision is None
  assert faults_of(found) == ()
  first, second = (question.prompt for question in captioner.questions)
  assert second == first + (
    "\nAn earlier description was too short. Write one without this fault."
  )


def test_what_is_wrong_twice_drops_the_clip(tmp_path):
  captioner = Scripted(lambda question: "A dog\nruns")
  (found,) = run(tmp_path, captioner, CLIPS[:1])
  assert found.decision == Decision("caption", "caption", "short, cut, list")
  assert found.caption == "A dog runs" and faults_of(found) == ("short", "cut", "list")
  assert len(captioner.questions) == 2


def test_a_fault_may_stay_with_its_clip(tmp_path):
  moving = clip("m", scores={"motion": 0.2})
  script = Scripted(lambda question: STATIC)
  (found,) = run(tmp_path, script, [moving])
  assert (found.caption, found.decision) == (STATIC, None)
  assert found.extra == {FAULTS: ["static"]} and row_of(found).extra == found.extra
  (strict,) = run(tmp_path, script, [found], rule=CaptionRule(kept_with=()))
  assert strict.decision == Decision("caption", "caption", "static")
  # What it decided is forgotten, and so is the list of faults.
  (loose,) = run(tmp_path, script, [strict])
  assert loose == found


def test_of_two_captions_with_faults_the_better_one_counts(tmp_path):
  moving = clip("m", scores={"motion": 0.2})
  (found,) = run(tmp_path, Scripted(lambda q: once(STATIC)(q) and STATIC), [moving])
  assert found.caption == STATIC

  def worse(question):
    return "Short." if "An earlier description" in question.prompt else STATIC

  (found,) = run(tmp_path / "other", Scripted(worse), [moving])
  assert found.caption == STATIC and found.decision is None


@pytest.mark.parametrize(
  ("text", "faults"),
  [
    ("A man wa\0lks. " * 2, "short, script"),
    ("\ud800", "empty"),
    (" ".join(["walks"] * 10_000), "long, cut, loop"),
    ("", "empty"),
    (" \n\t ", "empty"),
  ],
)
def test_what_no_file_holds_is_dropped_whatever_the_rule_keeps(tmp_path, text, faults):
  kept_with = ("empty", "short", "long", "cut", "loop", "script")
  script = Scripted(lambda question: text)
  (found,) = run(tmp_path, script, CLIPS[:1], rule=CaptionRule(kept_with=kept_with))
  assert found.caption == ""
  assert found.decision == Decision("caption", "caption", faults)


def test_odd_letters_are_read_back_equal(tmp_path):
  text = (
    "A woman in a red\tcoat walks to the cafe\u0301 and waves 👋 at a child. The sky "
    "is grey\nand the camera follows her from the side."
  )
  rule = CaptionRule(kept_with=("list",))
  (found,) = run(tmp_path, Scripted(lambda q: text), CLIPS[:1], rule=rule)
  assert found.caption == " ".join(text.split()).replace("e\u0301", "é")
  assert row_of(found).caption == found.caption


def test_tokens_of_the_text_encoder_count(tmp_path):
  (found,) = run(tmp_path, Scripted(good), CLIPS[:1], tokens=lambda text: 300)
  assert found.decision.value == "long"


def test_a_clip_without_a_reply_is_dropped_and_asked_again_next_time(tmp_path):
  def broken(question):
    if question.stills.images[0].startswith(b"c3 "):
      raise NoReply("the server failed 6 times: 503 busy")
    return good(question)

  found = run(tmp_path, Scripted(broken))
  lost = [c for c in found if c.decision]
  assert [c.id for c in lost] == ["c3"]
  assert lost[0].decision.value == "no reply: the server failed 6 times: 503 busy"
  assert lost[0].decision.reason == "caption"
  again = Scripted(good)
  assert all(c.decision is None for c in run(tmp_path, again, found))
  assert len(again.questions) == 1


def test_a_server_that_is_gone_ends_the_run_in_words(tmp_path):
  def gone(question):
    raise NoReply("Connection refused")

  message = "16 times in a row .* because Connection refused; see to it and run again"
  with pytest.raises(ValueError, match=message):
    run(tmp_path, Scripted(gone))


def test_an_error_that_no_other_try_helps_ends_the_run(tmp_path):
  def refused(question):
    raise ValueError("The key is wrong; give another.")

  with pytest.raises(ValueError, match="The key is wrong"):
    run(tmp_path, Scripted(refused))


def test_progress_adds_up(tmp_path):
  told = []
  script = once("Too short.")
  run(tmp_path, Scripted(script), progress=told.append)
  assert told[-1] == captions.Progress(
    clips=40, dropped=0, asked=80, again=40, cached=0, tokens=80 * 9
  )
  assert [each.clips for each in told] == list(range(1, 41))
  run(tmp_path, Scripted(script), progress=told.append)
  assert told[-1] == captions.Progress(clips=40, dropped=0, cached=80)


def test_the_prompt_has_the_seconds_of_the_stills():
  times = captions.evenly(CLIPS[0], 4)
  assert times == (0.5, 1.5, 2.5, 3.5)
  assert "The 4 images are stills of the clip in order, at 0.5, 1.5, 2.5 and 3.5 " in (
    prompt(times)
  )
  assert "seconds" not in prompt((0.0,)) and "this image" in prompt((0.0,))
  assert "too short, and had lists" in prompt(times, ("short", "list"))
  with pytest.raises(ValueError, match="no stills to describe"):
    prompt(())


def test_a_reply_that_was_cut_off_is_a_fault(tmp_path):
  whole = said_of(stills_of(CLIPS[0]))
  cut = Scripted(lambda question: Reply(whole, "length", 400, "s"))
  (found,) = run(tmp_path, cut, CLIPS[:1])
  assert found.decision.value == "cut"


def test_captioning_is_a_rule_among_others(tmp_path):
  script = Scripted(lambda q: "No." if q.stills.images[0] < b"c2" else good(q))
  length = Threshold("length", "length", "seconds", most=3.0)
  long = dataclasses.replace(clip("long"), end=3.5)
  clips = [dataclasses.replace(c, end=2.0) for c in CLIPS]
  captioned = run(
    tmp_path, script, list(filters.select(tabled([*clips, long]), [length]).clips())
  )
  rule = Captioned.of(captioned)
  assert isinstance(rule, filters.Filter)
  found = filters.select(tabled(captioned), [length, rule])
  assert list(found.clips()) == captioned
  assert [(step.rule, step.dropped) for step in found.steps] == [
    ("length", 1),
    ("caption", 12),
  ]
