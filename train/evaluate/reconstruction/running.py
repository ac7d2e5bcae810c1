"""Reads, measures and reports, for `train.evaluate.reconstruction`."""

from __future__ import annotations

import collections
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from rich.progress import track

from ltx_jax.checkpoints.perceptual import load_perceptual
from ltx_jax.config.runs import Bucket
from ltx_jax.metrics.features import no_i3d
from ltx_jax.metrics.lpips import lpips
from ltx_jax.models.perceptual import features_fn
from ltx_jax.platforms import policy_of
from ltx_jax.releases.loading import load_vae
from train.evaluate.header import Origin, weights
from train.evaluate.reconstruction import distance, material, measuring, writing
from train.evaluate.reconstruction.__main__ import Clips, Folders
from train.evaluate.reconstruction.distance import Gathered
from train.evaluate.reconstruction.material import Material
from train.evaluate.reconstruction.measuring import Lpips, Row


def of_folders(options: Folders) -> Material:
  """Returns the clips of two folders."""
  return material.of_folders(options.made, options.original)


def of_clips(options: Clips) -> Material:
  """Returns the clips of a source, with what a VAE makes of them."""
  bucket = Bucket(options.frames, options.height, options.width)
  model = load_vae(options.model)
  found = material.of_source(options.data, model, bucket, options.count, options.sigmas)
  about = f"VAE of {options.model} on {found.about}"
  return found._replace(about=about, networks={options.model: weights(model)})


def lpips_of(path: Path | None) -> Lpips | None:
  """Returns the function for LPIPS, or None without a file of weights."""
  if path is None:
    return None
  params = load_perceptual(path)
  features = features_fn(policy_of(jax.devices()[0]))
  return lambda made, original: lpips(features, params, made, original)


def run(
  origin: Origin, material_of: Callable[[Any], Material], say: Callable[[str], None]
) -> None:
  """Measures, writes the files and says the figures.

  Args:
    origin: The options, and the command that they are from.
    material_of: Function that returns the clips that the options name.
    say: Function that prints a line.

  Raises:
    ValueError: If clips or weights cannot be read, or do not fit.
  """
  options = origin.options
  features_apart = lpips_of(options.lpips)
  gathered = Gathered(distance.read(options.fvd)) if options.fvd else None
  found = material_of(options)
  options.output.mkdir(parents=True, exist_ok=True)
  by_how: dict[str, list[Row]] = collections.defaultdict(list)
  worst = writing.Worst()
  for clip in track(found.clips, "Measuring clips", total=found.count):
    rows = measuring.measure(clip, features_apart)
    worst.add(clip, rows[0])
    origin.add(clip.original.shape[:3], clip.fps)
    for row in rows:
      by_how[row.how].append(row)
    if gathered:
      gathered.add(clip)
  write(origin, found, by_how, worst, gathered, say)


def write(
  origin: Origin,
  found: Material,
  by_how: dict[str, list[Row]],
  worst: writing.Worst,
  gathered: Gathered | None,
  say: Callable[[str], None],
) -> None:
  """Writes the files and says the figures."""
  folder = origin.options.output
  content: dict[str, Any] = {}
  rows = [row for of in by_how.values() for row in of]
  writing.clips_csv(folder / "clips.csv", rows)
  writing.frames_csv(folder / "frames.csv", by_how)
  if not writing.draw(folder / "frames.png", by_how, found.about):
    say("note: no curves are drawn, because matplotlib is missing; pip install it.")
  worst.write(folder / "worst.png")
  for how, of in by_how.items():
    figures, said = measuring.summary(of, found.about), measuring.remarks(of)
    if gathered:
      figures.append(gathered.figure(how, found.about))
      said += gathered.remarks(how)
    for line in (f"{how}:", *(figure.line for figure in figures), *said):
      say(line)
    content[how] = {
      "figures": [figure.as_json() for figure in figures],
      "remarks": said,
      "psnr by place": measuring.by_place(measuring.curve(of, "psnr")),
    }
  missing = measuring.absent(rows[0])
  missing += [] if gathered else [no_i3d("rfvd-i3d").line]
  for line in missing:
    say(line)
  content["missing"] = missing
  files = [origin.options.lpips, distance.file_of(origin.options.fvd)]
  top = origin.header(found.fingerprint, found.networks, files)
  writing.write_json(folder / "figures.json", {**top, "about": found.about, **content})
  say(f"{folder} has clips.csv, frames.csv, worst.png and figures.json.")
