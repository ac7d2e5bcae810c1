"""Kills training with -9 at random moments and resumes it, then compares every bit.

One run is left alone. The other is killed five times during a step and five times while
a checkpoint is being written, each time started again with the same command, and must
end in the same bits: parameters, average, optimiser state, the loss of every step. One
of the runs has a discriminator, so both networks must.
Before each restart the newest complete checkpoint is noted; the program must say that
it resumes from that very step.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp

from ltx_jax.data import video
from ltx_jax.moving_shapes import world
from ltx_jax.releases.presets import ASSETS
from train.harness.reporting import read_metrics

NAME = "Training killed with -9 resumes bit for bit"
COMMAND = "python -m tests.verify kill_resume"

ROOT = Path(__file__).resolve().parent.parent.parent
TOKENIZER = ASSETS / "moving_shapes" / "tokenizer"
KILLS = 5
SAVE_EVERY = 4
STEPS = 2 * KILLS * SAVE_EVERY + SAVE_EVERY
PATIENCE = 1800.0  # Seconds without a new step after which a program counts as hung.
# Compilation takes most of a start; without optimisation it takes a third of the time.
_FLAGS = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"
ENVIRONMENT = os.environ | {"XLA_FLAGS": _FLAGS.strip()}

# Averages are on, so that every kind of state occurs. The transformer trains on records
# that the VAE of the first uninterrupted run made.
TRAINERS = {
  "vae": ("vae",),
  "vae with a discriminator": (
    *("vae", "--adversarial.weight", "0.5", "--adversarial.channels", "8"),
    *("--adversarial.layers", "1", "--adversarial.ramp", "4"),
  ),
  "vae on videos": ("vae", "--data", "CLIPS", "--held-out", "1"),
  "transformer on records": ("transformer", "--vae", "VAE", "--data", "RECORDS"),
}


def arguments(name: str, folder: Path) -> list[str]:
  """Returns the command line of a short run in `folder`."""
  root = folder.parent
  trainer, *options = TRAINERS[name]
  places = {"VAE": vae_of(root), "CLIPS": root / "clips", "RECORDS": root / "records"}
  never = str(10 * STEPS)
  return [
    *(sys.executable, "-m", f"train.{trainer}", "tiny", "--optimizer.ema-decay", "0.9"),
    *("--steps", str(STEPS), "--output.folder", str(folder)),
    *("--output.save-every", str(SAVE_EVERY), "--output.log-every", "1"),
    *("--output.sample-every", never, "--output.evaluate-every", never),
    *(str(places.get(option, option)) for option in options),
  ]


def vae_of(root: Path) -> Path:
  """Returns the VAE that the first uninterrupted run wrote."""
  return root / "vae_alone" / "vae.safetensors"


def prepare(name: str, root: Path) -> None:
  """Makes the clips or the records that a trainer reads."""
  if name == "vae on videos":
    for number, caption in enumerate(world.captions()[:24]):
      path = root / "clips" / f"{number}.mp4"
      video.write(path, world.clip(caption, number, 5, 32, 32), 24.0)
      path.with_suffix(".txt").write_text(caption)
  if name == "transformer on records":
    command = [
      *(sys.executable, "-m", "train.precompute", "moving-shapes"),
      *("--output", str(root / "records"), "--model", str(vae_of(root))),
      *("--text-encoder", "none", "--tokenizer", str(TOKENIZER)),
      *("--variants", "1", "--buckets", "5x32x32", "1x32x32"),
    ]
    subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, check=True)


class Program:
  """A training program in a process of its own, with its output in a file."""

  def __init__(self, command: Sequence[str], folder: Path):
    folder.mkdir(parents=True, exist_ok=True)
    self.folder = folder
    self.log = folder / f"output_{len(list(folder.glob('output_*')))}.txt"
    with self.log.open("w") as file:
      self.process = subprocess.Popen(
        list(command), cwd=ROOT, env=ENVIRONMENT, stdout=file, stderr=subprocess.STDOUT
      )

  def step(self) -> int:
    """Newest step in its curves."""
    records = read_metrics(self.folder)
    return records[-1]["step"] if records else 0

  def started(self) -> bool:
    """Whether it has removed what the last kill left, and begun."""
    return " parameters, " in self.log.read_text()

  def saving(self) -> bool:
    """Whether a checkpoint is half written now."""
    return bool(list(self.folder.glob("checkpoints/*.orbax-checkpoint-tmp*")))

  def wait_for(self, happens: Callable[[], bool], pause: float) -> None:
    """Returns when `happens()`.

    Raises:
      RuntimeError: If the program ends, or makes no step for long, before that.
    """
    step, since = self.step(), time.monotonic()
    while not happens():
      time.sleep(pause)
      if self.process.poll() is not None:
        raise RuntimeError(f"The program ended early:\n{self.log.read_text()[-2000:]}")
      if time.monotonic() - since > PATIENCE:
        self.kill()
        raise RuntimeError(f"No step in {PATIENCE:.0f} s after step {step}.")
      if pause > 0.01 and self.step() != step:
        step, since = self.step(), time.monotonic()

  def kill(self) -> None:
    os.kill(self.process.pid, signal.SIGKILL)
    self.process.wait()

  def finish(self) -> None:
    """Waits for its end.

    Raises:
      RuntimeError: If it fails.
    """
    if self.process.wait():
      raise RuntimeError(f"The program failed:\n{self.log.read_text()[-2000:]}")

  def resumed_from(self) -> int:
    """Returns the step from which it said it resumed."""
    found = re.search(r"Resuming after step (\d+)", self.log.read_text())
    return int(found[1]) if found else 0


def complete(folder: Path) -> int:
  """Returns the step of the newest complete checkpoint; 0 if there is none."""
  names = [path.name for path in folder.glob("checkpoints/*")]
  return max((int(name) for name in names if name.isdecimal()), default=0)


def kill_during_step(program: Program, step: int, draw: random.Random) -> bool:
  """Kills after `step` is logged, at a random moment of the next one."""
  program.wait_for(program.started, 0.05)
  program.wait_for(lambda: program.step() >= step, 0.05)
  # Use the fastest step, because the first ones include compilation.
  fastest = max(r["steps_per_second"] for r in read_metrics(program.folder))
  time.sleep(draw.uniform(0, 1 / fastest))
  program.kill()
  return not program.saving()


def kill_during_save(program: Program, seconds: float, draw: random.Random) -> bool:
  """Kills at a random moment of a save that takes about `seconds`."""
  program.wait_for(program.started, 0.05)
  program.wait_for(program.saving, 0.001)
  time.sleep(draw.uniform(0, seconds))
  program.kill()
  return program.saving()


def run_alone(command: Sequence[str], folder: Path) -> float:
  """Runs without a kill; returns the seconds of one save."""
  program = Program(command, folder)
  program.wait_for(program.saving, 0.001)
  began = time.monotonic()
  program.wait_for(lambda: not program.saving(), 0.001)
  seconds = time.monotonic() - began
  program.finish()
  return seconds


def run_killed(
  command: Sequence[str], folder: Path, save_seconds: float, draw: random.Random
) -> dict[str, int]:
  """Runs with kills until each kind has struck `KILLS` times, then to the end.

  Returns:
    Counts: kills of each kind, and restarts from the right step.
  """
  counts = {"step": 0, "save": 0, "right": 0, "restarts": 0}
  while min(counts["step"], counts["save"]) < KILLS:
    start = complete(folder)
    program = Program(command, folder)
    if counts["step"] <= counts["save"]:
      target = start + draw.randrange(1, 2 * SAVE_EVERY)
      counts["step"] += kill_during_step(program, target, draw)
    else:
      counts["save"] += kill_during_save(program, save_seconds, draw)
    counts["restarts"] += 1
    counts["right"] += program.resumed_from() == start
    print(f"  killed at step {program.step()}: {counts}", flush=True)
    if complete(folder) >= STEPS:
      raise RuntimeError("The run was over before all kills; raise STEPS.")
  start = complete(folder)
  program = Program(command, folder)
  program.finish()
  counts["restarts"] += 1
  counts["right"] += program.resumed_from() == start
  return counts


def state(folder: Path, step: int = STEPS) -> dict[str, np.ndarray]:
  """Every array of a checkpoint, by path."""
  with ocp.PyTreeCheckpointer() as checkpointer:
    path = folder / "checkpoints" / str(step) / "state"
    names = checkpointer.metadata(path).item_metadata.tree
    arguments = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in names}
    return checkpointer.restore(path, restore_args=arguments)


def differing(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> list[str]:
  """Paths whose bits differ, or that one of the two lacks."""
  return [
    name
    for name in sorted(a | b)
    if name not in a or name not in b or a[name].tobytes() != b[name].tobytes()
  ]


def losses(folder: Path) -> list[tuple[int, float]]:
  """(step, loss) of every step."""
  return [(record["step"], record["loss"]) for record in read_metrics(folder)]


def check(
  name: str, command: Callable[[Path], list[str]], root: Path, seed: int
) -> list[dict]:
  """Rows for one trainer; `command` returns its command line for a folder."""
  prepare(name, root)
  short = name.replace(" ", "_")
  alone, killed = root / f"{short}_alone", root / f"{short}_killed"
  save_seconds = run_alone(command(alone), alone)
  counts = run_killed(command(killed), killed, save_seconds, random.Random(seed))
  reference = state(alone)
  wrong = differing(reference, state(killed))
  same_losses = sum(a == b for a, b in zip(losses(alone), losses(killed), strict=False))

  def row(figure: str, value: int, target: int, unit: str = "") -> dict:
    ok = bool(value >= target)
    text = f"of {target}" if unit == "" else f"{target}"
    return {"figure": figure, "value": value, "unit": unit, "target": text, "ok": ok}

  return [
    row(f"{name}: kills during a step", counts["step"], KILLS, "kills"),
    row(f"{name}: kills during a save", counts["save"], KILLS, "kills"),
    row(
      f"{name}: restarts from the last complete checkpoint",
      counts["right"],
      counts["restarts"],
    ),
    row(
      f"{name}: arrays equal to the uninterrupted run's, bit for bit",
      len(reference) - len(wrong),
      len(reference),
    ),
    row(f"{name}: losses equal to the uninterrupted run's", same_losses, STEPS),
  ]


def run() -> list[dict]:
  """Rows for both trainers, on rendered clips, on videos and on records."""
  rows = []
  with tempfile.TemporaryDirectory() as root:
    for seed, name in enumerate(TRAINERS):
      rows += check(name, lambda folder, n=name: arguments(n, folder), Path(root), seed)
  return rows
