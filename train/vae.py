"""Trains the Video-VAE: pixels to latents and back, the decoder under noise.

    z       = mean + std noise                               (encoder)
    z_sigma = m + (1 - sigma)(z - m) + sigma s noise,  sigma ~ U[0, 0.2], one a clip
    x_hat   = D(z_sigma, sigma)
    loss    = MSE(x_hat, x) + a wavelet L1(x_hat, x) + b KL

m and s are the running mean and standard deviation of every channel of the encoder's
means; they are written into the checkpoint and normalise the transformer's latents, so
the decoder meets the noise in training that it will meet in sampling.

    python -m train.vae moving_shapes --output.folder runs/vae

With `--trained decoder` the encoder and the statistics stay as they are, and with them
the latents that a transformer was trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ltx_jax.checkpoints.arrays import on_host
from ltx_jax.checkpoints.lightricks import (
  load_checkpoint,
  open_checkpoint,
  save_checkpoint,
)
from ltx_jax.cli.command_line import errors_in_words
from ltx_jax.config import ModelConfig, SchedulerConfig
from ltx_jax.config.runs import VAELossConfig, VAERun
from ltx_jax.data.loader import Loader
from ltx_jax.losses.reconstruction import kl_divergence, mse, psnr
from ltx_jax.losses.wavelet import wavelet_l1
from ltx_jax.models import vae as vae_lib
from ltx_jax.moving_shapes.source import Shapes
from ltx_jax.parallel.mesh import make_mesh
from ltx_jax.parallel.sharding import VAE_RULES
from ltx_jax.platforms import Policy, policy_of
from ltx_jax.training import optim
from ltx_jax.training.state import Metrics, TrainState
from ltx_jax.typing import Key, Params
from train.harness import checks, loop, recipe
from train.latents import tokens_of

STD_RANGE = (0.3, 3.0)
"""Where the latents' standard deviations should stay; a drift is said in the log."""

_ENCODING = ("encoder", "quant_conv", "latent_norm_out")


def init_state(run: VAERun, key: Key) -> TrainState:
  """The state before the first step; statistics live beside the parameters."""
  params = vae_lib.init_vae(key, run.vae)
  del params["per_channel_statistics"]
  channels = run.vae.latent_channels
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    opt_state=optim.make_optimizer(run.optimizer, run.steps).init(params),
    ema=jax.tree.map(jnp.copy, params) if run.optimizer.ema_decay else {},
    extra={"mean": jnp.zeros(channels), "mean_square": jnp.ones(channels)},
  )


def statistics(extra: Params) -> Params:
  """Mean and std of every latent channel, from the running moments."""
  variance = extra["mean_square"] - jnp.square(extra["mean"])
  return {"mean": extra["mean"], "std": jnp.sqrt(jnp.maximum(variance, 1e-8))}


def moments(latents: Float[Array, "b f h w c"]) -> Params:
  """First and second moment of every channel, over a batch."""
  axes = (0, 1, 2, 3)
  return {
    "mean": jnp.mean(latents, axes),
    "mean_square": jnp.mean(jnp.square(latents), axes),
  }


def statistics_decay(run: VAERun, step: Array | int) -> Array | float:
  """The decay of the moments: fast at first, where they start from nothing."""
  if run.init_from:
    return run.loss.statistics_decay
  return jnp.minimum(run.loss.statistics_decay, (1 + step) / (10 + step))


def update_statistics(extra: Params, batch: Params, decay: Array | float) -> Params:
  """Moves the running moments towards a batch's."""
  rate = 1 - decay
  return jax.tree.map(lambda old, new: old + rate * (new - old), extra, batch)


def noisy_latents(
  latents: Float[Array, "b f h w c"],
  stats: Params,
  sigma: Float[Array, "b"],
  noise: Float[Array, "b f h w c"],
) -> Float[Array, "b f h w c"]:
  """z_sigma = m + (1 - sigma)(z - m) + sigma s noise."""
  sigma = sigma[:, None, None, None, None]
  mean, std = stats["mean"], stats["std"]
  return mean + (1 - sigma) * (latents - mean) + sigma * std * noise


