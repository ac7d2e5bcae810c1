"""Kills precomputing with -9 at random moments, and resumes it with other devices.

The clips are the moving shapes, encoded by the shipped VAE. One run is left alone, on
one device. The other is killed five times, is started again each time on another number
of host devices, and must end with the same files of records, bit for bit. The same must
hold when two processes share the work, one is killed and the other ends by itself, and
three processes resume. Then one caption is edited in a manifest of files: only its
record may change, and the VAE must encode nothing again.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ltx_jax.data import video
from ltx_jax.data.records import Records
from ltx_jax.moving_shapes import world

NAME = "Precomputing killed with -9 ends with the same records, bit for bit"
COMMAND = "python -m tests.verify kill_precompute"

ROOT = Path(__file__).resolve().parent.parent.parent
DEVICES = (2, 1, 4, 3, 8, 2)
"""Number of host devices of each start."""

OPTIONS = "--buckets", "9x64x64", "--variants", "1", "--shard", "64"


def command(manifest: str, output: Path, *options: str) -> list[str]:
  """Returns the command of a run with small shards, so that there is much to kill."""
  return [
    *(sys.executable, "-m", "train.precompute", manifest, "--output", str(output)),
    *("--text-encoder", "none", "--clips-per-call", "2", "--samples", "2"),
    *options,
  ]


def environment(devices: int) -> dict[str, str]:
  flags = f"--xla_force_host_platform_device_count={devices}"
  return os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


def finish(arguments: list[str], devices: int) -> float:
  """Runs to the end, and returns the seconds.

  Raises:
    RuntimeError: If it fails.
  """
  began = time.monotonic()
  done = subprocess.run(
    arguments, cwd=ROOT, env=environment(devices), capture_output=True, text=True
  )
  if done.returncode:
    raise RuntimeError(f"precompute failed: {done.stderr[-2000:]}")
  return time.monotonic() - began


def start(arguments: list[str], devices: int) -> subprocess.Popen:
  """Starts a run without output."""
  quiet = subprocess.DEVNULL
  where = {"cwd": ROOT, "env": environment(devices)}
  return subprocess.Popen(arguments, stdout=quiet, stderr=quiet, **where)


def digests(folder: Path) -> dict[str, str]:
  """sha256 of every shard and of the index."""
  paths = [*folder.glob("*.arrayrecord"), folder / "index.safetensors"]
  return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def row(figure: str, value: Any, target: str, ok: bool, unit: str = "") -> dict:
  return {"figure": figure, "value": value, "unit": unit, "target": target, "ok": ok}


def killed(work: Path) -> list[dict]:
  """Rows of the kills."""
  seconds = finish(command("moving-shapes", work / "alone", *OPTIONS), 1)
  draw, folder, between = random.Random(0), work / "killed", 0
  for devices in DEVICES[:-1]:
    process = start(command("moving-shapes", folder, *OPTIONS), devices)
    time.sleep(draw.uniform(0.2, 0.8) * seconds)
    process.kill()
    process.wait()
    between += bool(list(folder.glob(".*.partial")))
  left = len(list(folder.glob("*.arrayrecord")))
  finish(command("moving-shapes", folder, *OPTIONS), DEVICES[-1])
  same = digests(work / "alone") == digests(folder)
  return [
    row(
      f"kills on {', '.join(map(str, DEVICES))} host devices: the same files",
      int(same),
      "1",
      same,
    ),
    row("kills that left a half shard behind", between, "", True),
    row("complete shards before the last start", left, "", True),
  ]


def shared(work: Path) -> list[dict]:
  """Rows of two processes, of which one is killed, and of three that resume."""
  folder = work / "shared"

  def several(count: int) -> list[subprocess.Popen]:
    arguments = command("moving-shapes", folder, *OPTIONS, "--processes", str(count))
    return [start([*arguments, "--process", str(i)], 1) for i in range(count)]

  kept, lost = several(2)
  while not list(folder.glob("*-00001-*.arrayrecord")) and lost.poll() is None:
    time.sleep(0.1)  # Its first shard is the second.
  lost.kill()
  lost.wait()
  codes = [kept.wait()]
  left = len(list(folder.glob("*.arrayrecord")))
  early = (folder / "index.safetensors").is_file()
  codes += [process.wait() for process in several(3)]
  same = digests(work / "alone") == digests(folder) and not any(codes)
  return [
    row(
      "two processes, one of them killed, then three: the same files",
      int(same),
      "1",
      same,
    ),
    row("complete shards before the three", left, "", True),
    row("indices before the three", int(early), "0", not early),
  ]


def edited(work: Path) -> list[dict]:
  """Rows of an edited caption."""
  clips = work / "clips"
  for number, caption in enumerate(world.captions()[:12]):
    path = clips / f"{number}.mp4"
    video.write(path, world.clip(caption, number, 9, 64, 64), 24.0)
    path.with_suffix(".txt").write_text(caption)
  arguments = command(str(clips), work / "own", "--buckets", "9x64x64", "--shard", "4")
  finish(arguments, 1)
  first = Records(work / "own")
  before = {first.index.ids[i]: first.record(i) for i in range(len(first))}
  (clips / "5.txt").write_text("a small red circle")
  finish(arguments, 2)
  second = Records(work / "own")
  changed, latents = [], 0
  for i in range(len(second)):
    record = second.record(i)
    old = before[record.id]
    if record.caption != old.caption or record.tokens.tobytes() != old.tokens.tobytes():
      changed.append(record.id)
    latents += record.latents.tobytes() != old.latents.tobytes()
  return [
    row("records changed by an edited caption", len(changed), "1", len(changed) == 1),
    row("latents changed by it", latents, "0", latents == 0),
  ]


def run() -> list[dict[str, Any]]:
  """Rows of all three."""
  with tempfile.TemporaryDirectory() as folder:
    work = Path(folder)
    return [*killed(work), *shared(work), *edited(work)]


if __name__ == "__main__":
  print(json.dumps(run(), indent=2))
