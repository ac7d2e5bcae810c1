"""Trains the transformer by rectified flow on the latents of a frozen VAE.

    xt   = (1 - sigma) x0 + sigma noise         sigma: shifted log-normal, tails filled
    loss = |v(xt, text, sigma) - (noise - x0)|^2      mean over tokens, then over clips

Text-to-video and image-to-video are one model: of some clips the first latent frame is
given, its tokens at a low noise level of their own, and does not count in the loss. Of
some clips the caption is replaced by "", which is what guidance leads away from. A
small model trains its T5 encoder as well; the released ones keep theirs frozen.

    python -m train.transformer moving_shapes --vae runs/vae/vae.safetensors
"""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ltx_jax.checkpoints import arrays, lightricks, t5
from ltx_jax.checkpoints.trees import flatten
from ltx_jax.cli.command_line import errors_in_words
from ltx_jax.config import ModelConfig, VAEConfig
from ltx_jax.config.runs import Bucket, FlowConfig, TransformerRun
from ltx_jax.data.loader import Loader
from ltx_jax.diffusion import flow, timesteps
from ltx_jax.diffusion.latents import coordinates, patchify
from ltx_jax.models import text_encoder, transformer
from ltx_jax.moving_shapes import world
from ltx_jax.moving_shapes.source import Shapes
from ltx_jax.parallel.mesh import make_mesh
from ltx_jax.parallel.sharding import TEXT_RULES, TRANSFORMER_RULES
from ltx_jax.pipeline.model import LTXVideo
from ltx_jax.platforms import Policy, policy_of
from ltx_jax.releases.presets import recipe_for
from ltx_jax.training import optim
from ltx_jax.training.state import Metrics, TrainState
from ltx_jax.typing import Key, NoiseLevels, Params, Text, TextMask
from train import latents
from train.captions import Captions, caption_reader
from train.harness import checks, loop, recipe

Batch = dict[str, Array]
TextFn = Callable[[Params, Batch], tuple[Text, TextMask]]
"""(parameters, batch) -> what the transformer is told."""

Network = Callable[[Params, Batch, Array, Array, NoiseLevels], Array]
"""(parameters, batch, xt, coordinates, noise levels) -> velocity under its text."""


def init_state(run: TransformerRun, key: Key) -> TrainState:
  """The state before the first step."""
  key_transformer, key_text = jax.random.split(key)
  params = {"transformer": transformer.init(run.transformer, key_transformer)}
  if run.text_encoder == "trained":
    params["text_encoder"] = text_encoder.init(run.text, key_text)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    opt_state=optim.make_optimizer(run.optimizer, run.steps).init(params),
    ema=jax.tree.map(jnp.copy, params) if run.optimizer.ema_decay else {},
    extra={},
  )


def token_coordinates(
  run: TransformerRun, vae: latents.FrozenVAE, grid: tuple[int, int, int]
) -> Float[np.ndarray, "1 n 3"]:
  """Positions of a clip's tokens, which all clips of a batch share."""
  return coordinates(
    grid,
    run.fps,
    temporal_factor=vae.config.temporal_factor,
    spatial_factor=vae.config.spatial_factor,
    causal=run.transformer.causal_temporal_positioning,
  )[None]


def noise_levels(
  key: Key, clips: int, grid: tuple[int, int, int], config: FlowConfig
) -> tuple[NoiseLevels, Bool[Array, "b n"]]:
  """Draws each clip's noise level, and that of its first frame where it is given.

  Returns:
    The levels [b 2] with each token's choice [b n], and which tokens are given. An
    image, being nothing but a first frame, is never given.
  """
  key_sigma, key_given, key_first = jax.random.split(key, 3)
  tokens, first = int(np.prod(grid)), grid[1] * grid[2]
  mu = timesteps.token_shift(tokens)
  sigma = timesteps.sample(key_sigma, (clips,), mu, config.quantiles)
  probability = config.first_frame_probability if grid[0] > 1 else 0.0
  given = jax.random.bernoulli(key_given, probability, (clips,))
  low = config.first_frame_max_sigma * jax.random.uniform(key_first, (clips,))
  given = given[:, None] & (jnp.arange(tokens) < first)  # b n
  levels = jnp.stack([sigma, jnp.minimum(low, sigma)], axis=1)  # b 2
  return NoiseLevels(levels, given.astype(jnp.int32)), given


