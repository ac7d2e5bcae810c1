"""The sampler: Euler steps along the learned velocity, with one compiled step.

A step at level sigma goes to the next level sigma' of the schedule,

  x <- x - (sigma - sigma') v(x, sigma).

Without conditions all tokens move. With conditions each token moves from its own level,
and only once the sampler has reached it (`diffusion.conditioning`). The last step goes
to 0. Stochastic sampling goes to the estimated clean clip and back up with fresh noise:

  x <- (1 - sigma') (x - sigma v(x, sigma)) + sigma' noise.

`make_step` compiles that step once per shape. Everything that changes from step to step
or from call to call is an argument of the program: both levels, the scales of guidance,
the perturbed blocks, the strengths, the text. Only three choices change the program:
which branches of guidance there are (at most four sets, see `guidance`), whether there
are conditions, and whether fresh noise is drawn. The host makes them by passing None. A
Python loop dispatches the steps ahead of the device and reads nothing back, so another
number of steps compiles nothing, and callers may watch or stop between steps.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ltx_jax.diffusion import schedules
from ltx_jax.diffusion.branches import guidance_of
from ltx_jax.diffusion.conditioning import (
  Conditioned,
  Strengths,
  moves,
  noise_levels,
  renoise,
)
from ltx_jax.diffusion.draws import Draws, draw, normal
from ltx_jax.diffusion.flow import interpolate
from ltx_jax.diffusion.guidance import Guidance, guide, needs_unconditional
from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.typing import (
  AnyArray,
  Key,
  Latents,
  Params,
  Scalar,
  Sigma,
  Tokens,
  VelocityFn,
  Whole,
)

OnStep = Callable[[int, int, Tokens], Any]
"""Called after a step is dispatched with (index, number of steps, tokens)."""

_AHEAD = 8
"""Number of steps dispatched to several CPU devices before the sampler waits for them.

XLA runs at most 32 programs at a time on each device. If later steps take all places
before an earlier step has one on every device, XLA deadlocks."""


class Context(NamedTuple):
  """Inputs that are the same in every step of a call.

  Attributes:
    params: Parameters of the network.
    text: The network's text state: of 2b clips, unconditional ones first, if
      `Sampling.guidance` is above 1 in any step; otherwise of b clips.
    positions: The network's encoding of the token positions, shared by all clips.
  """

  params: Params
  text: Any
  positions: Any


class Control(NamedTuple):
  """Settings of a step.

  Attributes:
    sigma: Noise level at which the step starts.
    sigma_next: Noise level at which it ends.
    guidance: Branches of guidance, and their scales.
  """

  sigma: Scalar
  sigma_next: Scalar
  guidance: Guidance


class Fresh(NamedTuple):
  """The noise of a stochastic step.

  Attributes:
    keys: Keys of the clips [b].
    index: Number of the step.
    noise: Noise to use instead, to replay a run; otherwise None.
  """

  keys: Key
  index: Scalar
  noise: Tokens | None = None


class Given(NamedTuple):
  """Inputs of a step that has conditions; a pytree, fully traced.

  Attributes:
    initial: The tokens before the first step.
    strengths: How firmly each token is kept.
    scale: `Sampling.condition_noise`.
    keys: Keys of the clips [b]; the step draws its noise from them.
    index: Number of the step.
    noise: Noise to use instead, to replay a run; otherwise None.
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
  fresh: Fresh | None,
) -> Tokens:
  """Returns the tokens after one step.

  Args:
    velocity_fn: The network.
    context: The network's parameters, its text state, and the tokens' positions.
    tokens: The tokens at level `control.sigma`.
    control: Levels and guidance of the step.
    given: The conditions, or None without conditions.
    fresh: Noise for a stochastic step, or None for an Euler step.
  """
  tokens = renoised(tokens, control.sigma, given)
  velocity = predict(velocity_fn, context, tokens, control, given)
  return moved(tokens, velocity, control, given, fresh)


def renoised(tokens: Tokens, sigma: Scalar, given: Given | None) -> Tokens:
  """Returns the tokens that the network sees: conditions carry new noise."""
  if given is None:
    return tokens
  noise = _noise(given.noise, given.keys, "step", given.index, tokens)
  return renoise(tokens, given.initial, given.strengths, noise, sigma, given.scale)


def levels_of(sigma: Scalar, given: Given | None, rows: int) -> Sigma:
  """Returns noise levels for `rows` rows: one per token if there are conditions."""
  if given is None:
    return jnp.full(rows, sigma)
  return noise_levels(sigma, given.strengths, rows)


def predict(
  velocity_fn: VelocityFn,
  context: Context,
  tokens: Tokens,
  control: Control,
  given: Given | None,
) -> Tokens:
  """Returns the guided velocity of the tokens that the network sees."""
  guidance = control.guidance
  copies = jnp.concatenate([tokens] * guidance.count)
  levels = levels_of(control.sigma, given, len(copies))
  params, text, positions = context
  out = velocity_fn(params, text, copies, positions, levels, guidance.branches)
  return guide(jnp.split(out, guidance.count), guidance)


def moved(
  tokens: Tokens,
  velocity: Tokens,
  control: Control,
  given: Given | None,
  fresh: Fresh | None,
) -> Tokens:
  """Returns the tokens at the end of the step; tokens of strength 1 do not move."""
  sigma, sigma_next, _ = control
  level = sigma
  if given is not None:
    strengths = given.strengths
    level = jnp.minimum(sigma, 1 - strengths.per_token())[:, None]
  if fresh is None:
    after = tokens - (level - sigma_next) * velocity
  else:
    noise = _noise(fresh.noise, fresh.keys, "stochastic", fresh.index, tokens)
    after = interpolate(tokens - level * velocity, noise, sigma_next)
  if given is None:
    return after
  return jnp.where(moves(sigma, strengths)[:, None], after, tokens)


