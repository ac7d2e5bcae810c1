"""The fused kernel of TPUs, interpreted, against attention by XLA."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.models.attention import attend_in_chunks
from ltx_jax.models.attention_splash import attend_by_splash

splash = functools.partial(attend_by_splash, interpret=True)
B, HEADS = 2, 2


def operands(n, m, x):
  rng = np.random.default_rng(0)
  shapes = (B, n, HEADS, x), (B, m, HEADS, x), (B, m, HEADS, x)
  q, k, v = (jnp.asarray(rng.standard_normal(s), jnp.float32) for s in shapes)
  bias = np.zeros((B, m), np.float32)
  bias[0, m // 2 :] = -10000
  return q, k, v, jnp.asarray(bias)


@pytest.mark.parametrize(
  ("n", "m", "x", "masked"),
  [
    (130, 9, 8, True),  # Both padded, the text masked.
    (128, 130, 8, False),  # Padded keys only: they must not be attended to.
    (128, 128, 128, False),  # A head as wide as the lanes: the other layout.
  ],
)
def test_matches_attention_by_xla(n, m, x, masked):
  q, k, v, bias = operands(n, m, x)
  bias = bias if masked else None
  out = splash(q, k, v, bias)
  assert out.shape == q.shape
  np.testing.assert_allclose(out, attend_in_chunks(q, k, v, bias), atol=2e-5)


def test_a_text_of_padding_alone_is_averaged_over():
  q, k, v, bias = operands(128, 128, 8)
  bias = bias.at[0].set(-10000)
  out = splash(q, k, v, bias)
  np.testing.assert_allclose(out, attend_in_chunks(q, k, v, bias), atol=1e-3)


def test_the_kernel_is_traced_without_all_logits():
  n = 1024
  shape = jax.ShapeDtypeStruct((1, n, HEADS, 64), jnp.bfloat16)
  jaxpr = jax.make_jaxpr(lambda q: attend_by_splash(q, q, q, None))(shape)
  sizes = [v.aval.size for e in jaxpr.jaxpr.eqns for v in e.outvars]
  assert max(sizes) < n * n


@pytest.mark.parametrize(
  ("n", "m", "x", "masked"), [(130, 9, 8, True), (9, 130, 8, False)]
)
def test_its_gradients_are_those_of_attention_by_xla(n, m, x, masked):
  q, k, v, bias = operands(n, m, x)
  weights = jnp.asarray(np.random.default_rng(1).standard_normal(q.shape), jnp.float32)

  def gradients(attend):
    def loss(q, k, v):
      return (weights * attend(q, k, v, bias if masked else None)).sum()

    return jax.jit(jax.grad(loss, (0, 1, 2)))(q, k, v)

  found, expected = gradients(splash), gradients(attend_in_chunks)
  for ours, reference in zip(found, expected, strict=True):
    largest = np.abs(reference).max()
    np.testing.assert_allclose(ours, reference, atol=1e-5 * largest)
