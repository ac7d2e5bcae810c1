"""What a report is of: enough to measure its figures again."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from ltx_jax.checkpoints.fingerprint import fingerprint
from ltx_jax.pipeline.networks import Networks

_ROOT = Path(__file__).resolve().parents[2]


def commit() -> str | None:
  """Returns the checkout's commit, with a plus if files differ; None without one."""

  def git(*words: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(_ROOT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)

  try:
    head = git("rev-parse", "--short", "HEAD")
  except OSError:  # There is no git.
    return None
  if head.returncode:
    return None
  return head.stdout.strip() + (
    "+" if git("diff", "--quiet", "HEAD").returncode else ""
  )


def weights(model: Networks) -> dict[str, str]:
  """Returns a hash of each network of a model."""
  return {
    part: fingerprint(getattr(model.config, part), params)
    for part, params in model.params.items()
  }


def header(
  options: Any, data: str, networks: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
  """Returns what stands at the beginning of a report.

  Args:
    options: Options of the program, a dataclass.
    data: Fingerprint of the clips.
    networks: Hashes of the networks of each model, by its name.
  """
  plain = int | float | str | tuple | None
  settings = {
    name: value if isinstance(value, plain) else str(value)
    for name, value in dataclasses.asdict(options).items()
  }
  return {
    "settings": settings,
    "data": data,
    "weights": networks,
    "commit": commit(),
    "device": jax.devices()[0].device_kind,
  }
