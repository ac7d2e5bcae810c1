"""What breaks runs: long and large files, full disks, kills, copies, odd lists."""

import dataclasses
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.curation.faults import case, test_containers
from tests.data import media_case
from tests.train.curation.driver import measured, one_by_one

pytest.importorskip("cv2")
from ltx_jax.curation import frames
from ltx_jax.curation.clip import Clip, Decision, row_of, spans
from ltx_jax.curation.lint import lint
from ltx_jax.data import manifest
from train.curation import folder as folders
from train.curation import planning, selecting, workers, writing
from train.curation.folder import Folder
from train.curation.workers import Child, Limits

ROOT = Path(__file__).parents[3]


def rows(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_film_of_two_hours_and_240_frames_a_second_come_in_spans(tmp_path):
  film = test_containers.endless(tmp_path / "film.mkv", 7200, 1000)
  source = frames.probe(film)
  assert (source.frames, source.fps, source.seconds) == (7200, 1, 7200)
  assert len(source.edges) == 24
  last = frames.read(spans(source)[-1])
  assert last.seconds[0] == 6900 and len(last.seconds) == 300
  quick = test_containers.endless(tmp_path / "quick.mkv", 9600, 25 / 6)
  source = frames.probe(quick)
  assert source.fps == pytest.approx(240, abs=0.1) and len(source.edges) == 3
  counts = [len(frames.read(span).seconds) for span in spans(source)]
  assert sum(counts) == 9600 and max(counts) <= frames.MOST_FRAMES


@pytest.mark.slow
def test_8k_takes_less_than_a_gibibyte_of_a_worker(tmp_path):
  image = np.broadcast_to(np.uint8(90), (4320, 7680, 3))
  shown = itertools.repeat(image, 4)
  options = {"preset": "ultrafast", "threads": "1"}
  path = case.write(tmp_path / "a.mp4", shown, options=options)
  child = Child(Limits(seconds=300))
  probed = child.ask(workers.probing(str(path), "a", Limits()))
  source = frames.probe(path, "a")
  assert probed["source"]["width"] == 7680
  (span,) = spans(source)
  answer = child.ask(workers.measuring(Folder(tmp_path), span, Limits()))
  status = Path(f"/proc/{child._process.pid}/status").read_text()
  child.close()
  assert answer["clips"][0]["decision"]["reason"] == "length"
  peak = int(status.partition("VmHWM:")[2].split()[0])
  assert peak < 1 << 20  # Of KiB.


def test_one_id_for_two_files_is_refused_by_both_lines(tmp_path):
  listed = tmp_path / "list.jsonl"
  listed.write_text('{"id": "a", "path": "1.mp4"}\n\n{"id": "a", "path": "2.mp4"}\n')
  with pytest.raises(ValueError, match="lines 1 and 3 have the same id 'a'"):
    planning.footage(listed)


def test_one_file_under_two_ids_is_a_duplicate(tmp_path):
  path = case.plain(tmp_path / "a.mp4", case.scene(1))
  clips = [case.measured(path, identity)[1][0] for identity in ("b", "a")]
  assert case.reasons(clips) == {"a@0": None, "b@0": "duplicate"}


def test_copies_are_duplicates_and_mirrored_ones_are_kept(tmp_path):
  shown = case.scene(1, 60).repeat(2, 1).repeat(2, 2)
  case.plain(tmp_path / "whole.mp4", shown)
  options = {"crf": "30"}
  media_case.write(tmp_path / "again.mp4", shown, 25, options=options)
  case.plain(tmp_path / "half.mp4", case.scene(1, 60))
  times = np.arange(72) * 25 // 30
  case.plain(tmp_path / "faster.mp4", shown[times], 30)
  case.plain(tmp_path / "mirrored.mp4", shown[:, :, ::-1])
  case.plain(tmp_path / "other.mp4", case.scene(2, 60))
  names = ("whole", "again", "half", "faster", "mirrored", "other")
  clips = [case.only(tmp_path / f"{name}.mp4") for name in names]
  named = [dataclasses.replace(c, id=n) for c, n in zip(clips, names, strict=True)]
  found = case.reasons(named)
  kept = {name for name, reason in found.items() if reason is None}
  assert kept >= {"mirrored", "other"} and len(kept) == 3
  assert {found[name] for name in set(found) - kept} == {"duplicate"}


@pytest.mark.parametrize(
  "crop", [(10, 134, 16, 240), (0, 136, 20, 256), (14, 144, 0, 208)]
)
def test_a_cropped_copy_is_a_duplicate(tmp_path, crop):
  shown = case.scene(1, 60).repeat(2, 1).repeat(2, 2)
  one = case.only(case.plain(tmp_path / "a.mp4", shown))
  top, bottom, left, right = crop
  part = case.plain(tmp_path / "b.mp4", shown[:, top:bottom, left:right])
  cut = dataclasses.replace(case.only(part), id="b")
  assert case.reasons([one, cut]) == {"a@0": None, "b": "duplicate"}
  other = dataclasses.replace(
    case.only(case.plain(tmp_path / "c.mp4", case.scene(2, 60))), id="c"
  )
  assert case.reasons([other, cut])["b"] is None


ODD_CAPTION = 'A man\u2028walks "home", and\x1b waves 👋🏽 to a woman in a café.'


def captioned(text):
  clip = Clip("a@0", "a", 0, "/a.mp4", 0.0, 2.0, 128, 72, 50, 25.0, caption=text)
  return row_of(clip)


@pytest.mark.parametrize("text", ["", ODD_CAPTION, "word " * 1500])
def test_captions_of_any_kind_are_read_back_equal(tmp_path, text):
  path = tmp_path / "manifest.jsonl"
  manifest.write_manifest(path, [captioned(text)])
  (row,) = manifest.read_manifest(path)
  assert row.caption == " ".join(text.split())
  assert ("long" in lint(text, {})) == (len(text) > 1000)
  assert ("empty" in lint(text, {})) == (not text)


@pytest.mark.parametrize("text", ["A man\0walks.", "word " * 10_000])
def test_captions_that_no_file_holds_are_refused(text):
  with pytest.raises(
    ValueError, match=r"its caption (has the character NUL|has 50000)"
  ):
    captioned(text)


def test_fields_of_a_list_that_nobody_knows_come_back_in_the_manifest(tmp_path):
  case.plain(tmp_path / "a.mp4", case.scene(1))
  listed, output = tmp_path / "list.jsonl", tmp_path / "out"
  line = '{"id": "b", "path": "a.mp4", "licence": {"name": "CC0"}, "fps": 1, "end": 1}'
  listed.write_bytes(b"\xef\xbb\xbf" + line.encode() + b"\r\n\r\n")
  folder = measured(output, listed)
  selecting.decide(folder, output, ())
  writing.write(folder, output, ())
  (row,) = rows(output / "manifest.jsonl")
  assert row["licence"] == {"name": "CC0"}
  assert (row["id"], row["fps"], row["end"]) == ("b@0", 25, 1.6)


def test_a_list_of_files_has_its_faults_named(tmp_path):
  listed = tmp_path / "list.jsonl"
  for content, words in (
    ('{"path": "a.mp4"}\n{"path": ', "line 2 is not JSON"),
    ('{"file": "a.mp4"}', "line 1 must be an object .*path"),
    ("", "has no video"),
  ):
    listed.write_text(content)
    with pytest.raises(ValueError, match=words):
      planning.footage(listed)


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
  folder = tmp_path_factory.mktemp("footage")
  for seed in range(4):
    case.plain(folder / f"{seed}.mp4", case.scene(seed, 60).repeat(2, 1).repeat(2, 2))
  return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory, footage):
  """What an undisturbed run finds."""
  folder = measured(tmp_path_factory.mktemp("whole"), footage)
  assert len(rows(folder.clips)) == 4
  return folder


