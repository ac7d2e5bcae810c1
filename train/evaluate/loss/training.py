"""The two models of a training: its raw parameters, and their average (EMA).

A run exports one of them, in bfloat16. Its checkpoints hold both, as they were trained,
so that they can be compared without what rounding adds to one.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
from jax.sharding import Mesh

import ltx_jax
from ltx_jax.checkpoints.training import read_newest
from ltx_jax.pipeline.networks import Networks
from ltx_jax.typing import Params

_KINDS = {"params": "raw", "ema": "averaged"}
"""Words for the trees of a training state."""
_TRAINED = ("transformer", "text_encoder")


def models_of(folder: Path, mesh: Mesh | None = None) -> dict[str, Networks]:
  """Returns the raw and the averaged model of a run's last checkpoint, by their names.

  Args:
    folder: Folder of the run, which is finished.
    mesh: Devices that work together.

  Raises:
    ValueError: If the folder lacks the model or its checkpoints, or the run kept no
      average.
  """
  exported = folder / "model"
  if not exported.is_dir():
    raise ValueError(
      f"{folder} has no model/, which a transformer's training writes at its end; name "
      "the folder of a finished one, or checkpoints with --models."
    )
  model = ltx_jax.load(exported, mesh=mesh)
  wanted = {
    f"{kind}/{part}": _described(model.params[part])
    for kind in _KINDS
    for part in _TRAINED
    if part in model.params
  }
  step, found = read_newest(folder / "checkpoints", wanted)
  if "ema/transformer" not in found:
    raise ValueError(
      f"{folder} kept no averaged parameters (--optimizer.ema-decay 0), so it has one "
      f"model alone: --models {exported}."
    )
  models = {}
  for kind, word in _KINDS.items():
    learned = {p: found[f"{kind}/{p}"] for p in _TRAINED if f"{kind}/{p}" in found}
    name = f"{folder} {word} (step {step})"
    models[name] = dataclasses.replace(model, params=model.params | learned)
  return models


def _described(params: Params) -> Params:
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding),
    params,
  )
