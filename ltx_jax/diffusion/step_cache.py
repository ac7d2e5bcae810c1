"""Step caching: a step whose input has hardly changed reuses an earlier velocity.

Let h be the input of the first block: the normed and modulated tokens. It depends on
the tokens and on the noise level, and needs no block to compute. With h' and v' from
the last evaluated step, a clip's input has changed by

  change = sum |h - h'| / sum |h'|                                               (1)

over tokens and channels. If the change is at least the threshold, the network is
evaluated, and h and its guided velocity v are kept. Below it, v <- v', and the step
costs almost nothing.

The first and the last step are always evaluated, and so is a step whose guidance
differs from that of the step before. The fresh noise of stochastic steps counts as a
change of the input.

The comparison is part of the compiled step, and `lax.cond` decides whether the network
runs: nothing is read back, and another threshold compiles nothing. A plan made from the
noise levels alone would need no branch, but would be nothing new: two Euler steps along
one velocity are one longer step, so the plan would only remove levels from the
schedule, as fewer `steps` do. In a batch, the network runs for all clips if any clip
needs it. Clips that do not need it still keep their velocity, so that a clip does not
depend on its neighbours.

Source: TeaCache (arXiv:2411.19108). It adds up the changes from step to step, rescaled
by a polynomial that is fitted to each model, and keeps the residual of all blocks.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from ltx_jax.diffusion import sampler
from ltx_jax.diffusion.guidance import Guidance
from ltx_jax.typing import AnyArray, Params, Scalar, Sigma, Tokens, VelocityFn

_LOG = logging.getLogger("ltx_jax")

Inputs = Float[AnyArray, "b n d"]
InputFn = Callable[[Params, Tokens, Sigma], Inputs]
"""Returns the input of the first block from parameters, tokens and noise levels."""


class Kept(NamedTuple):
  """State that one step passes to the next.

  Attributes:
    inputs: h of each clip's last evaluated step.
    velocity: Guided velocity of that step.
    evaluated: Number of steps in which the network was evaluated.
  """

  inputs: Inputs
  velocity: Tokens
  evaluated: Int[AnyArray, ""]


class When(NamedTuple):
  """When the network is evaluated.

  Attributes:
    must: Whether to evaluate it in any case.
    threshold: Smallest change of the input at which it is evaluated.
  """

  must: Bool[AnyArray, ""] | np.bool_
  threshold: Scalar


def change(now: Inputs, before: Inputs) -> Float[jax.Array, "b"]:
  """Returns equation (1) of each clip."""
  now, before = now.astype(jnp.float32), before.astype(jnp.float32)
  return jnp.abs(now - before).sum((1, 2)) / jnp.abs(before).sum((1, 2))


def caching_step(
  velocity_fn: VelocityFn,
  input_fn: InputFn,
  context: sampler.Context,
  tokens: Tokens,
  control: sampler.Control,
  given: sampler.Given | None,
  *,
  fresh: sampler.Fresh | None,
  kept: Kept,
  when: When,
) -> tuple[Tokens, Kept]:
  """Does what `sampler.denoising_step` does; evaluates the network only if needed."""
  tokens = sampler.renoised(tokens, control.sigma, given)
  levels = sampler.levels_of(control.sigma, given, len(tokens))
  inputs = input_fn(context.params, tokens, levels)
  needed = when.must | (change(inputs, kept.inputs) >= when.threshold)  # b
  velocity = jax.lax.cond(
    needed.any(),
    lambda: sampler.predict(velocity_fn, context, tokens, control, given),
    lambda: kept.velocity,
  )
  clips = needed[:, None, None]
  kept = Kept(
    jnp.where(clips, inputs, kept.inputs),
    jnp.where(clips, velocity, kept.velocity),
    kept.evaluated + needed.any(),
  )
  return sampler.moved(tokens, kept.velocity, control, given, fresh), kept


def make_caching_step(
  velocity_fn: VelocityFn,
  input_fn: InputFn,
  *,
  donate: bool = True,
  compiler_options: Mapping[str, str] | None = None,
  out_sharding: jax.sharding.Sharding | None = None,
) -> Callable[..., tuple[Tokens, Kept]]:
  """Returns `caching_step` of one network, compiled as in `sampler.make_step`."""
  step = functools.partial(caching_step, velocity_fn, input_fn)
  return jax.jit(
    step,
    donate_argnums=(1,) if donate else (),
    donate_argnames=("kept",) if donate else (),
    compiler_options=dict(compiler_options or {}),
    out_shardings=out_sharding,
  )


class Caching:
  """A `sampler.Step` for one run, which passes the cache from step to step.

  After the last step it reads back once how many steps evaluated the network, and logs
  that number.
  """

  def __init__(
    self,
    program: Callable[..., tuple[Tokens, Kept]],
    threshold: float,
    *,
    steps: int,
    width: int,
    dtype: str,
  ):
    """Begins a run.

    Args:
      program: What `make_caching_step` returned.
      threshold: Smallest change of the input, equation (1), at which the network is
        evaluated (`Sampling.cache`).
      steps: Number of steps of the run.
      width: Number of channels of the first block's input.
      dtype: Dtype of that input.
    """
    self._program, self._threshold = program, np.float32(threshold)
    self._steps, self._index = steps, 0
    self._width, self._dtype = width, dtype
    self._kept: Kept | None = None
    self._guidance: Guidance | None = None

  def __call__(
    self,
    context: sampler.Context,
    tokens: Tokens,
    control: sampler.Control,
    given: sampler.Given | None,
    fresh: sampler.Fresh | None,
  ) -> Tokens:
    """Dispatches the next step."""
    kept = self._kept
    if kept is None:
      inputs = jnp.zeros((*tokens.shape[:2], self._width), self._dtype)
      kept = Kept(inputs, jnp.zeros_like(tokens), jnp.zeros((), jnp.int32))
      if isinstance(tokens, jax.Array):  # On a mesh: the sharding of the program.
        kept = jax.device_put(kept, tokens.sharding)
    last = self._index == self._steps - 1
    # `sampler.sample` makes equal guidance one object; before the first step it is
    # None.
    must = np.bool_(last or control.guidance is not self._guidance)
    when = When(must, self._threshold)
    tokens, self._kept = self._program(
      context, tokens, control, given, fresh=fresh, kept=kept, when=when
    )
    self._index, self._guidance = self._index + 1, control.guidance
    if last:
      _LOG.warning(
        "The network was evaluated in %d of %d steps; the others reused the velocity "
        "of an earlier one.",
        int(self._kept.evaluated),
        self._steps,
      )
    return tokens
