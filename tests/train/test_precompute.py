"""From a manifest to records: what is encoded, kept and dropped."""

import dataclasses
import io
import json

import jax
import numpy as np
import pytest
from rich import progress
from rich.console import Console

from configs import tiny
from ltx_jax.data import video
from ltx_jax.data.records import Records
from ltx_jax.models import vae as vae_lib
from ltx_jax.moving_shapes import source as shapes
from ltx_jax.moving_shapes import world
from tests.policies import QUICK
from tests.train.precompute_case import (
  be_quick,
  count_encoded,
  options_of,
  params,
  run,
  write_model,
)
from train.harness import precomputing
from train.harness.encoding import ClipEncoder
from train.harness.shard_plan import Existing
from train.harness.sharing import Share

CAPTIONS = world.captions()[::70][:5]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
  return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def clips(tmp_path):
  folder = tmp_path / "clips"
  for number, caption in enumerate(CAPTIONS):
    size = (9, 32, 48) if number % 2 else (5, 48, 32)
    path = folder / f"clip{number}.mp4"
    video.write(path, world.clip(caption, number, *size), 24.0)
    path.with_suffix(".txt").write_text(caption + "\n")
  return folder


@pytest.fixture
def options(clips, model, tmp_path):
  buckets = "9x32x48", "5x32x48", "5x48x32"
  return options_of(clips, tmp_path / "records", model, buckets)


@pytest.fixture(autouse=True)
def quick_policy(monkeypatch):
  be_quick(monkeypatch)


def run_process(options, process, processes):
  """Runs one of several processes, and returns its output, on one line."""
  said = io.StringIO()
  share = Share(processes, process)
  options = dataclasses.replace(options, share=share)
  precomputing.precompute(options, Console(file=said, width=1000))
  return " ".join(said.getvalue().split())


def blobs(folder):
  return {path.name: path.read_bytes() for path in folder.glob("*.arrayrecord")}


@pytest.fixture
def encoded(monkeypatch):
  return count_encoded(monkeypatch)


def test_a_record_is_the_clip_as_the_vae_and_the_tokenizer_have_it(options, clips):
  found = run(options)
  assert len(found) == 5
  by_id = {found.index.ids[row]: found.record(row) for row in range(5)}
  record = by_id["clip1.mp4"]
  assert (record.frames, record.height, record.width) == (9, 32, 48)
  assert record.caption == CAPTIONS[1] and record.fps == 24
  pixels, _ = video.read(clips / "clip1.mp4")
  mean, logvar = vae_lib.encode_moments(
    params(), tiny.VAE, QUICK, np.float32(pixels[None]) / 127.5 - 1
  )
  np.testing.assert_allclose(record.latents, mean[0], atol=0.02)  # It is bfloat16.
  np.testing.assert_allclose(record.logvar, logvar[0, ..., :1], atol=1e-4)
  tokens = found.empty["tokens"], record.tokens
  assert tokens[0][0] == tokens[1][-1] == 1  # The end of the sequence.
  assert by_id["clip0.mp4"].latents.shape == (2, 3, 2, tiny.VAE.latent_channels)


def test_latents_do_not_depend_on_the_number_of_devices():
  videos = [world.clip(CAPTIONS[0], seed, 5, 32, 32) for seed in range(5)]

  def latents(devices):
    encoder = ClipEncoder(tiny.VAE, params(), QUICK, 2, tuple(devices))
    return [(e.latents, e.logvar) for e in encoder.encode(iter(videos))]

  one, eight = latents(jax.devices()[:1]), latents(jax.devices())
  assert len(one) == len(eight) == 5
  for (a, b), (c, d) in zip(one, eight, strict=True):
    assert a.tobytes() == c.tobytes() and b.tobytes() == d.tobytes()


def test_what_is_there_is_not_encoded_again(options, encoded):
  run(options)
  before = blobs(options.output)
  assert len(encoded) == 5 and len(before) == 3
  run(options)
  assert len(encoded) == 5 and blobs(options.output) == before


def test_an_edited_caption_costs_its_text_alone(options, clips, encoded):
  before = run(options)
  latents = before.record(0).latents
  (clips / "clip0.txt").write_text("a small red circle\n")
  after = run(options)
  assert len(encoded) == 5  # No clip was encoded again.
  row = list(after.index.ids).index("clip0.mp4")
  assert after.record(row).caption == "a small red circle"
  assert len(after.record(row).tokens) == 5
  assert after.record(row).latents.tobytes() == latents.tobytes()
  assert len(blobs(options.output)) == 3  # The former shard is gone.


