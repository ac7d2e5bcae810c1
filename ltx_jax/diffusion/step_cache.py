"""Step caching: a step whose input has hardly changed takes an earlier step's velocity.

Let h be what the first block works on, the normed and modulated tokens: it changes with
the tokens and with the noise level, and is made without running a single block. With h'
and v' those of the last evaluated step, a clip's input has changed by

  change = sum |h - h'| / sum |h'|                                               (1)

over tokens and channels. At or above the threshold the network is evaluated, and h and
its guided velocity v are kept; below it, v <- v'. As the network is asked nothing, such
a step costs next to nothing.

The first and the last step are always evaluated, and those whose guidance is another
than the step's before. Fresh noise (stochastic steps) changes the input, and is seen.

The comparison is part of the compiled step, whose network lies in a branch (`lax.cond`)
that is taken or not: nothing is read back, and the threshold is a number that compiles
nothing. A plan made from the noise levels alone would need no branch, but be nothing
new: two Euler steps along one velocity are one longer step, so it would leave out
levels of the schedule, as fewer `steps` do. In a batch the network is evaluated where
any clip needs it, for all of them, and clips that do not need it keep what they have:
a clip does not depend on its neighbours.

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
"""What the first block works on, given parameters, tokens and noise levels."""


class Kept(NamedTuple):
  """What one step leaves for the next.

  Attributes:
    inputs: h of each clip's last evaluated step.
    velocity: Its guided velocity.
    evaluated: Number of steps in which the network was evaluated.
  """

  inputs: Inputs
  velocity: Tokens
  evaluated: Int[AnyArray, ""]


class When(NamedTuple):
  """When the network is evaluated.

  Attributes:
    must: Whether the step is evaluated in any case.
    threshold: Change of the input from which it is evaluated.
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
  """`sampler.denoising_step` that evaluates the network only where it has to."""
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
  """Returns `caching_step` of one network, compiled as by `sampler.make_step`."""
  step = functools.partial(caching_step, velocity_fn, input_fn)
  return jax.jit(
    step,
    donate_argnums=(1,) if donate else (),
    donate_argnames=("kept",) if donate else (),
    compiler_options=dict(compiler_options or {}),
    out_shardings=out_sharding,
  )


class Caching:
  """A `sampler.Step` for one run, which carries what its steps keep.

  After the last step it reads back, once, in how many steps the network was evaluated,
  and says so.
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
      threshold: Change of the input, equation (1), from which on the network is
        evaluated (`Sampling.cache`).
      steps: How many steps the run has.
      width: Channels of what the first block works on.
      dtype: Its dtype.
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
      if isinstance(tokens, jax.Array):  # On a mesh, where the program leaves them.
        kept = jax.device_put(kept, tokens.sharding)
    last = self._index == self._steps - 1
    # Equal guidance is one object in a run (`sampler.sample`); there is none before it.
    must = np.bool_(last or control.guidance is not self._guidance)
    when = When(must, self._threshold)
    tokens, self._kept = self._program(
      context, tokens, control, given, fresh=fresh, kept=kept, when=when
    )
    self._index, self._guidance = self._index + 1, control.guidance
    if last:
      _LOG.warning(
        "The network was evaluated in %d of %d steps; the others took the velocity of "
        "an earlier one.",
        int(self._kept.evaluated),
        self._steps,
      )
    return tokens
