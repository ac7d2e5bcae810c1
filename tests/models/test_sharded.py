"""Programs over eight devices, compared with one; and their communication."""

import dataclasses
import functools
import math
import re
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from ltx_jax import programs
from ltx_jax.models import attention, sharded
from ltx_jax.models.attention_splash import attend_by_splash
from ltx_jax.models.vae_layers import GroupNorm
from ltx_jax.parallel import sharding
from ltx_jax.parallel.mesh import make_mesh
from ltx_jax.platforms import CPU, TPU
from ltx_jax.typing import NoiseLevels
from tests.models import transformer_case as case
from tests.models import vae_case
from tests.policies import QUICK

MESH = make_mesh(data=2, context=4)
# One body of the loop over blocks, and the convolution of GPU and TPU.

_COLLECTIVE = re.compile(
  r" = (.*?) (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)"
  r"(?:-start)?\("
)


def traffic(compiled):
  """Lists the communication: (kind, shape of the result) and how often."""
  found = Counter()
  for result, kind in _COLLECTIVE.findall(compiled.as_text()):
    for shape in re.findall(r"\[([\d,]*)\]", result):
      found[kind, tuple(int(n) for n in shape.split(",") if n)] += 1
  return found


def on(policy, mesh):
  return dataclasses.replace(policy, mesh=mesh)


def split(params, mesh, rules=sharding.TRANSFORMER_RULES):
  return jax.device_put(params, sharding.shardings(params, mesh, rules))


def velocity(mesh):
  """Returns the program of a velocity of three clips of 7 tokens, and its result."""
  index = np.arange(case.B * case.N).reshape(case.B, case.N) % 3
  levels = np.linspace(0.2, 0.9, 3 * case.B, dtype=np.float32).reshape(case.B, 3)
  params = case.random_params()
  params = params if mesh is None else split(params, mesh)
  arguments = params, *case.inputs(), NoiseLevels(levels, index)
  program = programs.velocity(case.CONFIG, on(QUICK, mesh))
  compiled = program.lower(*arguments).compile()
  return compiled, compiled(*arguments)


@pytest.fixture(scope="module")
def expected():
  """The velocity by one device."""
  return velocity(None)[1]


@pytest.mark.parametrize(
  ("axes", "rows", "tokens", "expected"),
  [
    ({"data": 2, "context": 4}, 2, 8, (("data",), ("context",))),
    ({"data": 2, "context": 4}, 3, 8, ((), ("context", "data"))),
    ({"data": 2, "context": 2, "fsdp": 2}, 4, 8, (("data",), ("context", "fsdp"))),
    ({"data": 2, "context": 2, "tensor": 2}, 1, 8, ((), ("context", "data"))),
    ({"context": 8}, 3, 7, ((), ())),
    ({}, 4, 8, ((), ())),
  ],
)
def test_rows_are_split_where_they_divide_and_tokens_by_the_rest(
  axes, rows, tokens, expected
):
  assert sharded.stream_axes(on(CPU, make_mesh(**axes)), rows, tokens) == expected


@pytest.mark.parametrize(
  ("axes", "clips", "size", "expected"),
  [
    ({"data": 2, "context": 4}, 2, (8, 8), (("data",), ("context",), ())),
    ({"data": 2, "context": 4}, 1, (16, 8), ((), ("data", "context"), ())),
    ({"data": 2, "context": 4}, 1, (22, 38), ((), ("data",), ())),
    ({"data": 2, "context": 4}, 1, (44, 76), ((), ("data",), ("context",))),
    ({"data": 2, "context": 4}, 1, (88, 152), ((), ("data", "context"), ())),
    ({"tensor": 8}, 1, (15, 24), ((), (), ("tensor",))),
    ({"tensor": 8}, 3, (15, 26), ((), (), ())),
  ],
)
def test_frames_are_split_along_the_side_that_divides(axes, clips, size, expected):
  assert sharded.frame_axes(on(CPU, make_mesh(**axes)), clips, *size) == expected


def test_a_plan_counts_the_parts():
  assert sharded.parts_of_stream(CPU, 3) == (1, 1)
  assert sharded.parts_of_frames(CPU, 3, (8, 8)) == 1
  policy = on(CPU, MESH)
  assert sharded.parts_of_stream(policy, 2) == (2, 4)
  assert sharded.parts_of_stream(policy, 3) == (1, 8)
  assert sharded.parts_of_frames(policy, 1, (44, 76)) == 8
  assert sharded.parts_of_frames(policy, 1, (22, 38)) == 2


def test_tokens_are_padded_until_all_axes_divide_them():
  tokens, index, text = np.ones((2, 13, 3)), np.ones((2, 13), int), np.ones((2, 5))
  padded = sharded.pad_tokens((tokens, None, index, text), (2, 13), on(CPU, MESH))
  assert [x.shape for x in (padded[0], *padded[2:])] == [(2, 16, 3), (2, 16), (2, 5)]
  assert padded[1] is None and not padded[0][:, 13:].any()
  assert sharded.pad_tokens(tokens, (2, 13), CPU) is tokens