def test_a_changed_clip_is_encoded_again(options, clips, encoded):
  run(options)
  video.write(clips / "clip0.mp4", world.clip(CAPTIONS[3], 9, 5, 48, 32), 24.0)
  run(options)
  assert len(encoded) == 6


def test_an_interrupted_run_leaves_nothing_that_a_reader_takes(
  options, encoded, monkeypatch
):
  whole = dataclasses.replace(options, output=options.output.parent / "whole")
  run(whole)
  write, calls = precomputing.ShardWriter.write, []

  def interrupted(self, *arguments):
    calls.append(arguments)
    if len(calls) == 2:
      raise KeyboardInterrupt
    write(self, *arguments)

  monkeypatch.setattr(precomputing.ShardWriter, "write", interrupted)
  with pytest.raises(KeyboardInterrupt):
    run(options)
  assert len(blobs(options.output)) == 1
  with pytest.raises(ValueError, match="was interrupted; start it again"):
    Records(options.output)
  del encoded[:]
  run(options)
  assert len(encoded) == 5 - len(calls[0][1])
  assert blobs(options.output) == blobs(whole.output)


def test_unreadable_clips_are_listed_with_reasons(options, clips):
  (clips / "clip2.mp4").write_bytes(b"not a video")
  few = dataclasses.replace(options, max_faulty=0.1)
  with pytest.raises(ValueError, match="1 of 5 clips cannot be read, more than"):
    run(few)
  found = run(dataclasses.replace(options, max_faulty=0.2))
  assert len(found) == 4
  (line,) = (options.output / "dropped.jsonl").read_text().splitlines()
  assert json.loads(line)["id"] == "clip2.mp4"
  assert "clip2.mp4" in json.loads(line)["reason"]


def test_clips_too_short_for_every_bucket_are_listed_and_may_be_many(options, encoded):
  long = dataclasses.replace(options, buckets=("9x32x48",), max_faulty=0.0)
  for _ in range(2):  # The list of a former run counts for nothing.
    assert len(run(long)) == 2
  assert len(encoded) == 2
  lines = (options.output / "dropped.jsonl").read_text().splitlines()
  assert [json.loads(line) for line in lines] == [
    {"id": f"clip{n}.mp4", "reason": "it has 5 frames, but every bucket needs 9"}
    | {"short": True}
    for n in (0, 2, 4)
  ]
  assert json.loads((options.output / "report.json").read_text())["dropped"] == 3


def test_the_report_measures_what_the_vae_keeps(options):
  run(options)
  report = json.loads((options.output / "report.json").read_text())
  assert report["records"] == 5 and report["dropped"] == 0
  assert len(report["psnr"]) == 2 and all(0 < x < 60 for x in report["psnr"].values())
  assert (options.output / "report.png").stat().st_size > 1000


def test_records_of_the_moving_shapes_are_their_renderings(options):
  small = shapes.manifest((tiny.CLIP,), 2)
  assert len(small) == 2 * len(world.train_captions()) + len(world.held_out_captions())
  clip = small[3]
  assert clip.caption == world.train_captions()[1] and clip.scores == {}
  assert small[len(small) - 1].scores == {"held_out": 1.0}
  pixels, fps = shapes.read_clip(clip, tiny.CLIP)
  np.testing.assert_array_equal(pixels, world.clip(clip.caption, 3, 5, 32, 32))
  assert fps == 24


@pytest.mark.parametrize(
  ("changes", "said"),
  [
    ({"buckets": ("9x32",)}, "--buckets has '9x32'; give FRAMESxHEIGHTxWIDTH"),
    ({"buckets": ("9x30x32",)}, "has 9x30x32; this VAE takes 4k . 1 frames"),
    ({"clips_per_call": 0}, "--clips-per-call is 0; it must be at least 1 and whole"),
    ({"max_faulty": 5}, "--max-faulty is 5; it must be at least 0 and at most 1"),
    ({"dtype": "int4"}, "--dtype is int4; it may be float32, bfloat16, float16"),
    (
      {"manifest": "moving-shapes", "buckets": ("auto",)},
      "moving-shapes are rendered at any size; name some with --buckets",
    ),
    ({"text_encoder": None}, "--tokenizer is for --text-encoder none"),
  ],
)
def test_options_that_do_not_fit_are_refused(options, changes, said):
  with pytest.raises(ValueError, match=said):
    run(dataclasses.replace(options, **changes))


def test_clips_without_captions_are_refused_by_name(options, clips):
  (clips / "clip1.txt").unlink()
  with pytest.raises(
    ValueError, match="1 of the 5 clips of .*clips has no caption: cl"
  ):
    run(options)
  (clips / "clip3.txt").write_text(" \n\n")
  sentence = "2 of the 5 clips of .*clips have no caption: clip1.mp4, clip3.mp4. A tran"
  with pytest.raises(ValueError, match=sentence):
    run(options)
  assert not options.output.exists()


