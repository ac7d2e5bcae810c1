"""The small model's transformer trained from records, beside the path it had before.

Before records, the trainer rendered and encoded captions in its own folder. The golden
file holds the first 200 losses of that path, and the captions, renderings and seeds of
each of its batches. It was made at commit 4aed0d5 by

    python -m train.transformer moving_shapes --steps 200 --output.log-every 1 \
      --vae ltx_jax/assets/moving_shapes/model.safetensors

The same clips are encoded by `train.precompute` here, and trained on in the same
batches: each loss must be within one per cent. The order of batches of today's loader
is another, since it mixes sources; hence the lists.
"""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from configs import moving_shapes
from ltx_jax.checkpoints import lightricks
from ltx_jax.checkpoints.fingerprint import fingerprint
from ltx_jax.config.runs import Bucket
from ltx_jax.data.records import Records
from ltx_jax.parallel.mesh import make_mesh
from ltx_jax.platforms import policy_of
from ltx_jax.releases.presets import ASSETS
from train import transformer
from train.harness import data, loop
from train.harness.reporting import read_metrics

NAME = "The small model's transformer from records, against its former path"
COMMAND = "python -m tests.verify former_losses"

ROOT = Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "tests" / "golden" / "former_losses.npz"
MODEL = ASSETS / "moving_shapes"
VARIANTS = 4
WITHIN = 0.01


class Replayed:
  """The batches of the golden file, read from records."""

  def __init__(self, source: data.Worded, golden: Any):
    ids = source.records.index.ids
    self._rows = {ids[row]: row for row in range(len(ids))}
    self._source, self._golden = source, golden
    self._starts = np.concatenate([[0], np.cumsum(golden["counts"])])
    self.fingerprint = "the former path's"

  def batch(self, step: int) -> dict[str, np.ndarray]:
    frames, height, width = map(int, self._golden["sizes"][step])
    part = slice(self._starts[step], self._starts[step + 1])
    captions, seeds = self._golden["ids"][part], self._golden["seeds"][part]
    numbers = captions.astype(np.int64) * VARIANTS + seeds % VARIANTS
    names = [f"t{number:04d}#{frames}x{height}x{width}" for number in numbers]
    ids = np.array([self._rows[name] for name in names])
    return self._source.read(Bucket(frames, height, width), ids, seeds)

  def iterate(self, start: int, stop: int) -> Iterator[dict[str, np.ndarray]]:
    yield from map(self.batch, range(start, stop))


def encode(folder: Path) -> None:
  """Precomputes the records where they are not there yet."""
  command = [
    *(sys.executable, "-m", "train.precompute", "moving-shapes"),
    *("--output", str(folder), "--text-encoder", "none"),
    *("--variants", str(VARIANTS), "--buckets"),
    *("25x128x128", "9x64x64", "1x128x128"),
  ]
  subprocess.run(command, cwd=ROOT, check=True)


def losses(records: Path, folder: Path) -> np.ndarray:
  """Trains 200 steps, and returns the loss of each."""
  golden = dict(np.load(GOLDEN))
  steps = len(golden["losses"])
  run = moving_shapes.transformer()
  stage = dataclasses.replace(run.stages[0], steps=steps)
  output = dataclasses.replace(run.output, folder=str(folder), log_every=1)
  run = dataclasses.replace(
    run,
    stages=(stage,),
    output=output,
    data=(str(records),),
    text_folder=str(MODEL),
    vae=str(MODEL / "model.safetensors"),
  )
  config, params = lightricks.load_checkpoint(run.vae, "float32", parts=("vae",))
  opened = data.open_records(run, fingerprint(config.vae, params["vae"]))
  mesh = make_mesh(**vars(run.mesh))
  policy = policy_of(jax.devices()[0]).in_dtype(run.dtype).for_training(mesh)
  loop.fit(
    run,
    init=functools.partial(transformer.init_state, run),
    update=transformer.make_update(run, policy, config.vae),
    loader=Replayed(data.Worded(Records(records), "tokens"), golden),
    rules=transformer.RULES,
    frozen={"empty": opened.empty},
    options=policy.training_options,
  )
  return np.array([row["loss"] for row in read_metrics(folder)])


def run() -> list[dict[str, Any]]:
  """One row: the largest deviation."""
  with tempfile.TemporaryDirectory() as work:
    encode(Path(work) / "records")
    found = losses(Path(work) / "records", Path(work) / "run")
  return rows(found)


def rows(found: np.ndarray) -> list[dict[str, Any]]:
  """Rows for losses that were found."""
  expected = np.load(GOLDEN)["losses"]
  worst = float(np.max(np.abs(found / expected - 1)))
  return [
    {
      "figure": f"largest deviation of {len(expected)} losses",
      "value": 100 * worst,
      "unit": "%",
      "target": "at most 1 %",
      "ok": worst <= WITHIN,
    }
  ]
