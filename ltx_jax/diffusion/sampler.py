"""The sampler: Euler steps along the learned velocity, one compiled program a step.

A step at level sigma goes to the next level sigma' of the schedule,

  x <- x - (sigma - sigma') v(x, sigma),

for all tokens, or with conditions for those that move, each from its own level
(`diffusion.conditioning`). The last step goes to 0.

`make_step` compiles that step once for a shape. Everything that changes from step to
step or from call to call is an argument of the program: both levels, the guidance
scale, the strengths, the text. What changes the program is only whether there is
guidance and whether there are conditions, four variants, picked on the host by passing
None. A Python loop dispatches the steps ahead of the device and reads nothing back, so
that another number of steps compiles nothing, and callers may watch or stop between
steps.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ltx_jax.config import SchedulerConfig
from ltx_jax.diffusion import schedules
from ltx_jax.diffusion.conditioning import (
  Conditioned,
  Strengths,
  moves,
  noise_levels,
  renoise,
)
from ltx_jax.diffusion.draws import Draws, draw, normal
from ltx_jax.diffusion.guidance import classifier_free, needs_unconditional
from ltx_jax.typing import Key, Params, Scalar, Tokens, VelocityFn, Whole

OnStep = Callable[[int, int, Tokens], Any]
"""Called after a step is dispatched with (index, number of steps, tokens)."""


@dataclasses.dataclass(frozen=True)
class Sampling:
  """How a video is sampled; the only place where options grow.

  Attributes:
    steps: Denoising steps; None means 40, or one for each of `sigmas`.
    guidance: Scale of classifier-free guidance; at 1 and below there is none.
    schedule: Scheduler that spaces the noise levels; None takes the checkpoint's.
    sigmas: Explicit noise levels, falling, in (0, 1]; they replace the schedule.
    condition_noise: Strength of the noise on given tokens, relative to sigma^2.
    decode_sigma: Noise level that the VAE's decoder is told.
    decode_noise: Share of noise mixed into the latents before decoding.
  """

  steps: int | None = None
  guidance: Scalar = 3.0
  schedule: SchedulerConfig | None = None
  sigmas: tuple[float, ...] | None = None
  condition_noise: float = 0.15
  decode_sigma: float = 0.05
  decode_noise: float = 0.025

  def __post_init__(self):
    steps = self.steps
    if steps is not None and (not isinstance(steps, Whole) or steps < 1):
      raise ValueError(
        f"The number of steps is {steps}; it must be at least 1 and whole."
      )
    if not isinstance(self.schedule, SchedulerConfig | None):
      raise ValueError(
        f"schedule is {self.schedule!r}; give a config.SchedulerConfig, for example "
        "SchedulerConfig(sampler='LinearQuadratic'), or None for the checkpoint's own."
      )
    if self.sigmas is not None and self.steps not in (None, len(self.sigmas)):
      raise ValueError(
        f"{self.steps} steps are asked for and {len(self.sigmas)} noise levels are "
        "given; leave one of them out."
      )
    for name in ("guidance", "condition_noise"):
      if not 0 <= getattr(self, name) < float("inf"):
        raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0.")
    for name in ("decode_sigma", "decode_noise"):
      if not 0 <= getattr(self, name) <= 1:
        raise ValueError(f"{name} is {getattr(self, name)}; it must lie in [0, 1].")

  def override(self, steps: int | None, guidance: Scalar | None) -> Sampling:
    """Returns these options with `steps` and `guidance` where they are not None.

    Another number of steps than there are `sigmas` takes the schedule in their place.
    """
    given = {"steps": steps, "guidance": guidance}
    changes = {name: value for name, value in given.items() if value is not None}
    if steps not in (None, len(self.sigmas or ())):
      changes["sigmas"] = None
    return dataclasses.replace(self, **changes)

  def levels(self, scheduler: SchedulerConfig, tokens: int) -> schedules.Levels:
    """Returns the noise levels for a clip of `tokens` video tokens.

    Args:
      scheduler: The checkpoint's scheduler, used where `schedule` is None.
      tokens: Video tokens, f h w.

    Raises:
      ValueError: where the levels, or the scheduler, are not usable.
    """
    if self.sigmas is not None:
      return schedules.explicit(self.sigmas)
    return schedules.schedule(self.schedule or scheduler, self.steps or 40, tokens)


class Context(NamedTuple):
  """What is the same in every step of a call.

  Attributes:
    params: Parameters of the network.
    text: What the network made of the text; of 2b clips where `Sampling.guidance` is
      above 1, the unconditional ones first.
    positions: What it made of the tokens' positions, which all clips share.
  """

  params: Params
  text: Any
  positions: Any


class Control(NamedTuple):
  """What a step does.

  Attributes:
    sigma: Where it starts.
    sigma_next: Where it ends.
    guidance: Scale of classifier-free guidance, or None for none.
  """

  sigma: Scalar
  sigma_next: Scalar
  guidance: Scalar | None


class Given(NamedTuple):
  """What a step needs where there are conditions; a pytree, all of it traced.

  Attributes:
    initial: The tokens before the first step.
    strengths: How firmly each token is given.
    scale: `Sampling.condition_noise`.
    keys: Keys of the clips [b], from which the step draws its noise.
    index: The number of the step.
    noise: The noise instead, where a run is replayed; else None.
  """

  initial: Tokens
  strengths: Strengths
  scale: Scalar
  keys: Key
  index: Scalar
  noise: Tokens | None = None


def denoising_step(
  velocity_fn: VelocityFn,
  context: Context,
  tokens: Tokens,
  control: Control,
  given: Given | None,
) -> Tokens:
  """Returns the tokens one Euler step further down.

  Args:
    velocity_fn: The network.
    context: Its parameters, its text, the positions of the tokens.
    tokens: The tokens at level `control.sigma`.
    control: Levels and guidance of the step.
    given: The conditions, or None for none.
  """
  sigma, sigma_next, guidance = control
  params, text, positions = context
  clips = len(tokens) if guidance is None else 2 * len(tokens)
  if given is None:
    levels = jnp.full(clips, sigma)
  else:
    noise = given.noise
    if noise is None:
      noise = normal(given.keys, "step", given.index, tokens.shape[1:])
    strengths = given.strengths
    tokens = renoise(tokens, given.initial, strengths, noise, sigma, given.scale)
    levels = noise_levels(sigma, strengths, clips)

  if guidance is None:
    velocity = velocity_fn(params, text, tokens, positions, levels)
  else:
    twice = jnp.concatenate([tokens, tokens])
    both = velocity_fn(params, text, twice, positions, levels)
    unconditional, conditional = jnp.split(both, 2)
    velocity = classifier_free(conditional, unconditional, guidance)

  velocity = velocity.astype(jnp.float32)
  if given is None:
    return tokens - (sigma - sigma_next) * velocity
  level = jnp.minimum(sigma, 1 - strengths.per_token())[:, None]
  moved = tokens - (level - sigma_next) * velocity
  return jnp.where(moves(sigma, strengths)[:, None], moved, tokens)


Step = Callable[..., Tokens]
"""`denoising_step` for one network, compiled; see `make_step`."""


def make_step(
  velocity_fn: VelocityFn,
  *,
  donate: bool = True,
  compiler_options: Mapping[str, str] | None = None,
) -> Step:
  """Returns `denoising_step` of one network as a compiled program a shape and variant.

  Args:
    velocity_fn: The network; a pure function.
    donate: Whether a step takes over the buffer of the tokens it is given.
    compiler_options: What XLA is told beside.
  """
  step = functools.partial(denoising_step, velocity_fn)
  donated = (1,) if donate else ()
  options = dict(compiler_options or {})
  return jax.jit(step, donate_argnums=donated, compiler_options=options)


def sample(
  step: Step,
  context: Context,
  start: Conditioned,
  sampling: Sampling,
  levels: schedules.Levels,
  *,
  keys: Key,
  draws: Draws | None = None,
  on_step: OnStep | None = None,
) -> Tokens:
  """Denoises from the first level to 0, without waiting for the device.

  Args:
    step: The compiled step of `make_step`.
    context: What all steps read, on the device.
    start: Initial noise and conditions.
    sampling: Guidance and noise on conditions.
    levels: Noise levels, `Sampling.levels`.
    keys: Keys of the clips [b].
    draws: Replaces random draws by name.
    on_step: Called after each dispatch with (index, steps, tokens); the tokens live
      until it returns.

  Returns:
    The clip's tokens in float32, those of extra conditions dropped.
  """
  guided = needs_unconditional(sampling.guidance)
  guidance = np.float32(sampling.guidance) if guided else None
  # What every step reads is copied to the device once.
  strengths = jax.tree.map(jnp.asarray, start.strengths)
  initial = jnp.asarray(start.tokens, jnp.float32)
  tokens = jnp.array(initial, copy=True)  # For the first step to donate.
  ends = schedules.next_levels(levels)
  for i, (sigma, sigma_next) in enumerate(zip(levels, ends, strict=True)):
    given = None
    if strengths is not None:
      scale = np.float32(sampling.condition_noise)
      noise = draw(keys, "step", tokens.shape, i, draws) if draws else None
      given = Given(initial, strengths, scale, keys, np.int32(i), noise)
    tokens = step(context, tokens, Control(sigma, sigma_next, guidance), given)
    if on_step is not None:
      on_step(i, len(levels), tokens[:, start.extra :])
  return tokens[:, start.extra :]
