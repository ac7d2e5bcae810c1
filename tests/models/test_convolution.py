import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.models import convolution
from ltx_jax.models.convolution import causal_conv, pad_space, pad_time
from ltx_jax.platforms import CPU
from tests import tolerance
from tests.models.vae_case import relative_error, weights

DIRECT = dataclasses.replace(CPU, convolution="direct")
# Winograd's filtering adds and subtracts numbers before and after it multiplies.
GROWTH = 8.0


MODES = {"zeros": "constant", "replicate": "edge", "reflect": "reflect"}
C, OUT = 5, 4


def operands(frames, height=6, width=4, c=C, out=OUT):
  rng = np.random.default_rng(0)
  shapes = (2, frames, height, width, c), (3, 3, 3, c, out), (out,)
  return [jnp.asarray(rng.standard_normal(s), jnp.float32) for s in shapes]


def reference(x, kernel, bias, strides, causal, padding):
  """The convolution in float64, one tap of the kernel at a time."""
  x, kernel, bias = (np.asarray(a, np.float64) for a in (x, kernel, bias))
  first, last = x[:, :1], x[:, -1:]
  x = np.concatenate([first, first, x] if causal else [first, x, last], axis=1)
  x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), mode=MODES[padding])
  t, y, z = strides
  sizes = [(n - 3) // s + 1 for n, s in zip(x.shape[1:4], strides, strict=True)]
  out = np.zeros((len(x), *sizes, len(bias))) + bias
  for i, j, k in itertools.product(range(3), repeat=3):
    tap = x[:, i::t, j::y, k::z][:, : sizes[0], : sizes[1], : sizes[2]]
    out += tap @ kernel[i, j, k]
  return out


def convolve(arrays, strides=(1, 1, 1), causal=True, padding="zeros", policy=DIRECT):
  return causal_conv(
    *arrays, strides=strides, causal=causal, padding=padding, policy=policy
  )


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("padding", MODES)
def test_padding(padding, causal):
  for frames in (1, 4):
    arrays = operands(frames)
    out = convolve(arrays, causal=causal, padding=padding)
    expected = reference(*arrays, (1, 1, 1), causal, padding)
    assert relative_error(out, expected) < tolerance.of_sums(27 * C)


def recorded_forms(monkeypatch):
  """The names of the forms chosen from now on, of the result and of both gradients."""
  used, choose = [], convolution._forms

  def recorded(*operands):
    found = choose(*operands)
    used.append(tuple(form.__name__ for form in found))
    return found

  monkeypatch.setattr(convolution, "_forms", recorded)
  return used


DENSE = ("frames", "frames_gradient", "taps_kernel_gradient")
WIDENING = ("frames", "taps_gradient", "taps_kernel_gradient")
FEW = ("taps", "taps_gradient", "taps_kernel_gradient")
WINOGRAD = ("by_winograd", "winograd_gradient", "winograd_kernel_gradient")
LARGE = {"height": 16, "width": 18, "c": 64, "out": 64}


@pytest.mark.parametrize(
  "shape, strides, forms",
  [
    ({"height": 2, "width": 2}, (1, 1, 1), FEW),  # 2 x 2 frames.
    ({"c": 700}, (1, 1, 1), FEW),  # Few positions.
    ({"c": 3, "out": 6}, (1, 1, 1), WIDENING),
    ({"c": 8, "out": 3}, (1, 1, 1), DENSE),
    ({"c": 8, "out": 3}, (2, 2, 2), DENSE),
    ({}, (1, 1, 1), DENSE),
    (LARGE, (1, 1, 1), WINOGRAD),  # Many positions and channels.
    (LARGE, (1, 2, 2), DENSE),  # But of other tiles than neighbours.
    (LARGE | {"c": 12, "out": 12}, (1, 1, 1), DENSE),
  ],
)
def test_measured_picks_forms_and_keeps_the_numbers(shape, strides, forms, monkeypatch):
  arrays = operands(5, **shape)

  def loss(arrays, policy):
    out = convolve(arrays, strides, padding="reflect", policy=policy)
    return (out * weights(out.shape)).sum(), out

  gradients, out = jax.grad(loss, has_aux=True)(arrays, DIRECT)
  used = recorded_forms(monkeypatch)
  ours, result = jax.grad(loss, has_aux=True)(arrays, CPU)
  assert set(used) == {forms}
  x, kernel, _ = arrays
  growth = GROWTH if forms == WINOGRAD else 1.0
  allowed = tolerance.of_sums(kernel[..., 0].size, growth=growth)
  assert relative_error(result, out) < allowed
  positions, taps = x[..., 0].size, kernel[..., 0, :].size
  for gradient, expected, terms in zip(
    ours, gradients, (taps, positions, positions), strict=True
  ):
    allowed = tolerance.of_sums(terms, growth=growth)
    assert relative_error(gradient, expected) < allowed


@pytest.mark.parametrize(
  "dtype", ["bfloat16", pytest.param("float16", marks=tolerance.FLOAT16)]
)
def test_halves_are_not_transformed(dtype, monkeypatch):
  used = recorded_forms(monkeypatch)
  arrays = [array.astype(dtype) for array in operands(5, **LARGE)]
  convolve(arrays, policy=CPU.in_dtype(dtype))
  assert used == [DENSE]


def test_a_kernels_gradient_is_one_product_in_a_loop():
  arrays = operands(5)

  def gradient(kernel):
    out = convolve((arrays[0], kernel, arrays[2]), policy=CPU)
    return (out * weights(out.shape)).sum()

  program = str(jax.make_jaxpr(jax.grad(gradient))(arrays[1]))
  # The other product sums the bias's gradient.
  assert program.count("dot_general[") == 2 and "length=27" in program


def test_one_frame_costs_one_frame():
  # The kernel's three time steps add up: a third of the work of padded frames.
  arrays = operands(1)
  program = str(jax.make_jaxpr(lambda a: convolve(a, policy=CPU))(arrays))
  assert program.count("conv_general_dilated[") == 1


def test_no_frame_sees_a_later_one():
  x, kernel, bias = operands(6)
  changed = x.at[:, 4].add(1.0)
  for strides, seen in (((1, 1, 1), 4), ((2, 1, 1), 2)):
    before = convolve((x, kernel, bias), strides)
    after = convolve((changed, kernel, bias), strides)
    np.testing.assert_array_equal(after[:, :seen], before[:, :seen])
    assert np.abs(after[:, seen] - before[:, seen]).max() > 1e-2
  around = convolve((changed, kernel, bias), causal=False)
  plain = convolve((x, kernel, bias), causal=False)
  np.testing.assert_array_equal(around[:, :3], plain[:, :3])
  assert np.abs(around[:, 3] - plain[:, 3]).max() > 1e-2


def test_padding_repeats_frames_and_adds_a_pixel():
  x = operands(3)[0]
  np.testing.assert_array_equal(pad_time(x, 3, True), x[:, jnp.array([0, 0, 0, 1, 2])])
  np.testing.assert_array_equal(pad_time(x, 3, False), x[:, jnp.array([0, 0, 1, 2, 2])])
  padded = pad_space(x, "zeros")
  assert padded.shape == (2, 3, 8, 6, C)
  assert not padded[:, :, 0].any() and not padded[:, :, :, -1].any()
  np.testing.assert_array_equal(padded[:, :, 1:-1, 1:-1], x)


def test_it_computes_in_the_policys_dtype():
  x, kernel, bias = operands(5)
  policy = dataclasses.replace(DIRECT, dtype="bfloat16")
  out = convolve((x.astype(jnp.bfloat16), kernel, bias), policy=policy)
  assert out.dtype == jnp.bfloat16
  assert relative_error(out, convolve((x, kernel, bias))) < 1e-2
