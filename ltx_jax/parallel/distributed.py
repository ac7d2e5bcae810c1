"""Several processes in one run, one per host or per GPU: how they connect.

Every process runs the same program on the same recipe. Together they have one mesh over
all devices. Each reads the rows of a batch that its own devices work on
(`mesh.own_rows`), all of them write a checkpoint, and only the first writes logs and
reports. Call `start` before JAX looks for devices, in the program's own process and not
in workers.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import threading
from typing import Any

import jax
import numpy as np

from ltx_jax.config.distributed import DistributedConfig


def start(config: DistributedConfig, recipe: Any) -> None:
  """Joins the other processes of a run; does nothing for a single process.

  Args:
    config: Addresses of the other processes, or that the cluster knows them.
    recipe: What this process runs, as JSON values; it must be the same in all.

  Raises:
    ValueError: If processes or devices are missing, or one runs another recipe.
  """
  if config.coordinator or config.cluster:
    _join(config)
    if config.processes not in (None, jax.process_count()):
      raise ValueError(
        f"There are {jax.process_count()} processes, but --distributed.processes is "
        f"{config.processes}."
      )
  if jax.process_count() > 1:
    _check_recipe(recipe)
  if config.devices not in (None, jax.device_count()):
    raise ValueError(
      f"--distributed.devices is {config.devices}, but there are {jax.device_count()}: "
      f"{jax.local_device_count()} of them in process {jax.process_index()} on "
      f"{socket.gethostname()}."
    )


def _join(config: DistributedConfig) -> None:
  seconds = int(config.timeout)
  # JAX crashes a process that waits in vain; this timer ends it first, with a message.
  late = threading.Timer(config.timeout, _give_up, [config])
  late.daemon = True
  late.start()
  try:
    jax.distributed.initialize(
      coordinator_address=config.coordinator or None,
      num_processes=config.processes,
      process_id=config.process,
      initialization_timeout=seconds + 60,
      heartbeat_timeout_seconds=min(seconds, 100),
      shutdown_timeout_seconds=seconds,
      cluster_detection_method=None if config.cluster else "deactivate",
    )
    jax.devices()  # Exchanges the devices, which also waits for all processes.
  except (RuntimeError, ValueError) as error:
    reason = str(error).strip().splitlines()[0].rstrip(".")
    raise ValueError(f"{_not_found(config)} ({reason}).") from None
  finally:
    late.cancel()


def _not_found(config: DistributedConfig) -> str:
  number = "" if config.process is None else f" {config.process}"
  where = f" at {config.coordinator}" if config.coordinator else ""
  return (
    f"Process{number} on {socket.gethostname()} did not find the others{where} within "
    f"{config.timeout:g} s; start all of them with the same options, except for "
    "--distributed.process, or raise --distributed.timeout"
  )


def _give_up(config: DistributedConfig) -> None:
  print(f"{_not_found(config)}.", file=sys.stderr, flush=True)
  os._exit(2)


def _check_recipe(recipe: Any) -> None:
  """Checks that all processes run what the first one does."""
  # Imported here, because it takes time and a single process does not need it.
  from jax.experimental import multihost_utils

  digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).digest()
  each = multihost_utils.process_allgather(np.frombuffer(digest, np.uint32))  # p 8
  others = np.flatnonzero((each != each[0]).any(axis=1)).tolist()
  if others:
    raise ValueError(
      f"Of {len(each)} processes, {', '.join(map(str, others))} run(s) another recipe "
      "or other options than 0; start all with the same, except --distributed.process."
    )


def is_first() -> bool:
  """Whether this is the process that writes logs and reports."""
  return jax.process_index() == 0


def describe() -> str:
  """Returns a line about this process: its number, host and devices."""
  devices = f"{jax.local_device_count()} of {jax.device_count()} devices"
  return (
    f"Process {jax.process_index()} of {jax.process_count()} on "
    f"{socket.gethostname()}: {devices} ({jax.default_backend()})"
  )


def whole(tree: Any) -> Any:
  """Gathers arrays sharded over processes as NumPy arrays, in every process."""
  from jax.experimental import multihost_utils

  if jax.process_count() == 1:
    return jax.device_get(tree)
  return multihost_utils.process_allgather(tree, tiled=True)
