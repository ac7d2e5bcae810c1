"""How fast curation reads footage, and how much memory a worker takes of long films.

A clip of real video, scaled up to 1080p, is repeated without encoding it again. One
thread measures it, and the same thread decodes it and resizes its frames to 256 pixels
with PyAV, which no pipeline can do without. Memory is the largest that the system saw
of the child process that opens files, over all spans of twenty minutes and of two
hours, at 12 frames a second.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2

from configs import curation
from ltx_jax.curation import frames
from ltx_jax.curation.clip import Source, spans
from ltx_jax.curation.measure import measure
from tests import real_clips
from tests.verify.scenes import row
from train.curation.folder import Folder
from train.curation.workers import Child, Limits, measuring

NAME = "Curation: speed beside plain decoding, and memory of a worker on long films"
COMMAND = "python -m tests.verify curation_speed"

SIDE = 1080, 1920
FAST, SLOW = 24, 12
"""Frames a second of what is timed, and of the films."""

LENGTHS = {"20 minutes": 20 * 60, "two hours": 2 * 60 * 60}
SECONDS = 60
"""Seconds of the clip that is timed."""


def encoded(path: Path, fps: int) -> Path:
  """Writes 25 real frames, there and back again, four times, at 1080p."""
  images = next(c[2] for c in real_clips.clips() if c[0].startswith("bunny"))
  with av.open(str(path), "w") as container:
    stream = container.add_stream("libx264", rate=fps)
    stream.height, stream.width, stream.pix_fmt = *SIDE, "yuv420p"
    stream.options = {"preset": "ultrafast", "crf": "23", "g": "48"}
    for image in [*images, *images[::-1]] * 4:
      large = cv2.resize(image, SIDE[::-1], interpolation=cv2.INTER_CUBIC)
      container.mux(stream.encode(av.VideoFrame.from_ndarray(large, format="rgb24")))
    container.mux(stream.encode())
  return path


def repeated(path: Path, output: Path, seconds: int, fps: int) -> Path:
  """Repeats a video's packets for a number of seconds."""
  with av.open(str(path)) as one, av.open(str(output), "w") as film:
    (video,) = one.streams.video
    stream = film.add_stream_from_template(video)
    packets = [
      (p.pts, p.dts, p.is_keyframe, bytes(p)) for p in one.demux(video) if p.size
    ]
    lasts = round(Fraction(len(packets), fps) / video.time_base)
    for turn in range(seconds * fps // len(packets)):
      for pts, dts, key, content in packets:
        packet = av.Packet(content)
        packet.pts, packet.dts = pts + turn * lasts, dts + turn * lasts
        packet.time_base, packet.is_keyframe, packet.stream = (
          video.time_base,
          key,
          stream,
        )
        film.mux(packet)
  return output


def plain(path: Path) -> int:
  """Decodes a file and resizes its frames, in one thread; returns their number."""
  count = 0
  with av.open(str(path)) as container:
    (stream,) = container.streams.video
    stream.thread_count = 1
    for frame in container.decode(stream):
      frame.reformat(width=456, height=256, format="rgb24").to_ndarray()
      count += 1
  return count


def measured(path: Path) -> tuple[int, int]:
  """Measures a file in this thread; returns the numbers of its frames and clips."""
  source, clips = frames.probe(path), 0
  assert isinstance(source, Source), source
  for span in spans(source):
    found = frames.read(span)
    assert isinstance(found, frames.Frames), found
    clips += len(list(measure(span, found, curation.measures())))
  return source.frames, clips


def speed_rows(path: Path) -> Iterator[dict[str, Any]]:
  """Yields the rows about speed, by processor time; the best of three turns counts."""
  times = {plain: [], measured: []}
  for _ in range(3):
    for work, taken in times.items():
      began = time.process_time()
      result = work(path)
      taken.append(time.process_time() - began)
  count, clips = result
  ours, theirs = min(times[measured]), min(times[plain])
  share = theirs / ours
  yield row(
    "1080p: frames decoded and resized in a second of a core",
    count / theirs,
    "",
    "",
    True,
  )
  yield row("1080p: frames measured in a second of a core", count / ours, "", "", True)
  yield row(
    "speed beside decoding and resizing alone", share, "", "at least 0.6", share >= 0.6
  )
  yield row("clips a second and core", clips / ours, "", "", True)


def memory(path: Path, folder: Folder) -> float:
  """Measures all spans of a film in a child process; returns its GiB at most."""
  source = frames.probe(path)
  assert isinstance(source, Source), source
  child = Child(Limits())
  try:
    for span in spans(source):
      answer = child.ask(measuring(folder, span, Limits()))
      assert isinstance(answer, dict) and "clips" in answer, answer
    return _peak(child.pid)
  finally:
    child.close()


def _peak(pid: int) -> float:
  """Returns the largest memory that a process had, in GiB."""
  status = Path(f"/proc/{pid}/status").read_text()
  return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 2**20


def run() -> list[dict[str, Any]]:
  """Measures both."""
  cv2.setNumThreads(1)
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    quick, short = (encoded(folder / f"{fps}.mp4", fps) for fps in (FAST, SLOW))
    minute = repeated(quick, folder / "minute.mp4", SECONDS, FAST)
    rows = list(speed_rows(minute))
    for words, seconds in LENGTHS.items():
      film = repeated(short, folder / "film.mp4", seconds, SLOW)
      most = memory(film, Folder(folder / "curated"))
      rows.append(
        row(
          f"{words} of 1080p: memory of a worker at most",
          most,
          "GiB",
          "under 1",
          most < 1,
        )
      )
  return rows
