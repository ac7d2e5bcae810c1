"""How `sample.generate` makes latents: in one pass, or in two with an upscaler."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import ltx_jax
from ltx_jax.diffusion.guidance import needs_unconditional
from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.sizes import Canvas
from ltx_jax.typing import Latents
from sample.flags import PassesFlags, SamplingFlags


class Plan(NamedTuple):
  """What is run.

  Attributes:
    denoise: `LTXVideo.denoise` or `MultiScale.denoise`, told how to sample.
    check_memory: Refuses a number of clips of a size that will not fit.
    samplings: Of the passes; the last one's latents are decoded.
  """

  denoise: Callable[..., Latents]
  check_memory: Callable[[int, Canvas], None]
  samplings: tuple[Sampling, ...]

  @property
  def guided(self) -> bool:
    """Whether any pass needs the unconditional text."""
    return any(needs_unconditional(sampling.guidance) for sampling in self.samplings)


def plan_of(
  model: ltx_jax.LTXVideo,
  first: SamplingFlags,
  second: SamplingFlags,
  passes: PassesFlags,
) -> Plan:
  """Returns what the flags ask for, with the upscaler loaded where there is one.

  Raises:
    ValueError: where flags of two passes are given for one, or no upscaler is known.
  """
  recipe = model.recipe
  if not passes.multi_scale:
    _refuse_leftovers(second, passes)
    sampling = first.apply(recipe.sampling)
    return Plan(
      functools.partial(model.denoise, sampling=sampling),
      functools.partial(model.check_memory, sampling=sampling),
      (sampling,),
    )
  upscaler = passes.upscaler or recipe.upscaler
  if upscaler is None:
    raise ValueError(
      "This model's recipe names no upscaler for --multi-scale; give --upscaler, the "
      "one of the same release."
    )
  base = recipe.passes or ltx_jax.TwoPasses(recipe.sampling, recipe.sampling)
  how = ltx_jax.TwoPasses(
    first.apply(base.first),
    second.apply(base.second),
    base.scale if passes.scale is None else passes.scale,
  )
  scales = ltx_jax.MultiScale(model, ltx_jax.load_upscaler(upscaler))
  return Plan(
    functools.partial(scales.denoise, passes=how),
    functools.partial(scales.check_memory, passes=how),
    how.both,
  )


def _refuse_leftovers(second: SamplingFlags, passes: PassesFlags) -> None:
  """What only two passes read is not passed over in silence."""
  given = [
    *(
      f"--{name}" for name in ("upscaler", "scale") if getattr(passes, name) is not None
    ),
    *(
      "--second." + field.name.replace("_", "-")
      for field in dataclasses.fields(second)
      if getattr(second, field.name) is not None
    ),
  ]
  if given:
    raise ValueError(
      f"{given[0]} is for two passes; add --multi-scale, or leave it out."
    )
