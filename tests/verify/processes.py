"""The same run as one process, as two and as four, over every mesh: the same losses.

Eight host devices belong to one process, or are divided among two or four on this
machine. The batches mix images with clips that are trimmed to the same number of
tokens. Each run is compared with that of a single device: the losses and the gradient
norms of the first step, then of all steps. `vae_processes` does the same with the VAE.

PROCESSES_RUN names a folder to keep the runs in; a complete run is not repeated.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.train import processes_case
from tests.train.processes_case import started, training, write_inputs
from train.harness.reporting import read_metrics

NAME = "One, two and four processes over every mesh: the same losses as one device"
COMMAND = "python -m tests.verify processes"

STEPS = 20
DEVICES = 8
PROCESSES = (1, 2, 4)
MESHES = (
  {"data": 8},
  {"fsdp": 8},
  {"data": 4, "context": 2},
  {"data": 2, "fsdp": 2, "context": 2},
  {"data": 2, "fsdp": 2, "tensor": 2},
)
ONE = {"data": 1}
PATIENCE = 1800.0
OPTIONS = (
  *("--steps", str(STEPS), "--output.save-every", "1000"),
  *("--output.sample-every", "1000", "--output.evaluate-every", "1000"),
)


def on_mesh(mesh: dict[str, int]) -> list[str]:
  """Returns the options that set the number of devices per axis."""
  sizes = {"data": 1, "fsdp": 1, "context": 1, "tensor": 1} | mesh
  return [part for axis, n in sizes.items() for part in (f"--mesh.{axis}", str(n))]


def curve(
  command: Sequence[str], folder: Path, processes: int, devices: int
) -> np.ndarray:
  """Trains, and returns the loss and the gradient norm of every step.

  Raises:
    RuntimeError: If a process fails.
  """
  done = folder / "done"
  if not done.exists():
    with started(command, processes, devices) as running:
      printed = processes_case.outputs(running, PATIENCE)
      if any(process.returncode for process in running):
        raise RuntimeError(printed[0][-2000:])
    done.touch()
  return np.array([[row["loss"], row["grad_norm"]] for row in read_metrics(folder)])


def row(figure: str, value: float, target: float) -> dict:
  ok = value <= target
  return {"figure": figure, "value": value, "unit": "", "target": f"{target}", "ok": ok}


def run() -> list[dict]:
  """Rows: the largest relative difference by mesh and number of processes."""
  rows = []
  with tempfile.TemporaryDirectory() as temporary:
    root = Path(os.environ.get("PROCESSES_RUN", temporary))
    # Every process of every start compiles the same two programs.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(root / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    root.mkdir(parents=True, exist_ok=True)
    inputs = write_inputs(root)

    def command(folder: Path, mesh: dict[str, int]) -> list[str]:
      return training(inputs, folder, *OPTIONS, *on_mesh(mesh))

    alone = curve(command(root / "alone", ONE), root / "alone", 1, 1)
    for mesh in MESHES:
      words = " ".join(f"{axis}={n}" for axis, n in mesh.items())
      for count in PROCESSES:
        folder = root / f"{words} {count}"
        found = curve(command(folder, mesh), folder, count, DEVICES)
        apart = np.abs(found / alone - 1).max(axis=1)
        print(f"  {words}, {count}: {apart[0]:.1e}, {apart.max():.1e}", flush=True)
        what = f"{words}, {count} process(es)"
        rows.append(row(f"{what}: first step", float(apart[0]), 1e-5))
        rows.append(row(f"{what}: {STEPS} steps", float(apart.max()), 1e-4))
  return rows
