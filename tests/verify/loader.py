"""Batches: how fast they come, and whether reading them for long takes more memory.

Some records have 6144 tokens with 256 text tokens of T5-XXL, like the 2B model's.
Others have 64 tokens with 11 of a caption, like the small model's, whose training step
is timed in the same run. The video is 1280x720 in H.264. It is compared, in turns, with
PyAV's own seek, decode and conversion at the bucket's size, also bicubic.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
import ml_dtypes
import numpy as np

from configs import moving_shapes
from ltx_jax.config.runs import Bucket, OutputConfig, Stage
from ltx_jax.data import records, video
from ltx_jax.data.clip_reader import read_clip
from ltx_jax.data.clips import Clip, Clips
from ltx_jax.data.loader import Loader
from ltx_jax.data.manifest import read_manifest
from ltx_jax.data.probing import measure
from ltx_jax.data.records import Record, Records, SetInfo
from ltx_jax.data.videos import Videos
from tests.verify import former_losses
from train.harness.data import Worded
from train.harness.reporting import read_metrics

NAME = "Batches of records and videos: speed, memory, threads"
COMMAND = "python -m tests.verify loader"

LARGE = Bucket(121, 512, 768)
SMALL = Bucket(9, 64, 64)
WINDOW = Bucket(65, 512, 768)
INFO = SetInfo("vae", 128, (8, 32), "text")
BATCHES = 5000
STEPS = 40
WORDS = "a caption of a hundred letters, as one writes it who says what is to be seen, "


def _tokens(bucket: Bucket) -> int:
  return ((bucket.frames - 1) // 8 + 1) * (bucket.height // 32) * (bucket.width // 32)


def _bits(draw: np.random.Generator, *shape: int) -> np.ndarray:
  """Returns numbers from 0 to 2, with bits that cannot be compressed."""
  return draw.integers(0, 2**14, shape, np.uint16).view(ml_dtypes.bfloat16)


def _write_records(
  folder: Path,
  bucket: Bucket,
  count: int,
  text: int,
  shards: int,
  *,
  encoded: bool = True,
) -> None:
  """Writes records with captions of `text` tokens, and their texts if `encoded`."""
  draw = np.random.default_rng(0)
  shape = (bucket.frames - 1) // 8 + 1, bucket.height // 32, bucket.width // 32, 128
  for shard in range(shards):
    with records.Writer(folder / f"shard-{shard:05}.arrayrecord") as writer:
      for row in range(count // shards):
        name = f"{shard}-{row}"
        writer.write(
          Record(
            name,
            WORDS,
            _bits(draw, *shape),
            24.0,
            bucket.frames,
            bucket.height,
            bucket.width,
            vae=INFO.vae,
            text_encoder=INFO.text_encoder,
            text=_bits(draw, text, 4096) if encoded else None,
            tokens=np.arange(text, dtype=np.int32),
            key=name,
          )
        )
  empty = (
    {"text": _bits(draw, 1, 4096)} if encoded else {"tokens": np.ones(1, np.int32)}
  )
  records.write_index(folder, INFO, empty)


def _loader(source: Records | Videos, bucket: Bucket, clips: int, steps: int) -> Loader:
  stage = Stage(steps=steps, buckets=(bucket,), tokens=clips * _tokens(bucket))
  return Loader(source, (stage,), 0, _tokens)


def _megabytes_a_second(folder: Path) -> float:
  _write_records(folder, LARGE, 96, 256, 3)
  loader = _loader(Records(folder), LARGE, 4, 120)
  batches = loader.iterate()
  for _ in range(20):  # By then the files are in memory, as after the first pass.
    next(batches)
  begin, size = time.perf_counter(), 0
  for batch in batches:
    size += batch["latents"].nbytes + batch["text"].nbytes
  return size / (time.perf_counter() - begin) / 1e6


def _clips_a_second_of_a_step(source: Records, folder: Path) -> float:
  """Clips per second of the small model's trainer, the median of its own meter."""
  run = moving_shapes.transformer()
  stage = dataclasses.replace(run.stages[0], steps=STEPS, buckets=(moving_shapes.LONG,))
  output = OutputConfig(str(folder), log_every=5)
  run = dataclasses.replace(run, stages=(stage,), output=output)
  loader = Loader(Worded(source, "tokens"), run.stages, run.seed, _tokens)
  former_losses.fit(run, loader, source.empty, moving_shapes.VAE)
  _, *speeds = (row["clips_per_second"] for row in read_metrics(folder))
  return statistics.median(speeds)  # Without the first, which includes compilation.


def _times_a_step(folder: Path) -> float:
  """How many clips are read in the time in which the small model's step takes one."""
  size = moving_shapes.LONG
  clips = moving_shapes.transformer().stages[0].tokens // _tokens(size)
  _write_records(folder / "records", size, 2048, 11, 8, encoded=False)
  source = Records(folder / "records")
  batches = _loader(source, size, clips, 420).iterate()
  for _ in range(20):
    next(batches)
  begin = time.perf_counter()
  count = sum(len(batch["latents"]) for batch in batches)
  speed = count / (time.perf_counter() - begin)
  needed = _clips_a_second_of_a_step(source, folder / "run")
  print(f"{speed:.0f} clips a second are read, and {needed:.0f} trained on")
  return speed / needed


