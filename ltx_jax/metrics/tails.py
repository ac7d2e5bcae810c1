"""Tails of Student's t and of chi-square for whole degrees of freedom, in closed form.

With theta = atan(t / sqrt(n)), the mass of Student's t between -t and t is, for odd n
(the sum is left out for n = 1) and for even n,

    2/pi (theta + sin theta (cos theta + 2/3 cos^3 theta + ... up to cos^(n-2) theta))
    sin theta (1 + 1/2 cos^2 theta + (1 3)/(2 4) cos^4 theta + ... to cos^(n-2) theta)

Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.4 and 26.7.
"""

from __future__ import annotations

import math

from ltx_jax.errors import check_number

_MOST = 2000
"""Degrees of freedom beyond which Student's t is the normal distribution to 1e-3."""


def student_outside(t: float, freedom: int) -> float:
  """Returns the probability that |T| exceeds |t|: the two-sided p-value.

  Args:
    t: Difference in standard errors.
    freedom: Degrees of freedom, at least 1.
  """
  check_number("freedom", freedom, at_least=1, whole=True)
  if math.isnan(t):
    return math.nan
  if freedom > _MOST:
    return math.erfc(abs(t) / math.sqrt(2))
  theta = math.atan(abs(t) / math.sqrt(freedom))
  sine, cosine = math.sin(theta), math.cos(theta)
  odd = freedom % 2
  term = cosine if odd else 1.0
  total = 0.0
  for i in range(odd, freedom - 1, 2):
    total += term
    term *= cosine * cosine * (i + 1) / (i + 2)
  mass = 2 / math.pi * (theta + sine * total) if odd else sine * total
  return max(0.0, 1 - mass)


def student_quantile(level: float, freedom: int) -> float:
  """Returns the t that |T| stays below with a probability; 2.093 for 0.95 and 19.

  Args:
    level: The probability, between 0 and 1.
    freedom: Degrees of freedom, at least 1.
  """
  check_number("level", level, above=0, below=1)
  low, high = 0.0, 1.0
  while student_outside(high, freedom) > 1 - level:
    low, high = high, 2 * high
  for _ in range(80):
    middle = (low + high) / 2
    if student_outside(middle, freedom) > 1 - level:
      low = middle
    else:
      high = middle
  return (low + high) / 2


def chi_square_above(x: float, freedom: int) -> float:
  """Returns the probability that chi-square exceeds x.

  Args:
    x: A value, at least 0.
    freedom: Degrees of freedom, at least 1.
  """
  check_number("freedom", freedom, at_least=1, whole=True)
  half, odd = x / 2, freedom % 2
  total = math.erfc(math.sqrt(half)) if odd else 0.0
  for i in range(freedom // 2):
    power = i + odd / 2
    # Of a power and a factorial that may both be too large for a number.
    log = power * math.log(half) if half else (0.0 if power == 0 else -math.inf)
    total += math.exp(log - math.lgamma(power + 1) - half)
  return min(1.0, total)
