"""New thresholds on 10^5 and 10^6 clips that were measured before, duplicates included.

The clips are made up: a tenth has the hashes, windows and details of another one, a
tenth was too short to be measured. No video is there, so none can be opened. Each
selection is a program of its own, whose memory the system counts.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ltx_jax.curation.details import WORDS
from ltx_jax.curation.windows import COUNT
from tests.verify.scenes import row
from train.curation.folder import Folder, write_rows

NAME = "Curation: new thresholds on a million clips"
COMMAND = "python -m tests.verify selection"

ROOT = Path(__file__).resolve().parent.parent.parent
SIZES = ((10**5, 10, 2.0), (10**6, 60, 2.0))
"""Numbers of clips, with the seconds and the GiB that their selection may take."""


def clips(count: int) -> Iterator[dict[str, Any]]:
  """Yields rows of clips, ten of each video."""
  rng = np.random.default_rng(0)
  codes = rng.integers(0, 2**63, (count, 3), dtype=np.uint64)
  copies = rng.random(count) < 0.1
  of = rng.integers(0, count, int(copies.sum()))
  codes[copies] = codes[of]
  seeds = np.arange(count)
  seeds[copies] = of
  for k in range(count):
    video, start = f"folder {k // 10**4}/video {k // 10}.mp4", 6.0 * (k % 10)
    r = rng.random(10).tolist()
    measured = r[9] >= 0.1
    scores = {"luma": 40 + 100 * r[0], "contrast": 3 + 60 * r[1], "corrupt": 0.0}
    scores |= {
      "motion": 0.1 * r[2],
      "motion_p90": 0.2 * r[2] ** 2,
      "camera": 0.1 * r[3],
    }
    scores |= {"local": 0.1 * r[4], "repeated": r[5] ** 8, "flashes": 4 * r[6] ** 4}
    short = {"rule": "scenes", "reason": "length", "value": 12, "threshold": 25}
    drawn = np.random.default_rng(seeds[k])
    seen, finer = (_codes(drawn.bytes(3 * 8 * size)) for size in (COUNT, WORDS))
    stills = [hashlib.sha256(b"%d %d" % (k, n)).hexdigest()[:32] for n in range(5)]
    yield {
      **{"id": f"{video}@{round(1000 * start)}", "source": video, "span": 0},
      **{"path": f"/gone/{video}", "start": start, "end": start + 2 + 3 * r[7]},
      **{"width": 1920, "height": 1080, "frames": 60 + int(90 * r[7]), "fps": 30.0},
      **{"crop": [0, 132, 1920, 816] if r[8] < 0.2 else None, "caption": ""},
      "scores": {name: round(v, 4) for name, v in scores.items()} if measured else {},
      "stills": [f"{name}.jpg" for name in stills] if measured else [],
      "hashes": [f"{code:016x}" for code in codes[k].tolist()] if measured else [],
      "windows": seen if measured else [],
      "details": finer if measured else [],
      "decision": None if measured else short,
    }


def _codes(content: bytes) -> list[str]:
  """Returns three equal parts, in hexadecimal."""
  size = len(content) // 3
  return [content[n * size :][:size].hex() for n in range(3)]


def selected(folder: Path, *options: str) -> tuple[float, float]:
  """Selects in a program of its own; returns the seconds and the GiB that it took."""
  command = [sys.executable, "-m", "train.curate", "select", "--output", str(folder)]
  began = time.monotonic()
  child = subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.DEVNULL)
  _, status, usage = os.wait4(child.pid, 0)
  child.returncode = os.waitstatus_to_exitcode(status)
  if child.returncode:
    raise RuntimeError(f"the selection ended with {child.returncode}")
  return time.monotonic() - began, usage.ru_maxrss / 2**20


def run() -> list[dict[str, Any]]:
  """Selects twice, the second time with other thresholds."""
  rows = []
  for count, most_seconds, most_memory in SIZES:
    with tempfile.TemporaryDirectory() as name:
      folder = Folder(Path(name))
      write_rows(folder.clips, clips(count))
      for path in (folder.refused, folder.sources):
        path.touch()
      selected(folder.root)
      changed = ("--threshold", "static=0.02", "strobe=1")
      seconds, memory = selected(folder.root, *changed)
      files = [folder.root / name for name in ("selected.jsonl", "decisions.jsonl")]
      found = sum(len(path.read_bytes().splitlines()) for path in files)
    rows += [
      row(
        f"{count:,} clips: new thresholds, the whole program",
        *(seconds, "s", f"at most {most_seconds}", seconds <= most_seconds),
      ),
      row(
        f"{count:,} clips: memory at most",
        *(memory, "GiB", f"at most {most_memory:g}", memory <= most_memory),
      ),
      row(f"{count:,} clips: kept and dropped", found, "", f"{count}", found == count),
    ]
  return rows
