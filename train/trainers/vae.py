"""The trainer of the Video-VAE: the computation of a step, and the parts of a run.

    z       = mean + std noise                               (encoder)
    z_sigma = m + (1 - sigma)(z - m) + sigma s noise,  sigma ~ U[0, 0.2], one per clip
    x_hat   = D(z_sigma, sigma)
    loss    = MSE(x_hat, x) + a wavelet L1(x_hat, x) + b KL

m and s are the running mean and standard deviation of each channel of the encoder's
means (`diffusion.statistics`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ltx_jax.checkpoints.lightricks import save_checkpoint
from ltx_jax.cli.command_line import errors_in_words
from ltx_jax.config import ModelConfig, SchedulerConfig
from ltx_jax.config.runs import VAELossConfig, VAERun
from ltx_jax.data.buckets import tokens_of
from ltx_jax.data.loader import Loader
from ltx_jax.data.pixels import to_floats, to_uint8
from ltx_jax.diffusion import statistics
from ltx_jax.losses.reconstruction import kl_divergence, mse, psnr
from ltx_jax.losses.wavelet import wavelet_l1
from ltx_jax.models import vae as vae_lib
from ltx_jax.parallel import distributed
from ltx_jax.parallel.mesh import make_mesh, own_rows
from ltx_jax.parallel.sharding import VAE_RULES
from ltx_jax.planning import flops
from ltx_jax.platforms import Policy, policy_of
from ltx_jax.training import optim
from ltx_jax.training.optim import Metrics
from ltx_jax.training.state import Batch, TrainState, Update, advance, first_state
from ltx_jax.typing import Key, Params, Video
from train.harness import (
  checks,
  data,
  dry_run,
  evaluation,
  fitting,
  loop,
  processes,
)
from train.harness.meter import Work, WorkOf
from train.harness.skipped import Skipped
from train.harness.start import Start, vae_start
from train.harness.steps import News, Pictures

ENCODING = ("encoder", "quant_conv", "latent_norm_out")
"""Parts of the parameters that make the latents."""

MEASURED_BATCHES = 16
"""Number of last batches from which the statistics of averaged encoders are taken."""


def init_state(run: VAERun, key: Key) -> TrainState:
  """Returns the first state; statistics are stored next to the parameters."""
  params = vae_lib.init_vae(key, run.vae)
  del params["per_channel_statistics"]
  moments = statistics.initial(run.vae.latent_channels)
  return first_state(run.optimizer, run.steps, params, moments)


def wavelet_weight(config: VAELossConfig, step: Array) -> Float[Array, ""]:
  """Returns the wavelet weight: 0 before the ramp, `config.wavelet` after it."""
  start, end = config.wavelet_ramp
  return config.wavelet * jnp.clip((step - start) / max(end - start, 1), 0.0, 1.0)


def losses(
  params: Params, video: Video, key: Key, state: TrainState, run: VAERun, policy: Policy
) -> tuple[Float[Array, ""], tuple[Metrics, Params]]:
  """Returns the loss of a batch, its parts, and the moments of the encoder's means.

  Args:
    params: Parameters to differentiate.
    video: Pixels in [-1, 1].
    state: State whose step and running moments are used, but not its parameters.
  """
  key_z, key_sigma, key_noise, key_inject = jax.random.split(key, 4)
  if run.trained == "decoder":
    params = params | jax.lax.stop_gradient(_encoding(params))
  mean, logvar = vae_lib.encode_moments(params, run.vae, policy, video)
  z = mean + jnp.exp(0.5 * logvar) * jax.random.normal(key_z, mean.shape)
  sigma = jax.random.uniform(key_sigma, video.shape[:1], maxval=run.loss.max_sigma)
  noise = jax.random.normal(key_noise, z.shape)
  latents = statistics.statistics(state.extra)
  z_sigma = statistics.noisy_latents(z, latents, sigma, noise)
  output = vae_lib.decode(params, run.vae, policy, z_sigma, sigma, key_inject)

  squared = jnp.mean(mse(output, video))
  wavelet = jnp.mean(wavelet_l1(output, video))
  kl = jnp.mean(kl_divergence(mean, logvar))
  loss = (
    run.loss.mse * squared
    + wavelet_weight(run.loss, state.step) * wavelet
    + run.loss.kl * kl
  )
  metrics = {"loss": loss, "mse": squared, "wavelet": wavelet, "kl": kl}
  moments = statistics.moments(jax.lax.stop_gradient(mean))
  return loss, (metrics | {"psnr": psnr(squared)}, moments)


def _encoding(params: Params) -> Params:
  return {part: params[part] for part in ENCODING if part in params}


def make_update(run: VAERun, policy: Policy) -> Update:
  """Returns `update(state, frozen, batch) -> (state, metrics)`, a pure function."""

  def update(
    state: TrainState, frozen: Params, batch: Batch
  ) -> tuple[TrainState, Metrics]:
    key = jax.random.fold_in(jax.random.key(run.seed), state.step)

    def gradients(params: Params, micro: Batch) -> tuple[Params, tuple]:
      row_key = jax.random.fold_in(key, micro["seed"][0])
      value = jax.grad(losses, has_aux=True)
      return value(params, to_floats(micro["video"]), row_key, state, run, policy)

    grads, (metrics, moments) = optim.accumulate(
      gradients, state.params, batch, run.optimizer.accumulate
    )
    extra, held = moved_statistics(run, state, moments), ()
    if run.trained == "decoder":
      extra, held = state.extra, ENCODING
    std = statistics.statistics(extra)["std"]
    metrics |= {"latent_std_min": jnp.min(std), "latent_std_max": jnp.max(std)}
    more = {"extra": extra, "held": held}
    return advance(run.optimizer, run.steps, state, grads, metrics, **more)

  return update


def moved_statistics(run: VAERun, state: TrainState, moments: Params) -> Params:
  """Returns the running moments after a batch; a first run starts from nothing."""
  decay = run.loss.statistics_decay
  if not run.init_from:
    decay = statistics.early_decay(decay, state.step)
  return statistics.update(state.extra, moments, decay)


def work_of(run: VAERun) -> WorkOf:
  """Returns a function that counts a step's clips, tokens and operations."""

  def work(batch: Mapping[str, Array]) -> Work:
    clips, *size = batch["video"].shape[:4]
    grid = run.vae.latent_shape(*size)
    encoder, decoder = flops.encoder(run.vae, *size), flops.decoder(run.vae, *grid)
    # Backwards every product has two: for its input, and for its weights.
    encoder *= 3 if run.trained == "vae" else 1
    return Work(clips, clips * int(np.prod(grid)), clips * (encoder + 3 * decoder))

  return work


