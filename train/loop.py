"""The training loop both trainers share.

A trainer gives pure functions: `init(key) -> TrainState`, `update(state, batch) ->
(state, metrics)` and, if it likes, `pictures(state, step)`. All randomness follows from
the run's seed and the step, and so does the data, hence a resumed run continues bit for
bit.

The order inside the loop must stay: maybe sample, maybe save, THEN take the next batch,
step, log. Nothing is read back from the device except at logged and saved steps.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ltx_jax import optim
from ltx_jax.checkpoints.training import TrainingCheckpoints
from ltx_jax.parallel import sharding
from ltx_jax.parallel.mesh import make_mesh, put_batch
from ltx_jax.run_config import MeshConfig, OptimizerConfig, OutputConfig
from ltx_jax.typing import Key, Params
from train.command_line import Ended
from train.reporting import Report, write_text

# Steps given to the device ahead of time. Enough to keep it busy, few enough that
# batches do not pile up in its memory.
IN_FLIGHT = 2


class TrainState(NamedTuple):
  """What a run carries from step to step.

  Attributes:
    step: int32 scalar, updates done.
    params: What is trained, float32.
    opt_state: Of the optimiser.
    ema: The averaged parameters; {} where `ema_decay` is 0.
    extra: What else a step carries, e.g. the VAE's running latent statistics.
  """

  step: jax.Array
  params: Params
  opt_state: Any
  ema: Params
  extra: Params


class Run(Protocol):
  """What the loop needs of a run's config; further fields are the networks'."""

  optimizer: OptimizerConfig
  mesh: MeshConfig
  output: OutputConfig
  seed: int

  @property
  def steps(self) -> int:
    """Updates of the whole run."""
    ...


class Loader(Protocol):
  """Batches as a pure function of the step."""

  fingerprint: str

  def iterate(self, start: int, stop: int) -> Iterator[Mapping[str, np.ndarray]]:
    """Yields the batches of steps `start` to `stop` - 1, each of global rows."""
    ...


Metrics = dict[str, jax.Array]
Pictures = Callable[[TrainState, int], dict[str, np.ndarray]]


class Stopped(Ended):
  """A signal ended the run, after its state was saved."""

  def __init__(self, message: str, number: int):
    super().__init__(message)
    self.exit_code = 128 + number  # As shells report a program that a signal ended.


class NotFinite(Ended):
  """A metric became NaN or infinite; the run cannot go on."""


def fit(
  run: Run,
  *,
  init: Callable[[Key], TrainState],
  update: Callable[[TrainState, Any], tuple[TrainState, Metrics]],
  loader: Loader,
  rules: sharding.Rules,
  pictures: Pictures | None = None,
  warm_start: Callable[[TrainState], TrainState] | None = None,
) -> TrainState:
  """Trains to `run.steps`, from the newest complete checkpoint if there is one.

  Writes `config.json`, `metrics.jsonl`, `tensorboard/`, `samples/` and `checkpoints/`
  into `run.output.folder`.

  Args:
    init: Makes the first state; traced for its shapes, then compiled so that every
      array is born on its shards.
    update: One step; compiled once a batch shape. Its metrics are scalars; let the
      norm of the gradients be among them, so that a NaN is seen where it arises.
    loader: Its batches are global; they are split over the mesh here.
    rules: Sharding table for parameters, average and optimiser state.
    pictures: Makes uint8 images [H W 3] by name, every `sample_every` steps and at the
      end.
    warm_start: Replaces what it likes of the first state, e.g. the parameters by those
      of a checkpoint; not called where the run resumes.

  Returns:
    The state after the last step.

  Raises:
    NotFinite: where a metric is NaN or infinite, once the state is saved in
      `not_finite/`; the checkpoints stay those from before.
    Stopped: at SIGINT or SIGTERM, once the state is saved.
    ValueError: where the folder's checkpoint is of another network or other data, or
      of a longer run; the mesh does not fit the devices; an interval is not positive.
  """
  _check_output(run.output)
  mesh = make_mesh(run.mesh)
  folder = Path(run.output.folder)
  folder.mkdir(parents=True, exist_ok=True)
  with jax.set_mesh(mesh), _checkpoints(run, loader, "checkpoints") as checkpoints:
    key = jax.random.key(run.seed)
    target = sharding.abstract(jax.eval_shape(init, key), mesh, rules)
    state = checkpoints.restore(target)
    if state is None:
      shardings = jax.tree.map(lambda leaf: leaf.sharding, target)
      state = jax.jit(init, out_shardings=shardings)(key)
      if warm_start is not None:
        # A warm start may bring host arrays; they go where the first ones were.
        state = jax.tree.map(jax.device_put, warm_start(state), shardings)
    start = int(jax.device_get(state.step))
    if start > run.steps:
      raise ValueError(
        f"The checkpoint in {checkpoints.folder} is at step {start}, beyond this run's "
        f"{run.steps} steps. Take more --steps, or another --output.folder."
      )
    write_text(folder / "config.json", json.dumps(config_json(run), indent=2) + "\n")
    with Report(folder, start=start, steps=run.steps) as report, _signals() as caught:
      report.say(_greeting(run, state.params, mesh, start))
      loop = _Loop(run, loader, mesh, pictures, checkpoints, report, caught)
      return loop.run_from(state, start, compile_update(update, target, mesh))


def check_same_network(part: str, found: Any, asked: Any, source: str) -> None:
  """Refuses to start a run from a checkpoint of another network, naming what differs.

  Configs are compared without the keys that this code does not use.

  Raises:
    ValueError: with the first fields that differ.
  """
  a, b = dataclasses.asdict(found), dataclasses.asdict(asked)
  differing = [k for k in a if k != "extra" and a[k] != b[k]]
  if differing:
    words = "; ".join(f"{k} is {a[k]} there and {b[k]} here" for k in differing[:3])
    raise ValueError(
      f"The {part} in {source} is another network than this run's: {words}. Name a "
      "checkpoint of the same config, or leave --init-from empty."
    )


def compile_update(
  update: Callable[[TrainState, Any], tuple[TrainState, Metrics]],
  target: TrainState,
  mesh: Mesh,
) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
  """Jits an update that takes over its state's buffers and keeps their shardings."""
  shardings = jax.tree.map(lambda leaf: leaf.sharding, target)
  scalar = NamedSharding(mesh, PartitionSpec())
  return jax.jit(update, donate_argnums=0, out_shardings=(shardings, scalar))