def same(folder, whole):
  return all(
    (folder.root / name).read_bytes() == (whole.root / name).read_bytes()
    for name in ("clips.jsonl", "refused.jsonl", "sources.jsonl")
  )


def test_a_full_disk_stops_the_run_in_words_and_parts_are_whole(
  tmp_path, footage, whole
):
  before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (2500, limits[1]))
  try:
    with pytest.raises(
      OSError, match=r"stills.*\.jpg cannot be written \(File too large\)"
    ):
      measured(tmp_path, footage, limits=Limits(seconds=601))
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, before)
  assert not list(tmp_path.glob("parts/*/*")) and not list(
    tmp_path.glob("**/.*.partial")
  )
  assert same(measured(tmp_path, footage), whole)


def test_a_folder_that_cannot_be_written_stops_the_run_in_words(tmp_path, footage):
  (tmp_path / "out").mkdir()
  (tmp_path / "out" / "parts").write_text("a file where a folder should be")
  with pytest.raises(OSError, match="parts/.. cannot be written"):
    measured(tmp_path / "out", footage)


def test_files_that_change_or_go_during_the_run_say_so(tmp_path):
  for name, seed in (("changes.mp4", 1), ("goes.mp4", 2), ("stays.mp4", 3)):
    case.plain(tmp_path / name, case.scene(seed))

  def disturbed(work, doing):
    if doing == "measuring":
      (tmp_path / "changes.mp4").write_bytes(b"something else")
      (tmp_path / "goes.mp4").unlink()
    yield from one_by_one(work, doing)

  folder = measured(tmp_path / "out", tmp_path, disturbed)
  found = {row["id"]: row["decision"]["reason"] for row in rows(folder.refused)}
  assert found == {"changes.mp4": "changed", "goes.mp4": "changed"}
  assert [row["source"] for row in rows(folder.clips)] == ["stays.mp4"]


