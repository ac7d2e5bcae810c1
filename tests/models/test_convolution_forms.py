import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.models import convolution_forms as forms
from tests import tolerance
from tests.models.vae_case import relative_error, weights

C, OUT = 5, 4
STRIDES = [(1, 1, 1), (2, 1, 1), (1, 2, 2), (2, 2, 2)]
ALL = {
  "direct": forms.direct,
  "frames": forms.frames,
  "taps": forms.taps,
  "winograd": forms.by_winograd,
}
INPUT_GRADIENTS = {
  "frames": forms.frames_gradient,
  "taps": forms.taps_gradient,
  "winograd": forms.winograd_gradient,
}
KERNEL_GRADIENTS = {
  "taps": forms.taps_kernel_gradient,
  "winograd": forms.winograd_kernel_gradient,
}
# Winograd's filtering adds and subtracts numbers before and after it multiplies.
GROWTH = {"winograd": 8.0}


def cases(by_name):
  """Form, strides and border; Winograd's tiles have no strides."""
  return [
    pytest.param(name, strides, edge, id=f"{name}-{strides}-{edge}")
    for name in by_name
    for strides in STRIDES
    for edge in (0, 1)
    if name != "winograd" or strides == (1, 1, 1)
  ]


def operands(time_steps=3):
  rng = np.random.default_rng(0)
  shapes = (2, 7, 6, 5, C), (time_steps, 3, 3, C, OUT)
  return [jnp.asarray(rng.standard_normal(s), jnp.float32) for s in shapes]


def reference(x, kernel, strides, edge):
  """The convolution one tap of the kernel at a time."""
  x = jnp.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge), (0, 0)))
  size, (t, y, z) = kernel.shape[:3], strides
  f, h, w = (
    (n - k) // s + 1 for n, k, s in zip(x.shape[1:4], size, strides, strict=True)
  )
  return sum(
    x[:, i::t, j::y, k::z][:, :f, :h, :w] @ kernel[i, j, k]
    for i, j, k in np.ndindex(*size)
  )


def gradients(strides, edge):
  """The operands, a gradient of the result, and those that JAX takes from it."""
  x, kernel = operands()
  y, pull = jax.vjp(lambda *pair: reference(*pair, strides, edge), x, kernel)
  dy = jnp.asarray(weights(y.shape), jnp.float32)
  return (x, kernel, strides, edge, dy), *pull(dy)


@pytest.mark.parametrize("name, strides, edge", cases(ALL))
def test_every_form_is_the_sum_over_taps(name, strides, edge):
  x, kernel = operands()
  error = relative_error(
    ALL[name](x, kernel, strides, edge), reference(x, kernel, strides, edge)
  )
  assert error < tolerance.of_sums(27 * C, growth=GROWTH.get(name, 1.0))


@pytest.mark.parametrize("name", ["direct", "frames", "taps"])
def test_a_kernel_may_have_one_time_step(name):
  x, kernel = operands(time_steps=1)
  out = ALL[name](x, kernel, (1, 1, 1), 1)
  assert out.shape == (2, 7, 6, 5, OUT)
  error = relative_error(out, reference(x, kernel, (1, 1, 1), 1))
  assert error < tolerance.of_sums(9 * C)


@pytest.mark.parametrize("name, strides, edge", cases(INPUT_GRADIENTS))
def test_every_gradient_of_an_input_is_that_of_the_sum(name, strides, edge):
  given, dx, _ = gradients(strides, edge)
  error = relative_error(INPUT_GRADIENTS[name](*given), dx)
  assert error < tolerance.of_sums(27 * OUT, growth=GROWTH.get(name, 1.0))


@pytest.mark.parametrize("name, strides, edge", cases(KERNEL_GRADIENTS))
def test_every_gradient_of_a_kernel_is_that_of_the_sum(name, strides, edge):
  given, _, dk = gradients(strides, edge)
  error = relative_error(KERNEL_GRADIENTS[name](*given), dk)
  positions = given[-1][..., 0].size
  assert error < tolerance.of_sums(positions, growth=GROWTH.get(name, 1.0))