def wavelet_weight(config: VAELossConfig, step: Array) -> Float[Array, ""]:
  """Zero before the ramp, `config.wavelet` after it."""
  start, end = config.wavelet_ramp
  return config.wavelet * jnp.clip((step - start) / max(end - start, 1), 0.0, 1.0)


def losses(
  params: Params,
  video: Float[Array, "b F H W 3"],
  key: Key,
  state: TrainState,
  run: VAERun,
  policy: Policy,
) -> tuple[Float[Array, ""], tuple[Metrics, Params]]:
  """The loss of a batch; beside it its parts, and the moments of the encoder's means.

  Args:
    params: What is differentiated.
    video: In [-1, 1].
    state: Its step and running statistics are used, not its parameters.
  """
  key_z, key_sigma, key_noise, key_inject = jax.random.split(key, 4)
  params = _held(params, run)
  mean, logvar = vae_lib.encode_moments(params, run.vae, policy, video)
  z = mean + jnp.exp(0.5 * logvar) * jax.random.normal(key_z, mean.shape)
  sigma = jax.random.uniform(key_sigma, video.shape[:1], maxval=run.loss.max_sigma)
  noise = jax.random.normal(key_noise, z.shape)
  z_sigma = noisy_latents(z, statistics(state.extra), sigma, noise)
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
  return loss, (metrics | {"psnr": psnr(squared)}, moments(jax.lax.stop_gradient(mean)))


def _held(params: Params, run: VAERun) -> Params:
  """Holds gradients off the encoder, where the decoder alone is trained."""
  if run.trained == "vae":
    return params
  held = {part: params[part] for part in _ENCODING if part in params}
  return params | jax.lax.stop_gradient(held)


def make_update(run: VAERun, policy: Policy) -> Callable:
  """Returns `update(state, batch) -> (state, metrics)`, a pure function."""
  optimizer = optim.make_optimizer(run.optimizer, run.steps)

  def update(state: TrainState, batch: dict) -> tuple[TrainState, Metrics]:
    key = jax.random.fold_in(jax.random.key(run.seed), state.step)

    def gradients(params: Params, micro: dict) -> tuple[Params, tuple]:
      video = micro["video"].astype(jnp.float32) / 127.5 - 1
      row_key = jax.random.fold_in(key, micro["seed"][0])
      value = jax.grad(losses, has_aux=True)
      return value(params, video, row_key, state, run, policy)

    count = run.optimizer.accumulate
    grads, (metrics, batch_moments) = optim.accumulate(
      gradients, state.params, batch, count
    )
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = jax.tree.map(jnp.add, state.params, updates)
    decay = statistics_decay(run, state.step)
    extra = update_statistics(state.extra, batch_moments, decay)
    if run.trained == "decoder":  # Weight decay has no gradient that could be held.
      params |= {part: state.params[part] for part in _ENCODING if part in params}
      extra = state.extra
    std = statistics(extra)["std"]
    metrics |= {
      "grad_norm": optim.global_norm(grads),
      "latent_std_min": jnp.min(std),
      "latent_std_max": jnp.max(std),
    }
    ema = state.ema
    if run.optimizer.ema_decay:
      ema = optim.update_ema(ema, params, run.optimizer.ema_decay, state.step)
    old = state._replace(step=state.step + 1)
    new = TrainState(state.step + 1, params, opt_state, ema, extra)
    return optim.skip_not_finite(run.optimizer, old, new, metrics)

  return update


def checkpoint_params(state: TrainState) -> Params:
  """What the checkpoint holds: averaged parameters if kept, and the statistics.

  Those are of what the parameters themselves encoded lately, averaged or not.
  """
  params = state.ema or state.params
  return dict(params) | {"per_channel_statistics": statistics(state.extra)}


def remark(metrics: Mapping[str, float]) -> str | None:
  """Warns of a KL weight under which the latents drift; see `STD_RANGE`."""
  low, high = (metrics.get(f"latent_std_{end}", 1.0) for end in ("min", "max"))
  if STD_RANGE[0] <= low and high <= STD_RANGE[1]:
    return None
  return (
    f"the latents' std spans {low:.2f} to {high:.2f}, outside {STD_RANGE}; raise "
    "--loss.kl where it is too large, lower it where it is too small."
  )


