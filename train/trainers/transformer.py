"""The trainer of the transformer: the computation of a step, and the parts of a run.

xt   = (1 - sigma) x0 + sigma noise         sigma: shifted log-normal, tails filled
loss = |v(xt, text, sigma) - (noise - x0)|^2      mean over tokens, then over clips
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Array

from ltx_jax.checkpoints import lightricks
from ltx_jax.checkpoints.fingerprint import fingerprint
from ltx_jax.cli.command_line import errors_in_words
from ltx_jax.config import VAEConfig
from ltx_jax.config.runs import TransformerRun
from ltx_jax.data.buckets import tokens_of
from ltx_jax.data.loader import Loader
from ltx_jax.diffusion import objective
from ltx_jax.diffusion.conditioning import Beside
from ltx_jax.diffusion.latents import last_frame_coordinates, token_coordinates
from ltx_jax.models import text_encoder, transformer
from ltx_jax.parallel import distributed
from ltx_jax.parallel.mesh import make_mesh, own_rows
from ltx_jax.parallel.sharding import TEXT_RULES, TRANSFORMER_RULES
from ltx_jax.planning import flops
from ltx_jax.platforms import Policy, policy_of
from ltx_jax.training import lora, optim
from ltx_jax.training.optim import Metrics
from ltx_jax.training.state import Batch, TrainState, Update, advance, first_state
from ltx_jax.typing import EncodedText, Key, Params
from train.harness import (
  checks,
  data,
  dry_run,
  evaluation,
  fitting,
  following,
  loop,
  model,
  processes,
  start,
)
from train.harness.meter import Work, WorkOf
from train.harness.skipped import dropped

TextFn = Callable[[Params, Batch], EncodedText]
"""(parameters, batch) -> text input of the transformer."""

RULES = ((r"^empty/", PartitionSpec()), *TRANSFORMER_RULES, *TEXT_RULES)

SIGMA_BANDS = 5
"""Number of equal parts of [0, 1] into which the held-out loss is divided."""


def init_state(run: TransformerRun, key: Key) -> TrainState:
  """Returns the first state: the networks, or low-rank updates of one."""
  if run.lora.rank:
    params = {"lora": lora.init(key, run.transformer, run.lora)}
    return first_state(run.optimizer, run.steps, params, {})
  key_transformer, key_text = jax.random.split(key)
  params = {"transformer": transformer.init(run.transformer, key_transformer)}
  if run.text_encoder == "trained":
    params["text_encoder"] = text_encoder.init(run.text, key_text)
  return first_state(run.optimizer, run.steps, params, {})


def networks_of(run: TransformerRun, params: Params, frozen: Params) -> Params:
  """Returns the networks' parameters: trained ones, or a frozen base with updates."""
  if not run.lora.rank:
    return params
  base = frozen["base"]
  transformer = lora.joined(base["transformer"], params["lora"], run.lora)
  return base | {"transformer": transformer}


def _trained_text(run: TransformerRun, policy: Policy) -> TextFn:
  def encode(params: Params, batch: Batch) -> EncodedText:
    tokens, mask = batch["tokens"], batch["mask"]
    text = text_encoder.encode(params["text_encoder"], run.text, policy, tokens, mask)
    return text, mask

  return encode


def _frozen_text(run: TransformerRun, policy: Policy) -> TextFn:
  return lambda params, batch: (batch["text"], batch["mask"])


TEXT = {"trained": _trained_text, "frozen": _frozen_text}
"""(run, policy) -> TextFn, by `text_encoder`."""


def drop_captions(key: Key, batch: Batch, empty: Batch, probability: float) -> Batch:
  """Replaces some captions by "", which guidance leads away from.

  Args:
    empty: Arrays of a batch for the caption "", without the axis of rows.
  """
  drop = jax.random.bernoulli(key, probability, (len(batch["mask"]),))

  def choose(rows: Array, row: Array) -> Array:
    return jnp.where(drop.reshape(-1, *[1] * (rows.ndim - 1)), row, rows)

  return batch | {name: choose(batch[name], row) for name, row in empty.items()}


def clips_of(run: TransformerRun, vae: VAEConfig, batch: Batch) -> objective.Clips:
  """Returns the clips as tokens, at positions of their own frame rates."""
  places, fps, grids = batch["places"], batch["fps"], batch["grid"]
  factors = {
    "temporal_factor": vae.temporal_factor,
    "spatial_factor": vae.spatial_factor,
  }
  causal = run.transformer.causal_temporal_positioning
  coords = token_coordinates(places, fps, **factors, causal=causal)
  beside = []
  if "reference" in batch:
    # A reference belongs to the clip's own frames, and keeps the same tokens.
    beside.append(Beside(batch["reference"].astype(jnp.float32), coords))
  if "last" in batch:
    where = last_frame_coordinates(batch["last_places"], grids[:, 0], fps, **factors)
    beside.append(Beside(batch["last"].astype(jnp.float32), where))
  tokens = batch["latents"].astype(jnp.float32)
  return objective.Clips(tokens, coords, places, grids, tuple(beside))


