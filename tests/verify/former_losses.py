"""The small model's transformer trained from records, compared with its former path.

Before records, the trainer rendered and encoded captions in its own folder. The golden
file holds the first 200 losses of that path, and the captions, renderings and seeds of
each of its batches. It was made at commit 4aed0d5 by

    python -m train.transformer moving_shapes --steps 200 --output.log-every 1 \
      --vae ltx_jax/assets/moving_shapes/model.safetensors

Here `train.precompute` encodes the same clips, and the same batches are trained on:
each loss must be within one per cent. The golden file lists the batches because today's
loader, which mixes sources, orders them differently. A step of both paths is timed in
turns, the former one with its own code from the repository's history. FORMER_RECORDS
names a folder that keeps the records and reuses them, because making them takes most of
the time.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import statistics
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
from ltx_jax.config import VAEConfig
from ltx_jax.config.runs import Bucket, TransformerRun
from ltx_jax.data.records import Records
from ltx_jax.parallel.mesh import make_mesh
from ltx_jax.platforms import policy_of
from ltx_jax.releases.presets import ASSETS
from train.harness import data, loop
from train.harness.reporting import read_metrics
from train.trainers import transformer

NAME = "The small model's transformer from records, against its former path"
COMMAND = "python -m tests.verify former_losses"

ROOT = Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "tests" / "golden" / "former_losses.npz"
MODEL = ASSETS / "moving_shapes"
VARIANTS = 4
WITHIN = 0.01
FORMER = "4aed0d5"
SLOWER = 1.05
TURNS = 3

STEP = """
import statistics, time, types
import jax, numpy as np
from configs import moving_shapes
from ltx_jax.platforms import CPU
from %s import transformer

draw = np.random.default_rng(0)
words = draw.integers(1, 97, (64, 32)).astype(np.int32), np.ones((64, 32), bool)
batch = {"latents": draw.standard_normal((64, 4, 4, 4, 128)).astype(np.float32)}
batch |= {"seed": np.arange(64, dtype=np.uint32), "mask": words[1]}
run, key = moving_shapes.transformer(), jax.random.key(0)
state = jax.jit(lambda key: transformer.init_state(run, key))(key)
%s
seconds = []
for _ in range(9):
  start = time.perf_counter()
  state, metrics = jax.block_until_ready(step(state))
  seconds.append(time.perf_counter() - start)
print(statistics.median(seconds[2:]))
"""
OF_FORMER = """
batch["text"] = words[0]
vae = types.SimpleNamespace(config=moving_shapes.VAE)
captions = types.SimpleNamespace(rows=words[0][:1], mask=words[1][:1])
update = transformer.make_update(run, CPU, vae, captions)
program = jax.jit(update, donate_argnums=0)
step = lambda state: program(state, batch)
"""
OF_TODAY = """
from ltx_jax.data.token_dropping import as_tokens
batch |= {"tokens": words[0], "fps": np.full(64, 24, np.float32)}
batch = as_tokens(batch)
frozen = {"empty": {"tokens": words[0][0], "mask": words[1][0]}}
update = transformer.make_update(run, CPU, moving_shapes.VAE)
options = CPU.training_options
program = jax.jit(update, donate_argnums=0, compiler_options=options)
step = lambda state: program(state, frozen, batch)
"""


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

  def rows(self, step: int) -> int:
    return int(self._golden["counts"][step])

  def iterate(self, start: int, stop: int) -> Iterator[dict[str, np.ndarray]]:
    yield from map(self.batch, range(start, stop))


def encode(folder: Path) -> None:
  """Precomputes the records if they do not exist yet."""
  command = [
    *(sys.executable, "-m", "train.precompute", "moving-shapes"),
    *("--output", str(folder), "--text-encoder", "none"),
    *("--variants", str(VARIANTS), "--buckets"),
    *("25x128x128", "9x64x64", "1x128x128"),
  ]
  subprocess.run(command, cwd=ROOT, check=True)


def fit(run: TransformerRun, loader: Any, empty: Any, vae: VAEConfig) -> None:
  """Trains a small transformer as its program does, and writes nothing but metrics."""
  mesh = make_mesh(**vars(run.mesh))
  policy = policy_of(jax.devices()[0]).in_dtype(run.dtype).for_training(mesh)
  loop.fit(
    run,
    init=functools.partial(transformer.init_state, run),
    update=transformer.make_update(run, policy, vae),
    loader=loader,
    rules=transformer.RULES,
    frozen={"empty": empty},
    options=policy.training_options,
    hooks=loop.Hooks(work=transformer.work_of(run)),
  )


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
  loader = Replayed(data.Worded(Records(records), "tokens"), golden)
  fit(run, loader, opened.empty, config.vae)
  return np.array([row["loss"] for row in read_metrics(folder)])


def step_seconds(former: Path) -> tuple[float, float]:
  """Times a step with the former code, unpacked in a folder, and with today's."""
  archive = subprocess.run(
    ["git", "archive", FORMER], cwd=ROOT, check=True, stdout=subprocess.PIPE
  )
  subprocess.run(["tar", "-x", "-C", former], input=archive.stdout, check=True)
  seconds: dict[Path, list[float]] = {former: [], ROOT: []}
  for _ in range(TURNS):
    former_one = "train", OF_FORMER
    of_today = "train.trainers", OF_TODAY
    for tree, its in ((former, former_one), (ROOT, of_today)):
      done = subprocess.run(
        [sys.executable, "-c", STEP % its],
        cwd=tree,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
      )
      seconds[tree].append(float(done.stdout))
  return statistics.median(seconds[former]), statistics.median(seconds[ROOT])


def run() -> list[dict[str, Any]]:
  """Rows: the largest deviation, and the time of a step."""
  with tempfile.TemporaryDirectory() as work:
    former = Path(work) / "former"
    former.mkdir()
    times = step_seconds(former)
    records = Path(os.environ.get("FORMER_RECORDS", Path(work) / "records"))
    encode(records)
    found = losses(records, Path(work) / "run")
  return rows(found, *times)


def rows(found: np.ndarray, former: float, today: float) -> list[dict[str, Any]]:
  """Rows for the losses, and for the seconds of a step."""
  expected = np.load(GOLDEN)["losses"]
  worst = float(np.max(np.abs(found / expected - 1)))
  return [
    {
      "figure": f"largest deviation of {len(expected)} losses",
      "value": 100 * worst,
      "unit": "%",
      "target": "at most 1 %",
      "ok": worst <= WITHIN,
    },
    {
      "figure": f"a step over the former path's ({today:.2f} s over {former:.2f} s)",
      "value": today / former,
      "unit": "",
      "target": f"at most {SLOWER}",
      "ok": today <= SLOWER * former,
    },
  ]
