"""Reconstructions are measured with known answers, and what cannot be is refused."""

import csv
import json
import math
import re

import numpy as np
import pytest

import ltx_jax
from ltx_jax.config.runs import Bucket
from ltx_jax.data import video
from ltx_jax.metrics import lpips, optical_flow
from ltx_jax.metrics.features import shape_features
from ltx_jax.metrics.warp import Motion
from ltx_jax.moving_shapes import world
from ltx_jax.moving_shapes.flow import flow
from ltx_jax.moving_shapes.source import TEXTURED, WORLDS
from train.evaluate.reconstruction import distance, material, measuring, vmaf, writing
from train.evaluate.reconstruction.__main__ import main
from train.evaluate.reconstruction.material import Compared


@pytest.fixture(autouse=True)
def no_vmaf(monkeypatch):
  monkeypatch.setattr(vmaf, "program", lambda: None)


def clip(seed=0, frames=9, size=(32, 48)):
  return world.clip(world.captions()[seed], seed, frames, *size)


def compared(made, original, name="one", source="one", motions=None):
  return Compared(name, source, original, {"made": made}, 24.0, motions)


def motions(seed=0, frames=9, size=(32, 48)):
  return map(Motion, *flow(world.captions()[seed], seed, frames, *size))


def test_a_clip_and_itself_are_equal_by_every_figure():
  moved = compared(clip(), clip(), motions=motions)
  (row,) = measuring.measure(moved, lambda a, b: 0.0)
  expected = {"psnr": 100, "psnr_frames": 100, "ssim": 1, lpips.NAME: 0}
  expected |= {"flicker ratio": 1, "sharpness ratio": 1, measuring.WARP: 1}
  assert row.figures == pytest.approx(expected, abs=1e-6)
  assert not row.still and not row.plain


def test_one_level_of_error_has_the_known_decibels():
  original = np.minimum(clip(), 254)
  (row,) = measuring.measure(compared(original + np.uint8(1), original), None)
  assert row.figures["psnr"] == pytest.approx(48.1308, abs=1e-4)
  assert row.figures["psnr_frames"] == pytest.approx(48.1308, abs=1e-4)
  np.testing.assert_allclose(row.psnr, 48.1308, atol=1e-4)


def test_warp_error_sees_shimmer_and_not_a_steady_error():
  rng, original = np.random.default_rng(0), clip()
  shimmer = (original.astype(int) + rng.integers(0, 30, (9, 1, 1, 1))).clip(0, 255)
  made = {"steady": np.minimum(original, 225) + np.uint8(30)}
  made["shimmer"] = shimmer.astype(np.uint8)
  each = Compared("one", "one", original, made, 24.0, motions)
  steady, shimmering = (
    row.figures[measuring.WARP] for row in measuring.measure(each, None)
  )
  assert steady < 2 and shimmering > 10


def test_without_a_flow_a_sentence_says_what_to_install():
  (row,) = measuring.measure(compared(clip(), clip()), None)
  assert measuring.WARP not in row.figures
  assert optical_flow.MISSING in measuring.absent(row)


def gathered(made_of, count=12):
  found = distance.Gathered(shape_features())
  for k in range(count):
    found.add(compared(made_of(clip(k)), clip(k), f"{k}", f"video {k}"))
  return found


def test_frechet_distance_to_itself_is_zero_and_sees_clips_run_backwards():
  same = gathered(lambda x: x).figure("made", "a test")
  assert same.name == "rfvd-shapes" and same.value == pytest.approx(0, abs=1e-9)
  assert same.high == pytest.approx(0, abs=1e-9) and (same.n, same.sources) == (12, 12)
  assert "two samples of 12 clips are about" in same.recipe
  backwards = gathered(lambda x: x[::-1])
  figure = backwards.figure("made", "a test")
  assert figure.value > 0.1 and figure.low < figure.value < figure.high
  assert "12 clips are fewer than 10 for each of 13" in backwards.remarks("made")[0]


def test_frechet_distance_of_few_sources_has_no_interval_and_of_one_clip_is_refused():
  few = gathered(lambda x: x, 3).figure("made", "a test")
  assert (few.low, few.high) == (None, None) and "no interval" in few.line
  with pytest.raises(ValueError, match="1 and 1 clips"):
    gathered(lambda x: x, 1).figure("made", "a test")


