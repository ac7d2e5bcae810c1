"""Loads, measures and reports, for `train.evaluate.loss`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

import ltx_jax
from ltx_jax.files import atomic_file
from ltx_jax.metrics.figure import Figure
from train.evaluate.header import header, weights
from train.evaluate.loss import material, measuring
from train.evaluate.loss.__main__ import Options, bucket_of
from train.evaluate.loss.measuring import BINS, Row
from train.evaluate.reconstruction.writing import write_csv, write_json


def measure(
  options: Options,
) -> tuple[list[Row], material.Source, dict[str, dict[str, str]]]:
  """Returns the losses of all clips under every model, the source, and hashes.

  The first model's VAE and text encoder make the inputs of all.
  """
  opened = material.open_source(options.data)
  models = {name: ltx_jax.load(name) for name in options.models}
  first, rows = next(iter(models.values())), []
  for text in options.buckets:
    found = material.samples(opened, first, bucket_of(text), options.count)
    for sample in track(found, f"Clips of {text}", total=options.count):
      _, sigma = measuring.levels(options.seed, sample)
      losses = {
        name: measuring.losses(model, sample, options.seed)
        for name, model in models.items()
      }
      at = np.asarray(sigma, np.float64)
      rows.append(Row(text, sample.name, sample.video, at, losses))
  return rows, opened, {name: weights(model) for name, model in models.items()}


def run(options: Options, say: Callable[[str], None]) -> None:
  """Measures, writes the files and says the figures.

  Raises:
    ValueError: If a model or clips cannot be read, or do not fit.
  """
  rows, opened, networks = measure(options)
  options.output.mkdir(parents=True, exist_ok=True)
  write_csv(
    options.output / "clips.csv",
    ["bucket", "clip", "video", "model", "sigma", "loss"],
    [
      [row.bucket, row.name, row.video, model, float(row.sigma[k]), float(each[k])]
      for row in rows
      for model, each in row.losses.items()
      for k in range(BINS)
    ],
  )
  content: dict[str, Any] = {}
  for text in options.buckets:
    found = _figures([row for row in rows if row.bucket == text], opened.about, text)
    for title, figures in found.items():
      say(f"{text}, {title}:")
      for figure in figures:
        say(figure.line)
    content[text] = {
      title: [figure.as_json() for figure in figures]
      for title, figures in found.items()
    }
  top = header(options, opened.source.fingerprint, networks)
  write_json(options.output / "loss.json", {**top, "buckets": content})
  if not draw(options.output / "loss.png", rows):
    say("note: no curves are drawn, because matplotlib is missing; pip install it.")
  say(f"{options.output} has clips.csv and loss.json.")


def _figures(rows: Sequence[Row], about: str, text: str) -> dict[str, list[Figure]]:
  """Returns the figures of each model, and of the difference of two."""
  recipe = f"squared error of the velocity, {about}, {text}, one level a clip and bin"
  models = list(rows[0].losses)
  found = {model: measuring.summary(rows, model, recipe) for model in models}
  if len(models) == 2:
    found["difference"] = measuring.difference(rows, recipe)
  return found


def draw(path: Path, rows: Sequence[Row]) -> bool:
  """Draws the loss over the noise level; says whether there is a library for it."""
  if importlib.util.find_spec("matplotlib") is None:
    return False
  import matplotlib

  matplotlib.use("Agg")
  from matplotlib import pyplot

  figure, axis = pyplot.subplots(figsize=(7, 4))
  middles = (np.arange(BINS) + 0.5) / BINS
  for bucket in dict.fromkeys(row.bucket for row in rows):
    of = [row for row in rows if row.bucket == bucket]
    for model in of[0].losses:
      mean = np.mean([row.losses[model] for row in of], axis=0)
      axis.plot(middles, mean, marker=".", label=f"{bucket}, {Path(model).name}")
  axis.set_xlabel("noise level", fontsize=9)
  axis.set_ylabel("loss", fontsize=9)
  axis.legend(fontsize=8)
  axis.grid(alpha=0.3)
  figure.tight_layout()
  with atomic_file(path) as file:
    figure.savefig(file, dpi=90, format="png")
  pyplot.close(figure)
  return True
