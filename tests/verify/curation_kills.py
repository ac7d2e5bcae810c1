"""A curation that is killed, spread and shuffled ends with the same bytes.

The same videos are curated by one worker, by four, from a list in another order, on two
Ray nodes of this machine, on two of which one is killed in the middle, and by a run
that is killed with -9 at twenty random moments. Manifest, decisions and report must be
equal.

    pip install -e ".[curate]"
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.data import media_case
from tests.verify.scenes import joined, pieces, row

NAME = "Curation: the same bytes whatever the workers, nodes, order and kills"
COMMAND = "python -m tests.verify curation_kills"

ROOT = Path(__file__).resolve().parent.parent.parent
VIDEOS, KILLS = 24, 20
OPEN = os.environ | {"RAY_AUTH_MODE": "disabled"}
"""Ray's nodes ask for a token by default, and its programs give none."""

RESULTS = "manifest.jsonl", "decisions.jsonl", "report.html"


def write_footage(folder: Path) -> list[Path]:
  """Writes videos of eight scenes each, and a broken one."""
  folder.mkdir()
  found, paths = pieces(), [folder / f"video {k}.mp4" for k in range(VIDEOS)]
  for case, path in enumerate(paths):
    made = joined(found, np.random.default_rng(100 + case))
    media_case.write(path, made.frames, 25)
  broken = folder / "broken.mp4"
  broken.write_bytes(paths[0].read_bytes()[:2000])
  return [*paths, broken]


def started(footage: Path, output: Path, *options: str) -> subprocess.Popen:
  """Starts a curation in a process group of its own."""
  command = [sys.executable, "-m", "train.curate", "run", str(footage)]
  return subprocess.Popen(
    [*command, "--output", str(output), "--threshold", "size=72", *options],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    env=OPEN,
    start_new_session=True,
    text=True,
  )


def finished(footage: Path, output: Path, *options: str) -> None:
  """Curates to the end.

  Raises:
    RuntimeError: If it fails.
  """
  process = started(footage, output, *options)
  said, _ = process.communicate()
  if process.returncode:
    raise RuntimeError(f"it ended with {process.returncode}: {said[-2000:]}")


def killed(process: subprocess.Popen) -> None:
  """Kills a process and all that it started."""
  with contextlib.suppress(ProcessLookupError):
    os.killpg(process.pid, signal.SIGKILL)
  process.communicate()


def digest(output: Path) -> dict[str, str]:
  """Returns a hash of each result."""
  return {
    name: hashlib.sha256((output / name).read_bytes()).hexdigest() for name in RESULTS
  }


def parts(output: Path) -> int:
  """Returns how many spans are measured."""
  return len(list(output.glob("parts/*/*.jsonl")))


@contextlib.contextmanager
def nodes() -> Iterator[tuple[str, subprocess.Popen]]:
  """Starts two Ray nodes of one core, and yields their address and the second one."""
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
  ray = [str(Path(sys.executable).with_name("ray")), "start", "--block"]
  own = ["--num-cpus=1", "--disable-usage-stats", "--object-store-memory=200000000"]
  own.append("--node-ip-address=127.0.0.1")
  quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": OPEN}
  port = address.rpartition(":")[2]
  commands = (
    [*ray, "--head", f"--port={port}", "--include-dashboard=false", *own],
    [*ray, f"--address={address}", *own],
  )
  processes = []
  try:
    for command in commands:
      processes.append(subprocess.Popen(command, start_new_session=True, **quiet))
      time.sleep(15)
    yield address, processes[1]
  finally:
    for process in reversed(processes):
      killed(process)


def lost_node(footage: Path, output: Path) -> int:
  """Kills a node while it measures; returns how often the run was started."""
  with nodes() as (address, second):
    process = started(footage, output, "--workers.address", address)
    while process.poll() is None and parts(output) < 3:
      time.sleep(0.05)
    killed(second)
    process.communicate()
    if process.returncode == 0:
      return 1
    finished(footage, output, "--workers.address", address)
  return 2


def kills(footage: Path, output: Path) -> tuple[int, int]:
  """Kills runs at random moments; returns how many, and how many spans were left."""
  rng, count, left = random.Random(0), 0, 0
  while count < KILLS:
    process = started(footage, output, "--workers.count", "2")
    with contextlib.suppress(subprocess.TimeoutExpired):
      process.communicate(timeout=rng.uniform(4, 20))
    if process.poll() is not None:  # It came to its end: another one is killed.
      for path in (*output.glob("parts/*/*.jsonl"), output / "clips.jsonl"):
        path.unlink(missing_ok=True)
      continue
    killed(process)
    count += 1
    left += parts(output) < VIDEOS
  finished(footage, output)
  return count, left


def run() -> list[dict[str, Any]]:
  """Curates in every way, and compares."""
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    footage = folder / "footage"
    paths = write_footage(footage)
    shuffled = folder / "list.jsonl"
    order = random.Random(1).sample(paths, len(paths))
    lines = (json.dumps({"id": path.name, "path": str(path)}) for path in order)
    shuffled.write_text("\n".join(lines))
    outputs = {
      key: folder / key for key in ("one", "four", "list", "two", "lost", "kills")
    }
    finished(footage, outputs["one"], "--workers.count", "1")
    finished(footage, outputs["four"], "--workers.count", "4")
    finished(shuffled, outputs["list"])
    with nodes() as (address, _):
      finished(footage, outputs["two"], "--workers.address", address)
    starts = lost_node(footage, outputs["lost"])
    count, left = kills(footage, outputs["kills"])
    truth = digest(outputs["one"])
    same = {key: digest(output) == truth for key, output in outputs.items()}
    clips = len((outputs["one"] / "clips.jsonl").read_text().splitlines())
  words = {
    "four": "four workers",
    "list": "a list in another order",
    "two": "two Ray nodes",
    "lost": f"a node killed in the middle, started {starts} times",
    "kills": f"{count} kills of everything, {left} before all was measured",
  }
  return [
    row(f"{VIDEOS + 1} files, one worker: clips", clips, "", "", True),
    *(
      row(
        f"{what}: results that are the same",
        len(RESULTS) * same[key],
        "of 3",
        "3",
        same[key],
      )
      for key, what in words.items()
    ),
  ]
