"""The training loop both trainers share.

A trainer gives pure functions: `init(key) -> TrainState`, `update(state, batch) ->
(state, metrics)` and, if it likes, `pictures(state, step)`. All randomness follows from
the run's seed and the step, and so does the data, hence a resumed run continues bit for
bit.

The order inside the loop must stay: maybe save, maybe sample, THEN take the next batch,
step, log. A picture that fails then loses no state. Nothing is read back from the
device except at logged, saved and sampled steps. What is saved is logged as well: a
resumed run starts with an empty average of its metrics, so must one that goes on.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ltx_jax.checkpoints.training import TrainingCheckpoints
from ltx_jax.cli.command_line import Ended
from ltx_jax.config.runs import MeshConfig, OptimizerConfig, OutputConfig
from ltx_jax.errors import memory_in_words
from ltx_jax.parallel import sharding
from ltx_jax.parallel.mesh import make_mesh, put_batch
from ltx_jax.training import optim
from ltx_jax.training.state import Metrics, TrainState
from ltx_jax.typing import Key, Params
from train.harness.reporting import Report, write_text

# Steps given to the device ahead of time. Enough to keep it busy, few enough that
# batches do not pile up in its memory.
IN_FLIGHT = 2

_LESS_AT_ONCE = "lower the stage's tokens, raise --optimizer.accumulate or --mesh.fsdp"


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


Pictures = Callable[[TrainState, int], dict[str, np.ndarray]]
Remark = Callable[[Mapping[str, float]], str | None]


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
  options: Mapping[str, str] = MappingProxyType({}),
  pictures: Pictures | None = None,
  remark: Remark = lambda means: None,
  warm_start: Callable[[TrainState], TrainState] | None = None,
) -> TrainState:
  """Trains to `run.steps`, from the newest complete checkpoint if there is one.

  Writes `config.json`, `metrics.jsonl`, `tensorboard/`, `samples/` and `checkpoints/`
  into `run.output.folder`.

  Args:
    init: Makes the first state; traced for its shapes, then compiled so that every
      array is born on its shards.
    update: One step; compiled once a batch shape. Its metrics are scalars; let the
      norm of the gradients be among them, so that a NaN is seen where it arises. Under
      `not_finite="skip"` it ends with `optim.skip_not_finite`.
    loader: Its batches are global; they are split over the mesh here.
    rules: Sharding table for parameters, average and optimiser state.
    options: What XLA is told when a step is compiled, the policy's.
    pictures: Makes uint8 images [H W 3] by name, every `sample_every` steps and at the
      end.
    remark: What is to be said of logged means, such as a drift, or None. It is said
      when it comes up, and not again until it has been None.
    warm_start: Replaces what it likes of the first state, e.g. the parameters by those
      of a checkpoint; not called where the run resumes.

  Returns:
    The state after the last step.

  Raises:
    NotFinite: where a metric is NaN or infinite and such steps are not skipped, once
      the state is saved in `not_finite/`; the checkpoints stay those from before.
    Stopped: at SIGINT or SIGTERM, once the state is saved.
    ValueError: where the folder's checkpoint is of another network or other data, or
      of a longer run; the mesh does not fit the devices; an interval is not positive;
      there is not enough memory.
  """
  mesh = make_mesh(**vars(run.mesh))
  folder = Path(run.output.folder)
  folder.mkdir(parents=True, exist_ok=True)
  with jax.set_mesh(mesh), _checkpoints(run, loader, "checkpoints") as checkpoints:
    key = jax.random.key(run.seed)
    target = sharding.abstract(jax.eval_shape(init, key), mesh, rules)
    what = f"the state of {_millions(target.params)} M parameters"
    with memory_in_words(what, "raise --mesh.fsdp, or take a smaller network"):
      state = checkpoints.restore(target)
      if state is None:
        state = _first_state(init, key, target, warm_start)
      jax.block_until_ready(state)
    start = int(jax.device_get(state.step))
    if start > run.steps:
      raise ValueError(
        f"The checkpoint in {checkpoints.folder} is at step {start}, beyond this run's "
        f"{run.steps} steps. Take more --steps, or another --output.folder."
      )
    write_text(folder / "config.json", json.dumps(config_json(run), indent=2) + "\n")
    with Report(folder, start=start, steps=run.steps) as report, _signals() as caught:
      report.say(_greeting(run, state.params, mesh, start))
      loop = _Loop(run, loader, mesh, checkpoints, report, caught, pictures, remark)
      step = compile_update(update, target, mesh, options)
      return loop.run_from(state, start, step)


def _first_state(
  init: Callable[[Key], TrainState],
  key: Key,
  target: TrainState,
  warm_start: Callable[[TrainState], TrainState] | None,
) -> TrainState:
  shardings = jax.tree.map(lambda leaf: leaf.sharding, target)
  state = jax.jit(init, out_shardings=shardings)(key)
  if warm_start is None:
    return state
  # A warm start may bring host arrays; they go where the first ones were.
  return jax.tree.map(jax.device_put, warm_start(state), shardings)


def compile_update(
  update: Callable[[TrainState, Any], tuple[TrainState, Metrics]],
  target: TrainState,
  mesh: Mesh,
  options: Mapping[str, str] = MappingProxyType({}),
) -> Callable[[TrainState, Any], tuple[TrainState, Metrics]]:
  """Jits an update that takes over its state's buffers and keeps their shardings."""
  shardings = jax.tree.map(lambda leaf: leaf.sharding, target)
  scalar = NamedSharding(mesh, PartitionSpec())
  return jax.jit(
    update,
    donate_argnums=0,
    out_shardings=(shardings, scalar),
    compiler_options=dict(options),
  )


