"""Trains and measures one recipe of the VAE with one seed, and writes its result."""

from __future__ import annotations

import json
from pathlib import Path

from ltx_jax.config.runs import VAERun
from tests.experiments import runner
from tests.experiments.vae.measure import measured, strip
from tests.experiments.vae.page import write_page
from tests.experiments.vae.variants import (
  PLAN,
  SEEDS,
  VARIANTS,
  Phases,
  Plan,
  phases,
)
from tests.program import ROOT
from tests.verify.runner import commit, write
from train.harness.reporting import read_metrics
from train.trainers.vae import exported, start_run

DOCS = ROOT / "docs"
CURVES = ("psnr", "discriminator_accuracy")


def train(run: VAERun) -> float:
  """Trains or resumes a phase unless it has been trained; returns its whole seconds."""
  if not exported(run).is_file():
    start_run(run)
  return read_metrics(Path(run.output.folder))[-1]["seconds"]


def curve(both: Phases) -> dict[str, list[list[float]]]:
  """Returns the figures of `CURVES` by step, the second phase after the first."""
  found: dict[str, list[list[float]]] = {name: [] for name in CURVES}
  for run, before in ((both.first, 0), (both.second, both.first.steps)):
    for row in read_metrics(Path(run.output.folder)):
      for name in CURVES:
        if name in row:
          found[name].append([before + row["step"], round(row[name], 4)])
  return found


def run_one(
  name: str, seed: int, folder: Path, plan: Plan = PLAN, docs: Path = DOCS
) -> None:
  """Trains and measures one run, and writes its result and its image."""
  both = phases(name, seed, plan, folder)
  first, second = (train(run) for run in both)
  result = {
    "name": name,
    "seed": seed,
    "steps": [plan.first, plan.second],
    "commit": commit(ROOT),
    "first": round(first),
    "second": round(second),
    "curve": curve(both),
    "measured": measured(both, plan),
  }
  if seed == SEEDS[0]:
    images = docs / "images"
    images.mkdir(exist_ok=True)
    strip(None, plan).save(images / "vae-original.png", optimize=True)
    strip(both.second, plan).save(images / f"vae-{name}.png", optimize=True)
  path = docs / "experiments" / "vae" / f"{name}-{seed}.json"
  write(path, json.dumps(result, indent=1) + "\n")


FAMILY = runner.Family(
  command=("vae",),
  names=tuple(VARIANTS),
  seeds=SEEDS,
  results=DOCS / "experiments" / "vae",
  page=DOCS / "experiments-vae.md",
  run_one=run_one,
  write_page=lambda: write_page(DOCS),
)
