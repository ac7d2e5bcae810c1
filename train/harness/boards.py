"""Boards that show a run while it trains: TensorBoard, and optionally Weights & Biases.

Both get the same numbers under the same names. Steps need not come in order, because
the numbers of held-out clips are known later than the steps that they belong to.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tensorboardX import SummaryWriter

from ltx_jax.files import atomic_file, read_text

WANDB_ID_FILE = "wandb_id.txt"


class Board(Protocol):
  """Shows numbers and images of a run."""

  def numbers(self, step: int, numbers: Mapping[str, float]) -> None:
    """Shows numbers of a step, by name."""
    ...

  def picture(
    self, step: int, name: str, image: np.ndarray, captions: Sequence[str]
  ) -> None:
    """Shows a uint8 image [H W 3]; `captions` are those of its rows."""
    ...

  def close(self, failed: bool) -> None:
    """Closes the board, and says whether the run failed."""
    ...


class TensorBoard:
  """Event files in the run's folder, in `tensorboard/`."""

  def __init__(self, folder: Path, start: int):
    """Opens a file, and drops what an earlier run logged after step `start`."""
    # A run that was killed before its first checkpoint has left points too.
    self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)

  def numbers(self, step: int, numbers: Mapping[str, float]) -> None:
    """Writes scalars."""
    for name, value in numbers.items():
      self._writer.add_scalar(name, value, step)

  def picture(
    self, step: int, name: str, image: np.ndarray, captions: Sequence[str]
  ) -> None:
    """Writes the image; TensorBoard has no captions."""
    self._writer.add_image(name, image, step, dataformats="HWC")

  def close(self, failed: bool) -> None:
    """Closes the file."""
    self._writer.close()


class WeightsAndBiases:
  """A run of the service, which stays the same when the folder's run is resumed.

  The environment variables of the `wandb` package apply: `WANDB_MODE=offline` keeps
  everything in the folder, for `wandb sync` later.
  """

  def __init__(self, project: str, folder: Path, config: Mapping[str, Any]):
    """Begins the run, or resumes it.

    Args:
      project: Project of the run.
      folder: Folder of the training run, which stores the id of this run.
      config: Config that the service shows.

    Raises:
      ValueError: If the package is missing, or nobody is logged in.
    """
    check_wandb(project)
    from wandb import Error, Image, init

    self._image = Image
    try:
      self._run = init(
        project=project,
        id=_own_id(folder),
        name=folder.resolve().name,
        dir=str(folder.resolve()),
        config=dict(config),
        # A run may be resumed with other options than it began with.
        allow_val_change=True,
        resume="allow",
      )
    except Error as error:
      raise ValueError(
        f"Weights & Biases does not take a run for the project {project!r}: {error} "
        "Log in by `wandb login`, or set WANDB_MODE=offline."
      ) from None
    # The service's own steps must increase from call to call; it ignores late ones.
    self._run.define_metric("*", step_metric="step")

  def numbers(self, step: int, numbers: Mapping[str, float]) -> None:
    """Logs numbers, over the step as the horizontal axis."""
    self._run.log({"step": step, **numbers})

  def picture(
    self, step: int, name: str, image: np.ndarray, captions: Sequence[str]
  ) -> None:
    """Logs the image with its captions below it."""
    shown = self._image(image, caption="\n".join(captions))
    self._run.log({"step": step, name: shown})

  def close(self, failed: bool) -> None:
    """Sends the rest."""
    self._run.finish(exit_code=int(failed))


def check_wandb(project: str) -> None:
  """Refuses a project if the package that writes to it is not installed.

  Raises:
    ValueError: If it is not; the message names the project.
  """
  if not project:
    return
  try:
    # Import by name: the package makes a folder `wandb/` where a run was, and such a
    # folder can be imported although it is empty.
    from wandb import init  # noqa: F401
  except ImportError:
    raise ValueError(
      f"output.wandb is {project!r}, but the package wandb is not installed; `pip "
      "install wandb`, or leave --output.wandb out."
    ) from None


def _own_id(folder: Path) -> str:
  """Returns the id of a folder's run at the service; draws it the first time."""
  path = folder / WANDB_ID_FILE
  if not path.exists():
    with atomic_file(path) as file:
      file.write(secrets.token_hex(8).encode())
  return read_text(path).strip()