def held_out_losses(
  state: TrainState, frozen: Params, batch: Batch, *, run: VAERun, policy: Policy
) -> Metrics:
  """Returns the losses of held-out clips, always with the same noise."""
  key = jax.random.key(batch["seed"][0])
  _, (metrics, _) = losses(
    state.params, to_floats(batch["video"]), key, state, run, policy
  )
  return metrics


def exported_params(
  run: VAERun, policy: Policy, state: TrainState, batches: Iterable[Batch]
) -> Params:
  """Returns the parameters to export: averaged if kept, with their statistics.

  The running statistics belong to the latents that the parameters themselves encoded.
  An averaged encoder is another one, so its statistics are taken from these batches.
  """
  params, moments = state.ema or state.params, state.extra
  if state.ema and run.trained == "vae":

    @jax.jit
    def measure(params: Params, video: Array) -> Params:
      mean, _ = vae_lib.encode_moments(params, run.vae, policy, to_floats(video))
      return statistics.moments(mean)

    found = [measure(params, batch["video"]) for batch in batches]
    moments = jax.tree.map(lambda *rows: jnp.mean(jnp.stack(rows), 0), *found)
  return dict(params) | {"per_channel_statistics": statistics.statistics(moments)}


def remark(metrics: Mapping[str, float]) -> str | None:
  """Warns of a KL weight with which the latents drift; see `STD_RANGE`."""
  low, high = (metrics.get(f"latent_std_{end}", 1.0) for end in ("min", "max"))
  if statistics.STD_RANGE[0] <= low and high <= statistics.STD_RANGE[1]:
    return None
  return (
    f"the latents' std spans {low:.2f} to {high:.2f}, outside {statistics.STD_RANGE}; "
    "raise --loss.kl if it is too large, lower it if it is too small."
  )


