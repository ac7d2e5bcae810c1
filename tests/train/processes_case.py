"""Programs that run as several processes on this machine, with host devices each."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from ltx_jax.checkpoints import lightricks
from ltx_jax.config import ModelConfig, SchedulerConfig
from tests.train import records_case, trainer_case

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 300.0
"""Seconds after which a program that should have ended is taken to hang."""


def write_inputs(folder: Path) -> Path:
  """Writes the VAE and the records of a tiny transformer, and returns the folder."""
  vae = trainer_case.frozen_vae()
  config = ModelConfig(transformer=None, vae=vae.config, scheduler=SchedulerConfig())
  lightricks.save_checkpoint(
    folder / "vae.safetensors", config, {"vae": vae.params}, dtype="float32"
  )
  records_case.write(folder / "records", vae)
  return folder


def training(inputs: Path, folder: Path, *options: str) -> list[str]:
  """Training whose batches mix images and clips that are trimmed to as few tokens."""
  return [
    *("train.transformer", "tiny", "--vae", str(inputs / "vae.safetensors")),
    *("--data", str(inputs / "records"), "--output.folder", str(folder)),
    *("--token-dropping", "0.5", *options),
  ]


def free_port() -> int:
  """Returns a port that nothing listens on."""
  with socket.socket() as server:
    server.bind(("127.0.0.1", 0))
    return server.getsockname()[1]


def environment(devices: int) -> dict[str, str]:
  """Returns the environment of a process with `devices` host devices."""
  flags = [
    flag
    for flag in os.environ.get("XLA_FLAGS", "").split()
    if "host_platform_device_count" not in flag
  ]
  flags.append(f"--xla_force_host_platform_device_count={devices}")
  # Eight devices on two busy cores may meet late; XLA's default is 40 seconds.
  flags.append(f"--xla_cpu_collective_call_terminate_timeout_seconds={PATIENCE:.0f}")
  return os.environ | {"XLA_FLAGS": " ".join(flags), "JAX_PLATFORMS": "cpu"}


class Process:
  """One process, whose output goes to a file: a full pipe would hold up all of them."""

  def __init__(self, command: Sequence[str], devices: int):
    self._log = tempfile.TemporaryFile("w+")
    self._process = subprocess.Popen(
      [sys.executable, "-m", *command],
      cwd=ROOT,
      env=environment(devices),
      stdout=self._log,
      stderr=subprocess.STDOUT,
    )

  @property
  def returncode(self) -> int | None:
    """Its exit code, once it has been waited for."""
    return self._process.returncode

  @property
  def pid(self) -> int:
    """Its number."""
    return self._process.pid

  def running(self) -> bool:
    """Whether it has not ended yet."""
    return self._process.poll() is None

  def send_signal(self, number: signal.Signals) -> None:
    """Sends it a signal."""
    self._process.send_signal(number)

  def output(self, patience: float = PATIENCE) -> str:
    """Waits for its end, and returns its output."""
    self._process.wait(patience)
    self._log.seek(0)
    return self._log.read()

  def close(self) -> None:
    """Kills it, if it still runs."""
    self._process.kill()
    self._process.wait()
    self._log.close()


@contextlib.contextmanager
def started(
  command: Sequence[str],
  processes: int,
  devices: int,
  timeout: int = 60,
  others: Mapping[int, Sequence[str]] = MappingProxyType({}),
) -> Iterator[list[Process]]:
  """Starts the processes of a program, and kills what is left of them in the end.

  Args:
    command: The module and its options.
    processes: How many; a single one is started without any option for several.
    devices: Host devices of all of them together.
    timeout: Seconds that they wait for one another.
    others: Further options of some of them.
  """
  options = [
    *("--distributed.coordinator", f"127.0.0.1:{free_port()}"),
    *("--distributed.processes", str(processes), "--distributed.devices", str(devices)),
    *("--distributed.timeout", str(timeout), "--distributed.process"),
  ]

  def arguments(number: int) -> list[str]:
    several = [*options, str(number)] if processes > 1 else []
    return [*command, *several, *others.get(number, ())]

  running = [Process(arguments(k), devices // processes) for k in range(processes)]
  try:
    yield running
  finally:
    for process in running:
      process.close()


def outputs(running: Sequence[Process], patience: float = PATIENCE) -> list[str]:
  """Waits for processes to end, and returns their outputs."""
  return [process.output(patience) for process in running]
