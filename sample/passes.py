"""The way in which `sample.generate` makes latents: one pass, two, or windows."""

from __future__ import annotations

import dataclasses

import ltx_jax
from ltx_jax.pipeline.generate import Way
from ltx_jax.pipeline.model import OnePass
from ltx_jax.pipeline.multiscale import InTwoPasses
from ltx_jax.pipeline.recipes import Recipe
from ltx_jax.pipeline.windows import InWindows
from sample.flags import PassesFlags, SamplingFlags, WindowFlags


def way_of(
  model: ltx_jax.LTXVideo,
  first: SamplingFlags,
  second: SamplingFlags,
  passes: PassesFlags,
  windows: WindowFlags,
) -> Way:
  """Returns the way that the flags ask for, with the upscaler loaded if there is one.

  Raises:
    ValueError: If flags for two passes or windows are given without them, both are
      asked for, or no upscaler is known.
  """
  recipe = model.recipe
  windows.refuse_leftovers()
  if not passes.multi_scale:
    _refuse_leftovers(second, passes)
    sampling = first.apply(recipe.sampling)
    if windows.window is None:
      return OnePass(model, sampling)
    return InWindows(ltx_jax.LongVideo(model, **windows.given()), sampling)
  if windows.window is not None:
    raise ValueError(
      "--window makes a video in one pass, but --multi-scale in two; leave one of them "
      "out."
    )
  how, upscaler = two_passes(recipe, first, second, passes)
  return InTwoPasses(ltx_jax.MultiScale(model, ltx_jax.load_upscaler(upscaler)), how)


def two_passes(
  recipe: Recipe, first: SamplingFlags, second: SamplingFlags, passes: PassesFlags
) -> tuple[ltx_jax.TwoPasses, str]:
  """Returns the sampling of both passes, and the name of the upscaler between them.

  Raises:
    ValueError: If no upscaler is known.
  """
  upscaler = passes.upscaler or recipe.upscaler
  if upscaler is None:
    raise ValueError(
      "This model's recipe names no upscaler for --multi-scale; give the one of the "
      "same release with --upscaler."
    )
  base = recipe.passes or ltx_jax.TwoPasses(recipe.sampling, recipe.sampling)
  scale = base.scale if passes.scale is None else passes.scale
  both = first.apply(base.first), second.apply(base.second)
  return ltx_jax.TwoPasses(*both, scale), upscaler


def _refuse_leftovers(second: SamplingFlags, passes: PassesFlags) -> None:
  """Refuses flags that only two passes use, instead of ignoring them."""
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
