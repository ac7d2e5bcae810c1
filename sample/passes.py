"""How `sample.generate` makes latents: in one pass, in two, or in windows."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import ltx_jax
from ltx_jax.diffusion.guidance import needs_unconditional
from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.typing import EncodedText, Latents
from sample.flags import PassesFlags, SamplingFlags, WindowFlags
from sample.prompts import by_window


class Plan(NamedTuple):
  """What is run.

  Attributes:
    encode_text: (prompts, of the videos) -> the text that `denoise` takes.
    denoise: Method of `LTXVideo`, `MultiScale` or `LongVideo`, told how to sample.
    check_memory: Refuses a number of clips of a size that will not fit.
    samplings: Sampling of each pass, in order; the last one's latents are decoded.
  """

  encode_text: Callable[[Sequence[str]], Any]
  denoise: Callable[..., Latents]
  check_memory: Callable[..., None]
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
  windows: WindowFlags,
) -> Plan:
  """Returns what the flags ask for, with the upscaler loaded where there is one.

  Raises:
    ValueError: where flags of two passes or of windows are given without them, both are
      asked for, or no upscaler is known.
  """
  recipe = model.recipe
  windows.refuse_leftovers()
  if not passes.multi_scale:
    _refuse_leftovers(second, passes)
    sampling = first.apply(recipe.sampling)
    way, encode_text = model, model.encode_text
    if windows.window is not None:
      way = ltx_jax.LongVideo(model, **windows.given())
      encode_text = functools.partial(_encode_by_window, model)
    return Plan(
      encode_text,
      functools.partial(way.denoise, sampling=sampling),
      functools.partial(way.check_memory, sampling=sampling),
      (sampling,),
    )
  if windows.window is not None:
    raise ValueError(
      "--window makes a video in one pass, and --multi-scale in two; leave one of them "
      "out."
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
    model.encode_text,
    functools.partial(scales.denoise, passes=how),
    functools.partial(scales.check_memory, passes=how),
    how.both,
  )


def _encode_by_window(
  model: ltx_jax.LTXVideo, prompts: Sequence[str]
) -> list[EncodedText]:
  return [model.encode_text(of_window) for of_window in by_window(prompts)]


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
