"""A day on a pod, made small: 20,000 steps, ten kills, two changes of process count.

One run of a tiny transformer on two devices is left alone, while its memory, threads
and open files are watched. Another, on the same batches, is killed with -9 ten times at
random moments. It starts as one process, resumes as two with one device each, and ends
as one again. Both save every 200 steps. The second run's curve must have every step
once, and must equal that of the first.

LONG_RUN names a folder to keep both in; runs in it are resumed.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.train import processes_case
from tests.train.processes_case import Process, started, training, write_inputs
from tests.verify import kill_resume
from train.harness.reporting import read_metrics

NAME = "20,000 steps, ten kills, two changes of process count: one curve"
COMMAND = "python -m tests.verify long_run"

STEPS, SAVE_EVERY, DEVICES = 20_000, 200, 2
PARTS = ((1, 8_000, 4), (2, 9_000, 3), (1, STEPS, 3))
"""(processes, last step, kills) of the parts of the killed run; the last kill of a part
changes to the next part."""
SETTLED = STEPS // 5
"""Steps after which a process holds everything that it will need."""
OPTIONS = (
  *("--mesh.data", str(DEVICES), "--steps", str(STEPS)),
  *("--output.save-every", str(SAVE_EVERY), "--output.sample-every", "100000"),
  *("--output.evaluate-every", "100000", "--output.log-every", "10"),
)
PATIENCE = 3600.0


class Usage(NamedTuple):
  """Resources that a process holds."""

  step: int
  megabytes: float
  threads: int
  files: int


def last_step(folder: Path) -> int:
  rows = read_metrics(folder)
  return rows[-1]["step"] if rows else 0


def usage(process: Process, step: int) -> Usage:
  status = Path(f"/proc/{process.pid}/status").read_text()
  lines = dict(line.split(":", 1) for line in status.splitlines())
  megabytes = int(lines["VmRSS"].split()[0]) / 1024
  files = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
  return Usage(step, megabytes, int(lines["Threads"]), files)


def watch(inputs: Path, folder: Path) -> list[Usage]:
  """Trains to the end, and looks at the process every two seconds.

  Raises:
    RuntimeError: If it fails.
  """
  seen = []
  with started(training(inputs, folder, *OPTIONS), 1, DEVICES) as (process,):
    while process.running():
      step = last_step(folder)
      if 0 < step < STEPS:
        seen.append(usage(process, step))
      time.sleep(2)
    if process.returncode:
      raise RuntimeError(process.output()[-2000:])
  return seen


def wait_for(folder: Path, step: int, running: list[Process]) -> None:
  """Waits for a step.

  Raises:
    RuntimeError: If a process ends before it, or it does not come.
  """
  begin = time.monotonic()
  while last_step(folder) < step:
    ended = [process for process in running if not process.running()]
    if ended or time.monotonic() - begin > PATIENCE:
      raise RuntimeError(f"No step {step}: {[p.output()[-2000:] for p in ended]}")
    time.sleep(0.05)


def train_part(
  inputs: Path, folder: Path, part: tuple[int, int, int], draw: random.Random
) -> int:
  """Trains to the last step of a part, and returns the number of kills."""
  processes, last, kills = part
  change = [last] if last < STEPS else []
  begin = kill_resume.complete(folder)
  targets = sorted(draw.sample(range(begin + 1, last), kills - len(change))) + change
  command = training(inputs, folder, *OPTIONS)
  for target in targets:
    with started(command, processes, DEVICES, 30) as running:
      wait_for(folder, target, running)
      time.sleep(draw.uniform(0, 0.3))
      running[draw.randrange(processes)].send_signal(signal.SIGKILL)
      processes_case.outputs(running)
    print(f"  {processes} process(es), killed at {last_step(folder)}", flush=True)
  if last == STEPS:
    with started(command, processes, DEVICES) as running:
      wait_for(folder, last, running)
      processes_case.outputs(running)
  return len(targets)


def curve(folder: Path) -> dict[int, float]:
  return {row["step"]: row["loss"] for row in read_metrics(folder) if "loss" in row}


def row(figure: str, value: float, unit: str, target: str, ok: bool) -> dict:
  return {"figure": figure, "value": value, "unit": unit, "target": target, "ok": ok}


def flat(seen: list[Usage]) -> list[dict]:
  """Rows: what the process holds at its end, compared with after it had settled."""
  rows, late = [], [one for one in seen if one.step > SETTLED]
  parts = np.array_split(np.array(late, np.float64), 4)
  first, final = parts[0].mean(axis=0), parts[-1].mean(axis=0)
  for name, unit, column, most in (
    ("memory", "MB", 1, 0.03 * first[1]),
    ("threads", "", 2, 1.0),
    ("open files", "", 3, 2.0),
  ):
    grown, most = float(final[column] - first[column]), float(most)
    title = f"growth of {name} ({first[column]:.0f} after {SETTLED} steps)"
    rows.append(row(title, grown, unit, f"at most {most:.0f}", grown <= most))
  return rows


def run() -> list[dict]:
  with tempfile.TemporaryDirectory() as temporary:
    root = Path(os.environ.get("LONG_RUN", temporary))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(root / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    root.mkdir(parents=True, exist_ok=True)
    inputs = write_inputs(root)
    alone, killed, draw = root / "alone", root / "killed", random.Random(0)
    rows = flat(watch(inputs, alone))
    kills = sum(train_part(inputs, killed, part, draw) for part in PARTS)
    expected, found = curve(alone), curve(killed)
    same = sum(found.get(step) == loss for step, loss in expected.items())
    first = PARTS[0][1]
    early = sum(found.get(s) == loss for s, loss in expected.items() if s <= first)
    apart = max(abs(found[step] / loss - 1) for step, loss in expected.items())
    wrong = kill_resume.differing(
      kill_resume.state(alone, STEPS), kill_resume.state(killed, STEPS)
    )
  logged, title = len(expected), f"losses that are the same to step {first}"
  return [
    *rows,
    row("kills with -9", kills, "", "10", kills == 10),
    row("logged steps", len(found), "", f"{logged}", found.keys() == expected.keys()),
    row(title, early, "", f"of {first // 10}", early == first // 10),
    row("losses that are the same", same, "", f"of {logged}", same == logged),
    row("largest relative change of a loss", apart, "", "0", apart == 0),
    row("arrays that differ in the end", len(wrong), "", "0", not wrong),
  ]
