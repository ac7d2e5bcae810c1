"""Measures a trained model: losses of unseen clips, and what its clips show.

Everything is taken of captions that were never trained on, with the same noise for all
models: the loss by band of noise level at a size that was trained on (25 frames of
128x128) and at one that was not (33 frames of 96x160), and the words that the judge
reads in generated clips of both.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

import ltx_jax
from ltx_jax.config.runs import Bucket, TransformerRun
from ltx_jax.data.records import Records
from ltx_jax.data.token_dropping import as_tokens
from ltx_jax.platforms import CPU
from ltx_jax.training.state import first_state
from tests.program import program
from train.harness.data import HELD_OUT
from train.trainers.transformer import make_held_out_losses

SIZES = {"trained size": Bucket(25, 128, 128), "unseen size": Bucket(33, 96, 160)}
CLIPS, GIVEN = 48, 24


def losses(run: TransformerRun, model: Path, records: Path, bucket: Bucket) -> dict:
  """Returns the loss of the held-out clips of a bucket, by band of noise level."""
  source = Records(records, keep=lambda index: index.scores[HELD_OUT] > 0)
  loaded = ltx_jax.load(model, text_encoder=False)
  (ids,) = source.assign([bucket])
  batch = as_tokens(source.read(bucket, ids, np.arange(len(ids), dtype=np.uint32)))
  params = {"transformer": loaded.params["transformer"]}
  state = first_state(run.optimizer, run.steps, params, {})
  measure = jax.jit(make_held_out_losses(run, CPU, loaded.config.vae))
  found = measure(state, {}, batch)
  return {name: float(value) for name, value in found.items()}


def measured(
  run: TransformerRun, model: Path, records: dict[str, Path], folder: Path
) -> dict[str, Any]:
  """Returns losses and judgements at each of the sizes."""
  found = {}
  for name, bucket in SIZES.items():
    given = GIVEN if name == "trained size" else 0
    found[name] = {
      "loss": losses(run, model, records[name], bucket),
      **shown(model, bucket, given, folder / name),
    }
  return found


def shown(model: Path, bucket: Bucket, given: int, folder: Path) -> dict[str, Any]:
  """Returns the results of `train.evaluate generation` for a model at a size.

  Raises:
    RuntimeError: If it fails.
  """
  size = "--frames", bucket.frames, "--height", bucket.height, "--width", bucket.width
  asked = "--clips", CLIPS, "--conditioned", given, *size
  program(
    *("train.evaluate", "generation", "--model", model, "--output", folder, *asked)
  )
  return json.loads((folder / "generation.json").read_text())["results"]
