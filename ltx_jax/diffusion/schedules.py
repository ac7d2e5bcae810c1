"""Schedules of noise levels for sampling, computed on the host.

  Uniform           sigma_i = 1 - i / s
  LinearQuadratic   from 1 down to 0.975 in s // 2 equal steps, then a parabola to 0
  Constant          T(shift, 1 - i / s)
  explicit          a list, as distilled models need

with the time shift T(mu, t) = e^mu / (e^mu + 1/t - 1). Uniform levels may then be
shifted by size: `SD3` applies T with mu linear in the number of tokens and may stretch
the result so that the last level is `target_shift_terminal`; `SimpleDiffusion` moves
the log signal-to-noise ratio by 2 log(tokens / base_resolution).

The lists end above 0; the last step goes from their last level straight to 0.

Source: the original's scheduler; the values agree within 1e-6. It works in float32, and
the stretch divides by 1 - T of the last level, a small number with few digits left. So
T and the stretch round as the original does. If float32 cannot tell the levels apart
(the original then returns equal levels or NaN), the same formula is evaluated in
float64, arranged so that nothing cancels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float32, Float64

from ltx_jax.config import SchedulerConfig
from ltx_jax.diffusion.timesteps import token_shift

Levels = Float32[np.ndarray, " s"]
"""Noise levels in (0, 1], from the noisiest down."""

THRESHOLD = 0.025
"""How far the linear half of LinearQuadratic descends."""

STEP_EPSILON = 1e-6
"""Levels closer than this count as one, as in the original."""


def uniform(steps: int) -> Levels:
  """Returns 1, 1 - 1/s, ..., 1/s.

  Counts from both ends with one rounding per term, as the original's library does: the
  terminal stretch would amplify a difference of one unit in the last place.
  """
  if steps == 1:
    return np.ones(1, np.float32)
  end = np.float32(1 / steps)
  step = float((end - np.float32(1)) / np.float32(steps - 1))
  i = np.arange(steps, dtype=np.float64)
  levels = np.where(i < steps // 2, 1 + step * i, float(end) - step * (steps - 1 - i))
  return levels.astype(np.float32)


def linear_quadratic(steps: int, threshold: float = THRESHOLD) -> Levels:
  """Returns a linear descent by `threshold`, then a parabola with the same slope."""
  if steps == 1:
    return np.ones(1, np.float32)
  linear = steps // 2
  quadratic = steps - linear
  difference = linear - threshold * steps
  a = difference / (linear * quadratic**2)
  b = threshold / linear - 2 * difference / quadratic**2
  i = np.arange(steps, dtype=np.float64)
  descent = np.where(
    i < linear, i * threshold / linear, a * i**2 + b * i + a * linear**2
  )
  return (1 - descent).astype(np.float32)


def _shift32(mu: float, levels: Levels) -> Levels:
  """T(mu, t) with the original's float32 roundings: quotients are reciprocals first."""
  one, scale = np.float32(1), np.float32(math.exp(mu))
  return (one / (scale + (one / levels - one))) * scale


def _complement64(mu: float, levels: Levels) -> Float64[np.ndarray, " s"]:
  """1 - T(mu, t) in float64, arranged so that nothing cancels."""
  odds = 1 / levels.astype(np.float64) - 1
  return odds / (math.exp(mu) + odds)


def constant(steps: int, shift: float) -> Levels:
  """Returns uniform levels shifted by a fixed `shift`."""
  return _shift32(shift, uniform(steps))


def sd3(levels: Levels, tokens: int, terminal: float | None = None) -> Levels:
  """Shifts levels by the number of tokens, and stretches them to end at `terminal`.

  Args:
    levels: Noise levels to shift.
    tokens: Video tokens of the clip, f h w.
    terminal: The last level of the result, in (0, 1); None does not stretch.

  Raises:
    ValueError: If `terminal` is outside (0, 1).
  """
  if terminal is not None and not 0 < terminal < 1:
    raise ValueError(
      f"target_shift_terminal is {terminal}; it must lie between 0 and 1, or be None."
    )
  mu = token_shift(tokens)
  shifted = _shift32(mu, levels)
  if terminal is None or len(levels) == 1:
    return shifted
  rest = np.float32(1) - shifted
  if rest[-1] > 0:
    stretched = np.float32(1) - rest / (rest[-1] / np.float32(1 - terminal))
    if (np.diff(stretched) < 0).all():
      return stretched
  rest64 = _complement64(mu, levels)
  return (1 - rest64 * ((1 - terminal) / rest64[-1])).astype(np.float32)


