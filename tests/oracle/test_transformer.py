"""The transformer, its gradients and its rotary tables against the PyTorch original."""

import math

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ltx_jax.models.rope import frequencies, rope_tables  # noqa: E402
from tests.models.transformer_case import (  # noqa: E402
  CONFIGS,
  SIGMA,
  SIGMAS,
  inputs,
  network,
  random_params,
  relative_error,
  weights,
  with_width,
)
from tests.oracle.make_golden_transformer import (  # noqa: E402
  official_state,
  reference_model,
  reference_tables,
  run_reference,
)


@pytest.mark.parametrize("form", SIGMAS)
@pytest.mark.parametrize("name", CONFIGS)
def test_velocity_and_gradients(name, form):
  config, sigma = CONFIGS[name], SIGMAS[form]
  params = random_params(config)
  tokens, coords, text, mask = inputs(config)

  def loss(params, tokens, text, sigma):
    out = network(params, config)(tokens, coords, text, mask, sigma)
    return (out * weights(config)).sum(), out

  grad = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2, 3), has_aux=True))
  (_, out), (gradients, *input_gradients) = grad(params, tokens, text, sigma)

  model = reference_model(config, params)
  reference, leaves = run_reference(model, tokens, coords, text, mask, sigma)
  (reference * torch.tensor(weights(config))).sum().backward()
  error = relative_error(out, reference.detach())
  assert error < 1e-4

  named = dict(model.named_parameters())
  state = official_state(gradients)
  assert state.keys() == named.keys()
  if config.qk_norm is None:
    # A bias of all text keys shifts a query's logits equally, so it has no gradient.
    for key in [key for key in state if "attn2.to_k.bias" in key]:
      assert state.pop(key).abs().max() < 1e-4
  errors = {key: relative_error(ours, named[key].grad) for key, ours in state.items()}
  for key, ours in zip(("tokens", "text", "sigma"), input_gradients, strict=True):
    errors[key] = relative_error(ours, leaves[key].grad)
  worst = max(errors, key=errors.get)
  print(f"{name} {form}: {error:.1e}, gradients {errors[worst]:.1e} ({worst})")
  assert errors[worst] < 1e-3, errors


def test_one_token():
  # The original fails on a single token, but two equal ones must give the same.
  config = CONFIGS["released"]
  params = random_params(config)
  tokens, coords, text, mask = inputs(config, n=1)
  out = network(params, config)(tokens, coords, text, mask, SIGMA)
  twice = tokens.repeat(2, axis=1), coords.repeat(2, axis=1)
  model = reference_model(config, params)
  reference, _ = run_reference(model, *twice, text, mask, SIGMA)
  assert relative_error(out, reference.detach()[:, :1]) < 1e-4


def _video_coords(frames, height, width, fps):
  """Positions [1 n 3] of a clip's tokens, computed in float32 as the original does."""
  grid = np.meshgrid(*(np.arange(s) for s in (frames, height, width)), indexing="ij")
  t, y, x = (axis.reshape(-1).astype(np.float32) for axis in grid)
  seconds = np.maximum(8 * t - 7, 0) * np.float32(1 / fps)
  return np.stack([seconds, 32 * y, 32 * x], axis=-1)[None].astype(np.float32)


@pytest.mark.parametrize("width", [64, 2048, 4096])
def test_rope_tables_of_a_video(width):
  coords, config = _video_coords(4, 6, 8, 25), with_width(width // 32, 32)
  exponents = torch.linspace(0, 1, width // 6)
  theirs = (10000.0**exponents * math.pi / 2).numpy()
  ours = frequencies(config)
  # Its power is not always the nearest float32, and depends on the processor.
  equal = ours == theirs
  assert equal.mean() > 0.97
  np.testing.assert_allclose(ours, theirs, rtol=2e-7)

  tables = jax.jit(rope_tables, static_argnums=1)(coords, config)
  equal = np.concatenate([np.ones(width % 6, bool), equal.repeat(6)])
  for part, table, reference in zip(
    ("cos", "sin"), tables, reference_tables(width, coords), strict=True
  ):
    difference = np.abs(np.asarray(table) - reference)
    error = relative_error(table, reference)
    exact = difference[..., equal].max()
    print(f"{width} {part}: {error:.1e}, {difference.max():.1e}, {exact:.1e}")
    assert exact < 1e-6
    assert error < 1e-4


def test_inverse_exponential_tables():
  # The original has this spacing if the width is a multiple of six.
  config = with_width(3, 32, rope_spacing="inverse_exponential")
  coords = _video_coords(4, 6, 8, 25)
  reference = reference_tables(config.width, coords, "exp_2")
  for ours, theirs in zip(rope_tables(coords, config), reference, strict=True):
    assert np.abs(np.asarray(ours) - theirs).max() < 1e-6
