"""`python -m tests.experiments [NAME ...]`: trains, measures, and writes the page.

    python -m tests.experiments                  # every run that has no result yet
    python -m tests.experiments baseline uniform
    python -m tests.experiments --page           # docs/experiments.md from the results

Each run is one recipe with one seed. Its result is a file of its own in
docs/experiments/, written when it is there, so that the work can stop anywhere: what
has a result is not run again, and a run that was broken off resumes. Two CPU cores take
about a quarter of an hour for one.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from tests.experiments import page
from tests.experiments.variants import BASELINE, SEEDS, VARIANTS, baseline
from tests.program import ROOT, program
from tests.verify.buckets import sizes
from tests.verify.runner import commit, write

RESULTS = ROOT / "docs" / "experiments"
UNSEEN = ("33x96x160",)


def encode(folder: Path) -> dict[str, Path]:
  """Encodes the clips that all runs share, and those of the unseen size.

  Raises:
    RuntimeError: If the program fails.
  """
  records = {"trained size": folder / "records", "unseen size": folder / "unseen"}
  for path, buckets in zip(records.values(), (sizes(), UNSEEN), strict=True):
    if not (path / "index.safetensors").is_file():
      options = "--variants", 1, "--output", path, "--buckets", *buckets
      program("train.precompute", "moving-shapes", *options)
  return records


def run_one(name: str, seed: int, folder: Path) -> None:
  """Trains and measures one run, and writes its result."""
  from tests.experiments.measure import measured
  from train.harness.reporting import read_metrics
  from train.trainers.transformer import start_run

  records, own = encode(folder), folder / f"{name}-{seed}"
  start = time.monotonic()
  run = baseline(seed, str(records["trained size"]), str(own))
  run = VARIANTS[name].change(run)
  start_run(run)
  seconds = time.monotonic() - start
  curve = [[row["step"], row["loss"]] for row in read_metrics(own) if "loss" in row]
  result = {
    "name": name,
    "seed": seed,
    "steps": run.steps,
    "commit": commit(ROOT),
    "seconds": seconds,
    "curve": curve,
    "measured": measured(run, own / "model", records, own / "measured"),
  }
  write(RESULTS / f"{name}-{seed}.json", json.dumps(result, indent=1) + "\n")


def main() -> None:
  parser = argparse.ArgumentParser(
    prog="python -m tests.experiments",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  names = {"nargs": "*", "metavar": "NAME", "default": list(VARIANTS)}
  parser.add_argument("names", **names, help="recipes; by default all of them")
  kept = {"type": Path, "default": Path("runs/experiments")}
  parser.add_argument("--folder", **kept, help="where records and runs are kept")
  parser.add_argument("--page", action="store_true", help="write the page alone")
  parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
  arguments = parser.parse_args()
  folder = arguments.folder.absolute()
  unknown = [name for name in arguments.names if name not in VARIANTS]
  if unknown:
    parser.error(f"no recipe {unknown[0]!r}; there are: {', '.join(VARIANTS)}")
  if arguments.seed is not None:
    return run_one(arguments.names[0], arguments.seed, folder)
  if not arguments.page:
    run_missing(arguments.names, folder)
  page.write_page(RESULTS)
  print(f"Wrote {RESULTS.with_suffix('.md')}")


def run_missing(names: list[str], folder: Path) -> None:
  """Runs the experiments without a result, the baseline and the first seeds first.

  Raises:
    RuntimeError: If a run fails.
  """
  # Runs that have the same programs compile them once.
  os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder / "compiled")
  pairs = [(name, seed) for seed in SEEDS for name in names]
  for name, seed in sorted(pairs, key=lambda pair: pair[0] != BASELINE):
    if (RESULTS / f"{name}-{seed}.json").is_file():
      continue
    print(f"{name}, seed {seed}", flush=True)
    program("tests.experiments", name, "--seed", seed, "--folder", folder)


if __name__ == "__main__":
  main()