def test_three_rows_on_two_devices_split_their_tokens_instead(expected):
  """Seven tokens, one per device; only keys and values are gathered."""
  compiled, out = velocity(MESH)
  assert case.relative_error(out, expected) < 1e-4
  heads = case.CONFIG.num_attention_heads, case.CONFIG.attention_head_dim
  gathered = {shape: n for (kind, shape), n in traffic(compiled).items()}
  assert {kind for kind, _ in traffic(compiled)} <= {"all-gather", "collective-permute"}
  # Of a block; and the velocity itself. Tables of positions may change hands.
  assert gathered.pop((case.B, 8, *heads)) == 2
  assert gathered.pop((case.B, 8, case.CONFIG.out_channels)) == 1
  assert all(shape[0] == 1 for shape in gathered)


@pytest.mark.parametrize("count", [21, None])
def test_each_device_runs_the_kernel_of_tpus_on_its_share(monkeypatch, count):
  """The kernel is interpreted. Keys are left out as padding, or else masked."""
  kernel = functools.partial(attend_by_splash, interpret=True)
  monkeypatch.setitem(attention.IMPLEMENTATIONS, "splash", kernel)
  rng = np.random.default_rng(0)
  q, k, v = (
    jnp.asarray(rng.standard_normal((2, 24, 2, 8)), np.float32) for _ in range(3)
  )
  bias = None
  if count is None:
    bias = jnp.float32([[0] * 24, [0] * 4 + [-10000] * 20])
  mesh = make_mesh(data=2, context=2, tensor=2)
  policy = dataclasses.replace(TPU, mesh=mesh)

  def attend(q, k, v, bias):
    return sharded.attend(q, k, v, bias, policy, count)

  split = NamedSharding(mesh, P("data", "context", "tensor"))
  given = [jax.device_put(a, split) for a in (q, k, v)]
  compiled = jax.jit(attend).lower(*given, bias).compile()
  out = compiled(*given, bias)
  assert out.sharding.is_equivalent_to(split, out.ndim)
  expected = attention.attend_in_chunks(q, k[:, :count], v[:, :count], bias)
  np.testing.assert_allclose(out, expected, atol=2e-5)
  # Only keys and values are sent: those of one clip and head each.
  told = traffic(compiled)
  assert [(kind, math.prod(shape)) for kind, shape in told] == [("all-gather", 24 * 8)]
  assert set(told.values()) == {2}


def test_weights_are_gathered_a_block_at_a_time(expected):
  compiled, out = velocity(make_mesh(fsdp=4, context=2))
  assert case.relative_error(out, expected) < 1e-4
  told = traffic(compiled)
  sizes = {shape: n for (_, shape), n in told.items()}
  width = case.CONFIG.width
  assert {kind for kind, _ in told} == {"all-gather", "all-reduce"}
  assert sizes[width, 4 * width] == sizes[4 * width, width] == 1
  assert max(map(np.prod, sizes)) == 4 * width**2  # No stack of layers.


def test_a_decoder_tells_neighbours_the_edges_of_their_pixels():
  """Three rows by five: few devices at first, all of them at high resolution."""
  up = vae_case.SHORT_C.decoder_blocks[1]
  config = dataclasses.replace(vae_case.SHORT_C, decoder_blocks=(up, up))
  params = vae_case.random_params(config)
  latents = np.random.default_rng(0).standard_normal((1, 2, 3, 5, 8)).astype(np.float32)
  rest = latents, np.float32(0.05), None, np.float32(0), None
  expected = programs.decode(config, QUICK)(params, *rest)
  inputs = (split(params, MESH, sharding.VAE_RULES), *rest)
  compiled = programs.decode(config, on(QUICK, MESH)).lower(*inputs).compile()
  video = compiled(*inputs)
  np.testing.assert_allclose(video, expected, atol=1e-5)
  assert video.sharding.shard_shape(video.shape)[2:4] == (12, 10)
  told = traffic(compiled)
  assert "collective-permute" in {kind for kind, _ in told}
  # When more devices join, frames of the previous resolution are gathered.
  for kind, (_, _, rows, columns, _) in told:
    assert (rows, columns) == (3, 10) if kind == "all-gather" else 1 in (rows, columns)


def test_group_norm_sums_over_devices_and_gathers_nothing():
  module = GroupNorm(CPU)
  x = jax.random.normal(jax.random.key(1), (1, 2, 8, 3, 32))
  variables = module.init(jax.random.key(0), x)
  rows = NamedSharding(MESH, P(None, None, ("data", "context")))
  program = jax.jit(module.apply, out_shardings=rows)
  shared = jax.device_put(x, rows)
  compiled = program.lower(variables, shared).compile()
  expected = module.apply(variables, x)
  np.testing.assert_allclose(compiled(variables, shared), expected, atol=1e-5)
  assert {kind for kind, _ in traffic(compiled)} == {"all-reduce"}