def test_clips_of_one_video_are_one_witness():
  rng = np.random.default_rng(0)
  rows = []
  for k in range(6):
    made = clip(k) + rng.integers(0, 9, clip(k).shape, np.uint8) // (1 + k % 2)
    rows += measuring.measure(compared(made, clip(k), f"{k}", f"video {k % 3}"), None)
  figures = {f.name: f for f in measuring.summary(rows, "a test")}
  assert figures["psnr"].n == 6 and figures["psnr"].sources == 3
  assert figures["psnr"].low < figures["psnr"].value < figures["psnr"].high
  line = figures["psnr"].line
  assert " dB, 95 % interval " in line and "6 clips of 3 sources" in line
  assert line.endswith("made, a test")


def test_clips_that_do_not_move_have_no_flicker_and_are_counted():
  frozen = np.repeat(clip()[:1], 9, axis=0)
  rows = measuring.measure(compared(clip(), frozen), None)
  rows += measuring.measure(compared(clip(1), clip(1), "two"), None)
  rows += measuring.measure(compared(frozen * 0, frozen * 0, "three"), None)
  assert rows[0].figures["flicker ratio"] == math.inf
  figures = {f.name: f for f in measuring.summary(rows, "a test")}
  assert figures["flicker ratio"].n == 2
  assert figures["flicker ratio"].recipe.endswith("; 1 clips without it")
  said = ["2 of 3 clips do not move.", "1 of 3 clips are of one colour."]
  assert measuring.remarks(rows) == said


def test_places_in_a_group_of_frames_begin_after_the_first():
  values = np.arange(17.0)
  found = measuring.by_place(values)
  assert found["first frame"] == 0
  assert found["frame 1 of 8"] == (1 + 9) / 2 and found["frame 8 of 8"] == (8 + 16) / 2
  assert measuring.by_place(values[:2])["frame 2 of 8"] is None


def test_curves_are_means_over_the_clips_that_have_the_frame():
  rows = measuring.measure(compared(clip(frames=5), clip(frames=5)), None)
  made = np.minimum(clip(1), 254)
  rows += measuring.measure(compared(made + np.uint8(1), made), None)
  found = measuring.curve(rows, "psnr")
  np.testing.assert_allclose(found[:5], (100 + 48.1308) / 2, atol=1e-4)
  np.testing.assert_allclose(found[5:], 48.1308, atol=1e-4)


def test_the_worst_are_kept(tmp_path):
  worst = writing.Worst()
  for k in range(12):
    made = np.minimum(clip(k).astype(int) + k + 1, 255).astype(np.uint8)
    each = compared(made, clip(k), f"clip {k}")
    worst.add(each, measuring.measure(each, None)[0])
  assert [name for _, name, *_ in worst._kept][:2] == ["clip 11", "clip 10"]
  assert len(worst._kept) == 10
  worst.write(tmp_path / "worst.png")
  assert video.read(tmp_path / "worst.png")[0].size


def put(folder, name, frames, fps=24.0):
  folder.mkdir(exist_ok=True)
  video.write(folder / name, frames, fps)


def test_two_folders_are_compared_clip_by_clip(tmp_path, capsys):
  for k in range(3):
    put(tmp_path / "a", f"{k}.mp4", clip(k))
    put(tmp_path / "b", f"{k}.mp4", clip(k))
  given = ["folders", "--made", str(tmp_path / "a"), "--original", str(tmp_path / "b")]
  main([*given, "--output", str(tmp_path / "out")])
  out = capsys.readouterr().out
  assert "psnr 100 dB, 95 % interval 100 to 100, 3 clips;" in out
  assert "lpips-vgg16: no weights." in out and "vmaf needs an ffmpeg" in out
  rows = [*csv.DictReader((tmp_path / "out" / "clips.csv").read_text().splitlines())]
  assert [row["clip"] for row in rows] == ["0", "1", "2"]
  assert {float(row["ssim"]) for row in rows} == {1.0}
  found = json.loads((tmp_path / "out" / "figures.json").read_text())
  assert found["made"]["psnr by place"]["first frame"] == 100
  lacks = ["lpips-vgg16", "vmaf", "warp error ratio", "rfvd-i3d"]
  if optical_flow.available():
    lacks.remove("warp error ratio")
  for name, words in zip(lacks, found["missing"], strict=True):
    assert name in words.lower()


