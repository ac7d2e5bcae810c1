"""`python -m tests.experiments [vae|prompts|study|example]`: runs, writes pages.

    python -m tests.experiments                  # every run that has no result yet
    python -m tests.experiments baseline uniform
    python -m tests.experiments --page           # docs/experiments.md from the results
    python -m tests.experiments vae              # the VAE's: docs/experiments-vae.md
    python -m tests.experiments prompts          # other wordings, sizes and lengths
    python -m tests.experiments study            # asks people about the VAE's clips
    python -m tests.experiments example          # a study with simulated raters

A run of the transformer takes two CPU cores about a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from tests.experiments import page, runner
from tests.experiments.variants import SEEDS, VARIANTS, baseline
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
  write(TRANSFORMER.result(name, seed), json.dumps(result, indent=1) + "\n")


TRANSFORMER = runner.Family(
  command=(),
  names=tuple(VARIANTS),
  seeds=SEEDS,
  results=RESULTS,
  page=RESULTS.with_suffix(".md"),
  run_one=run_one,
  write_page=lambda: page.write_page(RESULTS),
)


def of_prompts(_: Path) -> None:
  """Measures other wordings, sizes and lengths."""
  from tests.experiments.prompts import run

  run.run()
  page.write_page(RESULTS)


def study_of_vaes(folder: Path) -> None:
  """Makes a study for people on the clips of the VAE's experiments."""
  from tests.experiments.vae import study

  study.make(folder.parent / "vae", folder)


def example_of_study(folder: Path) -> None:
  """Makes a study with simulated raters, from end to end."""
  from tests.experiments import example

  example.run(folder)


OTHERS = {"prompts": of_prompts, "study": study_of_vaes, "example": example_of_study}
"""What is no family of recipes, by the word that chooses it."""


def main() -> None:
  """Runs the experiments that the command line names."""
  arguments = sys.argv[1:]
  name = arguments[0] if arguments else ""
  if name == "vae":
    from tests.experiments.vae.run import FAMILY

    return runner.main(FAMILY, __doc__, arguments[1:])
  if name not in OTHERS:
    return runner.main(TRANSFORMER, __doc__, arguments)
  do = OTHERS[name]
  parser = argparse.ArgumentParser(
    prog=f"python -m tests.experiments {name}", description=do.__doc__
  )
  kept = {"type": Path, "default": Path("runs", "experiments", name)}
  parser.add_argument("--folder", **kept, help="where clips and runs are kept")
  return do(parser.parse_args(arguments[1:]).folder.absolute())


if __name__ == "__main__":
  main()
