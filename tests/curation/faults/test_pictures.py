"""Pictures that break pipelines: bars, transitions, flashes, and what hardly moves."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from tests.curation.faults import case
from tests.curation.test_scenes import texture

pytest.importorskip("cv2")


def boxed(shown, top, bottom):
  """Frames with black bars above and below."""
  shown = np.maximum(shown, 60)
  shown[:, :top], shown[:, shown.shape[1] - bottom :] = 0, 0
  return shown


def drawn(shown, draw_on):
  """Frames on which something is drawn."""
  images = [Image.fromarray(image) for image in shown]
  for image in images:
    draw_on(ImageDraw.Draw(image))
  return np.stack([np.asarray(image) for image in images])


PICTURE = Image.fromarray(texture(1).clip(0, 255).astype(np.uint8))


def zoomed(x, width):
  """The part of a large picture around x that is so wide, as a frame."""
  high = width * 72 / 128
  box = (x - width / 2, 108 - high / 2, x + width / 2, 108 + high / 2)
  return np.asarray(PICTURE.resize((128, 72), Image.Resampling.BICUBIC, box))


@pytest.mark.parametrize(("colored", "left_out"), [(True, 4), (False, 0)])
def test_a_letterbox_that_comes_in_mid_clip_splits_it(tmp_path, colored, left_out):
  shown = np.maximum(case.scene(1, 100, 0.5), 60)
  shown = shown if colored else shown[..., :1].repeat(3, -1)
  shown[48:, :6], shown[48:, -6:] = 0, 0
  _, (before, after) = case.measured(case.plain(tmp_path / "a.mp4", shown))
  assert before.crop is None and after.crop == (0, 6, 128, 60)
  assert before.end <= 48 / 25 <= after.start
  # In colours it looks like a cut, next to which frames are left out.
  assert before.frames + after.frames == 100 - left_out


@pytest.mark.parametrize("light", [0.0, 0.04, 0.05, 0.08])
def test_a_dark_scene_with_a_bright_spot_is_not_cropped(tmp_path, light):
  shown = (case.scene(1, 50) * light).astype(np.uint8)
  for k, image in enumerate(shown):
    image[30:40, 50 + k // 2 : 64 + k // 2] = 235
  assert case.only(case.plain(tmp_path / "a.mp4", shown)).crop is None


@pytest.mark.parametrize(
  ("what", "draw_on"),
  [
    ("a word", lambda draw: draw.rectangle((61, 63, 66, 67), fill="white")),
    ("a logo", lambda draw: draw.rectangle((120, 3, 125, 7), fill="white")),
    (
      "a line of text",
      lambda draw: draw.text((34, 60), "some words", fill="white"),
    ),
    ("a wide logo", lambda draw: draw.rectangle((4, 2, 14, 7), fill="white")),
  ],
)
def test_a_bar_is_cut_off_with_what_is_written_in_it(tmp_path, what, draw_on):
  shown = drawn(boxed(case.scene(1), 10, 14), draw_on)
  assert case.only(case.plain(tmp_path / "a.mp4", shown)).crop == (0, 10, 128, 48)


@pytest.mark.parametrize("kind", ["coloured", "blurred"])
@pytest.mark.parametrize("upright", [False, True])
def test_bars_that_are_not_black_are_kept_and_noted(tmp_path, kind, upright):
  inner = case.scene(1, 50)[:, :, 34:94]
  shown = np.full((50, 72, 128, 3), (20, 40, 150), np.uint8)
  if kind == "blurred":
    # The picture itself, so large that it fills the frame.
    large = [
      Image.fromarray(image).resize((128, 72), box=(0, 19, 60, 53)) for image in inner
    ]
    blur = ImageFilter.GaussianBlur(4)
    shown = np.stack([np.asarray(image.filter(blur)) for image in large])
  shown[:, :, 34:94] = inner
  shown = shown.swapaxes(1, 2) if upright else shown
  clip = case.only(case.plain(tmp_path / "a.mp4", shown))
  assert clip.crop is None and case.reasons([clip]) == {clip.id: None}
  assert clip.scores["odd_borders"] == pytest.approx(68 / 128, abs=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_a_picture_without_bars_has_no_odd_ones(tmp_path, seed):
  clip = case.only(case.plain(tmp_path / "a.mp4", case.scene(seed)))
  assert clip.scores["odd_borders"] == 0


def changed(kind, length=14):
  """Two scenes of 50 frames, and frames between them in which one becomes the other."""
  one, two = case.scene(4, 50 + length, 0.3), case.scene(5, 50 + length, 0.3)
  share = (np.arange(1, length + 1) / (length + 1))[:, None, None, None]
  first, second = one[50:], two[:length]
  if kind == "dissolve":
    between = (1 - share) * first + share * second
  elif kind == "fade":
    dark = np.maximum(1 - 2 * share, 0) * first + np.maximum(2 * share - 1, 0) * second
    between = dark
  else:
    across = np.arange(128)[:, None] < 128 * share
    between = np.where(across, second, first)
  shown = np.concatenate([one[:50], between, two[length:]])
  return shown.round().astype(np.uint8)


@pytest.mark.parametrize("kind", ["dissolve", "fade"])
def test_a_transition_lies_between_two_clips_and_in_neither(tmp_path, kind):
  _, clips = case.measured(case.plain(tmp_path / "a.mp4", changed(kind)))
  kept = [clip for clip in clips if clip.decision is None]
  assert len(kept) == 2
  assert kept[0].end <= 51 / 25 and kept[1].start >= 63 / 25
  assert {clip.decision.reason for clip in clips if clip.decision} <= {
    "transition", "black", "length"
  }  # fmt: skip


def test_a_wipe_is_at_least_one_cut(tmp_path):
  _, clips = case.measured(case.plain(tmp_path / "a.mp4", changed("wipe")))
  assert len([clip for clip in clips if clip.decision is None]) >= 2


def test_a_flash_is_no_cut(tmp_path):
  shown = case.scene(4, 80, 0.5)
  shown[40:42] = 250
  clip = case.only(case.plain(tmp_path / "a.mp4", shown))
  assert clip.frames == 80 and case.reasons([clip]) == {clip.id: None}


def test_lightning_is_no_cut(tmp_path):
  shown = case.scene(4, 100, 0.5) * 0.4
  shown[[40, 41, 43, 44]] *= np.array([2.4, 1.5, 2.4, 1.6])[:, None, None, None]
  clip = case.only(case.plain(tmp_path / "a.mp4", shown.astype(np.uint8)))
  assert clip.frames == 100


@pytest.mark.parametrize(("every", "reason"), [(5, "strobe"), (13, None)])
def test_more_than_three_flashes_a_second_are_a_strobe_and_no_cuts(
  tmp_path, every, reason
):
  shown = case.scene(4, 100)
  dark = np.arange(100) % every < 2
  shown[dark] = shown[dark] // 5
  clip = case.only(case.plain(tmp_path / "a.mp4", shown))
  assert clip.scores["flashes"] == pytest.approx(25 / every, abs=0.6)
  assert case.reasons([clip]) == {clip.id: reason}


def test_a_strobe_of_black_frames_is_a_strobe(tmp_path):
  shown = case.scene(4, 100)
  shown[np.arange(100) % 5 < 2] = 0
  clip = case.only(case.plain(tmp_path / "a.mp4", shown))
  assert case.reasons([clip]) == {clip.id: "strobe"}


def test_a_whip_pan_and_a_fast_zoom_are_no_cuts(tmp_path):
  before = [zoomed(75 + 0.5 * k, 128) for k in range(40)]
  whip = [zoomed(95 + 14 * k, 128) for k in range(13)]
  after = [zoomed(263 + 0.5 * k, 128) for k in range(40)]
  shown = np.stack(before + whip + after)
  assert case.only(case.plain(tmp_path / "a.mp4", shown)).frames == 93
  widths = [300 - 0.5 * k for k in range(40)]
  widths += [280 * 0.85**k for k in range(8)] + [90 - 0.2 * k for k in range(40)]
  shown = np.stack([zoomed(192, width) for width in widths])
  assert case.only(case.plain(tmp_path / "b.mp4", shown)).frames == 88


def still(count=50):
  return np.repeat(case.scene(1, 1), count, 0)


def grainy(shown):
  noise = np.random.default_rng(0).normal(0, 2, shown.shape)
  return (shown + noise).clip(0, 255).astype(np.uint8)


def slides(count):
  return np.concatenate([np.repeat(case.scene(k, 1), count, 0) for k in range(4)])


def flat(level):
  return np.full((40, 72, 128, 3), level, np.uint8)


def card():
  colors = np.array([[235] * 3, [235, 235, 16], [16, 235, 235], [16, 235, 16]])
  bars = np.concatenate([colors, 251 - colors[::-1]]).astype(np.uint8)
  return np.broadcast_to(np.repeat(bars, 16, 0), (40, 72, 128, 3))


STILL = {
  "a slide": (still(), {"static"}),
  "a slide with grain": (grainy(still()), {"static"}),
  "slides": (slides(30), {"static"}),
  "slides in quick succession": (slides(8), {"length"}),
  "black": (flat(0), {"black"}),
  "white": (flat(255), {"black"}),
  "colour bars": (card(), {"static"}),
}


@pytest.mark.parametrize("what", STILL)
def test_what_does_not_move_is_dropped_with_its_reason(tmp_path, what):
  shown, expected = STILL[what]
  _, clips = case.measured(case.plain(tmp_path / "a.mp4", shown))
  assert set(case.reasons(clips).values()) == expected
  values = [value for clip in clips for value in clip.scores.values()]
  assert np.isfinite(values).all()


def test_a_panned_still_moves_by_its_camera_alone(tmp_path):
  shown = np.stack([zoomed(90 + 0.4 * k, 128) for k in range(60)])
  clip = case.only(case.plain(tmp_path / "a.mp4", shown))
  assert clip.scores["camera"] == pytest.approx(0.4 * 25 / np.hypot(128, 72), rel=0.1)
  assert clip.scores["local"] < 0.05 * clip.scores["camera"]


def test_a_padded_rate_is_seen_through(tmp_path):
  film = case.scene(1, 48)[np.arange(120) * 24 // 60]
  clip = case.only(case.plain(tmp_path / "a.mp4", film, 60))
  assert (clip.fps, clip.frames) == (60, 120)
  assert clip.scores["rate"] == pytest.approx(24, abs=0.5)
  assert clip.scores["repeated"] == pytest.approx(0.6, abs=0.02)


def test_noise_has_finite_numbers(tmp_path):
  noise = np.random.default_rng(0).integers(0, 256, (40, 72, 128, 3), np.uint8)
  clip = case.only(case.plain(tmp_path / "a.mp4", noise))
  assert np.isfinite(list(clip.scores.values())).all()