def make_network(
  run: TransformerRun, policy: Policy
) -> Callable[[Params, Batch], objective.Network]:
  """Returns (parameters, batch) -> the velocity of the batch's clips."""
  module = transformer.Transformer(run.transformer, policy, run.remat or "none")
  text_fn = TEXT[run.text_encoder](run, policy)

  def network(params: Params, batch: Batch) -> objective.Network:
    text, mask = text_fn(params, batch)
    variables = {"params": params["transformer"]}
    return lambda xt, coords, levels: module.apply(
      variables, xt, coords, text, mask, levels
    )

  return network


def make_update(run: TransformerRun, policy: Policy, vae: VAEConfig) -> Update:
  """Returns `update(state, frozen, batch) -> (state, metrics)`, a pure function.

  The frozen parameters are the caption "" as `empty`, and the `base` of low-rank
  updates.
  """
  network = make_network(run, policy)

  def update(
    state: TrainState, frozen: Params, batch: Batch
  ) -> tuple[TrainState, Metrics]:
    key = jax.random.fold_in(jax.random.key(run.seed), state.step)

    def loss(params: Params, micro: Batch, key: Key) -> tuple[Array, Metrics]:
      clips = clips_of(run, vae, micro)
      velocity = network(networks_of(run, params, frozen), micro)
      losses = objective.loss(velocity, clips, key, run.flow, run.conditions)
      mean = jnp.mean(losses.loss)
      return mean, {"loss": mean}

    def gradients(params: Params, micro: Batch) -> tuple[Params, Metrics]:
      key_drop, key_loss = jax.random.split(jax.random.fold_in(key, micro["seed"][0]))
      dropout = run.flow.caption_dropout
      micro = drop_captions(key_drop, micro, frozen["empty"], dropout)
      return jax.grad(loss, has_aux=True)(params, micro, key_loss)

    count = run.optimizer.accumulate
    grads, metrics = optim.accumulate(gradients, state.params, batch, count)
    return advance(run.optimizer, run.steps, state, grads, metrics)

  return update


def make_held_out_losses(
  run: TransformerRun, policy: Policy, vae: VAEConfig
) -> evaluation.Losses:
  """Returns a function for the held-out loss by band of sigma, with fixed noise.

  A clip is used once per band, and the batch's clips at levels spread over the band.
  """
  network = make_network(run, policy)
  edges = np.linspace(0, 1, SIGMA_BANDS + 1)

  def losses(state: TrainState, frozen: Params, batch: Batch) -> Metrics:
    clips, count = clips_of(run, vae, batch), len(batch["seed"])
    velocity = network(networks_of(run, state.params, frozen), batch)
    places = (jnp.arange(count) + 0.5) / count

    def of_band(band: Array) -> Array:
      sigma = (band + places) / SIGMA_BANDS
      key = jax.random.fold_in(jax.random.key(batch["seed"][0]), band)
      return jnp.mean(objective.loss_at(velocity, clips, sigma, key).loss)

    bands = jax.lax.map(of_band, jnp.arange(SIGMA_BANDS))
    names = [f"loss_sigma_{a:.1f}_{b:.1f}" for a, b in itertools.pairwise(edges)]
    return {"loss": jnp.mean(bands)} | dict(zip(names, bands, strict=True))

  return losses


def clip_flops(run: TransformerRun, tokens: int, words: int) -> int:
  """Counts the operations of a clip's forward and backward pass."""
  forward = flops.velocity(run.transformer, tokens, words)
  if run.lora.rank:
    # Backwards a frozen product has one, for its input, and attention has two.
    updates = sum(
      2 * tokens * run.lora.rank * stack * (n_in + n_out)
      for stack, n_in, n_out in lora.layers(run.transformer, run.lora).values()
    )
    return 2 * forward + flops.attention(run.transformer, tokens, words) + 3 * updates
  if run.text_encoder == "trained":
    forward += flops.text_encoder(run.text, words)
  # Backwards every product has two: for its input, and for its weights.
  return 3 * forward


