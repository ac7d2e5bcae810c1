"""Shared by the tests of both trainers: tiny runs, on one device or on a mesh."""

import dataclasses
import functools
import os
import pathlib
import signal

import jax
import numpy as np

from configs import tiny
from ltx_jax.config.runs import MeshConfig
from ltx_jax.models import vae as vae_lib
from ltx_jax.parallel import sharding
from ltx_jax.parallel.mesh import make_mesh, put_batch
from tests.policies import QUICK
from train.harness import loop
from train.harness.model import FrozenVAE

SINGLE = MeshConfig(data=1, fsdp=1)
EIGHT = MeshConfig(data=4, fsdp=2)


def policy_over(mesh):
  """The quick policy for a training step over a mesh."""
  return QUICK.for_training(make_mesh(**vars(mesh)))


def in_folder(run, folder):
  """The run on one device, writing into `folder`."""
  output = dataclasses.replace(run.output, folder=str(folder))
  return dataclasses.replace(run, output=output, mesh=SINGLE)


def with_optimizer(run, **changes):
  optimizer = dataclasses.replace(run.optimizer, **changes)
  return dataclasses.replace(run, optimizer=optimizer)


def place_of(run, name):
  """A file or folder of a run's own folder."""
  return pathlib.Path(run.output.folder) / name


class Interrupted:
  """A loader that has the process terminated when the batch of a step is asked for."""

  def __init__(self, loader, step):
    self.fingerprint = loader.fingerprint
    self._loader = loader
    self._step = step
    self.rows = loader.rows

  def iterate(self, start, stop):
    batches = self._loader.iterate(start, stop)
    for step, batch in zip(range(start, stop), batches, strict=True):
      if step == self._step:
        os.kill(os.getpid(), signal.SIGTERM)
      yield batch


def first_batch(loader, bucket):
  """The first batch of clips of one size."""
  return loader.batch(
    next(step for step in range(loader.steps) if loader.bucket_at(step) == bucket)
  )


def moved(state):
  """The state with every parameter moved a little, so that none is zero."""
  rng = np.random.default_rng(5)

  def move(leaf):
    return np.asarray(leaf) + rng.normal(0, 0.03, leaf.shape).astype(leaf.dtype)

  params = jax.tree.map(move, state.params)
  ema = jax.tree.map(np.copy, params) if state.ema else {}
  return state._replace(params=params, ema=ema)


def updates(update, state, batch, rules, mesh=SINGLE, frozen=None):
  """Yields (state, metrics) of one update after another, compiled as `fit` does."""
  mesh = make_mesh(**vars(mesh))
  target = sharding.abstract(jax.eval_shape(lambda: state), mesh, rules)
  step = loop.compile_update(update, target, mesh)
  # Copied: the update takes over its argument's buffers.
  state = jax.tree.map(
    lambda leaf, t: jax.device_put(np.array(leaf), t.sharding), state, target
  )
  batch = put_batch(mesh, batch)
  frozen = loop.place_frozen(frozen or {}, mesh, rules)
  while True:
    with jax.set_mesh(mesh):
      state, metrics = step(state, frozen, batch)
    yield jax.device_get((state, metrics))


def after(count, update, state, batch, rules, mesh=SINGLE, *, frozen=None):
  """(state, metrics) after `count` updates."""
  steps = updates(update, state, batch, rules, mesh, frozen)
  return [next(steps) for _ in range(count)][-1]


def distance(a, b):
  """Euclidean, between two trees."""
  squares = jax.tree.map(
    lambda x, y: np.sum((np.asarray(x, np.float64) - np.asarray(y, np.float64)) ** 2),
    a,
    b,
  )
  return float(np.sqrt(sum(jax.tree.leaves(squares))))


def assert_same_bits(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


@functools.cache
def frozen_vae():
  """A random VAE of the tiny config, with random statistics."""
  params = jax.jit(lambda key: vae_lib.init_vae(key, tiny.VAE))(jax.random.key(3))
  c = tiny.VAE.latent_channels
  params["per_channel_statistics"] = {
    "mean": np.linspace(-1, 1, c, dtype=np.float32),
    "std": np.linspace(0.5, 2, c, dtype=np.float32),
  }
  return FrozenVAE(tiny.VAE, params, QUICK)
