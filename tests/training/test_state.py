"""How a step advances the state: held parts, averages, and non-finite values."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.config.runs import OptimizerConfig
from ltx_jax.training.state import advance, first_state

CONFIG = OptimizerConfig(learning_rate=0.1, warmup_steps=2, ema_decay=0.9)
STEPS = 20


def params(value=1.0):
  parts = ("encoder", "decoder")
  return {part: {"kernel": jnp.full((2, 2), value)} for part in parts}


def after(grads, config=CONFIG, loss=1.0, **options):
  state = first_state(config, STEPS, params(), {"seen": jnp.zeros(())})
  metrics = {"loss": jnp.asarray(loss)}
  return state, *advance(config, STEPS, state, grads, metrics, **options)


def assert_same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def test_parameters_average_and_extra_move():
  extra = {"seen": jnp.ones(())}
  old, new, metrics = after(params(0.5), extra=extra)
  assert int(new.step) == 1 and new.extra is extra
  change = new.params["encoder"]["kernel"] - old.params["encoder"]["kernel"]
  # Adam's first step has the size of the rate: half the peak, warming up. And decay.
  np.testing.assert_allclose(change, -0.05 * (1 + CONFIG.weight_decay), rtol=1e-4)
  average = new.ema["encoder"]["kernel"] - old.params["encoder"]["kernel"]
  np.testing.assert_allclose(average, 0.9 * change, rtol=1e-4)
  np.testing.assert_allclose(metrics["learning_rate"], 0.05)
  np.testing.assert_allclose(metrics["grad_norm"], np.sqrt(8 * 0.25), rtol=1e-6)
  assert "skipped" not in metrics


def test_held_parts_do_not_decay_either():
  old, new, _ = after(params(0.0), held=("encoder", "no_such_part"))
  assert_same(new.params["encoder"], old.params["encoder"])
  assert_same(new.ema["encoder"], old.ema["encoder"])
  assert (new.params["decoder"]["kernel"] < 1).all()


def test_without_an_average_none_is_kept():
  config = dataclasses.replace(CONFIG, ema_decay=0.0)
  assert after(params(), config)[1].ema == {}


@pytest.mark.parametrize(
  ("grads", "loss", "skipped"),
  [(1.0, 1.0, 0), (1.0, jnp.nan, 1), (jnp.inf, 1.0, 1)],
)
def test_what_is_not_finite_is_skipped_where_that_is_asked_for(grads, loss, skipped):
  skip = dataclasses.replace(CONFIG, not_finite="skip")
  extra = {"seen": jnp.ones(())}
  old, new, metrics = after(params(grads), skip, loss, extra=extra)
  assert metrics["skipped"] == skipped
  _, taken, _ = after(params(grads), CONFIG, loss, extra=extra)
  assert_same(new, old._replace(step=old.step + 1) if skipped else taken)
