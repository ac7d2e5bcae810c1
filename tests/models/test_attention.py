import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.models.attention import attend, attend_in_chunks, keeps_attention

B, N, M, K, X = 2, 23, 9, 3, 4


def operands(n=N, m=M, x=X):
  rng = np.random.default_rng(0)
  shapes = ((B, n, K, x), (B, m, K, x), (B, m, K, x), (B, m))
  q, k, v, bias = (rng.standard_normal(s).astype(np.float32) for s in shapes)
  bias[:, -3:] = -10000
  return tuple(map(jnp.asarray, (q, k, v, bias)))


def reference(q, k, v, bias):
  """Attention in float64, one query and head at a time."""
  q, k, v, bias = (np.asarray(a, np.float64) for a in (q, k, v, bias))
  out = np.empty(q.shape)
  for b, n, h in np.ndindex(*q.shape[:3]):
    logits = k[b, :, h] @ q[b, n, h] / np.sqrt(X) + bias[b]
    p = np.exp(logits - logits.max())
    out[b, n, h] = p @ v[b, :, h] / p.sum()
  return out


def equations(jaxpr):
  """All of a program's, those of loops and of what it calls too.

  But for those of calls that give nothing: the compiler drops them.
  """
  for equation in (e for e in jaxpr.eqns if e.outvars):
    yield equation
    for inner in equation.params.values():
      if hasattr(inner, "eqns"):  # A jaxpr, closed or not.
        yield from equations(inner)


def largest_array(fn, *args):
  """The most elements of any array that the program makes."""
  found = equations(jax.make_jaxpr(fn)(*args).jaxpr)
  return max(v.aval.size for equation in found for v in equation.outvars)


# All 23 queries at once; 7 and 5 of them, which leaves a part of a chunk; one by one.
@pytest.mark.parametrize("queries", [100, 7, 5, 1])
def test_matches_plain_attention(queries):
  arrays = operands()
  out = attend_in_chunks(*arrays, logits_bytes=4 * B * K * M * queries)
  np.testing.assert_allclose(out, reference(*arrays), atol=2e-6)


def test_without_bias():
  q, k, v, bias = operands()
  out = attend(q, k, v, None, "xla")
  np.testing.assert_allclose(out, reference(q, k, v, 0 * bias), atol=2e-6)


def test_gradients_do_not_depend_on_chunks():
  q, k, v, bias = operands()
  weights = np.random.default_rng(1).standard_normal(q.shape)

  def loss(arrays, size):
    return (attend_in_chunks(*arrays, logits_bytes=size) * weights).sum()

  whole = jax.grad(loss)((q, k, v, bias), 2**20)
  chunked = jax.grad(loss)((q, k, v, bias), 4 * B * K * M * 5)
  for a, b in zip(whole, chunked, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_all_logits_are_never_in_memory():
  q = jnp.ones((1, 128, 2, 4))
  bound = 4 * 2 * 128 * 16  # Sixteen queries of 128.

  def chunked(q):
    return attend_in_chunks(q, q, q, None, logits_bytes=bound).sum()

  def whole(q):
    return attend_in_chunks(q, q, q, None).sum()

  assert largest_array(whole, q) == 2 * 128 * 128
  assert largest_array(chunked, q) == bound // 4
  assert largest_array(jax.grad(chunked), q) == bound // 4


def test_padding_only_is_averaged():
  q, k, v, _ = operands()
  out = attend(q, k, v, jnp.full((B, M), -10000.0), "xla")
  assert np.isfinite(out).all()
  np.testing.assert_allclose(out, reference(q, k, v, np.zeros((B, M))), atol=3e-3)


def test_huge_logits_do_not_overflow():
  q, k, v, bias = operands()
  out = attend(100 * q, 100 * k, v, bias, "xla")
  np.testing.assert_allclose(out, reference(100 * q, 100 * k, v, bias), atol=1e-2)


def test_bfloat16_sums_in_float32():
  q, k, v, bias = (jnp.asarray(a, jnp.bfloat16) for a in operands())
  out = attend(q, k, v, bias, "xla")
  assert out.dtype == jnp.bfloat16
  np.testing.assert_allclose(out, reference(q, k, v, bias), atol=2e-2)


def test_cudnn_refuses_float32():
  with pytest.raises(ValueError, match="'cudnn' got float32 queries"):
    attend(*operands(), "cudnn")


@pytest.mark.parametrize(
  ("n", "m", "x", "with_bias", "fused"),
  [
    (24, 10, 8, True, True),
    (24, 10, 128, True, True),
    (23, 9, 8, False, True),
    (23, 10, 8, True, False),  # Odd numbers of tokens have no gradient of a bias.
    (24, 9, 8, True, False),
    (24, 10, 4, False, False),  # Heads too narrow, of no multiple of 8, and too wide.
    (24, 10, 12, False, False),
    (24, 10, 136, False, False),
  ],
)
def test_cudnn_gets_what_it_takes(n, m, x, with_bias, fused, monkeypatch):
  # No GPU here: the wrapper's operands go to the same function's other implementation.
  function, calls = jax.nn.dot_product_attention, []

  def stand_in(q, k, v, *, bias, implementation):
    calls.append(implementation)
    assert bias is None or bias.shape == (B, 1, n, m) and bias.dtype == q.dtype
    return function(q, k, v, bias=bias, implementation="xla")

  monkeypatch.setattr(jax.nn, "dot_product_attention", stand_in)
  q, k, v, bias = (a.astype(jnp.bfloat16) for a in operands(n, m, x))
  bias = bias if with_bias else None
  ours, theirs = (attend(q, k, v, bias, name) for name in ("xla", "cudnn"))
  assert calls == (["cudnn"] if fused else [])
  np.testing.assert_allclose(theirs, ours, atol=2e-2)


@pytest.mark.parametrize("kernel", ["cudnn", "splash"])
def test_a_kernel_runs_once_forwards_where_what_it_gives_is_kept(kernel, monkeypatch):
  """Programs are traced only: neither kernel's processor is here."""
  from jax._src.cudnn import fused_attention_stablehlo

  monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91000)
  q = jnp.ones((1, 128, 2, 64), jnp.bfloat16)
  forward = {"cudnn": "dot_product_attention_fwd_wrapper", "splash": "pallas_call"}

  def runs(policy):
    @functools.partial(jax.checkpoint, policy=policy, prevent_cse=False)
    def block(q, weight):
      out = attend(q, q, q, None, kernel)
      return (out * weight).sum()  # Its gradient needs the result of attention.

    program = jax.make_jaxpr(jax.grad(block, (0, 1)))(q, q)
    names = [equation.primitive.name for equation in equations(program.jaxpr)]
    return names.count(forward[kernel])

  backward = 2 if kernel == "splash" else 0  # One for queries, one for keys and values.
  assert runs(jax.checkpoint_policies.nothing_saveable) - backward == 2
  assert runs(keeps_attention) - backward == 1
