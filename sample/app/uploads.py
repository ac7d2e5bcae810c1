"""Files from strangers: limited, and decoded by a child process."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import UInt8


@dataclasses.dataclass(frozen=True)
class Limits:
  """Limits of an uploaded file.

  Attributes:
    megabytes: Largest size of the file.
    pixels: Largest number of pixels per frame.
    frames: Largest number of frames that are read of a clip.
    seconds: Time limit of decoding, both for the processor and on the clock.
    memory: Bytes that decoding may use.
  """

  megabytes: int = 200
  pixels: int = 40_000_000
  frames: int = 1000
  seconds: int = 60
  memory: int = 3_000_000_000


def decode(path: str | Path, limits: Limits = Limits()) -> UInt8[np.ndarray, "F H W 3"]:
  """Decodes an upload in a child process.

  Raises:
    ValueError: If the file is too large, is no media, or takes too long; the message
      has no folder in it.
  """
  path = Path(path)
  if path.stat().st_size > limits.megabytes * 1_000_000:
    raise ValueError(
      f"{path.name} has {path.stat().st_size / 1e6:.0f} MB; at most "
      f"{limits.megabytes} MB are taken."
    )
  given = json.dumps(dataclasses.asdict(limits))
  with tempfile.TemporaryDirectory() as folder:
    output = Path(folder) / "frames.npy"
    try:
      child = subprocess.run(
        [sys.executable, "-m", "sample.app.decode", str(path), str(output), given],
        capture_output=True,
        text=True,
        timeout=limits.seconds,
        # It needs no variables of the user, and especially no GPU.
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
      )
    except subprocess.TimeoutExpired:
      raise ValueError(
        f"{path.name} takes longer than {limits.seconds} seconds to decode; give a "
        "smaller or a shorter file."
      ) from None
    if child.returncode == 0:
      return np.load(output)
  lines = child.stderr.strip().splitlines()
  if child.returncode == 1 and lines and not child.stderr.startswith("Traceback"):
    raise ValueError(lines[-1])
  raise ValueError(f"{path.name} cannot be decoded; give another file.")
