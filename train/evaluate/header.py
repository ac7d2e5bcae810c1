"""What a report is of: enough to measure its figures again."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import subprocess
from collections.abc import Mapping, Sequence
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


def made_by(command: str) -> dict[str, Any]:
  """Returns the command that makes a report again, and the code that ran it."""
  return {"command": command, "commit": commit()}


def weights(model: Networks) -> dict[str, str]:
  """Returns a hash of each network of a model."""
  return {
    part: fingerprint(getattr(model.config, part), params)
    for part, params in model.params.items()
  }


def sha256_of(path: Path) -> str:
  """Returns the hash of a file."""
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


class Origin:
  """What a report is of; it counts the clips as they are measured.

  Attributes:
    options: Options of the program, a dataclass.
    command: The command that makes the report again.
  """

  def __init__(self, options: Any, command: str):
    """Begins without a clip."""
    self.options = options
    self.command = command
    self._clips = collections.Counter()

  def add(self, size: Sequence[int], fps: float, clips: int = 1) -> None:
    """Counts clips of a size: frames, height and width."""
    self._clips[(*map(int, size), float(fps))] += clips

  def header(
    self,
    data: str,
    networks: Mapping[str, Mapping[str, str]],
    files: Sequence[Path | None] = (),
  ) -> dict[str, Any]:
    """Returns what stands at the beginning of the report.

    Args:
      data: Fingerprint of the clips.
      networks: Hashes of the networks of each model, by its name.
      files: Files of weights that figures need, such as those of LPIPS; None for one
        that was not given.
    """
    plain = int | float | str | tuple | None
    settings = {
      name: value if isinstance(value, plain) else str(value)
      for name, value in dataclasses.asdict(self.options).items()
    }
    names = "frames", "height", "width", "fps", "clips"
    return {
      **made_by(self.command),
      "settings": settings,
      "data": data,
      "number of clips": self._clips.total(),
      "sizes": [
        dict(zip(names, (*size, clips), strict=True))
        for size, clips in sorted(self._clips.items())
      ],
      "weights": networks,
      "files": {str(path): sha256_of(path) for path in files if path is not None},
      "device": jax.devices()[0].device_kind,
    }
