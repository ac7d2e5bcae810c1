"""The loop of a run: steps, and between them saving, sampling, evaluating and logging.

The order must stay: maybe save, maybe evaluate, maybe sample, THEN take the next batch,
step, log. So a sample image that fails loses no state. Nothing is read back from the
device except at logged, saved and sampled steps. A saved step is also logged: a resumed
run starts with an empty average of its metrics, so a run that continues must too.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from ltx_jax.checkpoints.training import TrainingCheckpoints
from ltx_jax.cli import console as shared
from ltx_jax.cli.command_line import Ended
from ltx_jax.config.output import OutputConfig
from ltx_jax.config.runs import OptimizerConfig
from ltx_jax.errors import memory_in_words
from ltx_jax.parallel import distributed
from ltx_jax.parallel.mesh import put_batch
from ltx_jax.training.optim import Metrics
from ltx_jax.training.state import Batch, TrainState, Update
from ltx_jax.typing import Params
from train.harness.evaluation import Evaluate
from train.harness.meter import NO_WORK, Meter, WorkOf
from train.harness.processes import Stopping, Watchdog, peers_in_words, shown
from train.harness.reporting import Quiet, Report

# Steps dispatched ahead of the device: enough to keep it busy, few enough that batches
# do not pile up in its memory.
IN_FLIGHT = 2

_LESS_AT_ONCE = "lower the stage's tokens, raise --optimizer.accumulate or --mesh.fsdp"


class Run(Protocol):
  """Fields of a run's config that the loop reads."""

  optimizer: OptimizerConfig
  output: OutputConfig

  @property
  def steps(self) -> int:
    """Number of updates of the whole run."""
    ...


class Loader(Protocol):
  """Batches as a pure function of the step."""

  fingerprint: str

  def rows(self, step: int) -> int:
    """Returns the number of rows in the batch of a step, over all processes."""
    ...

  def iterate(self, start: int, stop: int) -> Iterator[Mapping[str, np.ndarray]]:
    """Yields the batches of steps `start` to `stop` - 1, this process's rows."""
    ...


Pictures = Callable[[TrainState, int], dict[str, np.ndarray]]
"""(state, step) -> uint8 images [H W 3] by name."""

Remark = Callable[[Mapping[str, float]], str | None]
"""Logged means -> a remark about them, such as a drift, or None."""


News = Callable[[], Sequence[str]]
"""Returns lines for the user about everything new since the last call."""


class Stopped(Ended):
  """A signal ended the run, after its state was saved."""

  def __init__(self, message: str, number: int):
    super().__init__(message)
    self.exit_code = 128 + number  # As shells report a program that a signal ended.


class NotFinite(Ended):
  """A metric became NaN or infinite; the run cannot go on."""


def shapes_of(batch: Mapping[str, Any]) -> str:
  """Returns the arrays' names and shapes as text."""
  return ", ".join(f"{k} {list(v.shape)}" for k, v in sorted(batch.items()))


def in_words(batch: Mapping[str, Any]) -> str:
  """Describes a batch, as in: 2 clips of 25 frames of 128x128."""
  if "video" in batch:
    rows, frames, height, width = batch["video"].shape[:4]
    size = f"{shared.counted(frames, 'frame')} of {width}x{height}"
    return f"{shared.counted(rows, 'clip')} of {size}"
  if "latents" in batch:
    rows, tokens = batch["latents"].shape[:2]
    beside = [name for name in ("reference", "last frame") if name.split()[0] in batch]
    more = f" with {' and '.join(beside)}" if beside else ""
    return f"{shared.counted(rows, 'clip')} of {shared.counted(tokens, 'token')}{more}"
  return shapes_of(batch)


def _do_nothing(means: Mapping[str, float]) -> None:
  """Has nothing to remark."""


@dataclasses.dataclass(frozen=True)
class Hooks:
  """A trainer's optional work besides its steps.

  Attributes:
    pictures: Function that makes sample images, called every `sample_every` steps and
      at the end.
    captions: Captions of their rows, from top to bottom.
    evaluate: Evaluation, every `evaluate_every` steps, and at the end of a run that has
      at least that many.
    remark: Function that may remark on the means; a remark is printed when it appears,
      and again only after it was None.
    work: Function that returns a step's work for a batch.
    news: Function that returns lines, printed at every logged step.
  """

  pictures: Pictures | None = None
  captions: Sequence[str] = ()
  evaluate: Evaluate | None = None
  remark: Remark = _do_nothing
  work: WorkOf | None = None
  news: News = tuple


