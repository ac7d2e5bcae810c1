"""Clips with their reconstructions: of two folders, or of a source and a VAE."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from ltx_jax.config.runs import Bucket
from ltx_jax.data import video
from ltx_jax.data.manifest import read_manifest
from ltx_jax.data.suffixes import VIDEOS
from ltx_jax.data.videos import Videos
from ltx_jax.metrics import optical_flow
from ltx_jax.metrics.frames import check_pair
from ltx_jax.metrics.warp import Motion
from ltx_jax.moving_shapes import flow, world
from ltx_jax.moving_shapes.source import TEXTURED, WORLDS, shapes
from ltx_jax.pipeline.networks import Networks
from ltx_jax.pipeline.round_trip import round_trip
from train.evaluate.header import sha256_of

Motions = Callable[[], Iterable[Motion]]
"""Yields the motion of a clip from each frame to the next."""


class Compared(NamedTuple):
  """A clip and what was made of it.

  Attributes:
    name: Name of the clip.
    source: Video that it was cut from; clips of one are no independent witnesses.
    original: Frames.
    made: Reconstructions, by what was done.
    fps: Frames per second.
    motions: Motion of the original; None if nothing here can tell it.
  """

  name: str
  source: str
  original: UInt8[np.ndarray, "F H W 3"]
  made: dict[str, UInt8[np.ndarray, "F H W 3"]]
  fps: float
  motions: Motions | None


class Material(NamedTuple):
  """Where clips come from.

  Attributes:
    about: What they are, for a recipe.
    fingerprint: Hash of the source, or of the files of both folders.
    count: Number of clips.
    clips: The clips, one after another.
    networks: Hashes of the networks that made them, by the name of the model.
  """

  about: str
  fingerprint: str
  count: int
  clips: Iterator[Compared]
  networks: dict[str, dict[str, str]]


def of_folders(made: Path, original: Path) -> Material:
  """Returns the clips that two folders have under the same names.

  Raises:
    ValueError: If a folder is missing, or one has clips that the other lacks.
  """
  found = [_videos(folder) for folder in (made, original)]
  apart = sorted(set(found[0]) ^ set(found[1]))
  if apart or not found[0]:
    names = f"{', '.join(apart[:10])} in one of them only" if apart else "no videos"
    raise ValueError(
      f"{made} and {original} have {names}; give two folders with the same names."
    )

  def clips() -> Iterator[Compared]:
    for name in sorted(found[0]):
      ours, ours_fps = video.read(found[0][name])
      theirs, theirs_fps = video.read(found[1][name])
      paths = str(found[0][name]), str(found[1][name])
      check_pair(ours, theirs, paths, (ours_fps, theirs_fps))
      made = {"made": ours}
      yield Compared(name, name, theirs, made, theirs_fps, _estimated(theirs))

  about = f"{made} against {original}, as their files decode"
  return Material(about, _hash(found), len(found[0]), clips(), {})


def _hash(folders: Sequence[dict[str, Path]]) -> str:
  """Returns a hash of the files of folders, by their names."""
  each = [sorted((n, sha256_of(path)) for n, path in of.items()) for of in folders]
  return hashlib.sha256(json.dumps(each).encode()).hexdigest()[:16]


def _estimated(video: UInt8[np.ndarray, "F H W 3"]) -> Motions | None:
  """Returns the motion as it is estimated, if there is a program for it."""
  return (lambda: optical_flow.motions(video)) if optical_flow.available() else None


def _exact(caption: str, seed: int, bucket: Bucket) -> Motions:
  """Returns the motion of a clip of the small world, as it is drawn."""
  size = bucket.frames, bucket.height, bucket.width
  return lambda: map(Motion, *flow.flow(caption, seed, *size))


def _videos(folder: Path) -> dict[str, Path]:
  if not folder.is_dir():
    raise ValueError(f"There is no folder {folder}; give one with clips.")
  paths = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in VIDEOS]
  return {path.stem: path for path in paths if not path.name.startswith(".")}


def of_source(
  path: str, model: Networks, bucket: Bucket, count: int, sigmas: Sequence[float]
) -> Material:
  """Returns clips of a source with what a VAE makes of them, at each noise level.

  Args:
    path: Manifest, folder of videos, or name of a small world, whose held-out captions
      are taken.
    model: Model with a VAE.
    bucket: Size of the clips.
    count: Largest number of clips, which are spread evenly.
    sigmas: Noise levels that the latents are decoded at.

  Raises:
    ValueError: If no clip is large and long enough.
  """
  if path in WORLDS:
    source = shapes(path, world.held_out_captions())
    names = origins = list(source.captions)
  else:
    source = Videos(read_manifest(path))
    names = [clip.id for clip in source.clips]
    origins = [clip.path for clip in source.clips]
  size = f"{bucket.frames} frames of {bucket.width}x{bucket.height}"
  ids = source.assign([bucket])[0]
  if not len(ids):
    raise ValueError(f"{path} has no clip of {size} or more; ask for a smaller size.")
  chosen = np.unique(np.linspace(0, len(ids) - 1, min(count, len(ids))).astype(int))

  def clips() -> Iterator[Compared]:
    for number in chosen.tolist():
      row = ids[number : number + 1]
      batch = source.read(bucket, row, np.array([number], np.uint32))
      frames = batch["video"][0]
      made = {
        f"sigma {sigma:g}": round_trip(model, frames, sigma=sigma, seed=number).video
        for sigma in sigmas
      }
      name, origin = names[int(row[0])], origins[int(row[0])]
      # A textured shape may be slower than `flow` says.
      known = path in WORLDS and path != TEXTURED
      motions = _exact(name, number, bucket) if known else _estimated(frames)
      yield Compared(name, origin, frames, made, float(batch["fps"][0]), motions)

  return Material(f"{path}, {size}", source.fingerprint, len(chosen), clips(), {})
