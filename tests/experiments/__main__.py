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
import subprocess
import sys
import time
from pathlib import Path

from tests.experiments import page
from tests.experiments.variants import BASELINE, SEEDS, VARIANTS, baseline
from tests.verify.runner import commit, write

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = ROOT / "docs" / "experiments"
BUCKETS = (
  *("25x128x128", "17x128x160", "17x160x128", "41x96x96", "25x96x128", "25x128x96"),
  *("9x64x64", "1x128x128", "1x128x160", "1x160x128"),
)
UNSEEN = ("33x96x160",)


def encode(folder: Path) -> dict[str, Path]:
  """Encodes the clips that all runs share, and those of the unseen size.

  Raises:
    subprocess.CalledProcessError: where the program fails.
  """
  records = {"trained size": folder / "records", "unseen size": folder / "unseen"}
  for path, buckets in zip(records.values(), (BUCKETS, UNSEEN), strict=True):
    if not (path / "index.safetensors").is_file():
      options = "--variants", "1", "--output", str(path), "--buckets", *buckets
      command = [sys.executable, "-m", "train.precompute", "moving-shapes", *options]
      subprocess.run(command, cwd=ROOT, check=True)
  return records


def run_one(name: str, seed: int, folder: Path) -> None:
  """Trains and measures one run, and writes its result."""
  from tests.experiments.measure import measured
  from train.harness.reporting import read_metrics
  from train.transformer import start_run

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
  folder = {"type": Path, "default": Path("runs/experiments")}
  parser.add_argument("--folder", **folder, help="where records and runs are kept")
  parser.add_argument("--page", action="store_true", help="write the page alone")
  parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
  arguments = parser.parse_args()
  unknown = [name for name in arguments.names if name not in VARIANTS]
  if unknown:
    parser.error(f"no recipe {unknown[0]!r}; there are: {', '.join(VARIANTS)}")
  if arguments.seed is not None:
    return run_one(arguments.names[0], arguments.seed, arguments.folder.absolute())
  if not arguments.page:
    run_missing(arguments.names, arguments.folder)
  page.write_page(RESULTS)
  print(f"Wrote {RESULTS.with_suffix('.md')}")


def run_missing(names: list[str], folder: Path) -> None:
  """Runs what has no result, the baseline and the first seeds first.

  Raises:
    subprocess.CalledProcessError: where a run fails.
  """
  # Runs that have the same programs compile them once.
  os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder.absolute() / "compiled")
  pairs = [(name, seed) for seed in SEEDS for name in names]
  for name, seed in sorted(pairs, key=lambda pair: pair[0] != BASELINE):
    if (RESULTS / f"{name}-{seed}.json").is_file():
      continue
    print(f"{name}, seed {seed}", flush=True)
    options = [name, "--seed", str(seed), "--folder", str(folder)]
    command = [sys.executable, "-m", "tests.experiments", *options]
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
  main()
