"""Converts variable frame rates to constant ones, by the times of the frames.

Phones, screen recorders and GIFs show frames for varying times, but the networks know
one rate per clip. So the rate is that of the footage while it moves. A frame is
repeated for as long as it was held, or dropped if another came within its time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float

T = TypeVar("T")

LONGEST_HOLD = 300.0
"""Seconds. A frame that is held longer means a damaged file, or would fill memory."""

HIGHEST_RATE = 120.0
"""Highest rate, in frames per second, that a variable rate is converted to."""

_SIMILAR = (0.75, 1.35)
_SAME = 0.005


class HeldTooLong(ValueError):
  """A frame is held for longer than `LONGEST_HOLD`; the message begins with a verb."""


def rate_of(
  times: Sequence[float] | Float[np.ndarray, "F"], declared: Sequence[float] = ()
) -> float:
  """Returns the frames per second of a clip.

  Args:
    times: Times of its frames in seconds, in order.
    declared: Rates that the file names. The first that explains every time to within
      half a frame is used, or else the first that is close to the typical rate.

  Returns:
    The rate; for a single frame the first declared one, or 0.
  """
  declared = [rate for rate in declared if rate > 0]
  at = np.asarray(times, np.float64) - times[0] if len(times) else np.zeros(0)
  steps = np.diff(at)
  steps = steps[steps > 0]
  if not len(steps):
    return declared[0] if declared else 0.0
  for rate in declared:
    if np.all(np.abs(at * rate - np.arange(len(at))) < 0.5):
      return rate
  # The shortest steps, apart from a few outliers: in longer steps a frame is held.
  short = np.quantile(steps, 0.1, method="nearest")
  low, high = _SIMILAR
  typical = 1 / np.mean(steps[(steps >= low * short) & (steps <= high * short)])
  near = [rate for rate in declared if abs(rate / typical - 1) < _SAME]
  return min(near[0] if near else float(typical), HIGHEST_RATE)


def at_constant_rate(
  shown: Iterable[tuple[float, float, T]], fps: float
) -> Iterator[T]:
  """Repeats and drops frames so that each lasts as long as it was shown.

  Args:
    shown: (second at which it appears, seconds that it lasts at least, frame), in
      order.
    fps: Frames per second of the result; 0 yields every frame once.

  Raises:
    HeldTooLong: If a frame is held for longer than `LONGEST_HOLD`.
  """
  first = held = None
  filled = 0
  for time, lasts, frame in shown:
    first = time if first is None else first
    slot = int((time - first) * fps + 0.5) if fps else filled + (held is not None)
    if held is not None:
      yield from _repeated(held[1], slot - filled, fps)
      filled = max(filled, slot)
    held = (time - first + lasts, frame)
  if held is not None:
    yield from _repeated(held[1], max(1, int(held[0] * fps + 0.5) - filled), fps)


def _repeated(frame: T, count: int, fps: float) -> Iterator[T]:
  if fps and count > LONGEST_HOLD * fps:
    raise HeldTooLong(
      f"holds one frame for {count / fps:.0f} seconds, more than {LONGEST_HOLD:.0f}; "
      "cut that part out, or repair the file's time stamps."
    )
  for _ in range(count):
    yield frame
