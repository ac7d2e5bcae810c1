"""`first_input_fn` returns the real input of the first block."""

import jax
import numpy as np
import pytest

from ltx_jax.models import transformer_layers
from ltx_jax.models.first_input import first_input_fn
from ltx_jax.platforms import CPU
from ltx_jax.typing import NoiseLevels
from tests.models.transformer_case import (
  CONFIG,
  SIGMA,
  inputs,
  network,
  random_params,
  relative_error,
)


@pytest.mark.parametrize("form", ["per_clip", "distinct"])
def test_it_is_what_the_network_makes_on_its_way(form, monkeypatch):
  params, (tokens, *rest) = random_params(), inputs()
  sigma = SIGMA
  if form == "distinct":
    index = np.arange(tokens.shape[1])[None].repeat(len(tokens), 0) % 2
    sigma = NoiseLevels(np.stack([SIGMA, SIGMA / 2], 1), index)
  made, original = [], transformer_layers.modulated

  def recorded(*arguments):
    out = original(*arguments)
    if not isinstance(out, jax.core.Tracer):
      made.append(np.asarray(out))
    return out

  monkeypatch.setattr(transformer_layers, "modulated", recorded)
  with jax.disable_jit():
    network(params)(tokens, *rest, sigma)
  assert len(made) == 2 * CONFIG.num_layers
  out = first_input_fn(CONFIG, CPU)(params, tokens, sigma)
  assert relative_error(out, made[0]) < 1e-5
  assert relative_error(out, made[2]) > 0.1
