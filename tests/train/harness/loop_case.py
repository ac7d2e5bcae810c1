"""A toy problem for the loop: its runs, batches and programs."""

import dataclasses
import functools
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np

from ltx_jax.config.distributed import DistributedConfig
from ltx_jax.config.runs import (
  MeshConfig,
  OptimizerConfig,
  OutputConfig,
)
from ltx_jax.training.state import advance, first_state
from train.harness import loop, steps

OPTIMIZER = OptimizerConfig(learning_rate=1e-2, warmup_steps=2, ema_decay=0.9)
RULES = ((r"kernel$", jax.sharding.PartitionSpec("fsdp", None)),)


@dataclasses.dataclass(frozen=True)
class Net:
  """The config of a network."""

  width: int = 8


@dataclasses.dataclass(frozen=True)
class Toy:
  """A run of a small regression."""

  output: OutputConfig
  optimizer: OptimizerConfig = OPTIMIZER
  mesh: MeshConfig = MeshConfig(1, 1)
  distributed: DistributedConfig = DistributedConfig()
  steps: int = 12
  seed: int = 0
  vae: Net | str = Net()
  text_encoder: str = "trained"

  @property
  def networks(self):
    return {"vae": dataclasses.asdict(self.vae), "text_encoder": self.text_encoder}


class Rows:
  """Batches of 8 rows, or of 8 and 16 in turn, numbered so that their order shows."""

  fingerprint = "rows-1"

  def __init__(self, bad_step=None, at_step=lambda step: None, sizes=(8,)):
    self.bad_step = bad_step
    self.at_step = at_step
    self.sizes = sizes

  def rows(self, step):
    return self.sizes[step % len(self.sizes)]

  def iterate(self, start, stop):
    for step in range(start, stop):
      self.at_step(step)
      rng = np.random.default_rng(step)
      x = rng.standard_normal((self.rows(step), 8), np.float32)
      if step == self.bad_step:
        x[0, 0] = np.nan
      yield {"x": x, "number": np.full(len(x), step, np.int32)}


def run_in(folder, data=1, fsdp=1, log_every=2, **options):
  output = OutputConfig(str(folder), log_every, sample_every=6, save_every=4)
  return Toy(output=output, mesh=MeshConfig(data, fsdp), **options)


def exhausted(*_):
  raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 B.")


class Crash(Exception):
  pass


def crash_at(step):
  def at_step(now):
    if now == step:
      raise Crash

  return at_step


@functools.cache  # The same functions compile once for all tests.
def programs(config, steps):
  """init, update and sample images of a two-layer network with noise in its inputs."""

  def init(key):
    a, b = jax.random.split(key)
    params = {
      "first": {"kernel": jax.random.normal(a, (8, 16)) / 3, "bias": jnp.zeros(16)},
      "second": {"kernel": jax.random.normal(b, (16, 1)) / 4},
    }
    return first_state(config, steps, params, {"order": jnp.zeros((), jnp.int32)})

  def loss_fn(params, batch, key, scale):
    x = batch["x"] + scale * jax.random.normal(key, batch["x"].shape)
    hidden = jnp.tanh(x @ params["first"]["kernel"] + params["first"]["bias"])
    error = hidden @ params["second"]["kernel"] - x.sum(1, keepdims=True)
    return jnp.mean(error**2)

  def update(state, frozen, batch):
    key = jax.random.fold_in(jax.random.key(1), state.step)
    value = jax.value_and_grad(loss_fn)
    loss, grads = value(state.params, batch, key, frozen["scale"])
    # A fingerprint of the batches and their order.
    order = {"order": state.extra["order"] * 31 + batch["number"][0]}
    return advance(config, steps, state, grads, {"loss": loss}, extra=order)

  def pictures(state, step):
    image = np.asarray(jax.device_get(state.params["first"]["kernel"])) > 0
    return {"kernel": np.repeat(image[..., None], 3, -1).astype(np.uint8) * 255}

  return {"init": init, "update": update, "pictures": pictures}


FROZEN = {"scale": np.float32(0.1), "kernel": np.zeros((8, 2), np.float32)}


def train(run, loader=None, **changed):
  functions = programs(run.optimizer, run.steps) | changed
  names = [field.name for field in dataclasses.fields(steps.Hooks)]
  hooks = steps.Hooks(**{n: functions.pop(n) for n in names if n in functions})
  options = {"rules": RULES, "frozen": FROZEN, "hooks": hooks} | functions
  return loop.fit(run, loader=loader or Rows(), **options)


def assert_equal(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def interrupt_at(step, number=signal.SIGTERM):
  def at_step(now):
    if now == step:
      os.kill(os.getpid(), number)

  return at_step