def simple_diffusion(levels: Levels, tokens: int, base_resolution: int) -> Levels:
  """Shifts the log signal-to-noise ratio by 2 log(tokens / base_resolution).

  Uses sigmoid(log(t / (1 - t)) + log k) = k t / (k t + 1 - t), which is finite at t =
  1.
  """
  t = levels.astype(np.float64)
  k = tokens / base_resolution
  return (k * t / (k * t + 1 - t)).astype(np.float32)


def explicit(levels: Sequence[float]) -> Levels:
  """Checks a list of noise levels and returns it as float32.

  Raises:
    ValueError: If the list is empty, leaves (0, 1] or does not descend.
  """
  array = np.asarray(levels, np.float32)
  inside = array.ndim == 1 and array.size and (array > 0).all() and (array <= 1).all()
  if not inside or not (np.diff(array) < 0).all():
    raise ValueError(
      f"The noise levels are {list(levels)}; give at least one number in (0, 1], each "
      "below the one before; the last step goes to 0 by itself."
    )
  return array


def check_trained(levels: Levels, allowed: Sequence[float] | None) -> None:
  """Refuses levels that a distilled model was not trained for.

  Args:
    levels: Noise levels of the steps.
    allowed: Levels that it was trained for, to four decimals; None allows any.

  Raises:
    ValueError: If a level is not among them; the message names the first few.
  """
  if allowed is None:
    return
  known = {round(level, 4) for level in allowed}
  wrong = [float(x) for x in levels if round(float(x), 4) not in known]
  if wrong:
    raise ValueError(
      f"This distilled model was not trained for the noise levels {wrong[:4]}; choose "
      f"among {sorted(known, reverse=True)}, for example with Sampling(sigmas=...)."
    )


def _constant(config: SchedulerConfig, steps: int) -> Levels:
  if config.shift is None:
    raise ValueError("The scheduler has sampler = 'Constant' but no shift; set one.")
  return constant(steps, config.shift)


def _simple_diffusion(config: SchedulerConfig, levels: Levels, tokens: int) -> Levels:
  if config.base_resolution is None:
    raise ValueError(
      "The scheduler has shifting = 'SimpleDiffusion' but no base_resolution; set it, "
      "for example to 1024."
    )
  return simple_diffusion(levels, tokens, config.base_resolution)


_SAMPLERS: dict[str, Callable[[SchedulerConfig, int], Levels]] = {
  "Uniform": lambda config, steps: uniform(steps),
  "LinearQuadratic": lambda config, steps: linear_quadratic(steps),
  "Constant": _constant,
}
_SHIFTS: dict[str | None, Callable[[SchedulerConfig, Levels, int], Levels]] = {
  None: lambda config, levels, tokens: levels,
  "SD3": lambda config, levels, tokens: sd3(
    levels, tokens, config.target_shift_terminal
  ),
  "SimpleDiffusion": _simple_diffusion,
}


def schedule(config: SchedulerConfig, steps: int, tokens: int) -> Levels:
  """Returns the noise levels that a checkpoint's scheduler visits.

  Args:
    config: The scheduler of the checkpoint.
    steps: Denoising steps, at least 1; at most `num_train_timesteps` are used.
    tokens: Number of video tokens of the clip, f h w.

  Raises:
    ValueError: If `steps` is below 1, or the config lacks a number it needs.
  """
  if steps < 1:
    raise ValueError(f"The number of steps is {steps}; it must be at least 1.")
  steps = min(steps, config.num_train_timesteps)
  levels = _SAMPLERS[config.sampler](config, steps)
  return _SHIFTS[config.shifting](config, levels, tokens)


def next_levels(levels: Levels) -> Levels:
  """Returns, for each level, the highest one in the list below it, or 0.

  Levels within `STEP_EPSILON` of one another count as equal, as in the original.
  """
  ends = np.append(levels, np.float32(0))
  below = ends[None, :] < levels[:, None] - np.float32(STEP_EPSILON)
  return np.where(below, ends[None, :], np.float32(0)).max(axis=1)
