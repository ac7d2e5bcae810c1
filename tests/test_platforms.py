"""Which kernels and dtypes a platform gets."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.models import transformer
from ltx_jax.parallel.mesh import make_mesh
from ltx_jax.platforms import CPU, GPU, T4, TPU, policy_for, policy_of, unless_flagged
from tests.models.transformer_case import shapes, with_width


@pytest.mark.parametrize("capability", ["6.0", "7.0", "7.5"])
def test_an_old_gpu_gets_no_fused_attention_and_no_bfloat16(capability):
  policy = policy_for("gpu", capability)
  assert (policy.name, policy.dtype, policy.attention) == ("gpu", "float16", "xla")


@pytest.mark.parametrize("capability", ["8.0", "9.0", "12.0", "gfx90a", None])
def test_newer_gpus_get_fused_attention_and_bfloat16(capability):
  assert policy_for("gpu", capability) == GPU


def test_a_device_says_its_capability():
  assert policy_of(jax.devices()[0]) == CPU
  old = types.SimpleNamespace(platform="gpu", compute_capability="7.5")
  assert policy_of(old) == T4


def test_kernels_are_those_of_a_dtype():
  assert policy_for("tpu").attention == "splash"
  assert TPU.in_dtype("float32").attention == "xla"
  assert GPU.in_dtype("float16").attention == "cudnn"


def test_in_training_fsdp_splits_rows_and_one_device_has_no_mesh():
  mesh = make_mesh(fsdp=4)
  policy = TPU.for_training(mesh)
  assert (policy.mesh, policy.rows) == (mesh, ("data", "fsdp"))
  assert policy.attention == "splash"
  assert policy.training_options == dict(TPU.mesh_options + TPU.step_options)
  assert TPU.training_options == dict(TPU.step_options)
  assert set(policy.options) & set(dict(TPU.step_options)) == set()
  alone = CPU.for_training(make_mesh())
  assert alone.mesh is None
  assert alone.training_options == dict(CPU.step_options) != {}
  assert TPU.rows == ("data",)


def test_what_xla_flags_say_is_not_said_otherwise(monkeypatch):
  options = {"xla_a": "1", "xla_a_b": "2"}
  monkeypatch.setenv("XLA_FLAGS", "--xla_a=0 --xla_c=1")
  assert unless_flagged(options) == {"xla_a_b": "2"}
  monkeypatch.delenv("XLA_FLAGS")
  assert unless_flagged(options) == options


def test_an_unknown_platform_is_refused():
  with pytest.raises(ValueError, match="'metal'; known are cpu, gpu, tpu"):
    policy_for("metal")


@pytest.mark.slow
def test_float16_does_not_overflow_at_full_width():
  """A channel of the stream that overflows float16, at the width of 2B."""
  config = with_width(32, 64, num_layers=1)
  rng = np.random.default_rng(0)
  some = rng.standard_normal(99991).astype(np.float32)  # A prime: no two rows agree.

  def fill(leaf):
    fan = leaf.shape[-2] if leaf.ndim > 1 else 1
    return np.resize(some, leaf.shape) * fan**-0.5

  params = jax.tree.map(fill, shapes(config))
  block = params["blocks"]
  # Each fits, and what cross-attention reads of them does not: 5e4 (1 + gate).
  params["patchify_proj"]["bias"][7] = block["attn1"]["to_out"]["bias"][0, 7] = 5e4
  block["scale_shift_table"][0, 2, 7] = 3
  n, m = 4, 3
  tokens = rng.standard_normal((1, n, config.in_channels)).astype(np.float32)
  text = rng.standard_normal((1, m, config.caption_channels)).astype(np.float32)
  coords = rng.uniform(0, 20, (1, n, 3)).astype(np.float32)
  inputs = tokens, coords, text, np.ones((1, m), bool), np.float32([0.5])

  def velocity(policy):
    module = transformer.Transformer(config, policy)
    cast = jax.tree.map(lambda x: jnp.asarray(x, policy.dtype), params)
    return np.asarray(jax.jit(module.apply)({"params": cast}, *inputs))

  exact = velocity(dataclasses.replace(CPU, unroll=False))
  ours = velocity(T4)
  assert np.isfinite(ours).all()
  assert np.abs(ours - exact).max() < 0.02 * np.abs(exact).max()


def test_what_xla_is_told_may_depend_on_a_mesh():
  assert TPU.options == {}
  meshed = dataclasses.replace(TPU, mesh=make_mesh(context=2))
  assert meshed.options == dict(TPU.mesh_options)
  assert CPU.options == dict(CPU.compiler_options) != {}
