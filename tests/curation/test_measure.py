"""From frames to clips: nothing vanishes, each is cropped, measured and shown."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from tests.curation.test_scenes import pan, video

pytest.importorskip("cv2")
from ltx_jax.curation import duplicates, frames
from ltx_jax.curation.borders import Profiles
from ltx_jax.curation.clip import Source, Span
from ltx_jax.curation.frames import Frames
from ltx_jax.curation.measure import ClipRule, Measures, measure, pieces

RULES = Measures(clips=ClipRule(shortest=9))
FPS = 25


def seen(small, bars=0):
  """Frames as one decoding leaves them, at the size that they have already."""
  count, h, w = small.shape[:3]
  at = np.arange(0, count, 8)
  light = small[at].mean((2, 3)), small[at].mean((1, 3))
  rows, columns = (np.rint(values).astype(np.uint8) for values in light)
  rows = np.maximum(rows, 60)
  rows[:, :bars] = 16
  rows, columns = (np.stack([one] * 3, 1) for one in (rows, np.maximum(columns, 60)))
  stills = np.arange(0, count, FPS)
  profiles = Profiles(rows, columns, np.full(len(at), 99.0), at)
  return Frames(
    np.arange(count) / FPS, small, profiles, small[stills], stills, (w, h), 0.0
  )


def span_of(found):
  h, w = found.small.shape[1:3]
  count = len(found.seconds)
  return Span(Source("a.mp4", "/a.mp4", w, h, count, float(FPS), count / FPS))


def measured(found, rules=RULES):
  return list(measure(span_of(found), found, rules))


def test_each_scene_is_a_clip_without_the_frames_next_to_its_cuts():
  found = seen(video(pan(1, 40), pan(2, 30, 2.0)))
  one, two = [part.clip for part in measured(found)]
  assert (one.id, two.id) == ("a.mp4@0", "a.mp4@1680")
  assert (one.start, one.end, one.frames) == (0.0, 1.52, 38)
  assert (two.start, two.end, two.frames) == (1.68, 2.8, 28)
  assert one.fps == two.fps == FPS and one.decision is None and one.crop is None
  assert two.scores["motion"] > 1.5 * one.scores["motion"] > 0
  for codes in (one.hashes, one.windows, one.details):
    assert len(codes) == len(duplicates.PARTS)


def test_all_frames_but_the_trimmed_ones_lie_in_a_piece():
  dark = np.full((20, 72, 128, 3), 8.0)
  found = seen(video(pan(1, 40), dark, pan(2, 5), pan(3, 30)))
  parts = list(pieces(found, RULES))
  reasons = [part.decision and part.decision.reason for part in parts]
  assert reasons == [None, "black", "length", None]
  assert parts[1].start == 40 and parts[1].stop == 60
  covered = sum(part.stop - part.start for part in parts)
  assert len(found.seconds) - covered == 2 + 2 + 2 + 2


def test_a_video_of_nothing_but_black_is_one_clip_that_is_dropped():
  (part,) = measured(seen(np.full((30, 72, 128, 3), 3, np.uint8)))
  assert part.clip.decision.reason == "black" and part.clip.frames == 30
  assert not part.stills


def test_a_long_scene_is_cut_evenly():
  found = seen(video(pan(1, 100, 0.5)))
  rules = RULES._replace(clips=ClipRule(shortest=9, longest=1.5))
  clips = [part.clip for part in measured(found, rules)]
  assert [clip.frames for clip in clips] == [33, 34, 33]
  assert all(a.end == b.start for a, b in zip(clips, clips[1:], strict=False))


def test_a_letterbox_that_comes_splits_a_scene_and_is_cropped():
  found = seen(video(pan(1, 160, 0.3)))
  rows = found.profiles.rows.copy()
  rows[10:, :, :12] = 16
  found = found._replace(profiles=found.profiles._replace(rows=rows))
  before, after = [part.clip for part in measured(found)]
  assert before.crop is None and before.frames == 80
  assert after.crop == (0, 12, 128, 60)


def test_stills_are_cropped_and_named_by_their_content():
  found = seen(video(pan(1, 60, 0.3)), bars=12)
  (part,) = measured(found)
  assert part.clip.stills == tuple(part.stills) and len(part.stills) == 3
  for content in part.stills.values():
    assert Image.open(io.BytesIO(content)).size == (128, 60)
  assert [*measured(found)[0].stills] == [*part.stills]


def test_a_long_clip_has_five_stills_evenly_over_its_length():
  found = seen(video(pan(1, 12 * FPS, 0.5)))
  (part,) = measured(found)
  images = [Image.open(io.BytesIO(content)) for content in part.stills.values()]
  # Of twelve, one a second: those in the middles of five equal parts.
  misses = [
    np.abs(found.stills - np.float32(image)).mean((1, 2, 3)) for image in images
  ]
  assert [int(miss.argmin()) for miss in misses] == [1, 3, 6, 8, 10]


def test_a_clip_of_less_than_a_second_has_a_still():
  found = seen(video(pan(1, 30), pan(2, 19), pan(3, 30)))
  clips = [part.clip for part in measured(found)]
  assert clips[1].frames == 15 and len(clips[1].stills) == 1


def test_an_image_has_no_motion():
  found = seen(video(pan(1, 1)))
  (part,) = measured(found)
  assert part.clip.frames == 1 and part.clip.seconds == 0
  assert "motion" not in part.clip.scores and part.clip.decision is None
  assert len(part.stills) == 1


def test_a_clip_has_the_bits_of_its_file_for_each_pixel():
  found = seen(video(pan(1, 30)))
  span = span_of(found)
  pixels = span.source.frames * span.source.width * span.source.height
  source = dataclasses.replace(span.source, bytes=pixels)
  (part,) = measure(dataclasses.replace(span, source=source), found, RULES)
  assert part.clip.scores["bits"] == 8


def test_a_frozen_clip_and_a_slow_one_are_told_apart():
  frozen = seen(np.repeat(video(pan(1, 1)), 50, 0))
  (still,), (slow,) = measured(frozen), measured(seen(video(pan(1, 50, 0.5))))
  assert still.clip.scores["motion_p90"] == 0 and still.clip.scores["repeated"] > 0.9
  assert slow.clip.scores["motion_p90"] > 0.005


def test_the_rate_of_the_file_stays_with_uneven_times():
  found = seen(video(pan(1, 50)))
  times = found.seconds * 2
  (part,) = measured(found._replace(seconds=times))
  assert part.clip.fps == pytest.approx(12.5)
  assert frames.rate(times) == pytest.approx(12.5)
