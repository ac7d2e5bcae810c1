"""The flags of `sample.generate` that say how a video is sampled (`Sampling`).

Each is None where the model's recipe holds. Flags that take several values follow the
noise level: one value is for all steps, several are for the levels of
--guidance-sigmas, in its order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import jax
import tyro
from jax.sharding import Mesh

from ltx_jax.config import SchedulerConfig
from ltx_jax.diffusion.branches import Mode
from ltx_jax.diffusion.sampling import Blocks, Sampling
from ltx_jax.parallel.mesh import AXES, make_mesh
from ltx_jax.typing import Tiling

OfRecipe = tyro.conf.arg(help_behavior_hint="(default: as the model's recipe says)")
IfAny = tyro.conf.arg(help_behavior_hint="")
_Number = Annotated[float | None, OfRecipe]
_Numbers = Annotated[tuple[float, ...] | None, OfRecipe]
_Count = Annotated[int | None, OfRecipe]
_Switch = Annotated[Literal["on", "off"] | None, OfRecipe]

_NONE = "none"
_SCHEDULES = {"uniform": "Uniform", "linear-quadratic": "LinearQuadratic"}


@dataclasses.dataclass(frozen=True)
class SamplingFlags:
  """How it is sampled; what is left out is as the model's recipe says."""

  steps: _Count = None
  """Denoising steps: more are slower and finer."""

  guidance: _Numbers = None
  """How strictly the prompt is followed; 1 turns it off and takes half the time."""

  cfg_star: _Switch = None
  """Scale what is predicted without the prompt to fit the rest, before guidance."""

  stg: _Numbers = None
  """Spatiotemporal guidance: lead away from a perturbed model; 0 turns it off."""

  stg_mode: Annotated[Mode | None, OfRecipe] = None
  """What is perturbed: attention to others, attention at all, nothing, or the block."""

  stg_blocks: Annotated[
    tuple[str, ...] | None, tyro.conf.arg(metavar="N,N,... [N,N,... ...]"), OfRecipe
  ] = None
  """Blocks for --stg, such as 11,25,35; 19 in a 2B model. Several lists: `none` too."""

  rescale: _Numbers = None
  """Share of the growth of velocities with --stg to undo: 0.7 is usual; 0 or 1: not."""

  guidance_sigmas: _Numbers = None
  """Noise levels, falling, where --guidance, --stg and the like change."""

  schedule: Annotated[Literal["uniform", "linear-quadratic"] | None, OfRecipe] = None
  """How noise levels are spaced: evenly, or finely first; not shifted by size."""

  sigmas: _Numbers = None
  """The noise levels themselves, falling, in (0, 1], in place of --steps."""

  skip_initial: _Count = None
  """Steps to leave out at the start, with --video or in a second pass; the more, the
  closer to what it starts from."""

  skip_final: _Count = None
  """Steps to leave out at the end; the last one that is made goes all the way."""

  stochastic: _Switch = None
  """Draw fresh noise in every step; the model 0.9.6-distilled is sampled so."""

  cache: Annotated[float | None, tyro.conf.arg(metavar="THRESHOLD"), OfRecipe] = None
  """Skip the network where its input changed by less since it ran; 0: never. Faster and
  a little different; 0.1 makes half the calls of the small model."""

  condition_noise: _Number = None
  """Noise on what is given with --image and the like: without it, motion freezes."""

  decode_sigma: _Number = None
  """Noise level that the decoder is told, in [0, 1]: its own last denoising step."""

  decode_noise: _Number = None
  """Share of noise mixed in before decoding, in [0, 1]."""

  tone_map: _Number = None
  """Compress large latents before decoding, in [0, 1]; 0 changes nothing."""

  tiling: Annotated[
    str | None, tyro.conf.arg(metavar="auto|off|SIDE[xFRAMES]"), OfRecipe
  ] = None
  """Decode in tiles: where it would not fit, never, or of a size, such as 512x65."""

  def apply(self, sampling: Sampling) -> Sampling:
    """Returns a recipe's sampling with what is asked for in its place.

    Raises:
      ValueError: in one sentence, where the flags do not fit one another or the recipe.
    """
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if value is not None:
        changes[field.name] = _READ.get(field.name, lambda given: given)(value)
    if self.steps is not None and self.sigmas is None:
      sampling = sampling.override(self.steps, None)
    if self.sigmas is not None and self.steps is None:
      changes["steps"] = None
    if self.sigmas is not None and self.schedule is None:
      changes["schedule"] = None
    if self.schedule is not None and self.sigmas is None and sampling.sigmas:
      changes["sigmas"] = None
      changes.setdefault("steps", len(sampling.sigmas))
    return dataclasses.replace(sampling, **changes)


