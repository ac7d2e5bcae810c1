import math

import pytest
from scipy import stats

from ltx_jax.metrics.tails import chi_square_above, student_outside, student_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 19, 60, 999, 2000, 5000])
def test_student_is_that_of_scipy(freedom):
  # Beyond 2000 degrees of freedom the normal distribution stands in.
  close = {"abs": 2e-4} if freedom > 2000 else {"abs": 1e-12}
  for t in (0.0, 0.3, -1.0, 2.5, 6.0):
    expected = 2 * stats.t.sf(abs(t), freedom)
    assert student_outside(t, freedom) == pytest.approx(expected, **close)
  for level in (0.5, 0.95, 0.999):
    expected = stats.t.ppf((1 + level) / 2, freedom)
    assert student_quantile(level, freedom) == pytest.approx(expected, rel=1e-3)
    if freedom <= 2000:
      assert student_quantile(level, freedom) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("freedom", [1, 2, 3, 6, 15, 400])
def test_chi_square_is_that_of_scipy(freedom):
  for x in (0.0, 0.5, freedom, 2.0 * freedom, 30.0):
    assert chi_square_above(float(x), freedom) == pytest.approx(
      stats.chi2.sf(x, freedom), abs=1e-12
    )


def test_what_has_no_freedom_is_refused():
  with pytest.raises(ValueError, match="freedom is 0"):
    student_outside(1.0, 0)
  with pytest.raises(ValueError, match="level is 1"):
    student_quantile(1, 3)
  assert math.isnan(student_outside(math.nan, 3))