@pytest.mark.parametrize(
  ("frames", "fps", "words"),
  [
    (clip(frames=5), 24.0, "5 frames of 48x32.*9 frames of 48x32.*do not correspond"),
    (clip(size=(64, 48)), 24.0, "9 frames of 48x64.*do not correspond"),
    (clip(), 12.0, "12 frames per second.*do not correspond"),
  ],
)
def test_clips_that_do_not_correspond_are_refused(tmp_path, capsys, frames, fps, words):
  put(tmp_path / "a", "0.mp4", frames, fps)
  put(tmp_path / "b", "0.mp4", clip())
  given = ["folders", "--made", str(tmp_path / "a"), "--original", str(tmp_path / "b")]
  with pytest.raises(SystemExit) as ended:
    main([*given, "--output", str(tmp_path / "out")])
  assert ended.value.code == 2
  assert re.search(words, " ".join(capsys.readouterr().err.split()))


def test_a_file_of_weights_that_is_not_there_is_named(tmp_path, capsys):
  with pytest.raises(SystemExit) as ended:
    main(["clips", "--fvd", "i3d.safetensors", "--output", str(tmp_path)])
  assert ended.value.code == 2
  assert "--fvd is i3d.safetensors" in capsys.readouterr().err


def test_folders_with_other_names_are_refused(tmp_path, capsys):
  put(tmp_path / "a", "0.mp4", clip())
  put(tmp_path / "b", "1.mp4", clip())
  with pytest.raises(SystemExit):
    main(["folders", "--made", str(tmp_path / "a"), "--original", str(tmp_path / "b")])
  assert "0, 1 in one of them only" in capsys.readouterr().err


@pytest.mark.parametrize("name", WORLDS)
def test_the_motion_of_a_small_world_is_exact_unless_shapes_have_a_speed_of_their_own(
  name, monkeypatch
):
  monkeypatch.setattr(material, "_exact", lambda *clip: "exact")
  monkeypatch.setattr(material, "_estimated", lambda video: "estimated")
  model = ltx_jax.load("moving-shapes")
  found = material.of_source(name, model, Bucket(9, 32, 32), 1, [0.0])
  (clip,) = found.clips
  assert clip.motions == ("estimated" if name == TEXTURED else "exact")
  assert world.is_held_out(clip.name)


def test_clips_of_a_source_go_through_the_vae_at_each_level(tmp_path, capsys):
  size = ["--frames", "9", "--height", "32", "--width", "32", "--count", "2"]
  output = ["--sigmas", "0", "0.1", "--fvd", "shapes", "--output", str(tmp_path)]
  main(["clips", *size, *output])
  out = capsys.readouterr().out
  assert "sigma 0:" in out and "sigma 0.1:" in out
  found = json.loads((tmp_path / "figures.json").read_text())
  figures = {f["name"]: f["value"] for f in found["sigma 0"]["figures"]}
  assert figures["rfvd-shapes"] > 0 and figures["warp error ratio"] > 0
  psnr = [found[how]["figures"][0]["value"] for how in ("sigma 0", "sigma 0.1")]
  assert psnr[0] != psnr[1] and min(psnr) > 8
  assert found["weights"]["moving-shapes"]["vae"] and found["device"]
  lines = (tmp_path / "frames.csv").read_text().splitlines()
  assert len(lines) == 1 + 2 * 9
  assert (tmp_path / "worst.png").is_file()


FAKE = """#!/bin/sh
for word; do case "$word" in -filters) echo " .. libvmaf VV->V ";; esac; done
test -f made.rgb && test "$(wc -c <made.rgb)" = "$(wc -c <original.rgb)" &&
  echo '{"pooled_metrics": {"vmaf": {"mean": 97.5}}}' >vmaf.json
exit 0
"""


def test_vmaf_is_what_ffmpeg_says_where_it_has_it(tmp_path, monkeypatch):
  monkeypatch.undo()
  path = tmp_path / "ffmpeg"
  path.write_text(FAKE)
  path.chmod(0o755)
  vmaf.program.cache_clear()
  monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
  assert vmaf.program() == str(path)
  assert vmaf.vmaf(clip(), clip(), 24.0) == 97.5
  (row,) = measuring.measure(compared(clip(), clip()), None)
  assert row.figures["vmaf"] == 97.5
  assert measuring.absent(row) == [lpips.no_vgg16().line, optical_flow.MISSING]
  path.write_text("#!/bin/sh\necho nothing >&2; exit 1\n")
  with pytest.raises(ValueError, match="ffmpeg found no VMAF of frames of 48x32"):
    vmaf.vmaf(clip(), clip(), 24.0)
  vmaf.program.cache_clear()
  assert vmaf.program() is None
  vmaf.program.cache_clear()
