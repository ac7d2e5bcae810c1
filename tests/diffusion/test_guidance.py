"""Identities of the rules of guidance, and against NumPy in float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.diffusion import guidance
from ltx_jax.diffusion.guidance import Guidance


@pytest.fixture
def predictions():
  """Unconditional, conditional, perturbed: of two clips, of different sizes."""
  shape = (3, 2, 5, 4)
  x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  return x * np.float32([1, 3])[:, None, None]


def test_scales_zero_one_and_beyond():
  rng = np.random.default_rng(0)
  cond, uncond = rng.normal(size=(2, 2, 3, 4)).astype(np.float32)
  guide = guidance.classifier_free
  np.testing.assert_allclose(guide(cond, uncond, 0.0), uncond, rtol=1e-6)
  np.testing.assert_allclose(guide(cond, uncond, 1.0), cond, rtol=1e-5, atol=1e-6)
  expected = uncond + 3 * (cond - uncond)
  np.testing.assert_allclose(guide(cond, uncond, 3.0), expected, rtol=1e-6)


def test_arithmetic_is_float32_for_bfloat16_predictions():
  cond = jnp.full((1, 1, 1), 1.0078125, jnp.bfloat16)
  uncond = jnp.ones((1, 1, 1), jnp.bfloat16)
  guided = guidance.classifier_free(cond, uncond, 1.5)
  assert guided.dtype == jnp.float32
  assert guided[0, 0, 0] == 1 + 1.5 * 0.0078125


def test_only_scales_above_one_need_the_unconditional_prediction():
  assert not guidance.needs_unconditional(0.0)
  assert not guidance.needs_unconditional(1.0)
  assert guidance.needs_unconditional(1.01)
  assert guidance.needs_unconditional((1.0, 6.0, 1.0))
  assert not guidance.needs_unconditional((1.0, 0.5))


def test_projection_leaves_what_is_orthogonal(predictions):
  uncond, cond, _ = predictions
  projected = np.asarray(guidance.project(cond, uncond))
  rest = ((cond - projected) * uncond).sum((1, 2))
  np.testing.assert_allclose(rest, 0, atol=1e-3)
  # Collinear with the projected velocity, whatever its size.
  np.testing.assert_allclose(guidance.project(cond, 7 * uncond), projected, rtol=1e-5)
  np.testing.assert_allclose(guidance.project(cond, cond), cond, rtol=1e-6)
  assert not np.isnan(guidance.project(cond, 0 * uncond)).any()


def test_rescaling_gives_each_clip_the_deviation_back(predictions):
  guided, cond, _ = predictions
  whole = np.asarray(guidance.rescale(5 * guided, cond, 1.0))
  deviations = [v.std((1, 2), ddof=1) for v in (whole, cond)]
  np.testing.assert_allclose(*deviations, rtol=1e-5)
  np.testing.assert_array_equal(guidance.rescale(guided, cond, 0.0), guided)
  half = guidance.rescale(guided, cond, 0.5)
  mean = (np.asarray(guidance.rescale(guided, cond, 1.0)) + guided) / 2
  np.testing.assert_allclose(half, mean, rtol=1e-5, atol=1e-6)


def test_nothing_is_rescaled_where_there_is_no_deviation():
  still = np.zeros((1, 2, 2), np.float32)
  np.testing.assert_array_equal(guidance.rescale(still, still, 0.0), still)


def reference(predictions, scale, star, stg, share):
  """One clip at a time, as the original does it."""
  clips = []
  for uncond, cond, perturbed in np.float64(predictions).swapaxes(0, 1):
    v = cond
    if scale is not None:
      if star:
        uncond = uncond * (cond * uncond).sum() / (uncond**2).sum()
      v = uncond + scale * (cond - uncond)
    if stg is not None:
      v = v + stg * (cond - perturbed)
    factor = share * cond.std(ddof=1) / v.std(ddof=1) + 1 - share
    clips.append(v * factor)
  return np.stack(clips)


@pytest.mark.parametrize("star", [False, True])
@pytest.mark.parametrize(
  ("scale", "stg", "share"),
  [(None, None, 0.0), (4.0, None, 0.0), (None, 2.0, 0.7), (4.0, 2.0, 0.7)],
)
def test_guide_is_the_rules_in_their_order(predictions, scale, star, stg, share):
  given = Guidance(scale, star, stg, share)
  used = [scale is not None, True, stg is not None]
  assert given.count == sum(used)
  out = guidance.guide([v for v, u in zip(predictions, used, strict=True) if u], given)
  expected = reference(predictions, scale, star, stg, share)
  np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
