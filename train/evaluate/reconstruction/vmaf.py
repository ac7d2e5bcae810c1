"""VMAF, a score from 0 to 100 trained on people's, where ffmpeg has it.

It was made for the faults of codecs; of what a decoder invents it knows little.

Source: Netflix, "Toward A Practical Perceptual Video Quality Metric", 2016.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

from jaxtyping import UInt8
from numpy import ndarray

from ltx_jax.files import parse_json, read_text

MISSING = (
  "vmaf needs an ffmpeg with libvmaf on the PATH, which this machine does not have; "
  "install one, or do without"
)


@functools.cache
def program() -> str | None:
  """Returns the ffmpeg on the PATH if it has libvmaf, otherwise None."""
  path = shutil.which("ffmpeg")
  if path is None:
    return None
  done = subprocess.run(
    [path, "-hide_banner", "-filters"], capture_output=True, text=True, check=False
  )
  return path if " libvmaf " in done.stdout else None


def vmaf(
  made: UInt8[ndarray, "F H W 3"], original: UInt8[ndarray, "F H W 3"], fps: float
) -> float:
  """Returns the mean over frames; `program` must have found an ffmpeg.

  Args:
    made: Reconstruction.
    original: Original, of the same shape.
    fps: Frames per second.

  Raises:
    ValueError: If ffmpeg fails.
  """
  size = f"{made.shape[2]}x{made.shape[1]}"
  raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", f"{fps:g}", "-i"]
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    for file, clip in (("made.rgb", made), ("original.rgb", original)):
      (folder / file).write_bytes(clip.tobytes())
    graph = (
      "[0:v]format=yuv420p[a];[1:v]format=yuv420p[b];"
      "[a][b]libvmaf=log_fmt=json:log_path=vmaf.json"
    )
    command = [program(), "-hide_banner", "-loglevel", "error"]
    command += [*raw, "made.rgb", *raw, "original.rgb", "-lavfi", graph]
    done = subprocess.run(
      [*command, "-f", "null", "-"],
      cwd=folder,
      capture_output=True,
      text=True,
      check=False,
    )
    log = folder / "vmaf.json"
    if done.returncode or not log.is_file():
      said = " ".join(done.stderr.split())[-200:]
      raise ValueError(f"ffmpeg found no VMAF of frames of {size}: {said}; do without.")
    return float(parse_json(read_text(log))["pooled_metrics"]["vmaf"]["mean"])
