import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.config import TRANSFORMER_2B, TRANSFORMER_13B
from ltx_jax.models import transformer
from ltx_jax.models.rope import rope_tables
from ltx_jax.platforms import CPU
from ltx_jax.typing import Branches, NoiseLevels, Perturbation
from tests.models.transformer_case import (
  CONFIG,
  CONFIGS,
  ROUNDING,
  SIGMA,
  SIGMAS,
  TOKEN_SIGMA,
  B,
  N,
  inputs,
  network,
  random_params,
  relative_error,
  shapes,
  weights,
)
from tests.policies import QUICK

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "transformer.npz"
BF16 = dataclasses.replace(QUICK, dtype="bfloat16")

# Checkpoints, sharding rules and optimisers rely on these names.
TREE = {
  "adaln_single/emb/timestep_embedder/linear_1/bias": (32,),
  "adaln_single/emb/timestep_embedder/linear_1/kernel": (256, 32),
  "adaln_single/emb/timestep_embedder/linear_2/bias": (32,),
  "adaln_single/emb/timestep_embedder/linear_2/kernel": (32, 32),
  "adaln_single/linear/bias": (192,),
  "adaln_single/linear/kernel": (32, 192),
  "blocks/attn1/k_norm/scale": (3, 32),
  "blocks/attn1/q_norm/scale": (3, 32),
  "blocks/attn1/to_k/bias": (3, 32),
  "blocks/attn1/to_k/kernel": (3, 32, 32),
  "blocks/attn1/to_out/bias": (3, 32),
  "blocks/attn1/to_out/kernel": (3, 32, 32),
  "blocks/attn1/to_q/bias": (3, 32),
  "blocks/attn1/to_q/kernel": (3, 32, 32),
  "blocks/attn1/to_v/bias": (3, 32),
  "blocks/attn1/to_v/kernel": (3, 32, 32),
  "blocks/attn2/k_norm/scale": (3, 32),
  "blocks/attn2/q_norm/scale": (3, 32),
  "blocks/attn2/to_k/bias": (3, 32),
  "blocks/attn2/to_k/kernel": (3, 32, 32),
  "blocks/attn2/to_out/bias": (3, 32),
  "blocks/attn2/to_out/kernel": (3, 32, 32),
  "blocks/attn2/to_q/bias": (3, 32),
  "blocks/attn2/to_q/kernel": (3, 32, 32),
  "blocks/attn2/to_v/bias": (3, 32),
  "blocks/attn2/to_v/kernel": (3, 32, 32),
  "blocks/ff/proj_in/bias": (3, 128),
  "blocks/ff/proj_in/kernel": (3, 32, 128),
  "blocks/ff/proj_out/bias": (3, 32),
  "blocks/ff/proj_out/kernel": (3, 128, 32),
  "blocks/scale_shift_table": (3, 6, 32),
  "caption_projection/linear_1/bias": (32,),
  "caption_projection/linear_1/kernel": (10, 32),
  "caption_projection/linear_2/bias": (32,),
  "caption_projection/linear_2/kernel": (32, 32),
  "patchify_proj/bias": (32,),
  "patchify_proj/kernel": (6, 32),
  "proj_out/bias": (6,),
  "proj_out/kernel": (32, 6),
  "scale_shift_table": (2, 32),
}


def leaves(tree):
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


@pytest.fixture(scope="module")
def params():
  return random_params()


@pytest.fixture(scope="module")
def golden():
  with np.load(GOLDEN) as arrays:
    return dict(arrays)


def velocity(params, sigma, config=CONFIG, policy=QUICK):
  def run(params, sigma):
    return network(params, config, policy)(*inputs(config), sigma)

  return jax.jit(run)(params, sigma)


@pytest.mark.parametrize(
  "name, form", [("released", "per_clip"), *((name, "per_token") for name in CONFIGS)]
)
def test_velocity_matches_the_original(name, form, golden):
  config = CONFIGS[name]
  out = velocity(random_params(config), SIGMAS[form], config)
  assert out.dtype == jnp.float32
  assert relative_error(out, golden[f"{name}/{form}"]) < 1e-4


def test_the_program_of_a_cpu_agrees(params):
  out = velocity(params, TOKEN_SIGMA)
  assert relative_error(velocity(params, TOKEN_SIGMA, policy=CPU), out) < 1e-5


@pytest.mark.parametrize("remat", transformer.REMAT_POLICIES)
def test_gradients_match_the_original(remat, params, golden):
  tokens, *rest = inputs()

  def loss(params, tokens):
    run = network(params, CONFIG, QUICK, remat)
    return (run(tokens, *rest, TOKEN_SIGMA) * weights()).sum()

  gradients, to_tokens = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, tokens)
  assert relative_error(to_tokens, golden["gradient/tokens"]) < 1e-3
  patchify = gradients["patchify_proj"]["kernel"]
  assert relative_error(patchify, golden["gradient/patchify_proj"]) < 1e-3
  to_k = gradients["blocks"]["attn2"]["to_k"]["kernel"]
  assert relative_error(to_k, golden["gradient/to_k"]) < 1e-3