def make_pictures(run: VAERun, policy: Policy, video: np.ndarray) -> Pictures:
  """Returns a function that shows clips before and after, two rows each.

  Args:
    video: uint8 [b F H W 3].
  """

  @jax.jit
  def reconstruct(params: Params, video: Array) -> Array:
    mean, _ = vae_lib.encode_moments(params, run.vae, policy, to_floats(video))
    sigma = jnp.zeros(video.shape[0])
    return vae_lib.decode(params, run.vae, policy, mean, sigma)

  def pictures(state: TrainState, step: int) -> dict[str, np.ndarray]:
    output = reconstruct(state.ema or state.params, video)
    output = to_uint8(np.asarray(output))
    frames = np.linspace(0, video.shape[1] - 1, 5).astype(int)
    rows = [
      np.concatenate(list(clip[frames]), axis=1)
      for pair in zip(video, output, strict=True)
      for clip in pair
    ]
    return {"reconstruction": np.concatenate(rows, axis=0)}

  return pictures


def exported(run: VAERun) -> Path:
  """Returns the file where the VAE is written."""
  return Path(run.output.folder) / "vae.safetensors"


def export(run: VAERun, params: Params) -> Path:
  """Writes the VAE in the released single-file layout and returns its path."""
  path = exported(run)
  config = ModelConfig(transformer=None, vae=run.vae, scheduler=SchedulerConfig())
  save_checkpoint(path, config, {"vae": jax.device_get(params)}, dtype="float32")
  return path


def shown_clips(held_out: Mapping[str, Batch], run: VAERun) -> np.ndarray:
  """Returns the held-out clips to sample: up to four of the last stage's size."""
  b = run.stages[-1].buckets[0]
  name = f"{b.frames}x{b.height}x{b.width}"
  return held_out.get(name, next(iter(held_out.values())))["video"][:4]


def start_run(run: VAERun, dry: bool = False) -> None:
  """Trains or resumes, and writes the VAE; a dry run prints what it would do.

  Exits with a message on errors.
  """
  tokens = tokens_of(run.vae)
  with processes.ends_at_once(), errors_in_words():
    processes.start(run)
    checks.check_run(run, run.vae, tokens)
    if run.trained == "decoder" and not run.init_from:
      raise ValueError(
        "--trained decoder keeps the encoder unchanged; without --init-from that is "
        "a random one; name the checkpoint of a VAE."
      )
    checks.check_outputs([exported(run)], [("init_from", run.init_from)])
    clips = data.open_clips(run)
    run = data.with_buckets(run, clips.trained, run.vae)
    checks.check_run(run, run.vae, tokens)
    skipped = Skipped(clips, run.stages)
    for line in skipped.news():
      processes.say(line)
    mesh = make_mesh(**vars(run.mesh))
    own = functools.partial(own_rows, mesh)
    loader = Loader(clips.trained, run.stages, run.seed, tokens, own)
    policy = policy_of(jax.devices()[0]).in_dtype(run.dtype).for_training(mesh)
    memory = None if dry else fitting.device_memory(mesh)
    run = fitting.settle(run, policy, mesh, run.vae, memory=memory, say=processes.say)
    if dry:
      shapes = jax.eval_shape(functools.partial(init_state, run), jax.random.key(0))
      return dry_run.show(run, loader, {"vae": shapes.params})
    warm_start = vae_start(run)  # Before the run has a folder.
    with skipped.listed(Path(run.output.folder)) as news:
      train(run, policy, clips, loader, news, warm_start)


def train(
  run: VAERun,
  policy: Policy,
  clips: data.ClipData,
  loader: Loader,
  news: News,
  warm_start: Start | None,
) -> None:
  """Trains on clips, and writes the checkpoint."""
  mesh, alone = make_mesh(**vars(run.mesh)), processes.alone(policy)
  held_out = evaluation.held_out_batches(clips.held_out, run.stages)
  video = shown_clips(held_out, run)
  losses = functools.partial(held_out_losses, run=run, policy=policy)
  state = loop.fit(
    run,
    init=functools.partial(init_state, run),
    update=make_update(run, policy),
    loader=loader,
    rules=VAE_RULES,
    options=policy.training_options,
    hooks=loop.Hooks(
      pictures=make_pictures(run, alone, video),
      captions=["a held-out clip", "what the VAE makes of it"] * len(video),
      evaluate=evaluation.make_evaluate(
        losses, held_out, mesh, policy.training_options
      ),
      remark=remark,
      work=work_of(run),
      news=news,
    ),
    warm_start=warm_start,
  )
  last = range(max(0, run.steps - MEASURED_BATCHES), run.steps)
  state = processes.shown(state)
  if distributed.is_first():
    params = exported_params(run, alone, state, map(loader.batch, last))
    path = export(run, params)
    print(
      f"Wrote {path}\nEncode clips: python -m train.precompute MANIFEST --model {path}"
    )
  processes.wait_for_all("VAE written")
