"""The processes of a training run: how they connect, and how long they wait."""

from __future__ import annotations

import dataclasses
import math

from ltx_jax.config.metadata import COUNT
from ltx_jax.errors import check_fields, check_number


@dataclasses.dataclass(frozen=True)
class DistributedConfig:
  """Processes of one run (`parallel.distributed`), all with the same options.

  Attributes:
    coordinator: Address of process 0 as HOST:PORT; empty for a run of one process.
    processes: Number of processes.
    process: Number of this process, counted from 0.
    cluster: Discovery of the processes by the cluster itself, as on TPU pods, Slurm and
      GKE.
    devices: Number of devices that the run expects in all processes together; default:
      any.
    timeout: Seconds to wait for a missing process. A process that dies later is noticed
      after the same time, but after 100 seconds at most.
    hang_after: Seconds without a step after which the run ends and reports where each
      of its threads stands. Compilation does not count; inf turns this off.
  """

  coordinator: str = ""
  processes: int | None = None
  process: int | None = None
  cluster: bool = False
  devices: int | None = None
  timeout: float = 300.0
  hang_after: float = 1800.0

  def __post_init__(self):
    bounds = {
      "processes": COUNT,
      "process": {"at_least": 0, "whole": True},
      "devices": COUNT,
      "timeout": {"at_least": 1},
    }
    check_fields(self, bounds, "distributed.{}")
    if self.hang_after != math.inf:
      check_number("distributed.hang_after", self.hang_after, at_least=1)
    if not self.coordinator:
      if not self.cluster and (self.processes, self.process) != (None, None):
        raise ValueError(
          "distributed.processes and distributed.process need a "
          "distributed.coordinator HOST:PORT, or distributed.cluster."
        )
      return
    if not self.coordinator.rpartition(":")[2].isdecimal():
      raise ValueError(
        f"distributed.coordinator is {self.coordinator}; it must be HOST:PORT."
      )
    if None in (self.processes, self.process) or self.process >= self.processes:
      raise ValueError(
        f"distributed.process is {self.process} of distributed.processes = "
        f"{self.processes}; with a coordinator give both, and count processes from 0."
      )
