"""Every recipe can be built, and traced from its first batch to its last, at full size.

Nothing is computed: shapes alone say whether networks, buckets and data go together.
"""

import dataclasses
import functools
import importlib
import math
import pathlib
import pkgutil

import jax
import jax.numpy as jnp
import pytest

import configs
from ltx_jax.checkpoints import keys
from ltx_jax.checkpoints.trees import flatten
from ltx_jax.config import VAE_C
from ltx_jax.config.lora import LoRAConfig
from ltx_jax.config.runs import TransformerRun, VAERun
from ltx_jax.data import buckets
from ltx_jax.releases.presets import ASSETS, PRESETS
from tests.policies import QUICK
from train.trainers import transformer, vae_step

NAMES = [module.name for module in pkgutil.iter_modules(configs.__path__)]
NAMES.remove("curation")  # Rules about footage, not a run.
MODULES = {name: importlib.import_module(f"configs.{name}") for name in NAMES}
WORDS = 16
KEY = jax.random.key(0)
SHIPPED_BYTES = 48e6
"""Largest size of the small model, in bfloat16 and with all its files."""


ALIKE = (
  *("moving_shapes_clips", "moving_shapes_decoder", "moving_shapes_images"),
  *("moving_shapes_long", "finetune_2b", "finetune_13b", "lora_13b"),
  *("moving_shapes_buckets", "moving_shapes_lora", "moving_shapes_ic_lora"),
)
"""Recipes that differ from others only in numbers."""


def with_function(function):
  return [
    pytest.param(name, marks=pytest.mark.slow if name in ALIKE else ())
    for name in NAMES
    if hasattr(MODULES[name], function)
  ]


def sized(run, tokens):
  """Every bucket of a run once, with its batch size."""
  every = [
    (group.smallest, group.batch_size)
    for stage in run.stages
    for group in buckets.groups_of(stage, tokens, run.token_dropping)
  ]
  return {(b.frames, b.height, b.width, size) for b, size in every}


def rows(count, dtype, *shape):
  return jax.ShapeDtypeStruct((count, *shape), dtype)


def numbers(tree):
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def check_step(update, state, frozen, batch, rate):
  """One update keeps the shapes of the state and gives scalars."""
  new, metrics = jax.eval_shape(update, state, frozen, batch)
  assert jax.tree.map(lambda x: (x.shape, x.dtype), new) == jax.tree.map(
    lambda x: (x.shape, x.dtype), state
  )
  assert {"loss", "grad_norm"} <= set(metrics)
  assert all(value.shape == () for value in metrics.values())
  assert bool(new.ema) == (rate > 0)


def test_every_module_is_a_recipe():
  assert {"moving_shapes", "tiny"} <= set(NAMES)
  for name in NAMES:
    functions = [f for f in ("vae", "transformer") if hasattr(MODULES[name], f)]
    assert functions
    for function in functions:
      assert f"python -m train.{function} {name}" in MODULES[name].__doc__


@pytest.mark.parametrize("name", with_function("vae"))
def test_vae(name):
  run = MODULES[name].vae()
  assert isinstance(run, VAERun)
  state = jax.eval_shape(functools.partial(vae_step.init_state, run), KEY)
  found = {path: leaf.shape for path, leaf in flatten(state.params).items()}
  expected = keys.tree_shapes(keys.vae_entries(run.vae))
  statistics = {path for path in expected if path.startswith("per_channel_statistics")}
  assert found == {p: s for p, s in expected.items() if p not in statistics}
  update = vae_step.make_update(run, QUICK)
  # The largest batch alone: to trace the step takes seconds.
  frames, height, width, count = max(
    sized(run, buckets.tokens_of(run.vae)), key=math.prod
  )
  batch = {
    "video": rows(count, jnp.uint8, frames, height, width, 3),
    "fps": rows(count, jnp.float32),
    "seed": rows(count, jnp.uint32),
  }
  check_step(update, state, {}, batch, run.optimizer.ema_decay)


@pytest.mark.parametrize("name", with_function("transformer"))
def test_transformer(name):
  run = MODULES[name].transformer()
  assert isinstance(run, TransformerRun)
  codec = VAE_C
  if hasattr(MODULES[name], "vae"):
    trained = MODULES[name].vae()
    codec = trained.vae
    assert run.vae == str(pathlib.Path(trained.output.folder) / "vae.safetensors")
  assert run.transformer.in_channels == codec.latent_channels
  state = jax.eval_shape(functools.partial(transformer.init_state, run), KEY)
  whole = dataclasses.replace(run, lora=LoRAConfig())
  base = jax.eval_shape(functools.partial(transformer.init_state, whole), KEY).params
  found = {p: leaf.shape for p, leaf in flatten(base["transformer"]).items()}
  assert found == keys.tree_shapes(keys.transformer_entries(run.transformer))

  update = transformer.make_update(run, QUICK, codec)
  words = (WORDS,) if run.text_encoder == "trained" else (WORDS, run.text.d_model)
  known = "tokens" if run.text_encoder == "trained" else "text"
  dtype = jnp.int32 if run.text_encoder == "trained" else jnp.bfloat16
  empty = {
    known: jax.ShapeDtypeStruct(words, dtype),
    "mask": jax.ShapeDtypeStruct((WORDS,), bool),
  }
  for *size, count in sized(run, buckets.tokens_of(codec)):
    grid = codec.latent_shape(*size)
    tokens = math.prod(grid)
    batch = {
      "latents": rows(count, jnp.bfloat16, tokens, codec.latent_channels),
      "places": rows(count, jnp.int32, tokens, 3),
      "grid": rows(count, jnp.int32, 3),
      "fps": rows(count, jnp.float32),
      "seed": rows(count, jnp.uint32),
      known: rows(count, dtype, *words),
      "mask": rows(count, bool, WORDS),
    }
    if run.conditions.reference:
      batch["reference"] = batch["latents"]
    check_step(
      update, state, {"empty": empty, "base": base}, batch, run.optimizer.ema_decay
    )
    # Positions beyond the maximum would leave the range that the tables are made for.
    factors = codec.temporal_factor, codec.spatial_factor
    last = (size[0] - 1) / run.fps, size[1] - factors[1], size[2] - factors[1]
    limits = run.transformer.positional_embedding_max_pos
    assert all(a < b for a, b in zip(last, limits, strict=True))


def test_the_small_model_is_small_and_is_what_the_preset_asks_for():
  recipe = MODULES["moving_shapes"]
  codec, run = recipe.vae(), recipe.transformer()
  params = [
    jax.eval_shape(functools.partial(init, r), KEY).params
    for init, r in ((vae_step.init_state, codec), (transformer.init_state, run))
  ]
  tokenizer = sum(
    path.stat().st_size for path in (ASSETS / "moving_shapes/tokenizer").iterdir()
  )
  assert 1e6 < numbers(params[0]) and 1e6 < numbers(params[1])
  assert 2 * numbers(params) + tokenizer < SHIPPED_BYTES
  # 32 x 32 pixels, 8 frames and 128 channels, as in the releases.
  assert (codec.vae.spatial_factor, codec.vae.temporal_factor) == (32, 8)
  assert codec.vae.latent_channels == 128
  preset = PRESETS[run.name].recipe
  size = (preset.frames, preset.height, preset.width)
  trained = {b[:3] for b in sized(run, buckets.tokens_of(codec.vae))}
  assert size in trained and preset.fps == run.fps
  assert pathlib.Path(run.text_folder).resolve() == (ASSETS / "moving_shapes").resolve()
