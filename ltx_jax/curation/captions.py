"""Captions: a question about each clip, its reply, lint, and one more try.

The paper captions its whole training set anew. LTX-Video wants one literal paragraph in
the order of events (README of Lightricks/LTX-Video), so that is asked for, with the
seconds of the stills that the captioner sees. A reply with faults (`lint`) is asked for
once more, and the question names them. What is still wrong then drops the clip, or
stays with it, as the rule says.

Clips come out in the order in which they went in, whatever the order of replies, and
every reply is kept (`replies`): a second run gives the same captions and asks nothing.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from ltx_jax.curation.clip import Clip, Decision
from ltx_jax.curation.filters import Verdict
from ltx_jax.curation.lint import IN_WORDS, Fault, LintRule, lint, tidy
from ltx_jax.curation.replies import (
  Cache,
  Captioner,
  NoReply,
  Question,
  Reply,
  Stills,
  key,
)
from ltx_jax.curation.table import Table

FAULTS = "caption_faults"
"""Field of a clip, next to those of `Clip`, that lists the faults of its caption."""

STILLS = 8
"""Largest number of stills that a captioner needs of a clip."""

_AHEAD = 16  # Calls for each thread that may be done before an earlier one is.

_CLIP = """\
Describe what this video clip shows, for a network that learns to make videos from text.
The {count} images are stills of the clip in order, at {times} seconds.
Write one paragraph of 60 to 150 words in plain English, in the present tense, in the
order in which things happen. Begin at once with the main action, in one sentence. Go on
with movements and gestures, then with what people and things look like, the background,
the angle and the movement of the camera, the light and the colours. Mention a sudden
change where it happens."""
_IMAGE = """\
Describe what this image shows, for a network that learns to make images from text.
Write one paragraph of 60 to 150 words in plain English, in the present tense. Begin at
once with the main subject, in one sentence. Go on with what people and things look
like, the background, the angle of the view, the light and the colours."""
_BOTH = """
Say literally what can be seen; do not guess, judge or interpret. Do not mention the
video, the images or this request. Use no lists, no headings and no line breaks."""


class CaptionRule(NamedTuple):
  """What becomes of a caption with faults.

  Attributes:
    name: Name of the rule in decisions.
    lint: Numbers of the faults.
    kept_with: Faults that a caption may keep if a second try has them too.
    unanswered: Number of calls in a row without a reply that ends the run.
  """

  name: str = "caption"
  lint: LintRule = LintRule()
  kept_with: tuple[Fault, ...] = ("static", "camera")
  unanswered: int = 16


RULE = CaptionRule()
"""The rule to start with."""


class Progress(NamedTuple):
  """How far captions are.

  Attributes:
    clips: Clips that are done, those that came without a need for a caption included.
    dropped: Clips that were dropped for their captions, or for want of one.
    asked: Questions to the captioner.
    again: Those of them that name a fault.
    cached: Questions whose reply was there already.
    tokens: Tokens of the replies to what was asked.
  """

  clips: int = 0
  dropped: int = 0
  asked: int = 0
  again: int = 0
  cached: int = 0
  tokens: int = 0


@dataclasses.dataclass(frozen=True)
class Captioned:
  """Drops what captioning dropped, so that it is a rule among others (`filters`).

  Attributes:
    decisions: Why clips were dropped for their captions, by their ids.
    name: Name of the rule in decisions.
  """

  decisions: Mapping[str, Decision]
  name: str = RULE.name

  @classmethod
  def of(cls, clips: Iterable[Clip], name: str = RULE.name) -> Captioned:
    """Returns the rule that decides as captioning did."""
    decided = {clip.id: clip.decision for clip in clips if clip.decision}
    return cls({id: d for id, d in decided.items() if d.rule == name}, name)

  def verdict(
    self,
    table: Table,
    reached: Bool[np.ndarray, "n"],
    everyone: Bool[np.ndarray, "n"],
  ) -> Verdict:
    """Returns what captioning said, whatever clips reach it."""
    drops = np.array([id in self.decisions for id in table.ids], bool)
    return Verdict(self, drops, drops, lambda place: self.decisions[table.ids[place]])


def prompt(seconds: Sequence[float], faults: Sequence[Fault] = ()) -> str:
  """Returns what a captioner reads next to the stills of a clip.

  Args:
    seconds: When the stills are shown; a single one is an image.
    faults: What was wrong with an earlier caption.

  Raises:
    ValueError: If there are no stills.
  """
  if not seconds:
    raise ValueError("A clip has no stills to describe; measure its video again.")
  if len(seconds) == 1:
    text = _IMAGE + _BOTH
  else:
    times = [f"{second:.1f}" for second in seconds]
    told = f"{', '.join(times[:-1])} and {times[-1]}"
    text = _CLIP.format(count=len(times), times=told) + _BOTH
  if faults:
    said = ", and ".join(IN_WORDS[fault] for fault in faults)
    text += f"\nAn earlier description {said}. Write one without this fault."
  return text


def evenly(clip: Clip, count: int) -> tuple[float, ...]:
  """Returns the seconds of stills that are taken evenly over the length of a clip."""
  return tuple(round((k + 0.5) * clip.seconds / count, 3) for k in range(count))


def caption(
  clips: Iterable[Clip],
  stills_of: Callable[[Clip], Stills],
  captioner: Captioner,
  cache: Cache,
  rule: CaptionRule = RULE,
  progress: Callable[[Progress], None] | None = None,
  *,
  tokens: Callable[[str], int] | None = None,
) -> Iterator[Clip]:
  """Yields clips with captions, in their order; those that a rule dropped as they are.

  The faults that a clip's caption has are listed in its field `FAULTS`. What this rule
  decided on an earlier run is forgotten.

  Args:
    clips: Clips; captions that they have are replaced.
    stills_of: Reads the stills of a clip, in some thread.
    captioner: Writes captions.
    cache: Replies so far.
    rule: What becomes of a caption with faults.
    progress: Is told how far captions are, whenever some are done.
    tokens: Counts the text encoder's tokens of a caption; without it only words count.

  Raises:
    ValueError: If no question will have a reply, or too many calls in a row had none.
  """
  work = _Work(stills_of, captioner, cache, rule, tokens)
  done, unanswered = Progress(), 0
  pool = ThreadPoolExecutor(captioner.at_once, "caption")
  try:
    groups = _groups(clips, captioner.batch, rule)
    for each in _in_order(pool, work.captioned, groups, _AHEAD * captioner.at_once):
      done = Progress(*map(sum, zip(done, each.progress, strict=True)))
      if progress:
        progress(done)
      if each.progress.clips > each.settled:
        unanswered = unanswered + 1 if each.no_reply else 0
      if unanswered >= rule.unanswered:
        raise ValueError(
          f"{unanswered} times in a row the captioner gave no reply, the last time "
          f"because {each.no_reply}; see to it and run again: all replies are kept."
        )
      yield from each.clips
  finally:
    pool.shutdown(wait=False, cancel_futures=True)


def faults_of(clip: Clip) -> tuple[Fault, ...]:
  """Returns the faults that a clip's caption has."""
  listed = clip.extra.get(FAULTS, ())
  return tuple(fault for fault in IN_WORDS if fault in listed)


