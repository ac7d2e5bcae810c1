"""How far two computations of the same sums may lie apart: by their terms and dtype.

Processors add in different orders and keep products to different precision, so the last
digits are one machine's luck. What is not: n random products add up to about sqrt(n),
the first k of them to sqrt(k), and each addition rounds by up to u = eps / 2, with a
deviation of u / sqrt(3). One after another, which no order is worse than,

  error = u / sqrt(3) sqrt(1 + 2 + ... + n) = u n / sqrt(6)
  error / sqrt(n) = u sqrt(n / 6)

Two computations differ by sqrt(2) of that, and products that follow one another add up
as random errors do. Numbers in tests are not quite random: four times that is allowed.
A wrong term would show by 1 / sqrt(n), thousands of times more.
"""

from __future__ import annotations

import math
import os

import jax.numpy as jnp
import pytest

_MARGIN = 4
_LEAST = 8  # Roundings of single numbers, in eps.


FLOAT16 = pytest.mark.skipif(
  "xla_cpu_max_isa=SSE4_2" in os.environ.get("XLA_FLAGS", ""),
  reason="XLA converts to float16 with an instruction that comes with AVX (F16C)",
)
"""Mark of tests that compute in float16, which this XLA cannot do without AVX."""


def of_sums(terms, *, layers=1, growth=1.0, dtype="float32"):
  """Returns the relative error allowed, in the mean square.

  Args:
    terms: Products that each number is the sum of; of several, the most.
    layers: Such sums that follow one another.
    growth: Factor by which a transformation makes numbers larger that cancel later.
    dtype: What sums are kept in.
  """
  eps = float(jnp.finfo(dtype).eps)
  error = _MARGIN * eps / 2 * math.sqrt(2 * layers * terms / 6)
  return growth * max(error, _LEAST * eps)
