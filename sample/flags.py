"""The flags of `sample.generate` that say how a video is sampled (`Sampling`).

A flag is None if the model's recipe decides. Flags that take several values follow the
noise level: one value is for all steps, several are for the levels of
--guidance-sigmas, in order.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

import tyro

from ltx_jax.config import SchedulerConfig
from ltx_jax.diffusion.branches import Mode
from ltx_jax.diffusion.sampling import Blocks, Sampling
from ltx_jax.typing import Tiling

OfRecipe = tyro.conf.arg(help_behavior_hint="(default: from the model's recipe)")
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
  """Number of denoising steps: more are slower and give finer detail."""

  guidance: _Numbers = None
  """Scale of classifier-free guidance: how strictly to follow the prompt. 1 turns it
  off and halves the time."""

  cfg_star: _Switch = None
  """CFG-star: rescale the unconditional prediction before guidance."""

  stg: _Numbers = None
  """Scale of spatiotemporal guidance, away from a perturbed model; 0 turns it off."""

  stg_mode: Annotated[Mode | None, OfRecipe] = None
  """What --stg perturbs: attention to other tokens, all attention, nothing, or whole
  blocks."""

  stg_blocks: Annotated[
    tuple[str, ...] | None, tyro.conf.arg(metavar="N,N,... [N,N,... ...]"), OfRecipe
  ] = None
  """Blocks that --stg perturbs, such as 11,25,35 (19 in a 2B model). In several lists,
  `none` is an empty one."""

  rescale: _Numbers = None
  """How far to undo the growth of velocities under --stg; 0.7 is usual, 0 and 1 turn it
  off."""

  guidance_sigmas: _Numbers = None
  """Falling noise levels at which --guidance, --stg, --rescale and --stg-blocks
  change."""

  schedule: Annotated[Literal["uniform", "linear-quadratic"] | None, OfRecipe] = None
  """Spacing of noise levels: even, or dense at the start. No shift by size."""

  sigmas: _Numbers = None
  """Falling noise levels in (0, 1], instead of --steps."""

  skip_initial: _Count = None
  """Number of steps to skip at the start, with --video or in a second pass. The more,
  the closer the video stays to the clip."""

  skip_final: _Count = None
  """Number of steps to skip at the end; the last remaining step goes to zero noise."""

  stochastic: _Switch = None
  """Fresh noise in every step, as 0.9.6-distilled was trained for."""

  cache: Annotated[float | None, tyro.conf.arg(metavar="THRESHOLD"), OfRecipe] = None
  """Relative change of the network's input below which its last output is reused; 0
  turns it off. Faster and slightly different: 0.1 halves the small model's calls."""

  condition_noise: _Number = None
  """Noise on conditions such as --image; without it, motion freezes."""

  decode_sigma: _Number = None
  """Noise level of the decoder's own denoising step, in [0, 1]."""

  decode_noise: _Number = None
  """Share of noise mixed into the latents before decoding, in [0, 1]."""

  tone_map: _Number = None
  """Compression of large latents before decoding, in [0, 1]; 0 changes nothing."""

  tiling: Annotated[
    str | None, tyro.conf.arg(metavar="auto|off|SIDE[xFRAMES]"), OfRecipe
  ] = None
  """Tiled decoding: auto (only if it does not fit otherwise), off, or a tile size such
  as 512x65."""

  def apply(self, sampling: Sampling) -> Sampling:
    """Returns a recipe's sampling with the given flags in place.

    Raises:
      ValueError: If the flags do not fit one another or the recipe.
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
  """Make a small video first, then a large one from it."""

  upscaler: Annotated[str | None, OfRecipe] = None
  """Upscaler for --multi-scale: ltxv-spatial-upscaler-0.9.8, or a file."""

  scale: _Number = None
  """Size of the first pass of --multi-scale, as a share of width and height."""


@dataclasses.dataclass(frozen=True)
class WindowFlags:
  """Whether a long video is made in windows (`ltx_jax.LongVideo`)."""

  window: Annotated[int | None, IfAny] = None
  """Frames per window (8k + 1) of a long video. Each window continues the one before. A
  prompt may have parts joined by |, one for each window."""

  overlap: Annotated[int | None, IfAny] = None
  """Frames (8k + 1) that each window of --window shares with the one before; default
  25."""

  overlap_strength: Annotated[float | None, IfAny] = None
  """Strength with which --window keeps the shared frames: 1 (default) keeps them
  unchanged, 0.5 regenerates and blends them."""

  adain: Annotated[float | None, IfAny] = None
  """Correction of colour drift with --window, from 0 (default) to 1: matches the mean
  and deviation of each window's latents to the first window's."""

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
    """Refuses flags for windows if there are no windows.

    Raises:
      ValueError: If one is given; the message names it.
    """
    for field in dataclasses.fields(self):
      if self.window is None and getattr(self, field.name) is not None:
        flag = field.name.replace("_", "-")
        raise ValueError(f"--{flag} is for windows; add --window, or leave it out.")


def _one_or_all(values: tuple[float, ...]) -> float | tuple[float, ...]:
  return values[0] if len(values) == 1 else values


def _blocks(lists: tuple[str, ...]) -> Blocks:
  """Reads "11,25" "none" as ((11, 25), ()); a single list is for all steps."""
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
