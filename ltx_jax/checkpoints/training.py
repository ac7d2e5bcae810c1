"""Training state on disk, through Orbax: saved in the background, restored on any mesh.

A checkpoint is a folder `<folder>/<step>` that appears by one rename when all of it is
written. A checkpoint that a killed program leaves half-written has another name, is
never read, and is removed at the next start. Besides the arrays a checkpoint holds a
record: the step, the run's config, and the fingerprint of the loader. The record
ensures that a resumed run reads the rows that the first run would have read.

Arrays are stored under their paths (`params/encoder/conv_in/kernel`), not under the
classes of Optax's state. They are always restored into the caller's own tree with its
own shardings.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from jaxtyping import PyTree

from ltx_jax.checkpoints.trees import path_name
from ltx_jax.errors import shown

_LISTED = 10  # Number of names shown of those that do not fit.


class TrainingCheckpoints:
  """The checkpoints of one run; close it, or use it in a `with` statement.

  Attributes:
    folder: Where they are.
    changed: Fields of the config that differ from those of the checkpoint that was
      restored, such as "flow.spread 0.5 -> 0.9".
  """

  def __init__(
    self,
    folder: str | os.PathLike,
    *,
    keep: int,
    keep_every: int | None = None,
    config: Mapping[str, Any],
    network: Mapping[str, Any],
    fingerprint: str,
  ):
    """Opens or creates `folder`.

    Args:
      keep: Number of newest checkpoints that are kept, at least 1.
      keep_every: Interval of steps whose checkpoints are kept for good; None keeps
        none.
      config: The run's whole config as JSON values.
      network: The part of the config that determines the arrays; a checkpoint with
        another one is refused.
      fingerprint: Fingerprint of the loader; a checkpoint with another one is refused.
    """
    import orbax.checkpoint as ocp  # Half a second, which --help need not wait for.

    self.folder = Path(folder).absolute()
    self.changed: list[str] = []
    self._record = _as_json(
      {"config": config, "network": network, "fingerprint": fingerprint}
    )
    _check_folder(self.folder)
    preservation = ocp.checkpoint_managers.preservation_policy
    stays = [preservation.LatestN(keep)]
    if keep_every is not None:
      stays.append(preservation.EveryNSteps(keep_every))
    options = ocp.CheckpointManagerOptions(
      preservation_policy=preservation.AnyPreservationPolicy(stays),
      cleanup_tmp_directories=True,
    )
    registry = ocp.handlers.create_default_handler_registry(
      state=ocp.handlers.StandardCheckpointHandler(),
      record=ocp.handlers.JsonCheckpointHandler(),
    )
    with _without_warnings():  # What is missing is said when it is read.
      self._manager = ocp.CheckpointManager(
        self.folder, options=options, handler_registry=registry
      )

  def __enter__(self) -> TrainingCheckpoints:
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  @property
  def latest(self) -> int | None:
    """Step of the newest complete checkpoint."""
    return self._manager.latest_step()

  def save(self, step: int, state: PyTree) -> None:
    """Saves `state`; the arrays are copied at once and written in the background.

    A step that is saved already is left unchanged.
    """
    import orbax.checkpoint as ocp

    if step in self._manager.all_steps():
      return
    record = {"step": step, **self._record}
    self._manager.save(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardSave(_flatten(state)), record=ocp.args.JsonSave(record)
      ),
      force=True,
    )

  def restore(self, target: PyTree) -> PyTree | None:
    """Reads the newest complete checkpoint, or returns None if there is none.

    Args:
      target: The state as `jax.ShapeDtypeStruct`s with shardings (`sharding.abstract`)
        on this run's mesh; the checkpoint may come from another mesh.

    Raises:
      ValueError: If the checkpoint belongs to another network or other data, or arrays
        are missing, unknown or of another shape.
    """
    import orbax.checkpoint as ocp

    self.wait()
    step = self.latest
    if step is None:
      return None
    self._check_record(step)
    flat = _flatten(target)
    self._check_arrays(step, flat)
    arguments = ocp.args.Composite(state=ocp.args.StandardRestore(flat))
    with _damage_in_words(self.folder / str(step)):
      values = self._manager.restore(step, args=arguments)["state"]
    return jax.tree.map_with_path(lambda path, _: values[path_name(path)], target)

  def wait(self) -> None:
    """Returns when everything saved is on disk."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits, then stops the writing threads."""
    self.wait()
    self._manager.close()

  def _check_record(self, step: int) -> None:
    import orbax.checkpoint as ocp

    arguments = ocp.args.Composite(record=ocp.args.JsonRestore())
    with _damage_in_words(self.folder / str(step)):
      found = self._manager.restore(step, args=arguments)["record"]
      found = {name: found[name] for name in self._record}
    where = f"The checkpoint {self.folder / str(step)}"
    differing = _differences(found["network"], self._record["network"])
    if differing:
      raise ValueError(
        f"{where} belongs to another network: {'; '.join(differing)}. Take another "
        "--output.folder, or the options it was trained with."
      )
    if found["fingerprint"] != self._record["fingerprint"]:
      raise ValueError(
        f"{where} was trained on other data or another order of data: its loader has "
        f"fingerprint {found['fingerprint']}, this run's has "
        f"{self._record['fingerprint']}. Take another --output.folder, or the data, "
        "the networks that encode them, the stages (--steps may leave some out) and "
        "the seed it was trained with."
      )
    self.changed = changes(found["config"], self._record["config"])

  def _check_arrays(self, step: int, target: Mapping[str, Any]) -> None:
    checkpoint = self.folder / str(step)
    with _damage_in_words(checkpoint):
      saved = self._manager.metadata(step).item_metadata["state"].tree
    _check_shapes(checkpoint, saved, target)