def make_pictures(run: VAERun, policy: Policy) -> loop.Pictures:
  """Returns a function that shows clips of the last stage, before and after."""
  loader = Loader(Shapes(), run.stages, run.seed + 1, tokens_of(run.vae))
  video = loader.batch(run.steps - 1)["video"][:4]

  @jax.jit
  def reconstruct(params: Params, video: Array) -> Array:
    mean, _ = vae_lib.encode_moments(params, run.vae, policy, video)
    sigma = jnp.zeros(video.shape[0])
    return vae_lib.decode(params, run.vae, policy, mean, sigma)

  def pictures(state: TrainState, step: int) -> dict[str, np.ndarray]:
    output = reconstruct(checkpoint_params(state), video.astype(np.float32) / 127.5 - 1)
    output = np.round(127.5 * (np.clip(np.asarray(output), -1, 1) + 1)).astype(np.uint8)
    frames = np.linspace(0, video.shape[1] - 1, 5).astype(int)
    rows = [
      np.concatenate(list(clip[frames]), axis=1)
      for pair in zip(video, output, strict=True)
      for clip in pair
    ]
    return {"reconstruction": np.concatenate(rows, axis=0)}

  return pictures


def warm_start(run: VAERun) -> Callable[[TrainState], TrainState] | None:
  """Returns what puts the VAE of `run.init_from` into a first state, if one is named.

  Raises:
    ValueError: where that checkpoint's VAE is another network.
  """
  if not run.init_from:
    return None
  if not checks.has_checkpoint(run.output):
    with open_checkpoint(run.init_from, parts=("vae",)) as opened:
      checks.check_same_network("vae", opened.config.vae, run.vae, run.init_from)

  def start(state: TrainState) -> TrainState:
    path = run.init_from
    _, params = load_checkpoint(path, "float32", on_host, parts=("vae",))
    weights = params["vae"]
    stats = weights.pop("per_channel_statistics")
    return state._replace(
      params=weights,
      ema=jax.tree.map(np.copy, weights) if state.ema else {},
      extra={
        "mean": stats["mean"],
        "mean_square": np.square(stats["mean"]) + np.square(stats["std"]),
      },
    )

  return start


def exported(run: VAERun) -> Path:
  """Returns the file that the VAE is written to."""
  return Path(run.output.folder) / "vae.safetensors"


def export(run: VAERun, state: TrainState) -> Path:
  """Writes the VAE in the released single-file layout and returns its path."""
  path = exported(run)
  config = ModelConfig(transformer=None, vae=run.vae, scheduler=SchedulerConfig())
  params = jax.device_get(checkpoint_params(state))
  save_checkpoint(path, config, {"vae": params}, dtype="float32")
  return path


def main() -> None:
  """Trains, or goes on training, and writes the checkpoint."""
  run = recipe.parse(VAERun, "vae", __doc__)
  tokens = tokens_of(run.vae)
  with errors_in_words():
    checks.check_run(run, run.vae, tokens)
    checks.check_outputs([exported(run)], [("init_from", run.init_from)])
    policy = policy_of(jax.devices()[0]).in_dtype(run.dtype)
    policy = policy.for_training(make_mesh(**vars(run.mesh)))
    if run.trained == "decoder" and not run.init_from:
      raise ValueError(
        "--trained decoder keeps the encoder as it is, and without --init-from that is "
        "a random one; name the checkpoint of a VAE."
      )
    state = loop.fit(
      run,
      init=lambda key: init_state(run, key),
      update=make_update(run, policy),
      loader=Loader(Shapes(), run.stages, run.seed, tokens),
      rules=VAE_RULES,
      options=policy.training_options,
      pictures=make_pictures(run, policy),
      remark=remark,
      warm_start=warm_start(run),
    )
    print(f"Wrote {export(run, state)}")


if __name__ == "__main__":
  main()
