"""Optimisers: which weights decay, Muon, averages and accumulation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ltx_jax.checkpoints.trees import path_name
from ltx_jax.config.runs import OptimizerConfig
from ltx_jax.training import optim

CONFIG = OptimizerConfig(
  learning_rate=0.1, muon_learning_rate=0.2, warmup_steps=0, final_fraction=1.0
)
MUON = dataclasses.replace(CONFIG, name="muon", weight_decay=0.0)


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


def one_update(config, params, grads, steps=10):
  optimizer = optim.make_optimizer(config, steps)
  updates, _ = jax.jit(optimizer.update)(grads, optimizer.init(params), params)
  return updates


@pytest.mark.parametrize("kernel", [(6, 4), (3, 3, 3, 2, 4)])
def test_muon_treats_each_layer_of_a_stack_as_a_matrix_of_its_own(kernel):
  grads = normal(0, 3, *kernel)
  tree = {"stack": {"kernel": grads}}
  tree |= {str(layer): {"kernel": grads[layer]} for layer in range(3)}
  updates = one_update(MUON, jax.tree.map(jnp.zeros_like, tree), tree)
  for layer in range(3):
    alone = updates[str(layer)]["kernel"]
    stacked = updates["stack"]["kernel"][layer]
    np.testing.assert_allclose(stacked, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  "kernel", [(12, 8), (8, 12), (2, 12, 8), (3, 3, 3, 2, 4), (2, 3, 3, 3, 2, 4)]
)
def test_muon_updates_are_nearly_orthogonal(kernel):
  grads = normal(1, *kernel) * jnp.geomspace(0.1, 1, kernel[-1])
  update = one_update(
    MUON, {"a": {"kernel": jnp.zeros(kernel)}}, {"a": {"kernel": grads}}
  )["a"]["kernel"]
  layers = kernel[0] if len(kernel) in (3, 6) else 1
  matrices = np.asarray(update).reshape(layers, -1, kernel[-1])
  fan_in, fan_out = matrices.shape[1:]
  rate = MUON.muon_learning_rate * max(1.0, fan_out / fan_in) ** 0.5
  values = np.linalg.svd(matrices / rate, compute_uv=False)
  # Five Newton-Schulz steps bring every singular value near 1, not to it.
  assert values.min() > 0.6 and values.max() < 1.3
  before = np.linalg.svd(np.reshape(grads, matrices.shape), compute_uv=False)
  assert (before.max(-1) / before.min(-1)).min() > 4


def test_muon_updates_hidden_kernels_and_adamw_the_rest():
  names = {
    "encoder/conv_in/kernel": False,
    "encoder/down_blocks_0/res_blocks/conv1/kernel": True,
    "encoder/down_blocks_0/res_blocks/conv1/bias": False,
    "encoder/conv_out/kernel": True,
    "decoder/conv_out/kernel": False,
    "blocks/attn1/q_norm/scale": False,
    "blocks/scale_shift_table": False,
    "blocks/ff/proj_out/kernel": True,
    "transformer/blocks/ff/proj_out/kernel": True,
    "patchify_proj/kernel": False,
    "proj_out/kernel": False,
    "transformer/proj_out/kernel": False,
    "adaln_single/emb/timestep_embedder/linear_1/kernel": False,
    "adaln_single/emb/timestep_embedder/linear_2/kernel": True,
    "text_encoder/shared/embedding": False,
  }
  assert {name: optim.uses_muon(name) for name in names} == names


def test_muon_leaves_the_rest_exactly_to_adamw():
  params = {
    "conv_in": {"kernel": normal(0, 4, 4), "bias": normal(1, 4)},
    "proj_out": {"kernel": normal(2, 4, 3)},
  }
  grads = jax.tree.map(lambda x: jnp.sin(9 * x), params)
  muon = one_update(dataclasses.replace(CONFIG, name="muon"), params, grads)
  adamw = one_update(CONFIG, params, grads)
  np.testing.assert_array_equal(muon["conv_in"]["bias"], adamw["conv_in"]["bias"])
  np.testing.assert_array_equal(muon["proj_out"]["kernel"], adamw["proj_out"]["kernel"])
  assert not np.allclose(muon["conv_in"]["kernel"], adamw["conv_in"]["kernel"])


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_only_kernels_decay(name):
  params = {
    "a": {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4), "scale": jnp.ones(4)},
    "patchify_proj": {"kernel": jnp.ones((4, 4))},
    "scale_shift_table": jnp.ones((2, 4)),
    "shared": {"embedding": jnp.ones((5, 4))},
  }
  config = dataclasses.replace(CONFIG, name=name, weight_decay=0.5)
  updates = one_update(config, params, jax.tree.map(jnp.zeros_like, params))
  leaves, _ = jax.tree.flatten_with_path(updates)
  rates = {"a/kernel": 0.2 if name == "muon" else 0.1, "patchify_proj/kernel": 0.1}
  for path, update in leaves:
    path = path_name(path)
    np.testing.assert_allclose(update, -0.5 * rates.get(path, 0.0), rtol=1e-6)


def test_gradients_are_clipped_by_their_global_norm():
  # At epsilon-sized gradients Adam is linear, so that the scale shows.
  optimizer = optim.make_optimizer(CONFIG, 10)
  params = {"a": jnp.zeros(3), "b": jnp.zeros(4)}
  huge = {"a": jnp.full(3, 3e3), "b": jnp.full(4, 4e3)}
  _, state = optimizer.update(huge, optimizer.init(params), params)
  mu = optax.tree.get(state, "mu")
  norm = (3 * 9e6 + 4 * 16e6) ** 0.5
  np.testing.assert_allclose(mu["a"], 0.1 * 3e3 / norm, rtol=1e-5)


def test_learning_rate_warms_up_then_falls_to_its_fraction():
  config = OptimizerConfig(learning_rate=2.0, warmup_steps=4, final_fraction=0.1)
  rate = [float(optim.learning_rate(config, 20)(step)) for step in range(21)]
  assert rate[0] == 0.5 and rate[4] == 2.0
  np.testing.assert_allclose(rate[:5], np.linspace(0.5, 2.0, 5), rtol=1e-6)
  assert all(a > b for a, b in zip(rate[4:], rate[5:], strict=False))
  np.testing.assert_allclose(rate[12], 2.0 * 0.55, rtol=1e-6)  # Half-way down.
  np.testing.assert_allclose(rate[20], 0.2, rtol=1e-6)


@pytest.mark.parametrize(
  ("schedule", "half_way", "end"), [("linear", 1.1, 0.2), ("constant", 2.0, 2.0)]
)
def test_learning_rate_may_fall_along_a_line_or_stay(schedule, half_way, end):
  config = OptimizerConfig(
    learning_rate=2.0, warmup_steps=4, schedule=schedule, final_fraction=0.1
  )
  rate = optim.learning_rate(config, 20)
  np.testing.assert_allclose([rate(0), rate(4)], [0.5, 2.0], rtol=1e-6)
  np.testing.assert_allclose([rate(12), rate(20)], [half_way, end], rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 2])
def test_learning_rate_of_a_very_short_run_is_positive(steps):
  rate = optim.learning_rate(OptimizerConfig(warmup_steps=100), steps)
  assert all(float(rate(step)) > 0 for step in range(steps))


def test_a_warm_up_takes_at_most_half_of_a_run():
  config = OptimizerConfig(learning_rate=2.0, warmup_steps=100)
  assert [optim.warmup_of(config, steps) for steps in (1, 30, 200, 300)] == [
    *(0, 15, 100, 100)
  ]
  rate = optim.learning_rate(config, 30)
  assert float(rate(15)) == 2.0 > float(rate(16))


def test_unknown_optimizer_is_refused():
  config = dataclasses.replace(CONFIG)
  object.__setattr__(config, "name", "adam")
  with pytest.raises(ValueError, match="'adam'; known are adamw, muon"):
    optim.make_optimizer(config, 10)


def test_average_forgets_the_first_parameters_and_then_keeps_its_decay():
  def after(step):
    ema = optim.update_ema({"a": jnp.zeros(1)}, {"a": jnp.ones(1)}, 0.99, step)
    return float(ema["a"][0])

  np.testing.assert_allclose(after(jnp.asarray(0)), 0.9, rtol=1e-6)
  np.testing.assert_allclose(after(jnp.asarray(90)), 0.09, rtol=1e-5)
  np.testing.assert_allclose(after(jnp.asarray(10**6)), 0.01, rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_the_rate_of_an_update_follows_the_updates_that_were_made(name):
  config = dataclasses.replace(CONFIG, name=name)
  params = {"a": {"kernel": normal(0, 4, 4), "bias": normal(1, 4)}}
  optimizer = optim.make_optimizer(config, 50)
  state, schedule = optimizer.init(params), optim.learning_rate(config, 50)
  for count in range(3):
    found = optim.rate_of_update(config, 50, state)
    np.testing.assert_allclose(found, schedule(count), rtol=1e-6)
    _, state = optimizer.update(params, state, params)


def test_accumulated_gradients_are_those_of_the_whole_batch():
  def loss(params, batch):
    error = batch["x"] @ params["w"] - batch["y"]
    return jnp.mean(error**2), {"loss": jnp.mean(error**2), "y": batch["y"].mean()}

  grad_fn = jax.grad(loss, has_aux=True)
  params = {"w": normal(0, 3)}
  batch = {"x": normal(1, 12, 3), "y": normal(2, 12)}
  whole = optim.accumulate(grad_fn, params, batch, 1)
  for count in (2, 3, 12):
    parts = jax.jit(lambda p, b, n=count: optim.accumulate(grad_fn, p, b, n))
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
      parts(params, batch),
      whole,
    )


def test_accumulation_splits_random_keys_with_the_rows():
  def grad_fn(params, batch):
    draws = jax.vmap(lambda key: jax.random.normal(key))(batch["key"])
    return {"w": jnp.mean(draws)}, {}

  batch = {"key": jax.random.split(jax.random.key(0), 8)}
  whole, _ = optim.accumulate(grad_fn, {}, batch, 1)
  parts, _ = optim.accumulate(grad_fn, {}, batch, 4)
  np.testing.assert_allclose(parts["w"], whole["w"], rtol=1e-5)


@pytest.mark.parametrize("count", [0, 5])
def test_accumulation_refuses_a_count_that_does_not_divide(count):
  with pytest.raises(ValueError, match=f"accumulate is {count}.*12 rows"):
    optim.accumulate(lambda p, b: (p, {}), {}, {"x": jnp.zeros((12, 1))}, count)