def read_newest(
  folder: str | os.PathLike, trees: Mapping[str, PyTree]
) -> tuple[int, dict[str, PyTree]]:
  """Reads parts of a run's newest complete checkpoint; the run may still be training.

  Args:
    folder: Folder of the run's checkpoints.
    trees: Trees of `jax.ShapeDtypeStruct`s with shardings, by their paths in the state,
      such as `params/transformer`.

  Returns:
    The step, and the trees by their paths, without those that the state has nothing of.

  Raises:
    ValueError: If there is no checkpoint, or it is damaged, or arrays are missing,
      unknown or of another shape.
  """
  import orbax.checkpoint as ocp

  folder = Path(folder).absolute()
  registry = ocp.handlers.create_default_handler_registry(
    state=ocp.handlers.PyTreeCheckpointHandler(),
    record=ocp.handlers.JsonCheckpointHandler(),
  )
  with _without_warnings():
    options = ocp.CheckpointManagerOptions(read_only=True)
    manager = ocp.CheckpointManager(folder, options=options, handler_registry=registry)
  with _without_warnings(), manager:
    step = manager.latest_step()
    if step is None:
      raise ValueError(f"There is no checkpoint in {folder}; name another run.")
    with _damage_in_words(folder / str(step)):
      saved = manager.item_metadata(step)["state"].tree
    there = {path: tree for path, tree in trees.items() if _below(path, saved)}
    flat = _flatten(there)
    found = {name: saved[name] for path in there for name in _below(path, saved)}
    _check_shapes(folder / str(step), found, flat)
    how = ocp.checkpoint_utils.construct_restore_args(flat)
    part = ocp.args.PyTreeRestore(flat, restore_args=how, partial_restore=True)
    with _damage_in_words(folder / str(step)):
      values = manager.restore(step, args=ocp.args.Composite(state=part))["state"]
  return step, jax.tree.map_with_path(lambda path, _: values[path_name(path)], there)


def _below(path: str, saved: Mapping[str, Any]) -> list[str]:
  """Returns the names of the arrays of a tree."""
  return [name for name in saved if name.startswith(f"{path}/")]