@pytest.mark.slow
def test_a_worker_that_is_killed_leaves_the_same_bytes(tmp_path, footage, whole):
  limits = Limits(seconds=602)

  def killing(work, doing):
    for number, piece in enumerate(work):
      timer = threading.Timer(0.05 + 0.1 * number, kill)
      if doing == "measuring" and number < 2:
        timer.start()
      yield from one_by_one([piece], doing)
      timer.cancel()

  def kill():
    child = workers._children.get(limits)
    if child is not None and child._process is not None:
      os.kill(child._process.pid, signal.SIGKILL)

  assert same(measured(tmp_path, footage, killing, limits), whole)


@pytest.mark.slow
def test_a_run_that_is_killed_continues_to_the_same_bytes(tmp_path, footage, whole):
  command = [sys.executable, "-m", "tests.train.curation.driver", tmp_path, footage]
  path = {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
  process = subprocess.Popen(command, cwd=ROOT, env=os.environ | path)
  end = time.monotonic() + 120
  while not list(tmp_path.glob("parts/*/*.jsonl")) and time.monotonic() < end:
    time.sleep(0.02)
  process.kill()
  assert process.wait() == -signal.SIGKILL
  assert 1 <= len(list(tmp_path.glob("parts/*/*.jsonl"))) < 4
  assert same(measured(tmp_path, footage), whole)


def test_a_second_run_in_the_same_folder_is_refused(tmp_path, footage):
  with folders.locked(Folder(tmp_path)):
    with pytest.raises(ValueError, match="Another run works in"):
      measured(tmp_path, footage)


@pytest.mark.slow
def test_a_decoder_that_hangs_or_dies_leaves_the_rest_alone(tmp_path):
  for name in ("dies.mp4", "hangs.mp4", "well.mp4"):
    (tmp_path / name).write_bytes(b"?")
  limits = Limits(seconds=3)
  workers._children[limits] = Child(limits, "tests.train.curation.sick_child")
  folder = measured(tmp_path / "out", tmp_path, limits=limits)
  workers._children.pop(limits).close()
  found = {row["id"]: row["decision"]["reason"] for row in rows(folder.refused)}
  expected = {"dies.mp4": "crashed", "hangs.mp4": "timeout", "well.mp4": "small"}
  assert found == expected
  assert Decision("readable", "timeout", 3, 3) == frames.refused("timeout", 3, 3)
