"""A recipe's step from shapes alone, to plan or compile it before it runs.

Nothing is allocated and no file is read, so the devices need not exist.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ltx_jax.checkpoints.quantization import quantize_params
from ltx_jax.config import VAEConfig
from ltx_jax.config.lora import LoRAConfig
from ltx_jax.config.perceptual import PERCEPTUAL
from ltx_jax.config.runs import Bucket, TransformerRun, VAERun
from ltx_jax.models.perceptual import init_perceptual
from ltx_jax.models.sharded import row_axes
from ltx_jax.parallel import sharding
from ltx_jax.parallel.sharding import TEXT_RULES, TRANSFORMER_RULES, VAE_TRAINING_RULES
from ltx_jax.planning.training import StepPlan, StepSize, plan_transformer
from ltx_jax.planning.vae_training import plan_vae
from ltx_jax.platforms import TRAINING_ROWS, Policy
from ltx_jax.training.state import TrainState
from ltx_jax.typing import Params


@dataclasses.dataclass(frozen=True)
class Abstract:
  """A step on one bucket, from shapes.

  Attributes:
    update: Update function, as the trainer makes it.
    arguments: Shapes on the mesh: the state, the frozen parameters, the batch.
    minimum: Floating-point operations of the mathematics, over all devices.
    plan: Memory plan of a step per device, by remat policy.
    tokens: Number of video tokens of a clip; None if the network does not attend to
      them.
  """

  update: Callable
  arguments: tuple[Any, ...]
  minimum: int
  plan: Callable[[str], StepPlan]
  tokens: int | None = None


def of_transformer(
  run: TransformerRun,
  policy: Policy,
  mesh: Mesh,
  bucket: Bucket,
  rows: int,
  latents: VAEConfig,
) -> Abstract:
  """Returns the transformer's step, with the longest text and all extra clips.

  Args:
    policy: How the platform runs the steps.
    mesh: Mesh that the steps run on, also for a single device, for which the policy
      has none.
    rows: Number of clips in a batch.
    latents: Config of the VAE that makes the latents.
  """
  from train.trainers import (
    transformer,  # Trainers plan by this module before they start.
  )

  grid = latents.latent_shape(bucket.frames, bucket.height, bucket.width)
  tokens, config, text = math.prod(grid), run.transformer, run.text.max_text_tokens
  rules = (*TRANSFORMER_RULES, *TEXT_RULES)
  state = _state(functools.partial(transformer.init_state, run), mesh, rules)
  width = (config.caption_channels,) if run.text_encoder == "frozen" else ()
  told = {"text": (text, *width, "bfloat16")} if width else {"tokens": (text, "int32")}
  told |= {"mask": (text, "bool")}
  clips = {"latents": (tokens, config.in_channels, "bfloat16"), "fps": ("float32",)}
  clips |= {"places": (tokens, 3, "int32"), "grid": (3, "int32")}
  beside = _beside(run, grid)
  batch = _rows(mesh, rows, clips | {"seed": ("uint32",)} | told | beside)
  tokens += sum(beside[name][0] for name in run.conditions.beside if name in beside)
  inputs = {"empty": _whole(mesh, told)} | _base(run, mesh, rules), batch
  size = StepSize(rows, tokens, text, run.optimizer.accumulate)
  return Abstract(
    transformer.make_update(run, policy, latents),
    (state, *inputs),
    rows * transformer.clip_flops(run, tokens, text),
    lambda remat: plan_transformer(config, policy, size, state, inputs, remat=remat),
    tokens,
  )


def _beside(run: TransformerRun, grid: tuple[int, int, int]) -> dict[str, tuple]:
  """Returns the extra arrays of clips of a grid, in batches that have all of them."""
  frames, of_frame = grid[0], grid[1] * grid[2]
  channels, names = run.transformer.in_channels, run.conditions.beside
  entries: dict[str, tuple] = {}
  if "reference" in names:
    entries["reference"] = frames * of_frame, channels, "bfloat16"
  if "last" in names and frames > 1:
    entries["last"] = of_frame, channels, "bfloat16"
    entries["last_places"] = of_frame, 2, "int32"
  return entries


def _base(run: TransformerRun, mesh: Mesh, rules: sharding.Rules) -> dict[str, Any]:
  """Returns the frozen networks under low-rank updates, as `start.base` reads them."""
  if not run.lora.rank:
    return {}
  from train.trainers import transformer

  whole = dataclasses.replace(run, lora=LoRAConfig())
  weights = run.lora.base_weights

  def base(key: jax.Array) -> Params:
    params = transformer.init_state(whole, key).params
    params = jax.tree.map(lambda leaf: leaf.astype(run.dtype), params)
    if weights is None:
      return params
    return params | quantize_params({"transformer": params["transformer"]}, weights)

  shapes = {"base": jax.eval_shape(base, jax.random.key(0))}
  return sharding.abstract(shapes, mesh, rules)


def of_vae(
  run: VAERun, policy: Policy, mesh: Mesh, bucket: Bucket, rows: int
) -> Abstract:
  """Returns the VAE's step; the arguments are those of `of_transformer`."""
  from train.trainers import vae, vae_step

  size = bucket.frames, bucket.height, bucket.width
  state = _state(functools.partial(vae_step.init_state, run), mesh, VAE_TRAINING_RULES)
  batch = {"video": (*size, 3, "uint8"), "fps": ("float32",), "seed": ("uint32",)}
  inputs = _perceptual(run, mesh), _rows(mesh, rows, batch)
  micro = rows // run.optimizer.accumulate
  return Abstract(
    vae_step.make_update(run, policy),
    (state, *inputs),
    rows * vae.clip_flops(run, size),
    lambda remat: plan_vae(run, policy, micro, size, state, inputs, remat=remat),
  )


def _perceptual(run: VAERun, mesh: Mesh) -> dict[str, Any]:
  """Returns the frozen network of LPIPS, as `trainers.vae.frozen_of` reads it."""
  if not run.loss.compares_features:
    return {}
  params = jax.eval_shape(init_perceptual, jax.random.key(0))
  return sharding.abstract({PERCEPTUAL: params}, mesh, VAE_TRAINING_RULES)


def _state(
  init: Callable[[jax.Array], TrainState], mesh: Mesh, rules: sharding.Rules
) -> TrainState:
  return sharding.abstract(jax.eval_shape(init, jax.random.key(0)), mesh, rules)


def _whole(mesh: Mesh, entries: dict[str, tuple]) -> dict[str, Any]:
  """Returns replicated arrays from their sizes and dtypes."""
  whole = NamedSharding(mesh, PartitionSpec())
  return {
    name: jax.ShapeDtypeStruct(tuple(sizes), dtype, sharding=whole)
    for name, (*sizes, dtype) in entries.items()
  }


def _rows(mesh: Mesh, rows: int, entries: dict[str, tuple]) -> dict[str, Any]:
  """Returns a batch on the mesh, from each row's sizes and dtype."""
  split = NamedSharding(mesh, PartitionSpec(row_axes(mesh, TRAINING_ROWS, rows)))
  return {
    name: jax.ShapeDtypeStruct((rows, *sizes), dtype, sharding=split)
    for name, (*sizes, dtype) in entries.items()
  }