def _check_output(output: OutputConfig) -> None:
  for name in ("log_every", "sample_every", "save_every"):
    if getattr(output, name) < 1:
      raise ValueError(
        f"output.{name} is {getattr(output, name)}; it counts steps, at least 1. For "
        "never, take a number beyond the run's steps."
      )


def config_json(run: Any) -> dict[str, Any]:
  """Returns a run's config as JSON values."""
  return json.loads(json.dumps(dataclasses.asdict(run)))


def _checkpoints(run: Run, loader: Loader, name: str) -> TrainingCheckpoints:
  config = config_json(run)
  names = ("vae", "transformer", "text", "text_encoder")
  network = {n: config[n] for n in names if n in config}
  network["optimizer.name"] = run.optimizer.name
  network["averaged parameters"] = run.optimizer.ema_decay > 0
  return TrainingCheckpoints(
    Path(run.output.folder) / name,
    keep=run.output.keep,
    config=config,
    network=network,
    fingerprint=loader.fingerprint,
  )


def _greeting(run: Run, params: Params, mesh: Mesh, start: int) -> str:
  count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
  where = f"{mesh.size} {jax.default_backend()} device(s)"
  first = f"Resuming after step {start}" if start else "Starting"
  return (
    f"{first}: {count / 1e6:.1f} M parameters, {run.steps} steps, {where}, "
    f"{run.output.folder}"
  )


@contextlib.contextmanager
def _signals() -> Iterator[list[signal.Signals]]:
  """Collects SIGINT and SIGTERM; a second one acts as without us."""
  caught: list[signal.Signals] = []
  if threading.current_thread() is not threading.main_thread():
    yield caught  # Python lets only the main thread handle signals.
    return
  before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

  def handle(number: int, _: object) -> None:
    caught.append(signal.Signals(number))
    signal.signal(number, before[signal.Signals(number)])

  for number in before:
    signal.signal(number, handle)
  try:
    yield caught
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