def drop_captions(key: Key, batch: Batch, empty: Captions, probability: float) -> Batch:
  """Replaces some captions by "", so that guidance has something to lead away from."""
  drop = jax.random.bernoulli(key, probability, (len(batch["text"]),))

  def choose(rows: Array, row: np.ndarray) -> Array:
    return jnp.where(drop.reshape(-1, *[1] * (rows.ndim - 1)), row, rows)

  return batch | {
    "text": choose(batch["text"], empty.rows[-1]),
    "mask": choose(batch["mask"], empty.mask[-1]),
  }


def make_network(run: TransformerRun, policy: Policy) -> Network:
  """Returns transformer and text as one function of the parameters."""
  module = transformer.Transformer(run.transformer, policy, run.remat or "none")
  text_fn = TEXT[run.text_encoder](run, policy)

  def velocity(
    params: Params, batch: Batch, xt: Array, coords: Array, levels: NoiseLevels
  ) -> Array:
    text, mask = text_fn(params, batch)
    variables = {"params": params["transformer"]}
    return module.apply(variables, xt, coords, text, mask, levels)

  return velocity


def loss_fn(
  params: Params,
  batch: Batch,
  key: Key,
  coords: Float[np.ndarray, "1 n 3"],
  network: Network,
  config: FlowConfig,
) -> tuple[Float[Array, ""], Metrics]:
  """The rectified-flow loss of a batch."""
  key_levels, key_noise = jax.random.split(key)
  clips, *grid = batch["latents"].shape[:4]
  x0 = patchify(batch["latents"])  # b n c
  levels, given = noise_levels(key_levels, clips, tuple(grid), config)
  sigma = jnp.take_along_axis(levels.sigma, levels.index, axis=1)  # b n
  noise = jax.random.normal(key_noise, x0.shape)
  xt = flow.interpolate(x0, noise, sigma)
  v = network(params, batch, xt, coords, levels)
  loss = flow.loss(v, flow.velocity(x0, noise), ~given)
  return loss, {"loss": loss}