def work_of(run: TransformerRun) -> WorkOf:
  """Returns a function that counts a step's clips, tokens and operations."""

  def work(batch: Mapping[str, Array]) -> Work:
    clips, tokens = batch["latents"].shape[:2]
    beside = sum(
      batch[name].shape[1] for name in ("reference", "last") if name in batch
    )
    words = batch["mask"].shape[1]
    each = clip_flops(run, tokens + beside, words)
    return Work(clips, clips * tokens, clips * each)

  return work


def start_run(run: TransformerRun, dry: bool = False) -> None:
  """Trains or resumes, and writes the model; a dry run prints what it would do.

  Exits with a message on errors.
  """
  with processes.ends_at_once(), errors_in_words():
    processes.start(run)
    policy = policy_of(jax.devices()[0]).in_dtype(run.dtype)
    start.check_vae_is_there(run)
    config, params = lightricks.load_checkpoint(run.vae, "float32", parts=("vae",))
    vae = model.FrozenVAE(config.vae, params["vae"], policy)
    tokens = tokens_of(vae.config)
    # Everything that can be refused at once is refused before anything takes long.
    checks.check_outputs(model.outputs(run), model.inputs(run))
    checks.check_run(run, vae.config, tokens)
    checks.check_heads(run)
    checks.check_text(run)
    start.check_vae(run, config, vae.params)
    warm_start, base = start.transformer_start(run), start.base(run)
    records = data.open_records(run, fingerprint(vae.config, vae.params))
    run = data.with_buckets(run, records.trained, vae.config)
    checks.check_run(run, vae.config, tokens)
    mesh = make_mesh(**vars(run.mesh))
    loader = Loader(
      records.trained,
      run.stages,
      run.seed,
      tokens,
      own_rows=functools.partial(own_rows, mesh),
      token_dropping=run.token_dropping,
      beside=run.conditions.beside,
    )
    for line in (*dropped(run.data), *records.notes):
      processes.say(line)
    for warning in checks.flow_warnings(run, tokens):
      processes.say(f"Warning: {warning}")
    over = policy.for_training(mesh)
    memory = None if dry else fitting.device_memory(mesh)
    run = fitting.settle(run, over, mesh, vae.config, memory=memory, say=processes.say)
    if dry:
      shapes = jax.eval_shape(functools.partial(init_state, run), jax.random.key(0))
      return dry_run.show(run, loader, shapes.params)
    train(run, vae, records, loader, warm_start, base)


def train(
  run: TransformerRun,
  vae: model.FrozenVAE,
  records: data.RecordData,
  loader: Loader,
  warm_start: start.Start | None,
  base: Params,
) -> None:
  """Trains on records, and writes the model, or low-rank updates of the base."""
  mesh = make_mesh(**vars(run.mesh))
  policy = vae.policy.for_training(mesh)
  sampling = processes.alone(dataclasses.replace(vae.policy, mesh=policy.mesh))
  text_fn = TEXT[run.text_encoder](run, sampling)
  networks = functools.partial(networks_of, run, frozen={"base": base})

  def shown(state: TrainState) -> list[Params]:
    """Returns the networks to sample from: with low-rank updates, also the base."""
    learned = networks(state.ema or state.params)
    return [base, learned] if base else [learned]

  held_out = evaluation.held_out_batches(records.held_out, run.stages)
  losses = make_held_out_losses(run, policy, vae.config)
  state = loop.fit(
    run,
    init=functools.partial(init_state, run),
    update=make_update(run, policy, vae.config),
    loader=loader,
    rules=RULES,
    frozen={"empty": records.empty} | ({"base": base} if base else {}),
    options=policy.training_options,
    hooks=loop.Hooks(
      pictures=model.make_pictures(
        *(run, shown, vae, records.shown, sampling, text_fn),
        references=records.references,
      ),
      captions=records.captions[:-1],  # Without "", which has no row.
      evaluate=evaluation.make_evaluate(
        losses, held_out, mesh, policy.training_options
      ),
      work=work_of(run),
    ),
    warm_start=warm_start,
  )
  state = processes.shown(state)
  if distributed.is_first():
    print(f"Wrote {export(run, state, vae)}")
    print(following.curves(run.output.folder))
    if not run.lora.rank:
      print(model.how_to_sample(run, records.captions[0]))
  processes.wait_for_all("model written")


def export(run: TransformerRun, state: TrainState, vae: model.FrozenVAE) -> Path:
  """Writes the trained model, or its low-rank updates."""
  params = state.ema or state.params
  if run.lora.rank:
    return model.export_lora(run, params["lora"])
  return model.export(run, model.model_of(run, params, vae, vae.policy))