@dataclasses.dataclass
class _Loop:
  """The loop and what it keeps between two logged steps."""

  run: Run
  loader: Loader
  mesh: Mesh
  pictures: Pictures | None
  checkpoints: TrainingCheckpoints
  report: Report
  caught: list[signal.Signals]

  def __post_init__(self):
    self.pending: dict[int, Metrics] = {}  # Metrics by step, still on the device.
    self.shapes: set[str] = set()
    self.rate = optim.learning_rate(self.run.optimizer, self.run.steps)
    self.began = time.monotonic() - self.report.seconds
    self.logged_at = time.monotonic()
    self.waited = 0.0

  def run_from(self, state: TrainState, start: int, update: Callable) -> TrainState:
    """Runs steps `start` to the end."""
    output, stop = self.run.output, self.run.steps
    in_flight: collections.deque[Metrics] = collections.deque()
    batches = iter(self.loader.iterate(start, stop))
    for step in range(start, stop + 1):
      new = step > start  # A restored state is sampled and saved already.
      last = step == stop and new
      if last or (new and step % output.sample_every == 0):
        self.sample(state, step)
      if last or (new and step % output.save_every == 0):
        self.save(state, step)
      if self.caught and step < stop:
        self.stop(state, step)
      if step >= stop:
        break

      batch = self.next_batch(batches)
      state, metrics = self.advance(update, state, batch)
      self.pending[step + 1] = metrics
      in_flight.append(metrics)
      if len(in_flight) > IN_FLIGHT:
        jax.block_until_ready(in_flight.popleft())
      self.report.advance(step + 1)
      if (step + 1) % output.log_every == 0 or step + 1 == stop:
        self.log(state, step + 1)
    return state

  def next_batch(self, batches: Iterator) -> dict[str, jax.Array]:
    before = time.monotonic()
    batch = put_batch(self.mesh, next(batches))
    self.waited += time.monotonic() - before
    return batch

  def advance(
    self, update: Callable, state: TrainState, batch: dict[str, jax.Array]
  ) -> tuple[TrainState, Metrics]:
    """Dispatches one step; says how long a new batch shape took to compile."""
    shapes = ", ".join(f"{k} {list(v.shape)}" for k, v in sorted(batch.items()))
    before = time.monotonic()
    if shapes in self.shapes:
      with jax.transfer_guard("disallow"):  # Nothing may slip in from the host.
        return update(state, batch)
    self.shapes.add(shapes)
    result = update(state, batch)
    self.report.say(f"Compiled for {shapes} in {time.monotonic() - before:.1f} s")
    return result

  def log(self, state: TrainState, step: int) -> None:
    """Reads the metrics since the last log and writes their means."""
    steps = len(self.pending)
    means = self.read(state, step)
    now = time.monotonic()
    elapsed = max(now - self.logged_at, 1e-9)
    timing = {
      "learning_rate": float(self.rate(step - 1)),
      "steps_per_second": steps / elapsed,
      "data_wait": self.waited / elapsed,
      "seconds": now - self.began,
    }
    self.report.log(step, means | timing)
    self.logged_at, self.waited = now, 0.0

  def read(self, state: TrainState, step: int) -> dict[str, float]:
    """Fetches the pending metrics, checks each, and returns their means."""
    fetched = jax.device_get(self.pending)
    for at, metrics in fetched.items():
      bad = [f"{k} is {v}" for k, v in metrics.items() if not np.isfinite(v)]
      if bad:
        self.not_finite(state, step, f"{' and '.join(bad)} at step {at}")
    self.pending = {}
    names = {name: None for metrics in fetched.values() for name in metrics}
    rows = list(fetched.values())
    return {n: float(np.mean([r[n] for r in rows if n in r])) for n in names}

  def not_finite(self, state: TrainState, step: int, what: str) -> None:
    """Saves the state for a look at it, apart from the checkpoints, and raises."""
    with _checkpoints(self.run, self.loader, "not_finite") as broken:
      broken.save(step, state)
      folder = broken.folder / str(step)
    latest = self.checkpoints.latest
    good = f"step {latest}" if latest is not None else "the beginning"
    raise NotFinite(
      f"{what}; training stopped. The state after step {step} is in {folder}. The "
      f"same command starts again from {good}: lower --optimizer.learning-rate or "
      "--optimizer.clip-norm first."
    )

  def sample(self, state: TrainState, step: int) -> None:
    if self.pictures is not None:
      self.report.pictures(step, self.pictures(state, step))

  def save(self, state: TrainState, step: int) -> None:
    # A checkpoint must be one to go on from, so look at all losses before it.
    self.peek(state, step)
    self.checkpoints.save(step, state)

  def peek(self, state: TrainState, step: int) -> None:
    """Checks the pending metrics and keeps them for the next log."""
    pending = self.pending
    self.read(state, step)
    self.pending = pending

  def stop(self, state: TrainState, step: int) -> None:
    """Saves, and ends the run in words."""
    self.save(state, step)
    self.checkpoints.wait()
    number = self.caught[0]
    raise Stopped(
      f"Stopped by {number.name} after step {step} of {self.run.steps}; the state is "
      f"in {self.checkpoints.folder}. The same command goes on from there.",
      number,
    )