@pytest.mark.slow
def test_remat_keeps_less():
  # Eight layers of 64 tokens, so that what is kept a layer outweighs the rest; in a
  # loop, since a CPU's compiler merges what unrolled layers compute twice.
  config = dataclasses.replace(CONFIG, num_layers=8)
  params = random_params(config)
  arrays = inputs(config, n=64)

  def kept(remat):
    def loss(params):
      return network(params, config, QUICK, remat)(*arrays, SIGMA).sum()

    compiled = jax.jit(jax.grad(loss)).lower(params).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  assert kept("full") < kept("dots") < kept("none")


def test_levels_of_tokens_are_levels_per_token(params):
  distinct = np.array([[0.0, 0.4, 0.9], [0.2, 0.1, 1.0], [0.5, 0.0, 0.3]], np.float32)
  index = np.random.default_rng(0).integers(0, 3, (B, N))
  index[:, :3] = np.arange(3)
  levels = NoiseLevels(distinct, index.astype(np.int32))
  each = velocity(params, np.take_along_axis(distinct, index, axis=1))
  assert relative_error(velocity(params, levels), each) < ROUNDING
  one = NoiseLevels(SIGMA[:, None], np.zeros((B, N), np.int32))
  assert relative_error(velocity(params, one), velocity(params, SIGMA)) < ROUNDING


@pytest.mark.parametrize("s", [1, 2])
def test_modulation_is_computed_once_a_level(params, s):
  sigma = NoiseLevels(np.zeros((B, s), np.float32), np.zeros((B, N), np.int32))
  program = str(jax.make_jaxpr(network(params, CONFIG, QUICK))(*inputs(), sigma))
  assert f"f32[{B * s},{6 * 32}]" in program
  assert f"f32[{B * N},{6 * 32}]" not in program and f"f32[{B},{N},6,32]" not in program


def test_steps_from_the_text_state(params):
  tokens, coords, text, mask = inputs()
  state = transformer.text_state(params, CONFIG, QUICK, text, mask)
  assert state.keys.shape == state.values.shape == (3, B, 5, 32)
  tables = rope_tables(coords, CONFIG)
  run = jax.jit(transformer.velocity_fn(CONFIG, QUICK))
  out = run(params, state, tokens, tables, TOKEN_SIGMA)
  assert relative_error(out, velocity(params, TOKEN_SIGMA)) < ROUNDING


@functools.cache
def _compiled_velocity():
  return jax.jit(transformer.velocity_fn(CONFIG, QUICK))


def perturbed_velocity(params, tokens=None, text=None, **masks):
  """Runs the network with some of the masks [l b] on, and the others off."""
  given, coords, *texts = inputs()
  state = transformer.text_state(params, CONFIG, QUICK, *texts)
  off = np.zeros((CONFIG.num_layers, B), bool)
  skips = Perturbation(**dict.fromkeys(Perturbation._fields, off) | masks)
  tokens = given if tokens is None else tokens
  tables = rope_tables(coords, CONFIG)
  return _compiled_velocity()(
    params, state, tokens, tables, SIGMA, Branches(text, skips)
  )


@pytest.mark.parametrize("field", Perturbation._fields)
def test_only_rows_that_are_masked_are_perturbed(params, field):
  plain = velocity(params, SIGMA)
  np.testing.assert_allclose(perturbed_velocity(params), plain, rtol=1e-5, atol=1e-5)
  mask = np.zeros((CONFIG.num_layers, B), bool)
  mask[1, 2] = True
  out = perturbed_velocity(params, **{field: mask})
  np.testing.assert_allclose(out[:2], plain[:2], rtol=1e-5, atol=1e-5)
  assert relative_error(out[2], plain[2]) > 1e-3


@pytest.mark.parametrize("field", ["values", "attention"])
def test_tokens_do_not_see_one_another_where_attention_is_replaced(params, field):
  tokens = inputs()[0]
  other = tokens.copy()
  other[:, 0] += 1
  mask = np.ones((CONFIG.num_layers, B), bool)
  mask[:, 2] = False
  one, two = (perturbed_velocity(params, x, **{field: mask}) for x in (tokens, other))
  np.testing.assert_array_equal(one[:2, 1:], two[:2, 1:])
  assert relative_error(one[2, 1:], two[2, 1:]) > 1e-4


def test_a_network_that_is_passed_by_whole_sees_no_text(params):
  mask = np.ones((CONFIG.num_layers, B), bool)
  one = perturbed_velocity(params, block=mask)
  two = perturbed_velocity(params, text=np.array([1, 0, 0], np.int32), block=mask)
  np.testing.assert_array_equal(one, two)


def test_rows_take_the_text_they_are_given(params):
  tokens, coords, text, mask = inputs()
  rows = np.array([1, 0, 1], np.int32)
  out = perturbed_velocity(params, text=rows)
  run = jax.jit(network(params, CONFIG, QUICK))
  expected = run(tokens, coords, text[rows], mask[rows], SIGMA)
  assert relative_error(out, expected) < ROUNDING


