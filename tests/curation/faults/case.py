"""Files that break curation, and what curation finds in them, without workers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np

from configs import curation
from ltx_jax.curation import frames, measure
from ltx_jax.curation.clip import Clip, Decision, Source, spans
from ltx_jax.curation.filters import select
from ltx_jax.curation.table import tabled
from tests.curation.test_scenes import pan, video
from tests.data import media_case


def scene(seed: int, count: int = 40, speed: float = 1.0) -> np.ndarray:
  """Frames of 128x72 pixels with detail of all sizes, seen by a moving camera."""
  return video(pan(seed, count, speed))


def write(
  path: Path,
  shown: Iterable[np.ndarray],
  codec: str = "libx264",
  pixels: str = "yuv420p",
  *,
  fps: int = 25,
  options: dict[str, str] | None = None,
) -> Path:
  """Writes RGB or RGBA frames with any codec, in any format of pixels."""
  with av.open(str(path), "w") as container:
    stream = None
    for image in shown:
      if stream is None:
        stream = container.add_stream(codec, fps, options=options or {})
        stream.height, stream.width = image.shape[:2]
        stream.pix_fmt = pixels
      name = "rgba" if image.shape[2] == 4 else "rgb24"
      frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=name)
      container.mux(stream.encode(frame.reformat(format=pixels)))
    container.mux(stream.encode(None))
  return path


def plain(path: Path, shown: np.ndarray, fps: float = 25) -> Path:
  """Writes frames in good quality."""
  return media_case.write(path, shown, fps, options={"crf": "16"})


def found(path: Path, identity: str = "a") -> Decision | tuple[Source, list[Clip]]:
  """Why curation refuses a file, or the file and its clips, as the recipe measures."""
  source = frames.probe(path, identity)
  if isinstance(source, Decision):
    return source
  clips = []
  for span in spans(source):
    read = frames.read(span)
    if isinstance(read, Decision):
      return read
    clips += [part.clip for part in measure.measure(span, read, curation.measures())]
  return source, clips


def measured(path: Path, identity: str = "a") -> tuple[Source, list[Clip]]:
  """The file and its clips; it must not be refused."""
  result = found(path, identity)
  assert not isinstance(result, Decision), result
  return result


def only(path: Path) -> Clip:
  """The only clip of a file, which measuring did not drop."""
  _, clips = measured(path)
  (clip,) = clips
  assert clip.decision is None, clip.decision
  return clip


def reasons(clips: Iterable[Clip]) -> dict[str, str | None]:
  """Why the rules for a training set drop clips, by id; None if they keep one."""
  rules = [
    dataclasses.replace(rule, least=40) if rule.name == "size" else rule
    for rule in curation.training()
  ]
  return {
    clip.id: clip.decision and clip.decision.reason
    for clip in select(tabled(list(clips)), rules).clips()
  }


def reason(path: Path) -> str | None:
  """Why a file of one scene is refused or dropped; None if it is kept."""
  result = found(path)
  if isinstance(result, Decision):
    return result.reason
  (given,) = reasons(result[1]).values()
  return given