def _make_video(path: Path) -> None:
  draw = np.random.default_rng(0)
  coarse = draw.integers(0, 255, (1, 60, 100, 3), np.uint8)
  picture = video.cover(coarse, 1200, 2000)[0]
  video.write(
    path,
    np.stack([picture[2 * i : 2 * i + 720, 4 * i : 4 * i + 1280] for i in range(150)]),
    24.0,
  )


def _plainly(path: Path, start: float, bucket: Bucket) -> np.ndarray:
  with av.open(str(path)) as container:
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    container.seek(int(start / stream.time_base), stream=stream)
    rows = []
    for frame in container.decode(stream):
      if frame.time < start - 1e-3:
        continue
      size = {"width": bucket.width, "height": bucket.height}
      rows.append(frame.to_ndarray(format="rgb24", interpolation="BICUBIC", **size))
      if len(rows) == bucket.frames:
        break
  return np.stack(rows)


def _video_ratio(path: Path) -> float:
  """How many times faster than PyAV a window is read; the median over ten."""
  clip = measure(Clip("clip", str(path)))
  ratios = []
  for first in np.linspace(0, clip.frames - WINDOW.frames, 10).astype(int).tolist():
    begin = time.perf_counter()
    ours, _ = read_clip(clip, WINDOW, first)
    middle = time.perf_counter()
    theirs = _plainly(path, first / clip.fps, WINDOW)
    ratios.append((time.perf_counter() - middle) / (middle - begin))
    assert ours.shape == theirs.shape
  return statistics.median(ratios)


def _held() -> tuple[float, int, int]:
  """Megabytes of memory, threads, and open files of this process."""
  pages = int(Path("/proc/self/statm").read_text().split()[1])
  size = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
  return size, threading.active_count(), len(os.listdir("/proc/self/fd"))


def _growth(loader: Loader) -> tuple[float, int, int]:
  """How much more is held after all batches than after a tenth of them."""
  before = None
  for step, _ in enumerate(loader.iterate()):
    if step == loader.steps // 10:
      before = _held()
    last = _held() if step == loader.steps - 1 else None
  return tuple(b - a for a, b in zip(before, last, strict=True))


def _million(path: Path) -> tuple[float, float]:
  """Megabytes that a manifest of a million rows holds, and the peak of reading it."""
  with path.open("w") as file:
    for i in range(10**6):
      row = {"id": f"{i:07}", "path": f"clips/{i // 1000}/{i:07}.mp4", "caption": WORDS}
      row |= {"width": 1280, "height": 720, "frames": 121, "fps": 24.0}
      file.write(json.dumps(row) + "\n")
  begin = _held()[0]
  source = Videos(read_manifest(path))
  loader = _loader(source, LARGE, 4, 1000)
  loader.plan_at(999)
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
  return _held()[0] - begin, peak - begin


def _index_of_a_million(folder: Path) -> float:
  """Megabytes that a million rows of the index of records hold."""
  index = Records(folder).index
  begin = _held()[0]
  kept = index.take(np.arange(10**6) % len(index))
  grown = _held()[0] - begin
  assert len(kept) == 10**6
  return grown


def rows(folder: Path) -> Iterator[dict]:
  def row(figure, value, unit, most=None, least=None):
    ok = value <= most if least is None else value >= least
    target = f"at most {most:g}" if least is None else f"at least {least:g}"
    named = {"figure": figure, "value": value, "unit": unit}
    return named | {"target": target, "ok": bool(ok)}

  kept, peak = _million(folder / "million.jsonl")
  yield row("manifest of 10^6 rows and its plan, held", kept, "MB", most=1000)
  yield row("manifest of 10^6 rows and its plan, peak", peak, "MB", most=1500)
  speed = _megabytes_a_second(folder / "large")
  yield row("records of 6144 tokens", speed, "MB/s", least=300)
  held = _index_of_a_million(folder / "large")
  yield row("index of 10^6 records, held", held, "MB", most=1000)
  _make_video(folder / "large.mp4")
  ratio = _video_ratio(folder / "large.mp4")
  yield row("windows of 65x512x768, as fast as PyAV alone", ratio, "times", least=0.7)
  _write_records(folder / "small", SMALL, 80, 16, 80)
  small = video.cover(np.zeros((33, 8, 8, 3), np.uint8), 64, 64)
  video.write(folder / "small.mp4", small, 24.0)
  clips = Clips([Clip("clip", str(folder / "small.mp4"))])
  sources = {"records": Records(folder / "small"), "videos": Videos(clips)}
  for name, source in sources.items():
    grown = _growth(_loader(source, SMALL, 1, BATCHES))
    what = f"{BATCHES} batches of {name}: more"
    for kind, value, most in zip(
      ("MB", "threads", "files"), grown, (20, 0, 0), strict=True
    ):
      yield row(f"{what} {kind} held", value, kind, most=most)
  times = _times_a_step(folder / "small_model")  # Last: it leaves a trainer in memory.
  yield row("records of the small model, to its step's clips", times, "times", least=20)


def run() -> list[dict]:
  with tempfile.TemporaryDirectory() as folder:
    return list(rows(Path(folder)))
