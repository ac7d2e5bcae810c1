"""Sampling settings as data: noise levels, guidance, noise.

A setting that may change from step to step is one number for all steps, or a list with
one entry per `guidance_sigmas` (`diffusion.branches` says which entry a step takes).
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
from collections.abc import Sequence
from typing import Any, get_args

from ltx_jax.config import SchedulerConfig
from ltx_jax.diffusion import branches, schedules
from ltx_jax.errors import check_kind, is_number, shown
from ltx_jax.typing import Scalar, Tiling, Whole

_LOG = logging.getLogger("ltx_jax")

PerStep = Scalar | Sequence[float]
"""A number for all steps, or one per entry of `Sampling.guidance_sigmas`."""

Blocks = Sequence[int] | Sequence[Sequence[int]]
"""Blocks for all steps, or a list of them per entry of `Sampling.guidance_sigmas`."""


def check_tiling(tiling: Tiling) -> None:
  """Checks a tiling setting.

  Raises:
    ValueError: If `tiling` has none of the accepted forms.
  """
  if tiling in ("auto", "off"):
    return
  sizes = tiling if isinstance(tiling, tuple) else (tiling,)
  if len(sizes) not in (1, 2) or not all(
    isinstance(n, Whole) and n >= 1 for n in sizes
  ):
    raise ValueError(
      f"tiling is {tiling!r}; give 'auto', 'off', the side of a tile in pixels, or its "
      "(side, frames)."
    )


@dataclasses.dataclass(frozen=True)
class Sampling:
  """Settings of sampling; every new sampling option belongs here.

  Attributes:
    steps: Denoising steps; None means 40, or one per entry of `sigmas`.
    guidance: Scale of classifier-free guidance; 1 or less turns it off.
    cfg_star: Whether the unconditional prediction is scaled first (CFG-star).
    stg: Scale of spatiotemporal guidance; 0 turns it off.
    stg_mode: How it perturbs blocks: "attention_values", "attention_skip",
      "transformer_block", or "residual", which changes nothing in this transformer.
    stg_blocks: Numbers of the perturbed blocks, from 0.
    rescale: How far guided velocities get back the deviation of the conditional ones,
      from 0 to below 1; 1 turns it off, as in the original. Requires `stg`.
    guidance_sigmas: Descending noise levels for lists of `guidance`, `stg`, `rescale`
      and `stg_blocks`: a step takes the entry of the first level that is at or below
      its own, or else the last entry.
    schedule: Scheduler that spaces the noise levels; None takes the checkpoint's.
    sigmas: Explicit descending noise levels in (0, 1]; they replace the schedule.
    skip_initial: Number of steps left out at the start; requires a clip to start from.
    skip_final: Number of steps left out at the end; the last remaining step goes to 0.
    stochastic: Whether every step draws fresh noise, as some distilled models need.
    cache: Relative change of the network's input below which a step reuses the velocity
      of an earlier step (`diffusion.step_cache`); 0 evaluates every step.
    condition_noise: Strength of the noise on given tokens, relative to sigma^2.
    decode_sigma: Noise level that conditions the VAE's decoder.
    decode_noise: Share of noise mixed into the latents before decoding.
    tone_map: How far large latents are compressed before decoding, in [0, 1].
    tiling: "auto" decodes in tiles if the video does not fit otherwise, "off" never
      does; a number decodes in tiles of at most that side in pixels, and (side, frames)
      also limits their length.

  Raises:
    ValueError: If an option is invalid.
  """

  steps: int | None = None
  guidance: PerStep = 3.0
  cfg_star: bool = False
  stg: PerStep = 0.0
  stg_mode: str = "attention_values"
  stg_blocks: Blocks = ()
  rescale: PerStep = 1.0
  guidance_sigmas: Sequence[float] | None = None
  schedule: SchedulerConfig | None = None
  sigmas: tuple[float, ...] | None = None
  skip_initial: int = 0
  skip_final: int = 0
  stochastic: bool = False
  cache: float = 0.0
  condition_noise: float = 0.15
  decode_sigma: float = 0.05
  decode_noise: float = 0.025
  tone_map: float = 0.0
  tiling: Tiling = "auto"

  def __post_init__(self):
    self._check_steps()
    self._check_guidance()
    for name in ("decode_sigma", "decode_noise", "tone_map"):
      value = getattr(self, name)
      if not (is_number(value) and 0 <= value <= 1):
        raise ValueError(f"{name} is {value}; it must lie in [0, 1].")
    check_tiling(self.tiling)
    for name in ("condition_noise", "cache"):
      value = getattr(self, name)
      if not (is_number(value) and 0 <= value < math.inf):
        raise ValueError(f"{name} is {value}; it must be at least 0.")

  def _check_steps(self) -> None:
    steps = self.steps
    if steps is not None and (not isinstance(steps, Whole) or steps < 1):
      raise ValueError(
        f"The number of steps is {steps}; it must be a whole number of at least 1."
      )
    if not isinstance(self.schedule, SchedulerConfig | None):
      raise ValueError(
        f"schedule is {self.schedule!r}; give a config.SchedulerConfig, for example "
        "SchedulerConfig(sampler='LinearQuadratic'), or None for the checkpoint's own."
      )
    if self.sigmas is not None:
      listed = isinstance(self.sigmas, Sequence) and not isinstance(self.sigmas, str)
      if not listed or not self.sigmas or not all(map(is_number, self.sigmas)):
        raise ValueError(
          f"sigmas is {shown(self.sigmas)}; give noise levels in (0, 1], each below "
          "the one before, or None."
        )
    if self.sigmas is not None and self.schedule is not None:
      raise ValueError(
        "Both explicit noise levels and a schedule that spaces them are given; leave "
        "one of them out."
      )
    if self.sigmas is not None and self.steps not in (None, len(self.sigmas)):
      raise ValueError(
        f"{self.steps} steps are asked for, but {len(self.sigmas)} noise levels are "
        "given; leave one of them out."
      )
    for name in ("skip_initial", "skip_final"):
      skipped = getattr(self, name)
      if not isinstance(skipped, Whole) or skipped < 0:
        raise ValueError(f"{name} is {skipped}; it must be a whole number from 0.")
      if skipped and self.sigmas is not None:
        raise ValueError(
          f"{name} is {skipped}, but the noise levels are given; remove the levels to "
          "skip from them instead."
        )

  def _check_guidance(self) -> None:
    if self.guidance_sigmas is not None and not len(self.guidance_sigmas):
      raise ValueError(
        "guidance_sigmas is empty; give the noise levels that the entries of the lists "
        "belong to, or None if there are no lists."
      )
    if self.guidance_sigmas is not None:
      levels = [float(level) for level in self.guidance_sigmas]
      falling = all(high > low for high, low in itertools.pairwise(levels))
      if not falling or not all(0 <= level <= 1 for level in levels):
        raise ValueError(
          f"guidance_sigmas is {levels}; give noise levels in [0, 1], each below the "
          "one before."
        )
    for name in ("guidance", "stg", "rescale"):
      value = getattr(self, name)
      listed = isinstance(value, Sequence) and not isinstance(value, str)
      self._check_length(name, listed)
      for value in _list(getattr(self, name)):
        if not (is_number(value) and 0 <= value < math.inf):
          raise ValueError(f"{name} is {value}; it must be at least 0.")
    if max(_list(self.rescale)) > 1:
      raise ValueError(f"rescale is {self.rescale}; it must be at most 1.")
    check_kind("stg_blocks", self.stg_blocks, (tuple, list), "a tuple of block numbers")
    self._check_length("stg_blocks", self._blocks_by_level)
    if self.stg_mode not in get_args(branches.Mode):
      raise ValueError(
        f"stg_mode is {self.stg_mode!r}; it must be one of "
        f"{', '.join(get_args(branches.Mode))}."
      )
    if max(_list(self.stg)) > 0 and not len(self.stg_blocks):
      raise ValueError(
        f"stg is {self.stg}, but stg_blocks names no block to perturb; give some, for "
        "example (19,) of the 28 blocks of the 2B models."
      )

  def _check_length(self, name: str, listed: bool) -> None:
    """Refuses a list that does not have one entry per `guidance_sigmas`."""
    if not listed:
      return
    count = len(getattr(self, name))
    if self.guidance_sigmas is None:
      raise ValueError(
        f"{name} is a list of {count}; give guidance_sigmas, the noise levels that its "
        "entries belong to, or one value for all steps."
      )
    if count != len(self.guidance_sigmas):
      raise ValueError(
        f"{name} is a list of {count}, but guidance_sigmas has "
        f"{len(self.guidance_sigmas)}; give one entry per level."
      )

  @property
  def _blocks_by_level(self) -> bool:
    blocks = self.stg_blocks
    return bool(len(blocks)) and isinstance(blocks[0], Sequence)

  def _setting(self, entry: int) -> branches.Setting:
    """Returns the guidance settings at one entry of the lists."""
    blocks = self.stg_blocks[entry] if self._blocks_by_level else self.stg_blocks
    guidance, stg, rescale = (
      float(value[entry] if isinstance(value, Sequence) else value)
      for value in (self.guidance, self.stg, self.rescale)
    )
    return branches.Setting(
      guidance, bool(self.cfg_star), stg, rescale, self.stg_mode, tuple(blocks)
    )

  def settings(self, levels: schedules.Levels) -> list[branches.Setting]:
    """Returns the guidance settings of each step."""
    if self.guidance_sigmas is None:
      return [self._setting(0)] * len(levels)
    chosen = branches.entries(levels, self.guidance_sigmas)
    return [self._setting(entry) for entry in chosen]

  @property
  def branches(self) -> int:
    """Largest number of branches that any step evaluates per clip, from 1 to 3."""
    count = 1 if self.guidance_sigmas is None else len(self.guidance_sigmas)
    return max(self._setting(entry).branches for entry in range(count))

  def override(self, steps: int | None, guidance: Scalar | None) -> Sampling:
    """Returns these settings with `steps` and `guidance` replaced if they are not None.

    If `steps` differs from the number of `sigmas`, the schedule replaces `sigmas`.
    """
    given = {"steps": steps, "guidance": guidance}
    changes: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    if steps not in (None, len(self.sigmas or ())):
      changes["sigmas"] = None
    return dataclasses.replace(self, **changes)

  def levels(self, scheduler: SchedulerConfig, tokens: int) -> schedules.Levels:
    """Returns the noise levels for a clip of `tokens` video tokens.

    Args:
      scheduler: The checkpoint's scheduler, used if `schedule` is None.
      tokens: Number of video tokens, f h w.

    Raises:
      ValueError: If the levels or the scheduler are invalid, or all steps are skipped.
    """
    if self.sigmas is not None:
      return schedules.explicit(self.sigmas)
    steps = self.steps or 40
    levels = schedules.schedule(self.schedule or scheduler, steps, tokens)
    if len(levels) < steps:
      _LOG.warning(
        f"{steps:,} steps are asked for, but {len(levels):,} are made: the scheduler "
        "has no more noise levels."
      )
    kept = levels[self.skip_initial : max(0, len(levels) - self.skip_final)]
    if not len(kept):
      raise ValueError(
        f"{self.skip_initial} initial and {self.skip_final} final steps of "
        f"{len(levels)} are skipped; at least one must be left."
      )
    return kept


@dataclasses.dataclass(frozen=True)
class TwoPasses:
  """Sampling in two passes, of which the first is smaller (`pipeline.multiscale`).

  Attributes:
    first: Sampling of the small video.
    second: Sampling of the large video, from a noise level below 1.
    scale: Width and height of the small video, relative to the requested ones. The
      original's value is slightly below 2/3: 768 pixels become 480, not 512.

  Raises:
    ValueError: If the scale is out of range.
  """

  first: Sampling
  second: Sampling
  scale: float = 0.6666666

  def __post_init__(self):
    for one in self.both:
      check_kind("A pass", one, Sampling, "an ltx_jax.Sampling for each of the two")
    if not (is_number(self.scale) and 0 < self.scale <= 1):
      raise ValueError(f"scale is {self.scale}; it must be above 0 and at most 1.")

  @property
  def both(self) -> tuple[Sampling, Sampling]:
    """Both samplings, in order."""
    return self.first, self.second


def _list(value: PerStep) -> Sequence[Scalar]:
  listed = isinstance(value, Sequence) and not isinstance(value, str)
  return value if listed else [value]