def config_json(run: Any) -> dict[str, Any]:
  """Returns a run's config as JSON values."""
  return json.loads(json.dumps(dataclasses.asdict(run)))


def _checkpoints(run: Run, loader: Loader, name: str) -> TrainingCheckpoints:
  config = config_json(run)
  # The transformer's `vae` is a path: what lies there decides its data, not its arrays.
  configs = {n: config.get(n) for n in ("vae", "transformer", "text")}
  network = {n: value for n, value in configs.items() if isinstance(value, dict)}
  network |= {n: config[n] for n in ("text_encoder",) if n in config}
  network["optimizer.name"] = run.optimizer.name
  network["averaged parameters"] = run.optimizer.ema_decay > 0
  return TrainingCheckpoints(
    Path(run.output.folder) / name,
    keep=run.output.keep,
    config=config,
    network=network,
    fingerprint=loader.fingerprint,
  )


def _millions(params: Params) -> str:
  count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
  return f"{count / 1e6:.1f}"


def _shapes(batch: Mapping[str, Any]) -> str:
  return ", ".join(f"{k} {list(v.shape)}" for k, v in sorted(batch.items()))


def _greeting(run: Run, params: Params, mesh: Mesh, start: int) -> str:
  where = f"{mesh.size} {jax.default_backend()} device(s)"
  first = f"Resuming after step {start}" if start else "Starting"
  return (
    f"{first}: {_millions(params)} M parameters, {run.steps} steps, {where}, "
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
  checkpoints: TrainingCheckpoints
  report: Report
  caught: list[signal.Signals]
  pictures: Pictures | None
  remark: Remark

  def __post_init__(self):
    self.pending: dict[int, Metrics] = {}  # Metrics by step, still on the device.
    # What the device works on, in words, and the metrics that say when it is done.
    self.in_flight: collections.deque[tuple[str, Metrics]] = collections.deque()
    self.remarked = False
    self.shapes: set[str] = set()
    self.rate = optim.learning_rate(self.run.optimizer, self.run.steps)
    self.began = time.monotonic() - self.report.seconds
    self.logged_at = time.monotonic()
    self.waited = 0.0

  def run_from(self, state: TrainState, start: int, update: Callable) -> TrainState:
    """Runs steps `start` to the end."""
    output, stop = self.run.output, self.run.steps
    batches = iter(self.loader.iterate(start, stop))
    for step in range(start, stop + 1):
      # A restored state is saved already, and sampled unless it was killed in between:
      # the state is the safer first.
      new = step > start
      last = step == stop and new
      if last or (new and step % output.save_every == 0):
        self.save(state, step)
      if last or (new and step % output.sample_every == 0):
        self.sample(state, step)
      if self.caught and step < stop:
        self.stop(state, step)
      if step >= stop:
        break

      batch = self.next_batch(batches)
      state, self.pending[step + 1] = self.advance(update, state, batch, step + 1)
      self.wait(IN_FLIGHT)
      self.report.advance(step + 1)
      if (step + 1) % output.log_every == 0 or step + 1 == stop:
        self.log(state, step + 1)
    return state

  def next_batch(self, batches: Iterator) -> dict[str, jax.Array]:
    before = time.monotonic()
    rows = next(batches)
    with memory_in_words(f"a batch of {_shapes(rows)}", _LESS_AT_ONCE):
      batch = put_batch(self.mesh, rows)
    self.waited += time.monotonic() - before
    return batch

  def advance(
    self, update: Callable, state: TrainState, batch: dict[str, jax.Array], step: int
  ) -> tuple[TrainState, Metrics]:
    """Dispatches one step; says how long a new batch shape took to compile."""
    shapes = _shapes(batch)
    what = f"step {step} of {shapes}"
    before = time.monotonic()
    new = shapes not in self.shapes
    # Compiling copies constants; after that nothing may slip in from the host.
    guard = contextlib.nullcontext() if new else jax.transfer_guard("disallow")
    with memory_in_words(what, _LESS_AT_ONCE), guard:
      state, metrics = update(state, batch)
    if new:
      self.shapes.add(shapes)
      self.report.say(f"Compiled for {shapes} in {time.monotonic() - before:.1f} s")
    self.in_flight.append((what, metrics))
    return state, metrics

  def wait(self, ahead: int = 0) -> None:
    """Waits until the device has at most `ahead` steps still to do."""
    while len(self.in_flight) > ahead:
      what, metrics = self.in_flight.popleft()
      with memory_in_words(what, _LESS_AT_ONCE):
        jax.block_until_ready(metrics)

  def log(self, state: TrainState, step: int) -> None:
    """Reads the metrics since the last log and writes their means."""
    steps = len(self.pending)
    means = self.read(state, step)
    remark = self.remark(means)
    if remark and not self.remarked:
      self.report.say(f"Step {step}: {remark}")
    self.remarked = bool(remark)
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
    """Fetches the pending metrics, checks each, and returns their means.

    Where steps that are not finite are skipped, the means are those of the others.
    """
    self.wait()
    rows, finite = jax.device_get(self.pending), []
    for at, row in rows.items():
      bad = [f"{k} is {v}" for k, v in row.items() if not np.isfinite(v)]
      if bad and self.run.optimizer.not_finite == "stop":
        self.not_finite(state, step, f"{' and '.join(bad)} at step {at}")
      if not bad:
        finite.append(row)
    self.pending = {}
    names = {name: None for row in finite for name in row}
    means = {n: float(np.mean([r[n] for r in finite if n in r])) for n in names}
    skipped = [row["skipped"] for row in rows.values() if "skipped" in row]
    return means | ({"skipped": float(np.mean(skipped))} if skipped else {})

  def not_finite(self, state: TrainState, step: int, what: str) -> None:
    """Saves the state for a look at it, apart from the checkpoints, and raises."""
    # One from before would be kept in place of this one where the steps are equal.
    shutil.rmtree(Path(self.run.output.folder) / "not_finite", ignore_errors=True)
    with _checkpoints(self.run, self.loader, "not_finite") as broken:
      broken.save(step, state)
      folder = broken.folder / str(step)
    latest = self.checkpoints.latest
    good = f"step {latest}" if latest is not None else "the beginning"
    raise NotFinite(
      f"{what}; training stopped. The state after step {step} is in {folder}. The "
      f"same command starts again from {good}: lower --optimizer.learning-rate or "
      "--optimizer.clip-norm first, or have such steps skipped by "
      "--optimizer.not-finite skip."
    )

  def sample(self, state: TrainState, step: int) -> None:
    if self.pictures is not None:
      what = f"the pictures of step {step}"
      with memory_in_words(what, "for none, raise --output.sample-every"):
        self.report.pictures(step, self.pictures(state, step))

  def save(self, state: TrainState, step: int) -> None:
    # A checkpoint must be one to go on from, so look at all losses before it.
    if self.pending:
      self.log(state, step)
    self.checkpoints.save(step, state)

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