def _noise(
  replayed: Tokens | None,
  keys: Key,
  name: str,
  index: Int[AnyArray, ""] | Whole,
  like: Tokens,
) -> Tokens:
  """Returns the noise of a replayed run, or draws noise from the clips' keys."""
  return normal(keys, name, index, like.shape[1:]) if replayed is None else replayed


Step = Callable[..., Tokens]
"""`denoising_step` of one network, compiled; see `make_step`."""


def make_step(
  velocity_fn: VelocityFn,
  *,
  donate: bool = True,
  compiler_options: Mapping[str, str] | None = None,
  out_sharding: jax.sharding.Sharding | None = None,
) -> Step:
  """Returns `denoising_step` of one network, compiled once per shape and variant.

  Args:
    velocity_fn: The network; a pure function.
    donate: Whether a step reuses the buffer of the tokens that it is given.
    compiler_options: Extra options for XLA.
    out_sharding: Sharding of the tokens that come out; None leaves it to JAX. It must
      equal that of the tokens that go in, or the second step is compiled again.
  """
  step = functools.partial(denoising_step, velocity_fn)
  donated = (1,) if donate else ()
  options = dict(compiler_options or {})
  return jax.jit(
    step,
    donate_argnums=donated,
    compiler_options=options,
    out_shardings=out_sharding,
  )


def begin_from(
  latents: Float[AnyArray, "..."] | None,
  noise: Latents,
  sampling: Sampling,
  levels: schedules.Levels,
) -> Latents:
  """Returns the start of the first step: noise, or clips noised to its level.

  Args:
    latents: Latents of the clips, or of one clip for all; None starts from noise.
    noise: Initial noise.
    sampling: Sampling whose `skip_initial` is checked.
    levels: Noise levels of the steps.

  Raises:
    ValueError: If steps are skipped without a clip, the clip has another shape, or the
      first level is 1, at which nothing is left of the clip.
  """
  if latents is None:
    if sampling.skip_initial:
      raise ValueError(
        f"skip_initial is {sampling.skip_initial}, but there is no clip to start from; "
        "give the latents of one, or skip no initial steps."
      )
    return noise
  if latents.shape not in (noise.shape, (1, *noise.shape[1:])):
    raise ValueError(
      f"The latents to start from have shape {latents.shape}; these clips take "
      f"{noise.shape}."
    )
  if levels[0] >= 1:
    raise ValueError(
      "The first noise level is 1, at which nothing is left of the clip to start from; "
      "skip initial steps, for example with Sampling(skip_initial=10), or with "
      "--skip-initial 10."
    )
  sigma = jnp.asarray(levels[0])
  return interpolate(jnp.broadcast_to(latents, noise.shape), noise, sigma)


def sample(
  step: Step,
  context: Context,
  start: Conditioned,
  sampling: Sampling,
  levels: schedules.Levels,
  *,
  keys: Key,
  layers: int = 0,
  draws: Draws | None = None,
  on_step: OnStep | None = None,
) -> Tokens:
  """Denoises from the first level to 0, without waiting for an accelerator.

  Args:
    step: The compiled step of `make_step`.
    context: Inputs of all steps, on the device.
    start: Initial noise and conditions.
    sampling: Guidance, noise on conditions, fresh noise.
    levels: Noise levels, as `Sampling.levels` returns them.
    keys: Keys of the clips [b].
    layers: Number of blocks of the network; needed to perturb some of them.
    draws: Replaces random draws by name.
    on_step: Callback after each dispatch, with (index, steps, tokens); the tokens live
      until it returns.

  Returns:
    The clip's tokens in float32, without the extra tokens of conditions.
  """
  guidances = _guidances(sampling, levels, len(start.tokens), layers)
  # Copy the inputs of every step to the device once.
  strengths = jax.tree.map(jnp.asarray, start.strengths)
  initial = jnp.asarray(start.tokens, jnp.float32)
  tokens = jnp.array(initial, copy=True)  # The first step donates this copy.
  ends = schedules.next_levels(levels)
  for i, (sigma, sigma_next) in enumerate(zip(levels, ends, strict=True)):
    given = fresh = None
    if strengths is not None:
      scale = np.float32(sampling.condition_noise)
      noise = draw(keys, "step", tokens.shape, i, draws) if draws else None
      given = Given(initial, strengths, scale, keys, np.int32(i), noise)
    if sampling.stochastic:
      noise = draw(keys, "stochastic", tokens.shape, i, draws) if draws else None
      fresh = Fresh(keys, np.int32(i), noise)
    control = Control(sigma, sigma_next, guidances[i])
    tokens = step(context, tokens, control, given, fresh)
    if on_step is not None:
      on_step(i, len(levels), tokens[:, start.extra :])
    if i % _AHEAD == _AHEAD - 1 and _are_host_devices(tokens):
      jax.block_until_ready(tokens)
  return tokens[:, start.extra :]


def _are_host_devices(array: jax.Array) -> bool:
  """Whether an array is shared by several devices of a CPU."""
  devices = array.sharding.device_set
  return len(devices) > 1 and all(device.platform == "cpu" for device in devices)


def _guidances(
  sampling: Sampling, levels: schedules.Levels, clips: int, layers: int
) -> list[Guidance]:
  """Returns the guidance of every step; equal ones are made and copied only once."""
  made, settings = {}, sampling.settings(levels)
  for setting in set(settings):
    guidance = guidance_of(
      setting,
      clips=clips,
      layers=layers,
      unconditional_texts=needs_unconditional(sampling.guidance),
    )
    branches = jax.tree.map(jnp.asarray, guidance.branches)
    made[setting] = guidance._replace(branches=branches)
  return [made[setting] for setting in settings]
