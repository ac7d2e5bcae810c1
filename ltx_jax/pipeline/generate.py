"""Turns a request into a video: text, then latents, then pixels.

text      prompts -> text          T5, once
denoise   text -> latents          differs by way: one pass, two passes, or windows
decode    latents -> video         the VAE's decoder, at the end
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from ltx_jax.diffusion.guidance import needs_unconditional
from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.errors import memory_in_words, remedy_for_memory
from ltx_jax.pipeline.networks import Networks
from ltx_jax.pipeline.request import Prompt, Request, check_callback, is_encoded
from ltx_jax.planning import decoding
from ltx_jax.planning.memory import Plan
from ltx_jax.typing import EncodedText, Latents, NegativeText

OnStep = Callable[[int, int, Latents], Any]
"""Called after each step is dispatched with (index, steps, latents). An exception that
it raises ends the run at most one step later."""

OnStage = Callable[[str], contextlib.AbstractContextManager[Callable[[Any], Any]]]
"""Called with the name of a stage: "text", "denoise" or "decode". It returns a context
manager that is entered before the stage and left after it. The context yields a
function that all arrays of the stage pass through, such as `jax.block_until_ready`,
which waits for them."""

_LOG = logging.getLogger("ltx_jax")


@runtime_checkable
class Way(Protocol):
  """How to make the latents of a request: `OnePass`, `InTwoPasses`, `InWindows`."""

  @property
  def model(self) -> Networks:
    """The networks that encode the text and decode the latents."""

  @property
  def samplings(self) -> tuple[Sampling, ...]:
    """Sampling of each pass, in order; the latents of the last pass are decoded."""

  def plan(self, request: Request) -> Plan:
    """Plans the memory and the decoder's tiles before anything runs.

    Raises:
      ValueError: If the request does not fit the way or the memory.
    """

  def denoise(
    self,
    texts: Sequence[EncodedText],
    request: Request,
    *,
    negative: NegativeText | None,
    start: Latents | None,
    on_step: OnStep | None,
  ) -> Latents:
    """Samples normalised latents [b f h w c] of `request.canvas`.

    Args:
      texts: Encoded text of each of `request.prompts`.
      request: Everything else that the user asked for.
      negative: Encoded text that guidance leads away from; None without guidance.
      start: Latents of `request.start`.
      on_step: Callback after each step.
    """


def generate(
  way: Way,
  request: Request,
  *,
  plan: Plan | None = None,
  on_stage: OnStage = lambda name: contextlib.nullcontext(lambda arrays: arrays),
  on_step: OnStep | None = None,
) -> UInt8[np.ndarray, "b F H W 3"]:
  """Turns a request into videos.

  Args:
    way: How to make the latents.
    request: What to generate.
    plan: Result of `way.plan(request)`; None computes it here.
    on_stage: Context of each stage.
    on_step: Callback after each step.

  Raises:
    ValueError: If the request does not fit the model, the way or the memory.
  """
  check_callback(on_step)
  plan = plan or way.plan(request)
  if plan.tiles is not None:
    _LOG.warning(decoding.note(way.model.config.vae, plan.grid, plan.tiles))
  with remedy_for_memory(plan.instead):
    return _generate(way, request, plan, on_stage, on_step)


def _generate(
  way: Way, request: Request, plan: Plan, on_stage: OnStage, on_step: OnStep | None
) -> UInt8[np.ndarray, "b F H W 3"]:
  model, canvas, seed = way.model, request.canvas, request.seed
  clips = canvas.describe(request.clips)
  with memory_in_words(f"the text of {clips}"), on_stage("text") as ready:
    texts = ready([encode(model, prompt) for prompt in request.prompts])
    guided = any(needs_unconditional(each.guidance) for each in way.samplings)
    negative = ready(encode(model, request.negative)) if guided else None
  with memory_in_words(f"denoising {clips}"), on_stage("denoise") as ready:
    start = None
    if request.start is not None:
      count = request.clips
      start = model.encode_start(request.start, canvas, clips=count, seed=seed)
    given = {"negative": negative, "start": start, "on_step": on_step}
    latents = ready(way.denoise(texts, request, **given))
    _check_finite(latents, model)
  with on_stage("decode"):
    sampling = way.samplings[-1]
    return model.to_pixels(latents, sampling, canvas=canvas, seed=seed, plan=plan)


def _check_finite(latents: Latents, model: Networks) -> None:
  """Refuses latents of which nothing can be seen.

  Raises:
    ValueError: with what may be the matter.
  """
  if not bool(jnp.isfinite(jnp.sum(latents, dtype=jnp.float32))):
    raise ValueError(
      "The video became NaN or infinite while it was denoised: the checkpoint or a "
      f"LoRA holds such weights, or numbers overflow in {model.policy.dtype}; download "
      "it again, or give another dtype."
    )


def encode(model: Networks, prompt: Prompt | NegativeText) -> EncodedText:
  """Encodes one prompt or several, unless they are encoded already."""
  if isinstance(prompt, str):
    prompt = [prompt]
  return tuple(prompt) if is_encoded(prompt) else model.encode_text(prompt)