class _Done(NamedTuple):
  """A group of clips with captions.

  `settled` counts those that needed none; `no_reply` is why there was no reply.
  """

  clips: list[Clip]
  progress: Progress
  settled: int
  no_reply: str = ""


def _groups(
  clips: Iterable[Clip], size: int, rule: CaptionRule
) -> Iterator[list[Clip]]:
  """Yields lists of clips of which at most `size` need a caption."""
  group: list[Clip] = []
  needed = 0
  for clip in clips:
    clip = _forgotten(clip, rule)
    group.append(clip)
    needed += clip.decision is None
    if needed == size or len(group) >= 64 * size:
      yield group
      group, needed = [], 0
  if group:
    yield group


def _forgotten(clip: Clip, rule: CaptionRule) -> Clip:
  """Takes away what this rule found on an earlier run."""
  if clip.decision and clip.decision.rule != rule.name:
    return clip
  extra = {name: value for name, value in clip.extra.items() if name != FAULTS}
  return dataclasses.replace(clip, decision=None, extra=extra)


def _in_order(
  pool: ThreadPoolExecutor,
  work: Callable[[list[Clip]], _Done],
  groups: Iterable[list[Clip]],
  ahead: int,
) -> Iterator[_Done]:
  """Yields what becomes of groups in their order, while later ones are worked on."""
  waiting: collections.deque[Future[_Done]] = collections.deque()
  for group in groups:
    waiting.append(pool.submit(work, group))
    if len(waiting) >= ahead:
      yield waiting.popleft().result()
  while waiting:
    yield waiting.popleft().result()


