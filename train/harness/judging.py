"""Judges clips of the moving shapes: the shape twice, the other words once."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from rich.progress import track

from ltx_jax.moving_shapes import world
from ltx_jax.moving_shapes.corners import sharpness
from ltx_jax.moving_shapes.judge import judge
from train.harness.figures import told_wrong

SHOWN = 24  # Largest number of clips on a contact sheet.
BY_CORNERS = "shape by its corners"


def verdict(video: UInt8[np.ndarray, "F H W 3"], caption: str) -> dict[str, Any]:
  """Compares a clip with its caption.

  Returns:
    "right": for each of the judge's five words and for the shape by its corners,
    whether it is the caption's; "wrong": the words that were read differently;
    "sharpness": that of the corners.
  """
  judgement, corners = judge(video), sharpness(video)
  same = corners.shape == world.parse(caption).shape
  wrong = [told_wrong(judgement, caption)]
  if not same:
    wrong.append(f"{BY_CORNERS} {corners.shape or 'unclear'}")
  return {
    "right": judgement.agreement(caption) | {BY_CORNERS: same},
    "wrong": ", ".join(filter(None, wrong)),
    "sharpness": corners._asdict(),
  }


def with_vae(model: Any, source: str) -> Any:
  """Returns the model with the VAE of another checkpoint, whose decoder may differ.

  Raises:
    ValueError: If anything but the decoder differs: the transformer knows only the
      latents of its own VAE.
  """
  from ltx_jax.checkpoints.trees import flatten  # --help needs no JAX.
  from ltx_jax.releases.loading import load_vae

  other = load_vae(source)
  own, given = flatten(model.params["vae"]), flatten(other.params["vae"])
  fixed = [name for name in own.keys() | given.keys() if not name.startswith("decoder")]
  if not all(
    name in own and name in given and np.array_equal(own[name], given[name])
    for name in fixed
  ):
    raise ValueError(
      f"The VAE of {source} has another encoder than the model's, so the transformer "
      "does not know its latents; give a VAE of which only the decoder was trained."
    )
  config = dataclasses.replace(model.config, vae=other.config.vae)
  params = model.params | {"vae": other.params["vae"]}
  return dataclasses.replace(model, config=config, params=params)


def timed(videos: Iterator[np.ndarray], seconds: list[float]) -> Iterator[np.ndarray]:
  """Yields the same videos, and records the seconds that each one took."""
  start = time.monotonic()
  for video in videos:
    seconds.append(time.monotonic() - start)
    yield video
    start = time.monotonic()


def judged(
  name: str, pairs: Sequence[tuple[str, int]], videos: Iterator[np.ndarray], out: Path
) -> list[tuple[dict[str, Any], np.ndarray]]:
  """Judges videos of (caption, seed) as they come, and writes their contact sheet."""
  found = []
  for (caption, seed), video in zip(
    pairs, track(videos, f"Generating, {name}", total=len(pairs)), strict=True
  ):
    found.append(({"caption": caption, "seed": seed, **verdict(video, caption)}, video))
  shown = found[:SHOWN]
  from ltx_jax.data.contact_sheet import contact_sheet  # --help needs no fonts.

  labels = [
    f"{record['caption']} [{record['wrong']}]" if record["wrong"] else record["caption"]
    for record, _ in shown
  ]
  marked = [bool(record["wrong"]) for record, _ in shown]
  contact_sheet(out, [video for _, video in shown], labels, marked=marked, height=64)
  return found
