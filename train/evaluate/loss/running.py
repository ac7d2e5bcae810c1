"""Loads, measures and reports, for `train.evaluate.loss`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

import ltx_jax
from ltx_jax.cli.mesh import mesh_of
from ltx_jax.files import atomic_file
from ltx_jax.metrics.figure import Figure
from ltx_jax.pipeline.networks import Networks
from train.evaluate.header import Origin, weights
from train.evaluate.loss import material, measuring, training
from train.evaluate.loss.__main__ import Options, bucket_of
from train.evaluate.loss.measuring import BINS, Row
from train.evaluate.reconstruction.writing import write_csv, write_json


def load(options: Options) -> dict[str, Networks]:
  """Returns the models that are measured, by their names.

  Raises:
    ValueError: If one cannot be loaded.
  """
  mesh = mesh_of(options.mesh)
  models = {name: ltx_jax.load(name, mesh=mesh) for name in options.named}
  of_run = {} if options.run is None else training.models_of(options.run, mesh)
  return models | of_run


def measure(
  origin: Origin, models: dict[str, Networks], opened: material.Source
) -> list[Row]:
  """Returns the losses of all clips under every model.

  The first model's VAE makes the inputs of all. Each has its own text encoder, which
  may have been trained with it; one without takes the first model's.
  """
  options, first, rows = origin.options, next(iter(models.values())), []
  for size in options.buckets:
    bucket = bucket_of(size)
    found = material.samples(opened, first, bucket, options.count)
    for sample in track(found, f"Clips of {size}", total=options.count):
      _, sigma = measuring.levels(options.seed, sample)
      losses = {}
      for name, model in models.items():
        encoder = first if model.config.text_encoder is None else model
        text = material.text_of(sample, encoder)
        losses[name] = measuring.losses(model, sample, text, options.seed)
      at = np.asarray(sigma, np.float64)
      rows.append(Row(size, sample.name, sample.video, at, losses))
      shape = bucket.frames, bucket.height, bucket.width
      origin.add(shape, sample.batch["fps"][0])
  return rows


def run(options: Options, command: str, say: Callable[[str], None]) -> None:
  """Measures, writes the files and says the figures.

  Args:
    options: What is measured.
    command: The command that does it.
    say: Function that prints a line.

  Raises:
    ValueError: If a model or clips cannot be read, or do not fit.
  """
  origin = Origin(options, command)
  opened, models = material.open_source(options.data), load(options)
  rows = measure(origin, models, opened)
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
  networks = {name: weights(model) for name, model in models.items()}
  top = origin.header(opened.source.fingerprint, networks)
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