@dataclasses.dataclass
class Loop:
  """The loop, and its state between two logged steps.

  Attributes:
    update: The compiled step.
    frozen: Parameters that it reads but does not train.
    broken: Function that opens the checkpoints for a state that is not finite.
    peak: FLOP/s of all devices together, if known.
    stops: Function that says at which step a signal ends the run.
    watchdog: Watchdog that is told of every step.
  """

  run: Run
  update: Update
  frozen: Params
  loader: Loader
  mesh: Mesh
  checkpoints: TrainingCheckpoints
  broken: Callable[[], contextlib.AbstractContextManager[TrainingCheckpoints]]
  report: Report | Quiet
  stops: Stopping
  watchdog: Watchdog
  hooks: Hooks
  peak: float | None

  def __post_init__(self):
    self.pending: dict[int, Metrics] = {}  # Metrics by step, still on the device.
    self.evaluated: dict[int, Metrics] = {}  # Those of held-out clips, likewise.
    # Descriptions of the steps in flight, and the metrics that show when each is done.
    self.in_flight: collections.deque[tuple[str, Metrics]] = collections.deque()
    self.remarked = False
    self.skipped_in_a_row = 0
    self.shapes: set[str] = set()
    self.began = time.monotonic() - self.report.seconds
    self.meter = Meter(self.peak)

  def run_from(self, state: TrainState, start: int) -> TrainState:
    """Runs steps `start` to the end."""
    output, stop = self.run.output, self.run.steps
    batches = iter(self.loader.iterate(start, stop))
    for step in range(start, stop + 1):
      # A restored state is saved already, and also sampled unless it was killed in
      # between: saving comes first, because the state matters more.
      new = step > start
      last = step == stop and new
      if last or (new and step % output.save_every == 0):
        self.save(state, step)
      often_enough = output.evaluate_every <= stop
      if (last and often_enough) or (new and step % output.evaluate_every == 0):
        self.evaluate(state, step)
      if last or (new and step % output.sample_every == 0):
        self.sample(state, step)
      if step >= stop:
        break
      if number := self.stops(step):
        self.stop(state, step, number)

      batch = self.next_batch(batches, step)
      state, self.pending[step + 1] = self.advance(state, batch, step + 1)
      self.wait(IN_FLIGHT)
      self.report.advance(step + 1)
      if (step + 1) % output.log_every == 0 or step + 1 == stop:
        self.log(state, step + 1)
    self.report_evaluations()
    return state

  def next_batch(self, batches: Iterator, step: int) -> Batch:
    with self.meter.waiting():
      rows = next(batches)
      with memory_in_words(f"a batch of {in_words(rows)}", _LESS_AT_ONCE):
        return put_batch(self.mesh, rows, self.loader.rows(step))

  def advance(
    self, state: TrainState, batch: Batch, step: int
  ) -> tuple[TrainState, Metrics]:
    """Dispatches one step; reports what it compiles, and how long that took."""
    shapes, words = shapes_of(batch), in_words(batch)
    what = f"step {step} of {words}"
    before = time.monotonic()
    new = shapes not in self.shapes
    if new:  # A minute without output would look like a hang.
      self.report.say(
        f"Compiling a step for {words}: minutes on a CPU, once per size ..."
      )
    # Compilation copies constants; after that nothing may be copied from the host.
    guard = self.watchdog.apart() if new else jax.transfer_guard("disallow")
    with memory_in_words(what, _LESS_AT_ONCE), peers_in_words(what), guard:
      state, metrics = self.update(state, self.frozen, batch)
    if new:
      self.shapes.add(shapes)
      self.report.say(f"Compiled for {words} in {time.monotonic() - before:.1f} s")
    self.in_flight.append((what, metrics))
    self.meter.add(self.hooks.work(batch) if self.hooks.work else NO_WORK)
    return state, metrics

  def wait(self, ahead: int = 0) -> None:
    """Waits until the device has at most `ahead` steps left to do."""
    while len(self.in_flight) > ahead:
      what, metrics = self.in_flight.popleft()
      with memory_in_words(what, _LESS_AT_ONCE), peers_in_words(what):
        jax.block_until_ready(metrics)
      self.watchdog.beat(what)

  def log(self, state: TrainState, step: int) -> None:
    """Reads the metrics since the last log and writes their means."""
    means = self.read(state, step)
    remark = self.hooks.remark(means)
    if remark and not self.remarked:
      self.report.say(f"Step {step}: {remark}")
    self.remarked = bool(remark)
    for line in self.hooks.news():
      self.report.say(f"Step {step}: {line}")
    timing = self.meter.read() | {"seconds": time.monotonic() - self.began}
    self.report.log(step, means | timing)
    self.report_evaluations()

  def read(self, state: TrainState, step: int) -> dict[str, float]:
    """Fetches the pending metrics, checks each, and returns their means.

    If steps that are not finite are skipped, the means leave them out. The learning
    rate is that of the last update, not a mean.
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
    self.count_skipped(state, step, rows)
    names = {name: None for row in finite for name in row}
    means = {n: float(np.mean([r[n] for r in finite if n in r])) for n in names}
    last = rows[max(rows)]
    if "skipped" in last:
      means["skipped"] = float(np.mean([row["skipped"] for row in rows.values()]))
    if "learning_rate" in last:
      means["learning_rate"] = float(last["learning_rate"])
    return means

  def count_skipped(
    self, state: TrainState, step: int, rows: Mapping[int, Metrics]
  ) -> None:
    """Ends the run if too many updates in a row were skipped."""
    most = self.run.optimizer.max_skipped
    for at, row in rows.items():
      self.skipped_in_a_row = self.skipped_in_a_row + 1 if row.get("skipped") else 0
      if self.skipped_in_a_row >= most:
        self.checkpoints.save(step, state)
        self.checkpoints.wait()
        raise NotFinite(
          f"{most} updates in a row were skipped, up to step {at}: their loss or "
          "gradients were NaN or infinite. Training stopped; the state, which they did "
          f"not change, is in {self.checkpoints.folder}. Look at the data of these "
          "steps, lower --optimizer.learning-rate or --optimizer.clip-norm, or raise "
          "--optimizer.max-skipped."
        )

  def not_finite(self, state: TrainState, step: int, what: str) -> None:
    """Saves the state for inspection, apart from the checkpoints, and raises."""
    # An older state of the same step would be kept instead of this one.
    shutil.rmtree(Path(self.run.output.folder) / "not_finite", ignore_errors=True)
    with self.broken() as broken:
      broken.save(step, state)
      folder = broken.folder / str(step)
    latest = self.checkpoints.latest
    good = f"step {latest}" if latest is not None else "the beginning"
    raise NotFinite(
      f"{what}; training stopped. The state after step {step} is in {folder}. The "
      f"same command starts again from {good}: lower --optimizer.learning-rate or "
      "--optimizer.clip-norm first, or skip such steps with "
      "--optimizer.not-finite skip."
    )

  def evaluate(self, state: TrainState, step: int) -> None:
    """Dispatches an evaluation; its numbers are read with the next metrics."""
    if self.hooks.evaluate is not None:
      what, remedy = f"the evaluation of step {step}", "raise --output.evaluate-every"
      with self.watchdog.apart(), memory_in_words(what, f"to disable it, {remedy}"):
        self.evaluated[step] = self.hooks.evaluate(state, self.frozen)

  def report_evaluations(self) -> None:
    for step, metrics in jax.device_get(self.evaluated).items():
      self.report.evaluation(step, {n: float(value) for n, value in metrics.items()})
    self.evaluated = {}

  def sample(self, state: TrainState, step: int) -> None:
    if self.hooks.pictures is not None:
      what = f"the sample images of step {step}"
      with (
        self.meter.apart(),
        self.watchdog.apart(),
        memory_in_words(what, "to disable them, raise --output.sample-every"),
      ):
        state = shown(state)
        if distributed.is_first():
          images = self.hooks.pictures(state, step)
          self.report.pictures(step, images, self.hooks.captions)

  def save(self, state: TrainState, step: int) -> None:
    # A run must be able to resume from a checkpoint, so check all losses before saving.
    if self.pending:
      self.log(state, step)
    self.checkpoints.save(step, state)

  def stop(self, state: TrainState, step: int, number: signal.Signals) -> None:
    """Saves the state, and ends the run with a message."""
    self.save(state, step)
    self.checkpoints.wait()
    raise Stopped(
      f"Stopped by {number.name} after step {step} of {self.run.steps}; the state is "
      f"in {self.checkpoints.folder}. The same command resumes from there.",
      number,
    )