def test_clips_share_positions(params):
  tokens, coords, text, mask = inputs()
  run = jax.jit(network(params, CONFIG, QUICK))
  shared = run(tokens, coords[:1], text, mask, SIGMA)
  each = run(tokens, np.repeat(coords[:1], B, axis=0), text, mask, SIGMA)
  assert relative_error(shared, each) < ROUNDING


def test_padding_of_the_text_is_not_seen(params):
  tokens, coords, text, mask = inputs()
  run = jax.jit(network(params, CONFIG, QUICK))
  out = run(tokens, coords, text, mask, SIGMA)
  text = np.where(mask[..., None], text, text + 3).astype(np.float32)
  changed = run(tokens, coords, text, mask.astype(np.int32), SIGMA)
  np.testing.assert_array_equal(changed[:2], out[:2])
  # The last clip's text is all padding, and averaged over.
  assert relative_error(changed[2], out[2]) > 1e-3


def test_one_token(params):
  tokens, coords, text, mask = inputs(n=1)
  run = jax.jit(network(params, CONFIG, QUICK))
  out = run(tokens, coords, text, mask, SIGMA)
  twice = run(tokens.repeat(2, 1), coords.repeat(2, 1), text, mask, SIGMA)
  assert relative_error(out.repeat(2, axis=1), twice) < ROUNDING


def test_bfloat16(params):
  half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
  out = velocity(half, TOKEN_SIGMA, policy=BF16)
  assert out.dtype == jnp.float32
  assert relative_error(out, velocity(params, TOKEN_SIGMA)) < 0.05
  program = str(jax.make_jaxpr(network(half, CONFIG, BF16))(*inputs(), SIGMA))
  # The sums of the modulation are float32, without a float32 copy of its weights.
  assert f"f32[{B},{6 * 32}]" in program and f"f32[32,{6 * 32}]" not in program


def test_tree_is_golden():
  tree = shapes(CONFIG)
  assert type(tree) is dict and type(tree["blocks"]) is dict
  assert {path: leaf.shape for path, leaf in leaves(tree).items()} == TREE
  assert {leaf.dtype for leaf in jax.tree.leaves(tree)} == {jnp.dtype("float32")}


def test_options_without_parameters_have_none():
  plain = leaves(shapes(CONFIGS["no_qk_norm"]))
  assert TREE.keys() - plain.keys() == {path for path in TREE if "_norm" in path}
  unbiased = leaves(shapes(CONFIGS["no_attention_bias"]))
  missing = TREE.keys() - unbiased.keys()
  assert len(missing) == 6 and all("/to_" in path for path in missing)
  assert not any("to_out" in path for path in missing)


@pytest.mark.parametrize(
  "config, count", [(TRANSFORMER_2B, 1_923_385_472), (TRANSFORMER_13B, 13_042_569_344)]
)
def test_parameter_counts_of_the_releases(config, count):
  assert sum(leaf.size for leaf in jax.tree.leaves(shapes(config))) == count


def test_initial_values():
  config = dataclasses.replace(CONFIG, num_layers=2)
  init = jax.jit(functools.partial(transformer.init, config))
  params = init(jax.random.key(0))
  np.testing.assert_array_equal(velocity(params, SIGMA, config), 0)
  first, second = params["blocks"]["attn1"]["to_q"]["kernel"]
  assert relative_error(first, second) > 1
  assert np.std(first) == pytest.approx(np.sqrt(2 / (32 + 32)), rel=0.1)
  table = params["blocks"]["scale_shift_table"]
  assert np.std(table) == pytest.approx(32**-0.5, rel=0.15)
  again = init(jax.random.key(0))
  jax.tree.map(np.testing.assert_array_equal, again, params)


@pytest.mark.slow
def test_every_parameter_learns():
  # From the initial values, three steps of gradient descent move everything.
  config = dataclasses.replace(CONFIG, num_layers=2)
  init = jax.jit(functools.partial(transformer.init, config))
  start = params = init(jax.random.key(0))

  @jax.jit
  def step(params):
    def loss(params):
      out = network(params, config, QUICK)(*inputs(config), TOKEN_SIGMA)
      return ((out - weights(config)) ** 2).mean()

    return jax.tree.map(lambda p, g: p - g, params, jax.grad(loss)(params))

  for _ in range(3):
    params = step(params)
  moved = {
    path: float(jnp.abs(leaf - leaves(start)[path]).max())
    for path, leaf in leaves(params).items()
  }
  # A bias of all keys shifts a query's logits equally, unless keys are normed after it.
  assert min(moved.values()) > 0, moved


def test_text_of_another_width_is_refused():
  config = dataclasses.replace(CONFIG, cross_attention_dim=48)
  with pytest.raises(ValueError, match="cross_attention_dim = 48; .* must be 32"):
    shapes(config)


def test_unknown_remat_is_refused(params):
  run = network(params, CONFIG, QUICK, "some")
  with pytest.raises(ValueError, match="'some'; known are none, full, dots"):
    run(*inputs(), SIGMA)