def make_update(
  run: TransformerRun, policy: Policy, vae: latents.FrozenVAE, captions: Captions
) -> Callable:
  """Returns `update(state, batch) -> (state, metrics)`, a pure function."""
  optimizer = optim.make_optimizer(run.optimizer, run.steps)
  network = make_network(run, policy)

  def update(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    key = jax.random.fold_in(jax.random.key(run.seed), state.step)
    coords = token_coordinates(run, vae, batch["latents"].shape[1:4])

    def gradients(params: Params, micro: Batch) -> tuple[Params, Metrics]:
      key_drop, key_loss = jax.random.split(jax.random.fold_in(key, micro["seed"][0]))
      micro = drop_captions(key_drop, micro, captions, run.flow.caption_dropout)
      value = jax.grad(loss_fn, has_aux=True)
      return value(params, micro, key_loss, coords, network, run.flow)

    count = run.optimizer.accumulate
    grads, metrics = optim.accumulate(gradients, state.params, batch, count)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = jax.tree.map(jnp.add, state.params, updates)
    ema = state.ema
    if run.optimizer.ema_decay:
      ema = optim.update_ema(ema, params, run.optimizer.ema_decay, state.step)
    metrics |= {"grad_norm": optim.global_norm(grads)}
    old = state._replace(step=state.step + 1)
    new = TrainState(state.step + 1, params, opt_state, ema, state.extra)
    return optim.skip_not_finite(run.optimizer, old, new, metrics)

  return update


def _trained_text(run: TransformerRun, policy: Policy) -> TextFn:
  def encode(params: Params, batch: Batch) -> tuple[Text, TextMask]:
    tokens, mask = batch["text"], batch["mask"]
    text = text_encoder.encode(params["text_encoder"], run.text, policy, tokens, mask)
    return text, mask

  return encode


def _frozen_text(run: TransformerRun, policy: Policy) -> TextFn:
  return lambda params, batch: (batch["text"], batch["mask"])


TEXT = {"trained": _trained_text, "frozen": _frozen_text}
"""By `text_encoder`: (run, policy) -> TextFn."""


class _Encoded(Shapes):
  """Latents and texts of the small world's captions."""

  def __init__(
    self, run: TransformerRun, cached: latents.Cached, captions: Captions
  ) -> None:
    super().__init__()
    parts = run, cached, captions
    object.__setattr__(self, "parts", parts)
    made_by = f"{cached.fingerprint} {captions.fingerprint}"
    object.__setattr__(self, "fingerprint", made_by)

  def read(
    self, bucket: Bucket, ids: np.ndarray, seeds: np.ndarray
  ) -> dict[str, np.ndarray]:
    run, cached, captions = self.parts
    rows = cached.latents[latents.bucket_size(bucket)]
    return {
      "latents": rows[ids, seeds % run.variants],
      "fps": np.full(len(ids), run.fps, np.float32),
      "text": captions.rows[ids],
      "mask": captions.mask[ids],
      "seed": seeds,
    }


def make_loader(
  run: TransformerRun, cached: latents.Cached, captions: Captions
) -> Loader:
  """Batches of latents and text, a pure function of the step."""

  def tokens(bucket: Bucket) -> int:
    return int(np.prod(cached.latents[latents.bucket_size(bucket)].shape[2:5]))

  return Loader(_Encoded(run, cached, captions), run.stages, run.seed, tokens)


def model_of(
  run: TransformerRun, state: TrainState, vae: latents.FrozenVAE, policy: Policy
) -> LTXVideo:
  """The averaged parameters, if kept, as a model that generates from encoded text."""
  config = ModelConfig(
    transformer=run.transformer, vae=vae.config, scheduler=run.scheduler, name=run.name
  )
  params = dict(state.ema or state.params) | {"vae": vae.params}
  return LTXVideo(config, params, policy, recipe=recipe_for(config))


def shown_captions() -> list[str]:
  """Six captions never trained on, for the sample pictures, and "" for guidance."""
  captions = world.held_out_captions()
  return [*captions[:: len(captions) // 6][:6], ""]


def make_pictures(
  run: TransformerRun, vae: latents.FrozenVAE, captions: Captions, policy: Policy
) -> loop.Pictures:
  """Returns a function that generates the captions, the last being "", a row each."""
  bucket = run.stages[-1].buckets[0]
  text_fn = jax.jit(TEXT[run.text_encoder](run, policy))
  prompts = {"text": captions.rows, "mask": captions.mask}

  def pictures(state: TrainState, step: int) -> dict[str, np.ndarray]:
    model = model_of(run, state, vae, policy)
    text, mask = text_fn(model.params, prompts)
    videos = model.generate(
      (text[:-1], mask[:-1]),
      negative_prompt=(text[-1:], mask[-1:]),
      width=bucket.width,
      height=bucket.height,
      frames=bucket.frames,
      fps=run.fps,
    )
    shown = np.linspace(0, videos.shape[1] - 1, min(5, videos.shape[1])).astype(int)
    rows = [np.concatenate(list(video[shown]), axis=1) for video in videos]
    return {"samples": np.concatenate(rows, axis=0)}

  return pictures


def check_vae(run: TransformerRun, found: ModelConfig, params: Params) -> None:
  """Refuses a VAE other than that of the transformer: of this run, or where it starts.

  Args:
    found: The config in `run.vae`.
    params: The VAE's, float32.

  Raises:
    ValueError: naming both sources.
  """
  own = ModelConfig(transformer=run.transformer, vae=None, scheduler=run.scheduler)
  lightricks.check_same_latents(own, found, ("this run's config", run.vae))
  if not run.init_from:
    return
  path = str(Path(run.init_from) / "model.safetensors")
  first = lightricks.read_config(path)
  if first.vae is None:
    lightricks.check_same_latents(first, found, (path, run.vae))
    return
  _, weights = lightricks.load_checkpoint(path, parts=("vae",))
  ours, theirs = flatten(params), flatten(weights["vae"])
  if _without_extra(first.vae) != _without_extra(found.vae) or not all(
    # A model may be written in fewer bits than its VAE was trained in.
    np.array_equal(np.asarray(ours[name]).astype(leaf.dtype), leaf)
    for name, leaf in theirs.items()
  ):
    raise ValueError(
      f"{path} holds another VAE than {run.vae}, and its transformer knows the latents "
      f"of its own; take --vae {path}, or start from a model of the other VAE."
    )


def _without_extra(config: VAEConfig) -> VAEConfig:
  return dataclasses.replace(config, extra=())


def warm_start(run: TransformerRun) -> Callable[[TrainState], TrainState] | None:
  """Returns what puts the model of `run.init_from` into a first state, if one is named.

  Raises:
    ValueError: where that model's networks are others.
  """
  if not run.init_from:
    return None
  folder = Path(run.init_from)
  path = folder / "model.safetensors"
  encoder, with_text = folder / "text_encoder", run.text_encoder == "trained"
  if not checks.has_checkpoint(run.output):
    with lightricks.open_checkpoint(path, parts=("transformer",)) as opened:
      found = opened.config.transformer
    checks.check_same_network("transformer", found, run.transformer, str(path))
    if with_text:
      text = t5.load_config(encoder)
      checks.check_same_network("text encoder", text, run.text, str(folder))

  def start(state: TrainState) -> TrainState:
    parts = ("transformer",)
    _, weights = lightricks.load_checkpoint(path, "float32", arrays.on_host, parts)
    if with_text:
      _, weights["text_encoder"] = t5.load_t5(encoder, "float32", arrays.on_host)
    ema = jax.tree.map(np.copy, weights) if state.ema else {}
    return state._replace(params=weights, ema=ema)

  return start


def exported(run: TransformerRun) -> Path:
  """Returns the folder that the model is written to."""
  return Path(run.output.folder) / "model"


def export(run: TransformerRun, model: LTXVideo) -> Path:
  """Writes the model as it is released: one file, text encoder and tokenizer beside."""
  folder, source = exported(run), Path(run.text_folder)
  folder.mkdir(parents=True, exist_ok=True)
  params = jax.device_get(model.params)
  path = folder / "model.safetensors"
  lightricks.save_checkpoint(path, model.config, params, dtype="bfloat16")
  copied = ["tokenizer"]
  if run.text_encoder == "trained":
    text = params["text_encoder"]
    t5.save_t5(folder / "text_encoder", run.text, text, "bfloat16")
  else:
    copied.append("text_encoder")
  for name in copied:
    shutil.copytree(source / name, folder / name, dirs_exist_ok=True)
  return folder


def main() -> None:
  """Trains, or goes on training, and writes the model."""
  run = recipe.parse(TransformerRun, "transformer", __doc__)
  policy = policy_of(jax.devices()[0]).in_dtype(run.dtype)
  with errors_in_words():
    config, params = lightricks.load_checkpoint(run.vae, "float32", parts=("vae",))
    vae = latents.FrozenVAE(config.vae, params["vae"], policy)
    # All that can be refused at once is, before anything takes long.
    checks.check_run(run, vae.config, latents.tokens_of(vae.config))
    checks.check_heads(run)
    checks.check_outputs(
      [exported(run) / name for name in ("model.safetensors", "tokenizer")],
      [
        ("vae", run.vae),
        ("init_from", run.init_from and Path(run.init_from, "model.safetensors")),
        ("text_folder", Path(run.text_folder) / "tokenizer"),
      ],
    )
    steps = policy.for_training(make_mesh(**vars(run.mesh)))
    sampling = dataclasses.replace(policy, mesh=steps.mesh)
    check_vae(run, config, vae.params)
    start = warm_start(run)
    read = caption_reader(run, policy)
    captions = read([*world.train_captions(), ""])
    shown = read(shown_captions())
    del read  # And with it a frozen encoder's weights.
    cached = latents.load_or_encode(
      vae,
      [bucket for stage in run.stages for bucket in stage.buckets],
      world.train_captions(),
      run.variants,
      Path(run.output.folder) / "latents",
    )
    state = loop.fit(
      run,
      init=functools.partial(init_state, run),
      update=make_update(run, steps, vae, captions),
      loader=make_loader(run, cached, captions),
      rules=(*TRANSFORMER_RULES, *TEXT_RULES),
      options=steps.training_options,
      pictures=make_pictures(run, vae, shown, sampling),
      warm_start=start,
    )
    print(f"Wrote {export(run, model_of(run, state, vae, sampling))}")


if __name__ == "__main__":
  main()
