"""A training run from its first or latest state to its last; both trainers share it.

A trainer provides pure functions: `init(key) -> TrainState`, `update(state, frozen,
batch) -> (state, metrics)`, and optional hooks (`steps.Hooks`). All randomness and all
data depend only on the run's seed and the step, so a resumed run continues bit for bit.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ltx_jax.checkpoints.training import TrainingCheckpoints
from ltx_jax.cli.console import counted
from ltx_jax.config.distributed import DistributedConfig
from ltx_jax.config.runs import MeshConfig
from ltx_jax.errors import memory_in_words
from ltx_jax.parallel import distributed, sharding
from ltx_jax.parallel.mesh import make_mesh, put
from ltx_jax.planning.peaks import peak_of
from ltx_jax.platforms import COMPILE_FAST, unless_flagged
from ltx_jax.training.optim import warmup_of
from ltx_jax.training.state import TrainState, Update
from ltx_jax.typing import Key, Params
from train.harness import steps
from train.harness.boards import WeightsAndBiases
from train.harness.processes import Watchdog, peers_in_words, stopping
from train.harness.reporting import CONFIG_FILE, Quiet, Report, write_text
from train.harness.steps import Hooks, Loader, Loop

NO_HOOKS = Hooks()
_SMALL_FILES = 2**20
"""Bytes of what a run writes beside its checkpoints, at the least."""
_NOT_TRAINED = ("output.", "distributed.", "mesh.")
"""Fields of a config that do not change what is trained."""


class Run(steps.Run, Protocol):
  """Fields that `fit` needs in a run's config; further fields are the networks'."""

  mesh: MeshConfig
  distributed: DistributedConfig
  seed: int

  @property
  def networks(self) -> dict[str, Any]:
    """What makes the arrays of the state; resuming refuses others."""
    ...


def fit(
  run: Run,
  *,
  init: Callable[[Key], TrainState],
  update: Update,
  loader: Loader,
  rules: sharding.Rules,
  frozen: Params = MappingProxyType({}),
  options: Mapping[str, str] = MappingProxyType({}),
  hooks: Hooks = NO_HOOKS,
  warm_start: Callable[[TrainState], TrainState] | None = None,
) -> TrainState:
  """Trains to `run.steps`, from the newest complete checkpoint if there is one.

  Writes `config.json`, `metrics.jsonl`, `evaluation.jsonl`, `tensorboard/`, `samples/`
  and `checkpoints/` into `run.output.folder`. All processes write the checkpoints; only
  the first writes the rest.

  Args:
    init: Makes the first state. It is traced for its shapes, then compiled so that
      every array is created on its shards.
    update: One step, compiled once per batch shape. Its metrics are scalars and should
      include the norm of the gradients, so that a NaN is noticed where it arises. It
      ends with `training.state.advance`.
    loader: Batches with the rows of this process; they are moved to its devices here.
    rules: Sharding table for parameters, average, optimiser state and frozen
      parameters.
    frozen: Parameters that the update reads but does not train. They are sharded over
      the mesh, passed to every step, and not saved.
    options: XLA options for compiling a step, from the policy.
    hooks: Work besides the steps.
    warm_start: Replaces parts of the first state, e.g. the parameters by those of a
      checkpoint; it is not called if the run resumes.

  Returns:
    The state after the last step.

  Raises:
    NotFinite: If a metric is NaN or infinite and such steps are not skipped; the state
      is first saved in `not_finite/`, and the checkpoints stay those from before. Also
      if too many steps in a row were skipped.
    Stopped: At SIGINT or SIGTERM, after the state is saved.
    ValueError: If the folder's checkpoint is of another network or other data, or of a
      longer run; the mesh does not fit the devices; an interval is not positive; there
      is not enough memory.
  """
  mesh = make_mesh(**vars(run.mesh))
  folder = Path(run.output.folder)
  folder.mkdir(parents=True, exist_ok=True)
  with jax.set_mesh(mesh), _checkpoints(run, loader, "checkpoints") as checkpoints:
    key = jax.random.key(run.seed)
    target = sharding.abstract(jax.eval_shape(init, key), mesh, rules)
    _check_space(folder, target)
    what = f"the state of {_millions(target.params)} M parameters"
    with memory_in_words(what, "raise --mesh.fsdp, or take a smaller network"):
      state = checkpoints.restore(target)
      if state is None:
        state = _first_state(init, key, target, warm_start)
      frozen = place_frozen(frozen, mesh, rules)
      jax.block_until_ready((state, frozen))
    start = _start(run, state, checkpoints)
    first = distributed.is_first()
    with (
      _report(run, start) if first else Quiet() as report,
      stopping() as stops,
      Watchdog(run.distributed.hang_after, folder) as watchdog,
      peers_in_words("what all processes do together"),
    ):
      if first:
        write_text(folder / CONFIG_FILE, json.dumps(config_json(run), indent=2) + "\n")
      report.say(_greeting(run, state.params, mesh, start))
      for line in (*_cut_short(run, hooks), *_since(checkpoints)):
        report.say(line)
      loop = Loop(
        run=run,
        update=compile_update(update, target, mesh, options),
        frozen=frozen,
        loader=loader,
        mesh=mesh,
        checkpoints=checkpoints,
        broken=functools.partial(_checkpoints, run, loader, "not_finite"),
        report=report,
        stops=stops,
        watchdog=watchdog,
        hooks=hooks,
        peak=_peak(mesh),
      )
      return loop.run_from(state, start)


def _check_space(folder: Path, target: TrainState) -> None:
  """Refuses a disk that has no space for a checkpoint, before a step is made.

  Raises:
    ValueError: with both sizes.
  """
  needed = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(target))
  free = shutil.disk_usage(folder).free
  if free < needed + _SMALL_FILES:
    raise ValueError(
      f"The disk of {folder} has {free / 1e6:,.1f} MB of free space, and a checkpoint "
      f"takes {(needed + _SMALL_FILES) / 1e6:,.1f} MB; free some, or choose another "
      "--output.folder."
    )


def _cut_short(run: Run, hooks: Hooks) -> list[str]:
  """Says what a run of few steps does less of, or leaves out."""
  lines = []
  asked, warmup = run.optimizer.warmup_steps, warmup_of(run.optimizer, run.steps)
  if warmup < asked:
    lines.append(
      f"The warm-up takes {counted(warmup, 'step')}, half of the run's {run.steps}, "
      f"not --optimizer.warmup-steps {asked}."
    )
  every = run.output.evaluate_every
  if hooks.evaluate and every > run.steps:
    lines.append(
      f"Held-out clips are not measured: --output.evaluate-every {every} is beyond the "
      f"run's {counted(run.steps, 'step')}."
    )
  return lines


def _since(checkpoints: TrainingCheckpoints) -> list[str]:
  """Says which options changed since the checkpoint that was read."""
  changed = _changed(checkpoints)
  return [f"Changed since the checkpoint: {', '.join(changed)}."] if changed else []


def _changed(checkpoints: TrainingCheckpoints) -> list[str]:
  return [c for c in checkpoints.changed if not c.startswith(_NOT_TRAINED)]


def _start(run: Run, state: TrainState, checkpoints: TrainingCheckpoints) -> int:
  """Returns the number of updates that a state has had.

  Raises:
    ValueError: If it is larger than the run's; or if nothing is left to train, but
      other options were asked for than it was trained with.
  """
  folder = checkpoints.folder
  start = int(jax.device_get(state.step))
  if start > run.steps:
    raise ValueError(
      f"The checkpoint in {folder} is at step {start}, beyond this run's {run.steps} "
      "steps. Take more --steps, or another --output.folder."
    )
  changed = [c for c in _changed(checkpoints) if not re.match(r"(\S+\.)?steps ", c)]
  if start and start == run.steps and changed:
    raise ValueError(
      f"The checkpoint in {folder} is at step {start}, the last of this run, so no "
      f"step is left to train with what changed: {', '.join(changed)}. Take more "
      "--steps, or another --output.folder."
    )
  return start


def _report(run: Run, start: int) -> Report:
  """Returns the report that the first process writes."""
  folder, project, boards = Path(run.output.folder), run.output.wandb, []
  if project:
    boards.append(WeightsAndBiases(project, folder, config_json(run)))
  return Report(folder, start=start, steps=run.steps, boards=boards)


def _peak(mesh: Mesh) -> float | None:
  """Returns the FLOP/s of all devices together, or None if one is not in the table."""
  each = peak_of(mesh.devices.flat[0].device_kind)
  return None if each is None else each * mesh.size


def place_frozen(frozen: Params, mesh: Mesh, rules: sharding.Rules) -> Params:
  """Places frozen parameters where a step reads them."""
  frozen = dict(frozen)
  return put(frozen, sharding.shardings(frozen, mesh, rules))


def _first_state(
  init: Callable[[Key], TrainState],
  key: Key,
  target: TrainState,
  warm_start: Callable[[TrainState], TrainState] | None,
) -> TrainState:
  shardings = jax.tree.map(lambda leaf: leaf.sharding, target)
  # On a CPU, LLVM at its second level takes ten times as long to compile random draws.
  on_cpu = all(d.platform == "cpu" for d in jax.tree.leaves(shardings)[0].device_set)
  options = unless_flagged(dict([COMPILE_FAST])) if on_cpu else {}
  state = jax.jit(init, out_shardings=shardings, compiler_options=options)(key)
  if warm_start is None:
    return state
  # A warm start may bring host arrays; they go where the first ones were.
  return put(warm_start(state), shardings)


def compile_update(
  update: Update,
  target: TrainState,
  mesh: Mesh,
  options: Mapping[str, str] = MappingProxyType({}),
) -> Update:
  """Jits an update that reuses its state's buffers and keeps their shardings."""
  shardings = jax.tree.map(lambda leaf: leaf.sharding, target)
  scalar = NamedSharding(mesh, PartitionSpec())
  return jax.jit(
    update,
    donate_argnums=0,
    out_shardings=(shardings, scalar),
    compiler_options=unless_flagged(options),
  )


def config_json(run: Any) -> dict[str, Any]:
  """Returns a run's config as JSON values."""
  return json.loads(json.dumps(dataclasses.asdict(run)))


def _checkpoints(run: Run, loader: Loader, name: str) -> TrainingCheckpoints:
  network = run.networks | {
    "optimizer.name": run.optimizer.name,
    "averaged parameters": run.optimizer.ema_decay > 0,
  }
  return TrainingCheckpoints(
    Path(run.output.folder) / name,
    keep=run.output.keep,
    keep_every=run.output.keep_every,
    config=config_json(run),
    network=json.loads(json.dumps(network)),
    fingerprint=loader.fingerprint,
  )


def _millions(params: Params) -> str:
  count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
  return f"{count / 1e6:.1f}"


def _greeting(run: Run, params: Params, mesh: Mesh, start: int) -> str:
  where = f"{mesh.size} {jax.default_backend()} device(s)"
  first = f"Resuming after step {start}" if start else "Starting"
  return (
    f"{first}: {_millions(params)} M parameters, {run.steps} steps, {where}, "
    f"{run.output.folder}"
  )
