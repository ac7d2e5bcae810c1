import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.models import winograd
from tests import tolerance
from tests.models.vae_case import relative_error, weights


def operands(size, c=5, out=4):
  rng = np.random.default_rng(0)
  padded = [side + 2 for side in size]
  shapes = (2, *padded, c), (3, 3, 3, c, out)
  return [jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes]


def reference(x, kernel):
  """One tap of the kernel at a time, in float64."""
  x, kernel = (np.asarray(a, np.float64) for a in (x, kernel))
  f, h, w = (side - 2 for side in x.shape[1:4])
  return sum(
    x[:, i : i + f, j : j + h, k : k + w] @ kernel[i, j, k]
    for i, j, k in np.ndindex(3, 3, 3)
  )


# Whole tiles, parts of tiles along each axis, smaller than a tile, and several rounds.
SIZES = [(4, 8, 4), (5, 8, 4), (4, 6, 4), (4, 8, 3), (5, 5, 5), (1, 1, 1), (6, 28, 30)]


@pytest.mark.parametrize("size", SIZES)
def test_it_is_the_sum_over_taps(size):
  x, kernel = operands(size)
  out = winograd.convolve(x, kernel)
  assert out.shape == (2, *size, 4)
  allowed = tolerance.of_sums(kernel[..., 0].size, growth=8.0)
  assert relative_error(out, reference(x, kernel)) < allowed


@pytest.mark.parametrize("size", SIZES)
def test_the_kernels_gradient_is_the_sum_over_positions(size):
  x, _ = operands(size)
  dy = jnp.asarray(weights((2, *size, 4)), jnp.float32)
  found = winograd.kernel_gradient(x, dy)
  f, h, w = size
  for i, j, k in np.ndindex(3, 3, 3):
    seen = np.asarray(x, np.float64)[:, i : i + f, j : j + h, k : k + w]
    expected = np.einsum("bfhwc,bfhwo->co", seen, np.asarray(dy, np.float64))
    allowed = tolerance.of_sums(dy[..., 0].size, growth=16.0)
    assert relative_error(found[i, j, k], expected) < allowed


def test_it_multiplies_9_times_where_taps_take_54():
  x, kernel = operands((4, 8, 4))
  program = jax.jit(winograd.convolve).lower(x, kernel).as_text()
  # Few tiles, so in one round: 144 products, of 2 clips x 2 x 2 x 1 tiles of 32.
  shapes = "(tensor<144x8x5xf32>, tensor<144x5x4xf32>) -> tensor<144x8x4xf32>"
  assert program.count("stablehlo.dot_general") == 1 and shapes in program


def test_it_can_be_differentiated():
  x, kernel = operands((5, 6, 3))
  scale = np.asarray(weights((2, 5, 6, 3, 4)), np.float64)
  dx, dk = jax.grad(lambda *a: (winograd.convolve(*a) * scale).sum(), (0, 1))(x, kernel)
  at, of = (1, 2, 3, 2, 1), (0, 1, 2, 3, 2)
  taps = [
    (tap, at[1] - tap[0], at[2] - tap[1], at[3] - tap[2]) for tap in np.ndindex(3, 3, 3)
  ]
  expected = sum(
    (scale[at[0], t, y, z] @ np.asarray(kernel, np.float64)[tap][at[4]])
    for tap, t, y, z in taps
    if min(t, y, z) >= 0 and t < 5 and y < 6 and z < 3
  )
  assert dx[at] == pytest.approx(expected, rel=1e-5)
  seen = np.asarray(x, np.float64)[
    :, of[0] : of[0] + 5, of[1] : of[1] + 6, of[2] : of[2] + 3
  ]
  assert dk[of] == pytest.approx((seen[..., of[3]] * scale[..., of[4]]).sum(), rel=1e-5)
