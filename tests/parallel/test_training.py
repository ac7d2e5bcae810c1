"""Gradients over eight devices equal those of one, however they are sharded."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from ltx_jax.models import transformer
from ltx_jax.parallel import sharding
from ltx_jax.parallel.mesh import make_mesh, put_batch
from ltx_jax.typing import NoiseLevels
from tests.models import transformer_case as case
from tests.policies import QUICK

CONFIG = case.with_width(4, 8, num_layers=2)
# Buckets of different shapes: (rows, tokens). Three axes leave four rows whole, and
# nine tokens are padded.
BUCKETS = ((8, 6), (4, 9))
ONE = {"data": 1}
THREE = {"data": 2, "fsdp": 2, "context": 2}


def batch(rows, tokens):
  rng = np.random.default_rng(rows)
  largest = np.array(CONFIG.positional_embedding_max_pos)
  return {
    "tokens": rng.standard_normal((rows, tokens, CONFIG.in_channels), np.float32),
    "coords": (rng.random((rows, tokens, 3)) * largest).astype(np.float32),
    "text": rng.standard_normal((rows, 5, CONFIG.caption_channels), np.float32),
    "mask": np.arange(5) < rng.integers(1, 6, (rows, 1)),
    "sigma": rng.random((rows, 2), np.float32),
    "index": rng.integers(0, 2, (rows, tokens), np.int32),
    "target": rng.standard_normal((rows, tokens, CONFIG.out_channels), np.float32),
  }


@functools.cache
def gradients(axes, remat, bucket):
  """The loss, and the gradient of every parameter."""
  mesh = make_mesh(**dict(axes))
  policy = QUICK.for_training(mesh)
  module = transformer.Transformer(CONFIG, policy, remat)

  def loss(params, batch):
    levels = NoiseLevels(batch["sigma"], batch["index"])
    inputs = (batch[name] for name in ("tokens", "coords", "text", "mask"))
    velocity = module.apply({"params": params}, *inputs, levels)
    return jnp.mean((velocity - batch["target"]) ** 2)

  params = case.random_params(CONFIG)
  split = sharding.shardings(params, mesh, sharding.TRANSFORMER_RULES)
  program = jax.jit(jax.value_and_grad(loss), out_shardings=(None, split))
  with jax.set_mesh(mesh):
    value, grads = program(
      jax.device_put(params, split), put_batch(mesh, batch(*bucket))
    )
  return value, {
    jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(grads)
  }


def assert_equal(found, expected):
  """Within 1e-5: the largest difference of a tensor over its largest number."""
  np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
  assert found[1].keys() == expected[1].keys()
  for path, leaf in expected[1].items():
    difference = np.abs(np.asarray(found[1][path]) - np.asarray(leaf)).max()
    largest = np.abs(leaf).max()
    # A bias that shifts all logits of a query alike has a gradient of rounding alone.
    assert difference <= 1e-5 * max(largest, 1e-3), (path, difference, largest)


@pytest.mark.parametrize(
  "bucket", [BUCKETS[0], pytest.param(BUCKETS[1], marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
  "axes",
  [
    {"data": 8},
    {"fsdp": 8},
    {"context": 8},
    {"tensor": 4},
    THREE,
    {"fsdp": 2, "context": 2, "tensor": 2},
  ],
)
def test_sharded_gradients_are_those_of_one_device(axes, bucket):
  found = gradients(tuple(axes.items()), "dots+attention", bucket)
  assert_equal(found, gradients(tuple(ONE.items()), "none", bucket))


@pytest.mark.parametrize("axes", [pytest.param(ONE, marks=pytest.mark.slow), THREE])
@pytest.mark.parametrize(
  "remat",
  ["full", *(pytest.param(n, marks=pytest.mark.slow) for n in ("dots", "attention"))],
)
def test_what_is_computed_again_gives_the_same_gradients(axes, remat):
  found = gradients(tuple(axes.items()), remat, BUCKETS[0])
  assert_equal(found, gradients(tuple(ONE.items()), "none", BUCKETS[0]))


def test_parameters_and_their_gradients_are_split_alike():
  axes = {"fsdp": 2, "context": 2, "tensor": 2}
  _, grads = gradients(tuple(axes.items()), "dots+attention", BUCKETS[0])
  kernel = grads["['blocks']['attn1']['to_q']['kernel']"]
  assert kernel.sharding.spec == P(None, "fsdp", "tensor")


def test_the_velocity_keeps_its_rows_split():
  """No device has all rows of the output, or receives another's activations."""
  mesh = make_mesh(fsdp=8)
  module = transformer.Transformer(CONFIG, QUICK.for_training(mesh))
  rows = put_batch(mesh, batch(8, 6))
  levels = NoiseLevels(rows["sigma"], rows["index"])
  inputs = [rows[name] for name in ("tokens", "coords", "text", "mask")]
  params = case.random_params(CONFIG)
  params = jax.device_put(params, jax.NamedSharding(mesh, P()))
  with jax.set_mesh(mesh):
    program = jax.jit(module.apply).lower({"params": params}, *inputs, levels)
    compiled = program.compile()
  out = compiled({"params": params}, *inputs, levels)
  assert out.sharding.shard_shape(out.shape) == (1, 6, CONFIG.out_channels)
  assert "all-gather" not in compiled.as_text()
  assert "all-reduce" not in compiled.as_text()