def _check_shapes(
  checkpoint: Path, saved: Mapping[str, Any], target: Mapping[str, Any]
) -> None:
  """Refuses a checkpoint whose arrays have other names or shapes than is expected.

  Raises:
    ValueError: With the first that differ.
  """
  found, expected = (
    {name: str(tuple(leaf.shape)) for name, leaf in arrays.items()}
    for arrays in (saved, target)
  )
  if differing := _differences(found, expected):
    raise ValueError(
      f"The checkpoint {checkpoint} does not fit this run: {'; '.join(differing)}."
    )


@contextlib.contextmanager
def _damage_in_words(checkpoint: Path) -> Iterator[None]:
  """Says which checkpoint is damaged; Orbax raises almost anything.

  Raises:
    ValueError: With the folder of the checkpoint.
  """
  try:
    with _late_reads_hushed():
      yield
  except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
    raise ValueError(
      f"The checkpoint {checkpoint} is not whole, or another version of this code "
      "wrote it; remove that folder, and the same command goes on from the checkpoint "
      "before it, or starts anew."
    ) from error


@contextlib.contextmanager
def _late_reads_hushed() -> Iterator[None]:
  """Keeps quiet about arrays that are still being read when one of them cannot be.

  TensorStore has an exception for each that nobody waits for any more. They come after
  the failure, so from then on they are not shown.
  """
  hook = sys.unraisablehook

  def others(what: sys.UnraisableHookArgs) -> None:
    if str(what.exc_value) != "Event loop is closed":
      hook(what)

  sys.unraisablehook = others
  yield
  sys.unraisablehook = hook


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
  """Has Orbax log errors alone."""
  logger = logging.getLogger("absl")
  level = logger.level
  logger.setLevel(logging.ERROR)
  try:
    yield
  finally:
    logger.setLevel(level)


def _check_folder(folder: Path) -> None:
  """Refuses a folder of checkpoints that cannot be used, before threads are started.

  Raises:
    ValueError: With the folder.
  """
  rights = os.R_OK | os.W_OK | os.X_OK
  if folder.exists() and not (folder.is_dir() and os.access(folder, rights)):
    raise ValueError(
      f"{folder} is not a folder that can be read and written; give another "
      "--output.folder, or make it one."
    )


def _flatten(tree: PyTree) -> dict[str, Any]:
  leaves, _ = jax.tree.flatten_with_path(tree)
  return {path_name(path): leaf for path, leaf in leaves}


def _as_json(value: Any) -> Any:
  """Returns `value` as it reads after a trip through JSON: lists instead of tuples."""
  return json.loads(json.dumps(value))


def _differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
  """Describes up to ten leaves that differ."""
  a, b = _leaves(found), _leaves(expected)
  names = [n for n in sorted(a | b) if a.get(n, "none") != b.get(n, "none")]
  words = [
    f"{name} is {a.get(name, 'none')} there and {b.get(name, 'none')} here"
    for name in names[:_LISTED]
  ]
  return words + ([f"and {len(names) - _LISTED} more"] if len(names) > _LISTED else [])


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
  """Describes all leaves that differ, in short."""
  a, b = _leaves(before), _leaves(now)
  return [
    f"{name} {shown(a.get(name))} -> {shown(b.get(name))}"
    for name in sorted(a | b)
    if a.get(name) != b.get(name)
  ]


def _leaves(value: Any, name: str = "") -> dict[str, Any]:
  """Flattens nested JSON to {"vae.latent_channels": 128, "stages[0].steps": 30, ...}.

  Lists of objects count as nested; others are values.
  """
  if isinstance(value, dict):
    parts = {f"{name}.{k}" if name else k: v for k, v in value.items()}
  elif isinstance(value, list) and any(isinstance(v, dict) for v in value):
    parts = {f"{name}[{i}]": v for i, v in enumerate(value)}
  else:
    return {name: value}
  items = (_leaves(v, k).items() for k, v in parts.items())
  return {k: v for group in items for k, v in group}
