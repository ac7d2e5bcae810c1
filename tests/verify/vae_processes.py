"""The VAE with its discriminator on one device, on eight, and as two processes.

All three train on the same batches of images and clips; the eight devices share rows,
parameters, and the rows of pixels of each clip. Losses and gradient norms of both
networks are compared with those of a single device, over 20 steps.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from tests.verify import processes
from train.harness.reporting import read_metrics

NAME = "The VAE with its discriminator: one device, eight devices, two processes"
COMMAND = "python -m tests.verify vae_processes"

MESH = {"data": 2, "fsdp": 2, "context": 2}
CASES = {  # Mesh, processes, devices of all processes together.
  "one device": (processes.ONE, 1, 1),
  "8 devices": (MESH, 1, processes.DEVICES),
  "8 devices, 2 processes": (MESH, 2, processes.DEVICES),
}
FIGURES = ("loss", "grad_norm", "discriminator", "discriminator_grad_norm")
ADVERSARIAL = (
  *("--adversarial.weight", "0.5", "--adversarial.channels", "8"),
  *("--adversarial.layers", "1", "--adversarial.ramp", "4"),
)


def run() -> list[dict]:
  """Rows: the largest relative difference of each figure."""
  found = {}
  with tempfile.TemporaryDirectory() as temporary:
    root = Path(os.environ.get("PROCESSES_RUN", temporary))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(root / "compiled")
    root.mkdir(parents=True, exist_ok=True)
    for name, (mesh, count, devices) in CASES.items():
      folder = root / f"vae {name}"
      options = *processes.OPTIONS, *ADVERSARIAL, *processes.on_mesh(mesh)
      command = ["train.vae", "tiny", "--output.folder", str(folder), *options]
      processes.curve(command, folder, count, devices)
      rows = read_metrics(folder)
      found[name] = np.array([[row[figure] for figure in FIGURES] for row in rows])
  alone, *others = found
  rows = []
  for name in others:
    apart = np.abs(found[name] / found[alone] - 1).max(axis=0)
    for figure, value in zip(FIGURES, apart, strict=True):
      what = f"{name}: {figure}, {len(found[alone])} steps"
      rows.append(processes.row(what, float(value), 1e-4))
  return rows