def test_a_damaged_shard_is_made_again(options, encoded):
  run(options)
  path = min(options.output.glob("*.arrayrecord"))
  whole = path.read_bytes()
  path.write_bytes(whole[:100])
  assert path.name not in Existing(options.output).names
  run(options)
  assert path.read_bytes() == whole


def results(folder):
  """All files of a run except lists of hashes, which each process has for itself."""
  paths = [path for path in folder.iterdir() if path.name[:7] != "sources"]
  return {path.name: path.read_bytes() for path in paths}


def alone(options):
  """The result of a single process, in another folder."""
  whole = dataclasses.replace(options, output=options.output.parent / "whole")
  run(whole)
  return results(whole.output)


@pytest.mark.parametrize("order", [(1, 0), (2, 0, 1)])
def test_several_processes_make_what_one_makes_bit_for_bit(options, encoded, order):
  whole = alone(options)
  del encoded[:]
  count = len(order)
  first, *others = [run_process(options, process, count) for process in order]
  assert results(options.output) == whole
  assert len(encoded) == 5  # No clip by two of them.
  assert f"Process {order[0]} of {count}: 1 of 3 shards, 1 of them to be made" in first
  assert f"Process {order[0]} of {count} is done. Of all 3 shards 2 are miss" in first
  assert "5 records" in others[-1] and "missing" not in others[-1]


def test_what_a_lost_process_left_is_made_by_another_number(
  options, encoded, monkeypatch
):
  whole = alone(options)
  write, calls = precomputing.ShardWriter.write, []

  def interrupted(self, *arguments):
    calls.append(arguments)
    if len(calls) == 2:
      raise KeyboardInterrupt
    write(self, *arguments)

  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(precomputing.ShardWriter, "write", interrupted)
    run_process(options, 0, 2)  # The first and the last of three shards are its own.
  half = {}
  for name in sorted(name for name in whole if name.endswith(".arrayrecord")):
    half[name] = options.output / f".{name}-01234567.partial"
    half[name].write_bytes(b"half")
  del encoded[:]

  def left():
    return [path.is_file() for path in half.values()]

  # By name: 5x48x32-00000, 5x48x32-00001, 9x32x48-00000; the last is planned first.
  run_process(options, 2, 3)
  assert left() == [True, False, True]  # Others may be writing theirs.
  run_process(options, 0, 3)
  assert left() == [True, False, False]
  assert not (options.output / "index.safetensors").exists()
  run_process(options, 1, 3)
  assert results(options.output) == whole
  assert len(encoded) == 3  # The two of the first shard were there.


def test_outdated_shards_go_with_the_index_which_two_may_write(
  options, clips, monkeypatch
):
  run(options)
  before = blobs(options.output)
  (clips / "clip0.txt").write_text("a small red circle\n")
  complete = precomputing.complete

  def twice(*arguments):  # As two do that finish at the same time.
    complete(*arguments)
    return complete(*arguments)

  monkeypatch.setattr(precomputing, "complete", twice)
  run_process(options, 0, 2)
  assert blobs(options.output) == before
  run_process(options, 1, 2)
  assert len(blobs(options.output)) == 3 and blobs(options.output) != before
  assert results(options.output) == alone(options)


def test_unreadable_clips_of_all_processes_count_together(options, monkeypatch):
  read = precomputing.read_clip

  def broken(clip, bucket):
    if clip.id in ("clip2.mp4", "clip4.mp4"):
      raise ValueError("it is cut off")
    return read(clip, bucket)

  monkeypatch.setattr(precomputing, "read_clip", broken)
  few = dataclasses.replace(options, max_faulty=0.3)
  assert "2 of process 0" in run_process(few, 1, 2)  # It leaves out clip2 alone.
  for process in (0, 1):
    with pytest.raises(ValueError, match=r"2 of 5 clips cannot be read.*it is cut off"):
      run_process(few, process, 2)
  assert not (options.output / "index.safetensors").exists()
  many = dataclasses.replace(options, max_faulty=0.4)
  assert "3 records" in run_process(many, 1, 2)
  assert results(options.output) == alone(many)


def test_the_rate_is_that_since_the_beginning():
  task = progress.Task(0, "", 512, 256.0, _get_time=lambda: 40.0)
  assert precomputing._Speed().render(task).plain == ""
  task.start_time = 20.0
  assert precomputing._Speed().render(task).plain == "12.80/s"
