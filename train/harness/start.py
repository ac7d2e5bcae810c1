"""The start of a run from a checkpoint: reads its networks and checks them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from ltx_jax.checkpoints import arrays, lightricks, t5
from ltx_jax.checkpoints.discriminator import FILE, load_discriminator
from ltx_jax.checkpoints.quantization import quantizing
from ltx_jax.checkpoints.trees import flatten
from ltx_jax.config import ModelConfig, VAEConfig
from ltx_jax.config.adversarial import DISCRIMINATOR
from ltx_jax.config.runs import TransformerRun, VAERun
from ltx_jax.diffusion import statistics
from ltx_jax.training.state import TrainState
from ltx_jax.typing import Params
from train.harness.checks import check_same_network, has_checkpoint

Start = Callable[[TrainState], TrainState]
"""A first state -> the same with a checkpoint's parameters."""


def checkpoint_of(init_from: str) -> Path:
  """Returns the checkpoint that `init_from` names: a file, or that of a folder."""
  path = Path(init_from)
  return path if path.suffix == ".safetensors" else path / "model.safetensors"


def _with_params(state: TrainState, params: Params) -> TrainState:
  ema = jax.tree.map(np.copy, {name: params[name] for name in state.ema})
  return state._replace(params=params, ema=ema)


def vae_start(run: VAERun) -> Start | None:
  """Returns a function that puts the VAE of `run.init_from` into a first state, or
  None.

  Raises:
    ValueError: If that checkpoint's VAE is another network.
  """
  if not run.init_from:
    return None
  path, rival = run.init_from, Path(run.init_from).with_name(FILE)
  known = run.adversarial.weight > 0 and rival.is_file()
  if not has_checkpoint(run.output):
    with lightricks.open_checkpoint(path, parts=("vae",)) as opened:
      check_same_network("vae", opened.config.vae, run.vae, path)
    if known:
      load_discriminator(rival, run.adversarial, arrays.on_host)

  def start(state: TrainState) -> TrainState:
    parts = ("vae",)
    _, params = lightricks.load_checkpoint(path, "float32", arrays.on_host, parts)
    weights = params["vae"]
    moments = statistics.moments_of(weights.pop("per_channel_statistics"))
    weights |= {n: p for n, p in state.params.items() if n not in weights}
    if known:
      found = load_discriminator(rival, run.adversarial, arrays.on_host)
      weights[DISCRIMINATOR] = found
    return _with_params(state, weights)._replace(extra=moments)

  return start


def transformer_start(run: TransformerRun) -> Start | None:
  """Returns a function that puts the model of `run.init_from` into a first state, or
  None.

  Raises:
    ValueError: If that model's networks differ.
  """
  if not run.init_from or run.lora.rank:
    return None
  path = checkpoint_of(run.init_from)
  encoder, with_text = path.parent / "text_encoder", run.text_encoder == "trained"
  if not has_checkpoint(run.output):
    with lightricks.open_checkpoint(path, parts=("transformer",)) as opened:
      found = opened.config.transformer
    check_same_network("transformer", found, run.transformer, str(path))
    if with_text:
      text = t5.load_config(encoder)
      check_same_network("text encoder", text, run.text, str(path.parent))

  def start(state: TrainState) -> TrainState:
    parts = ("transformer",)
    _, weights = lightricks.load_checkpoint(path, "float32", arrays.on_host, parts)
    if with_text:
      _, weights["text_encoder"] = t5.load_t5(encoder, "float32", arrays.on_host)
    return _with_params(state, weights)

  return start


def base(run: TransformerRun) -> Params:
  """Returns the base networks of low-rank updates, on the host; {} without updates.

  They have the precision of the run; the transformer may be in 8 bits
  (`lora.base_weights`).

  Raises:
    ValueError: If the networks of `run.init_from` differ, or have numbers that are not
      finite.
  """
  if not run.lora.rank:
    return {}
  path = checkpoint_of(run.init_from)
  encoder, parts = path.parent / "text_encoder", ("transformer",)
  with lightricks.open_checkpoint(path, parts=parts) as opened:
    check_same_network(
      "transformer", opened.config.transformer, run.transformer, str(path)
    )
  place = quantizing(run.lora.base_weights, arrays.on_host)
  _, weights = lightricks.load_checkpoint(path, run.dtype, place, parts)
  if run.text_encoder == "trained":  # It was trained with the model; here it is frozen.
    text = t5.load_config(encoder)
    check_same_network("text encoder", text, run.text, str(path.parent))
    _, weights["text_encoder"] = t5.load_t5(encoder, run.dtype, arrays.on_host)
  return weights


def check_vae_is_there(run: TransformerRun) -> None:
  """Refuses a run whose VAE was not made yet, and says how to make it.

  Raises:
    ValueError: naming the path.
  """
  if not Path(run.vae).exists():
    raise ValueError(
      f"There is no VAE at {run.vae}. Train it first (python -m train.vae RECIPE), or "
      "give the checkpoint that train.precompute had as --model: --vae FILE. --help "
      "shows all commands of the recipe in their order."
    )


def check_vae(run: TransformerRun, found: ModelConfig, params: Params) -> None:
  """Refuses a VAE other than that of the run's or the starting transformer.

  Args:
    found: The config in `run.vae`.
    params: Parameters of that VAE, float32.

  Raises:
    ValueError: If it is another VAE; the message names both sources.
  """
  own = ModelConfig(transformer=run.transformer, vae=None, scheduler=run.scheduler)
  lightricks.check_same_latents(own, found, ("this run's config", run.vae))
  if not run.init_from:
    return
  path = str(checkpoint_of(run.init_from))
  first = lightricks.read_config(path)
  if first.vae is None:
    lightricks.check_same_latents(first, found, (path, run.vae))
    return
  _, weights = lightricks.load_checkpoint(path, parts=("vae",))
  ours, theirs = flatten(params), flatten(weights["vae"])
  if _without_extra(first.vae) != _without_extra(found.vae) or not all(
    # A model may be written with fewer bits than its VAE was trained with.
    np.array_equal(np.asarray(ours[name]).astype(leaf.dtype), leaf)
    for name, leaf in theirs.items()
  ):
    raise ValueError(
      f"{path} holds another VAE than {run.vae}, but its transformer knows only the "
      f"latents of its own; take --vae {path}, or start from a model of the other VAE."
    )


def _without_extra(config: VAEConfig) -> VAEConfig:
  return dataclasses.replace(config, extra=())