@dataclasses.dataclass(frozen=True)
class PassesFlags:
  """Whether there are two passes, and what lies between them."""

  multi_scale: bool = False
  """Make a small video first, and then a large one from it: two passes."""

  upscaler: Annotated[str | None, OfRecipe] = None
  """What enlarges in --multi-scale: ltxv-spatial-upscaler-0.9.8, or a file."""

  scale: _Number = None
  """Width and height of the small video of --multi-scale, as a share of those asked
  for."""


@dataclasses.dataclass(frozen=True)
class WindowFlags:
  """Whether a long video is made window after window (`ltx_jax.LongVideo`)."""

  window: Annotated[int | None, IfAny] = None
  """Make a long video in windows of so many frames, 8k + 1, each begun with the end of
  the one before. A prompt may then have parts joined by |, one for each window."""

  overlap: Annotated[int | None, IfAny] = None
  """Frames of the previous window that each window of --window begins with, 8k + 1; 25
  if not given."""

  overlap_strength: Annotated[float | None, IfAny] = None
  """Strength with which --window keeps the frames of --overlap: 1, the usual, as they
  are; with 0.5 they are made anew and blended."""

  adain: Annotated[float | None, IfAny] = None
  """How far --window gives every window's latents the mean and deviation of the first
  one's, against colours that drift: from 0, the usual, to 1."""

  def given(self) -> dict[str, Any]:
    """Returns the arguments of `LongVideo` that are given."""
    arguments = {
      "window": self.window,
      "overlap": self.overlap,
      "strength": self.overlap_strength,
      "adain": self.adain,
    }
    return {name: value for name, value in arguments.items() if value is not None}

  def refuse_leftovers(self) -> None:
    """Refuses what only windows read, where there are none.

    Raises:
      ValueError: naming the flag.
    """
    for field in dataclasses.fields(self):
      if self.window is None and getattr(self, field.name) is not None:
        flag = field.name.replace("_", "-")
        raise ValueError(f"--{flag} is for windows; add --window, or leave it out.")


def _one_or_all(values: tuple[float, ...]) -> float | tuple[float, ...]:
  return values[0] if len(values) == 1 else values


def _blocks(lists: tuple[str, ...]) -> Blocks:
  """Reads "11,25" "none" as ((11, 25), ()); one list alone is for all steps."""
  try:
    read = tuple(
      () if text == _NONE else tuple(int(block) for block in text.split(","))
      for text in lists
    )
  except ValueError:
    raise ValueError(
      f"--stg-blocks is {' '.join(lists)}; give numbers of blocks joined by commas, "
      f"such as 11,25,35, or {_NONE}."
    ) from None
  return read[0] if len(read) == 1 else read


def _tiling(text: str) -> Tiling:
  """Reads "auto", "off", "512" as a side in pixels, "512x65" as (side, frames)."""
  if text in ("auto", "off"):
    return text
  sizes = text.split("x")
  if len(sizes) > 2 or not all(size.isdecimal() for size in sizes):
    raise ValueError(
      f"--tiling is {text}; give auto, off, the side of a tile in pixels, such as 512, "
      "or its side and frames, such as 512x65."
    )
  return int(text) if len(sizes) == 1 else (int(sizes[0]), int(sizes[1]))


_READ = {
  "guidance": _one_or_all,
  "stg": _one_or_all,
  "rescale": _one_or_all,
  "stg_blocks": _blocks,
  "cfg_star": lambda value: value == "on",
  "stochastic": lambda value: value == "on",
  "tiling": _tiling,
  "schedule": lambda name: SchedulerConfig(sampler=_SCHEDULES[name]),
}


def mesh_of(
  text: str | None, devices: Sequence[jax.Device] | None = None
) -> Mesh | None:
  """Returns the mesh that `AXIS=DEVICES,...` describes, or None for None.

  Args:
    text: Value of --mesh on the command line.
    devices: Devices that the mesh is made of (see `make_mesh`).

  Raises:
    ValueError: in one sentence, where it describes none, or the devices are not there.
  """
  if text is None:
    return None
  parts = [part.partition("=") for part in text.split(",")]
  sizes = {axis: number for axis, _, number in parts}
  known = len(sizes) == len(parts) and sizes.keys() <= set(AXES)
  if not (known and all(map(str.isdecimal, sizes.values()))):
    raise ValueError(
      f"--mesh is {text}; give numbers of devices for any of "
      f"{', '.join(AXES)}, such as data=2,context=4."
    )
  numbers = {axis: int(number) for axis, number in sizes.items()}
  return make_mesh(**numbers, devices=devices)
