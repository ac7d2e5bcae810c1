"""Kills one of two processes with -9 at random moments, and resumes the run.

One run of two processes is left alone. Another is killed ten times: one of its two
processes, drawn at random, at a random moment of a step or of a save. The other process
must end by itself, and the same command resumes from the last checkpoint. In the end
the bits of the state and every loss must be the same. Then one process, and four
processes, resume from a checkpoint of the first run; their losses may differ only by
rounding.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.train import processes_case
from tests.train.processes_case import started, training, write_inputs
from tests.verify import kill_resume
from train.harness.reporting import METRICS_FILE, read_metrics

NAME = "One of two processes killed with -9: the run goes on bit for bit"
COMMAND = "python -m tests.verify kill_processes"

KILLS = 10
SAVE_EVERY = 4
STEPS = 60
DEVICES = 4
TIMEOUT = 20
"""Seconds within which a process must end after it lost another."""
OPTIONS = (
  *("--mesh.data", "2", "--mesh.fsdp", "2", "--steps", str(STEPS)),
  *("--output.save-every", str(SAVE_EVERY), "--output.keep-every", str(SAVE_EVERY)),
  *("--output.sample-every", "1000", "--output.evaluate-every", "1000"),
)


def finish(inputs: Path, folder: Path, processes: int) -> None:
  """Runs to the end.

  Raises:
    RuntimeError: If a process fails.
  """
  command = training(inputs, folder, *OPTIONS)
  with started(command, processes, DEVICES, TIMEOUT) as running:
    printed = processes_case.outputs(running)
    if any(process.returncode for process in running):
      raise RuntimeError(printed[0][-2000:])


def last_step(folder: Path) -> int:
  rows = read_metrics(folder)
  return rows[-1]["step"] if rows else 0


def forget_after(folder: Path, step: int) -> None:
  """Drops the curves that the next start drops, so that new steps are recognised."""
  path = folder / METRICS_FILE
  if path.exists():
    rows = [row for row in read_metrics(folder) if row["step"] <= step]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def kill_once(inputs: Path, folder: Path, draw: random.Random) -> bool:
  """Starts two processes and kills one; returns whether the other ended by itself."""
  command = training(inputs, folder, *OPTIONS)
  begin = kill_resume.complete(folder)
  forget_after(folder, begin)
  with started(command, 2, DEVICES, TIMEOUT) as running:
    target = begin + draw.randrange(1, SAVE_EVERY + 2)  # Some fall into a save.
    began = time.monotonic()
    while last_step(folder) < target:
      if time.monotonic() - began > processes_case.PATIENCE:
        raise RuntimeError(f"No step after {begin}.")
      time.sleep(0.01)
    time.sleep(draw.uniform(0, 0.3))
    victim = draw.randrange(2)
    running[victim].send_signal(signal.SIGKILL)
    other = running[1 - victim]
    text = other.output(2 * TIMEOUT + 20)
    print(
      f"  {victim} killed after step {last_step(folder)}: {other.returncode}",
      flush=True,
    )
    words = "another process is gone" in text or "another task died" in text
    return bool(other.returncode) and words


def losses(folder: Path) -> np.ndarray:
  return np.array([row["loss"] for row in read_metrics(folder)])


def gone_on(inputs: Path, alone: Path, processes: int) -> float:
  """Resumes from the middle with N processes; returns the largest change of a loss."""
  middle = STEPS // 2 // SAVE_EVERY * SAVE_EVERY
  folder = alone.with_name(f"by_{processes}")
  kept = f"checkpoints/{middle}"
  shutil.copytree(alone / kept, folder / kept)
  finish(inputs, folder, processes)
  return float(np.abs(losses(folder) / losses(alone)[middle:] - 1).max())


def row(figure: str, value: float, unit: str, target: str, ok: bool) -> dict:
  return {"figure": figure, "value": value, "unit": unit, "target": target, "ok": ok}


def run() -> list[dict]:
  """Rows: how the others end, and what is the same in the end."""
  draw = random.Random(0)
  with tempfile.TemporaryDirectory() as work:
    # Every process of every start compiles the same two programs.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(work) / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    root = Path(work)
    inputs = write_inputs(root)
    alone, killed = root / "alone", root / "killed"
    finish(inputs, alone, 2)
    ended = sum(kill_once(inputs, killed, draw) for _ in range(KILLS))
    finish(inputs, killed, 2)
    wrong = kill_resume.differing(
      kill_resume.state(alone, STEPS), kill_resume.state(killed, STEPS)
    )
    same = int(np.sum(losses(alone) == losses(killed)))
    changes = {count: gone_on(inputs, alone, count) for count in (1, 4)}
  all_of = f"of {KILLS}"
  return [
    row("the other process ends by itself", ended, "kills", all_of, ended == KILLS),
    row("arrays that differ in the end", len(wrong), "", "0", not wrong),
    row("losses that are the same", same, "", f"of {STEPS}", same == STEPS),
    *(
      row(f"largest change of a loss, by {n} process(es)", x, "", "1e-4", x < 1e-4)
      for n, x in changes.items()
    ),
  ]