@dataclasses.dataclass(frozen=True)
class _Work:
  """What threads share."""

  stills_of: Callable[[Clip], Stills]
  captioner: Captioner
  cache: Cache
  rule: CaptionRule
  tokens: Callable[[str], int] | None

  def captioned(self, clips: list[Clip]) -> _Done:
    """Returns clips with captions; all without one if a reply is missing."""
    needing = {k: clip for k, clip in enumerate(clips) if clip.decision is None}
    settled = len(clips) - len(needing)
    counts: collections.Counter[str] = collections.Counter(clips=len(clips))
    done, why = list(clips), ""
    try:
      stills = {k: self.stills_of(clip) for k, clip in needing.items()}
      first = {k: Question(s, prompt(s.seconds)) for k, s in stills.items()}
      replies = self._asked(first, counts)
      faults = {k: self._faults(replies[k], clip) for k, clip in needing.items()}
      again = {
        k: Question(stills[k], prompt(stills[k].seconds, faults[k]))
        for k in needing
        if faults[k]
      }
      before = counts["asked"]
      for k, reply in self._asked(again, counts).items():
        found = self._faults(reply, needing[k])
        if self._weight(found) <= self._weight(faults[k]):
          replies[k], faults[k] = reply, found
      counts["again"] = counts["asked"] - before
      for k, clip in needing.items():
        done[k] = self._decided(clip, replies[k].text, faults[k])
    except NoReply as error:
      why = str(error)
      lost = Decision(self.rule.name, "caption", f"no reply: {why}")
      for k, clip in needing.items():
        done[k] = dataclasses.replace(clip, caption="", decision=lost)
    counts["dropped"] = sum(done[k].decision is not None for k in needing)
    return _Done(done, Progress(**counts), settled, why)

  def _asked(
    self, questions: dict[int, Question], counts: collections.Counter[str]
  ) -> dict[int, Reply]:
    """Returns the replies to questions, those that are kept or new ones."""
    settings = self.captioner.settings
    names = {k: key(question, settings) for k, question in questions.items()}
    replies = {k: self.cache.get(name) for k, name in names.items()}
    missing = [k for k, reply in replies.items() if reply is None]
    counts["cached"] += len(replies) - len(missing)
    if missing:
      counts["asked"] += len(missing)
      new = self.captioner([questions[k] for k in missing])
      for k, reply in zip(missing, new, strict=True):
        counts["tokens"] += reply.tokens
        replies[k] = self.cache.keep(names[k], reply)
    return replies

  def _faults(self, reply: Reply, clip: Clip) -> tuple[Fault, ...]:
    count = None
    if self.tokens and (line := _line(reply.text)):
      count = self.tokens(line)
    return lint(
      reply.text,
      clip.scores,
      finish=reply.finish,
      tokens=count,
      rule=self.rule.lint,
    )

  def _weight(self, faults: Sequence[Fault]) -> tuple[int, int]:
    """Returns how bad faults are: those that drop the clip, then all."""
    return len(set(faults) - set(self.rule.kept_with)), len(faults)

  def _decided(self, clip: Clip, text: str, faults: tuple[Fault, ...]) -> Clip:
    line, decision, extra = _line(text), None, dict(clip.extra)
    if faults:
      extra[FAULTS] = list(faults)
    # What no file can hold is dropped whatever the rule keeps.
    if self._weight(faults)[0] or not line:
      decision = Decision(self.rule.name, "caption", ", ".join(faults))
    return dataclasses.replace(clip, caption=line, decision=decision, extra=extra)


def _line(text: str) -> str:
  """Returns a caption on one line; "" for one that no file holds."""
  try:
    return tidy(text)
  except ValueError:
    return ""
