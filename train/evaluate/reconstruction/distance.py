"""rFVD: the Fréchet distance between clips and what was made of them.

Both sets come from the same clips, so equal ones have distance 0, and the distance of a
good VAE lies below that of two samples of one distribution, which is given beside it.
Features of all clips are compared at once: a mean over batches would leave out how
clips differ from each other.

Source: as `ltx_jax.metrics.fvd`.
"""

from __future__ import annotations

import collections
from pathlib import Path

import jax
import numpy as np

from ltx_jax.checkpoints.i3d import load_i3d
from ltx_jax.metrics import fvd
from ltx_jax.metrics.estimates import estimate
from ltx_jax.metrics.features import (
  Features,
  features_of,
  i3d_features,
  shape_features,
)
from ltx_jax.metrics.figure import Figure, of_estimate
from ltx_jax.platforms import policy_of
from train.evaluate.reconstruction.material import Compared

SHAPES = "shapes"
"""What is given in place of a file for the features of moving shapes."""

_GROUPS = 10  # Of sources, for the interval.


def read(path: str) -> Features:
  """Returns the features that a file of I3D's weights gives, or those of shapes.

  Raises:
    ValueError: If the file is missing, truncated or has other tensors.
  """
  if path == SHAPES:
    return shape_features()
  if not Path(path).is_file():
    raise ValueError(
      f"--fvd is {path}, and there is no such file; give the weights of I3D as "
      f"safetensors, or {SHAPES} for the features of moving shapes."
    )
  return i3d_features(load_i3d(path), policy_of(jax.devices()[0]))


def file_of(path: str | None) -> Path | None:
  """Returns the file of weights that `read` needs; None if it needs none."""
  return None if path is None or path == SHAPES else Path(path)


class Gathered:
  """Features of clips and their reconstructions."""

  def __init__(self, features: Features):
    """Begins without a clip.

    Args:
      features: What computes them.
    """
    self._features = features
    self._sources: list[str] = []
    self._originals: list[np.ndarray] = []
    self._made: dict[str, list[np.ndarray]] = collections.defaultdict(list)

  def add(self, clip: Compared) -> None:
    """Adds a clip.

    Raises:
      ValueError: If it is too short for the features.
    """
    self._sources.append(clip.source)
    self._originals.append(features_of(self._features, [clip.original[None]]))
    for how, made in clip.made.items():
      self._made[how].append(features_of(self._features, [made[None]]))

  def figure(self, how: str, about: str) -> Figure:
    """Returns the distance, with an interval if ten sources or more are there.

    Args:
      how: What was done.
      about: What the clips are, for the recipe.

    Raises:
      ValueError: If there are fewer than two clips.
    """
    original, made = self._sides(how)
    sources, moments = np.array(self._sources), fvd.moments(original)
    count = len(np.unique(sources))
    if count < _GROUPS:
      value = np.asarray(fvd.frechet(moments, fvd.moments(made)))
      found = estimate(value, np.asarray(np.nan), 0)
    else:
      found = fvd.frechet_interval(original, made, (sources, sources), _GROUPS)
    n, features = len(original), self._features
    recipe = (
      f"Frechet distance to the originals, {features.recipe}, {how}, {about}; two "
      f"samples of {n} clips are about {fvd.noise_floor(moments, n):.3g} apart"
    )
    return of_estimate(f"rfvd-{features.name}", found, recipe, "", (n, count))

  def remarks(self, how: str) -> list[str]:
    """Returns sentences on what makes the distance doubtful."""
    return fvd.remarks(*map(fvd.moments, self._sides(how)))

  def _sides(self, how: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the features of the originals, and of what was made of them."""
    return np.concatenate(self._originals), np.concatenate(self._made[how])
