"""A step of the Video-VAE's trainer: what is computed from a batch.

    z       = mean + std noise                               (encoder)
    z_sigma = m + (1 - sigma)(z - m) + sigma s noise,  sigma ~ U[0, 0.2], one per clip
    x_hat   = D(z_sigma, sigma)
    loss    = MSE(x_hat, x) + a wavelet L1(x_hat, x) + b KL
              + c LPIPS(x_hat, x) + d adversarial(x_hat, x)

m and s are the running mean and standard deviation of each channel of the encoder's
means (`diffusion.statistics`). A discriminator, if there is one, takes its own step on
the same reconstruction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ltx_jax.config.adversarial import DISCRIMINATOR
from ltx_jax.config.perceptual import PERCEPTUAL
from ltx_jax.config.runs import VAELossConfig, VAERun
from ltx_jax.data.pixels import to_floats
from ltx_jax.diffusion import statistics
from ltx_jax.losses import adversarial
from ltx_jax.losses.perceptual import lpips, subsample_frames
from ltx_jax.losses.reconstruction import kl_divergence, mse, psnr
from ltx_jax.losses.wavelet import BANDS, band_l1, wavelet_l1
from ltx_jax.metrics.latents import IN_USE
from ltx_jax.metrics.ssim import WINDOW, ssim_of_frame
from ltx_jax.models import vae as vae_lib
from ltx_jax.models.discriminator import discriminate, init_discriminator
from ltx_jax.models.perceptual import features_fn
from ltx_jax.platforms import Policy
from ltx_jax.training import optim
from ltx_jax.training.optim import Metrics
from ltx_jax.training.state import Batch, TrainState, Update, advance, first_state
from ltx_jax.typing import Key, Params, Video

ENCODING = ("encoder", "quant_conv", "latent_norm_out")
"""Parts of the parameters that make the latents."""

_ORDER, _FRAMES = 4, 5
"""Numbers of the keys that are drawn besides those of the reconstruction."""


class Reconstruction(NamedTuple):
  """What the VAE makes of clips: pixels, and the posterior of the latents."""

  video: Video
  mean: Float[Array, "b f h w c"]
  logvar: Float[Array, "b f h w c"]


def rivals_of(run: VAERun) -> optim.Rivals:
  """Returns the discriminator's optimiser, if there is one."""
  config = run.adversarial
  if not config.weight:
    return optim.NO_RIVALS
  return {DISCRIMINATOR: optim.Rival(config.optimizer, config.start)}


def init_state(run: VAERun, key: Key) -> TrainState:
  """Returns the first state; statistics are stored next to the parameters."""
  params = vae_lib.init_vae(key, run.vae)
  del params["per_channel_statistics"]
  if run.adversarial.weight:
    rival = jax.random.fold_in(key, 1)
    params[DISCRIMINATOR] = init_discriminator(rival, run.adversarial)
  moments = statistics.initial(run.vae.latent_channels)
  return first_state(run.optimizer, run.steps, params, moments, rivals_of(run))


def ramp(step: Array, start: int, end: int) -> Float[Array, ""]:
  """Returns 0 before a step, 1 from another on, and a line between them."""
  share = jnp.clip((step - start) / max(end - start, 1), 0.0, 1.0)
  return jnp.where(step >= end, 1.0, share)


def wavelet_weight(config: VAELossConfig, step: Array) -> Float[Array, ""]:
  """Returns the wavelet weight: 0 before the ramp, `config.wavelet` after it."""
  return config.wavelet * ramp(step, *config.wavelet_ramp)


class Draws(NamedTuple):
  """What is drawn for the reconstruction of clips.

  Attributes:
    posterior: Noise that picks latents from the posterior.
    sigma: Noise level of each clip.
    noise: Noise of the latents at that level.
    injected: Key of the noise that the decoder injects.
  """

  posterior: Float[Array, "b f h w c"]
  sigma: Float[Array, "b"]
  noise: Float[Array, "b f h w c"]
  injected: Key


def draw(key: Key, shape: tuple[int, ...], max_sigma: float) -> Draws:
  """Draws what a reconstruction needs, for latents of a shape [b f h w c]."""
  key_z, key_sigma, key_noise, key_inject = jax.random.split(key, 4)
  return Draws(
    jax.random.normal(key_z, shape),
    jax.random.uniform(key_sigma, shape[:1], maxval=max_sigma),
    jax.random.normal(key_noise, shape),
    key_inject,
  )


def key_of_step(run: VAERun, step: Array | int, batch: Batch) -> Key:
  """Returns the key of a step's draws; that of each micro-batch depends on its rows."""
  key = jax.random.fold_in(jax.random.key(run.seed), step)
  return jax.random.fold_in(key, batch["seed"][0])


def reconstruct(
  params: Params, video: Video, key: Key, moments: Params, run: VAERun, policy: Policy
) -> Reconstruction:
  """Encodes clips, adds noise to their latents, and decodes them.

  Args:
    params: Parameters of the VAE.
    video: Pixels in [-1, 1].
    moments: Running moments of the encoder's means.
  """
  if run.trained == "decoder":
    params = params | jax.lax.stop_gradient(_encoding(params))
  keeps = run.remat or "none"
  mean, logvar = vae_lib.encode_moments(params, run.vae, policy, video, keeps)
  drawn = draw(key, mean.shape, run.loss.max_sigma)
  z = mean + jnp.exp(0.5 * logvar) * drawn.posterior
  latents = statistics.statistics(moments)
  z_sigma = statistics.noisy_latents(z, latents, drawn.sigma, drawn.noise)
  output = vae_lib.decode(
    params, run.vae, policy, z_sigma, drawn.sigma, drawn.injected, remat=keeps
  )
  return Reconstruction(output, mean, logvar)


def _encoding(params: Params) -> Params:
  return {part: params[part] for part in ENCODING if part in params}


Perceptual = Callable[[Params, Video, Video, Key], Metrics]
"""(frozen, reconstruction, video, key) -> the distance of clips in a network's features
as `perceptual`, or nothing."""


def make_perceptual(run: VAERun, policy: Policy) -> Perceptual:
  """Returns LPIPS over some frames of each clip, if the run compares features."""
  count, features = run.loss.perceptual_frames, features_fn(policy)

  def distance(frozen: Params, made: Video, video: Video, key: Key) -> Metrics:
    frames = (subsample_frames(key, clip, count) for clip in (made, video))
    return {"perceptual": jnp.mean(lpips(features, frozen[PERCEPTUAL], *frames))}

  return distance if run.loss.compares_features else lambda *_: {}


def losses(
  made: Reconstruction,
  video: Video,
  step: Array,
  config: VAELossConfig,
  perceptual: Mapping[str, Array] = MappingProxyType({}),
) -> tuple[Float[Array, ""], Metrics]:
  """Returns the loss of a batch without the adversarial one, and its parts.

  Args:
    video: The original, pixels in [-1, 1].
    perceptual: Result of `Perceptual` for these clips.
  """
  squared = jnp.mean(mse(made.video, video))
  wavelet = jnp.mean(wavelet_l1(made.video, video, config.wavelet_bands))
  kl = jnp.mean(kl_divergence(made.mean, made.logvar))
  loss = config.mse * squared + wavelet_weight(config, step) * wavelet + config.kl * kl
  loss += config.perceptual * perceptual.get("perceptual", 0.0)
  metrics = {"loss": loss, "mse": squared, "wavelet": wavelet, "kl": kl, **perceptual}
  return loss, metrics | {"psnr": psnr(squared)}


class Verdict(NamedTuple):
  """What a discriminator says of reconstructions.

  Attributes:
    towards: Gradient of the VAE's adversarial loss at the reconstruction's pixels.
    grads: Gradient of the discriminator's own loss at its parameters.
    metrics: Both losses, and the share of patches told right.
  """

  towards: Video
  grads: Params
  metrics: Metrics


def judge(
  rival: Params, original: Video, made: Video, key: Key, run: VAERun, policy: Policy
) -> Verdict:
  """Shows clips and their reconstructions to the discriminator.

  One pass forward serves both losses, and both gradients.

  Args:
    rival: Parameters of the discriminator.
  """
  config = run.adversarial
  form, see = adversarial.FORMS[config.form], adversarial.SEES[config.sees]
  swapped = jax.random.bernoulli(key, shape=(len(original),))
  seen = see(original, made, swapped)

  def logits_of(rival: Params, made: Video) -> Array:
    video = see(original, made, swapped).video
    return discriminate(rival, config, policy, video)

  def own_loss(logits: Array) -> Array:
    return adversarial.discriminator_loss(form, logits, seen.target)

  def vae_loss(logits: Array) -> Array:
    return adversarial.generator_loss(form, logits, seen.target, seen.made)

  logits, pull = jax.vjp(logits_of, rival, made)
  own, for_own = jax.value_and_grad(own_loss)(logits)
  vae, for_vae = jax.value_and_grad(vae_loss)(logits)
  grads, towards = pull(for_own)[0], pull(for_vae)[1]
  right = adversarial.accuracy(logits, seen.target)
  metrics = {"adversarial": vae, "discriminator": own, "discriminator_accuracy": right}
  if config.r1:
    penalty, more = jax.value_and_grad(_penalty)(rival, seen.video, run, policy)
    grads = jax.tree.map(lambda g, m: g + config.r1 * m, grads, more)
    metrics["r1"] = penalty
  return Verdict(towards, grads, metrics)


def _penalty(rival: Params, seen: Video, run: VAERun, policy: Policy) -> Array:
  config = run.adversarial
  return adversarial.r1(lambda x: discriminate(rival, config, policy, x), seen)


def make_gradients(run: VAERun, policy: Policy) -> Callable[..., tuple]:
  """Returns (params, frozen, clips, key, state) -> (gradients, (metrics, moments)).

  The gradient at the reconstruction's pixels is the sum of all losses'; one pass
  backwards takes it from there to the parameters.
  """
  config, perceptual = run.adversarial, make_perceptual(run, policy)

  def gradients(
    params: Params, frozen: Params, video: Video, key: Key, state: TrainState
  ) -> tuple[Params, tuple[Metrics, Params]]:
    made, pull = jax.vjp(
      lambda params: reconstruct(params, video, key, state.extra, run, policy), params
    )
    of_frames, order = (jax.random.fold_in(key, use) for use in (_FRAMES, _ORDER))

    def of_losses(made: Reconstruction) -> tuple[Array, Metrics]:
      near = perceptual(frozen, made.video, video, of_frames)
      return losses(made, video, state.step, run.loss, near)

    (_, metrics), towards = jax.value_and_grad(of_losses, has_aux=True)(made)
    moments = statistics.moments(made.mean)
    if not config.weight:
      return pull(towards)[0], (metrics, moments)

    def at_last_layer(pixels: Video) -> Array:
      rest = jax.tree.map(jnp.zeros_like, (made.mean, made.logvar))
      return pull(Reconstruction(pixels, *rest))[0]["decoder"]["conv_out"]["kernel"]

    rival = state.params[DISCRIMINATOR]
    verdict = judge(rival, video, made.video, order, run, policy)
    weight = config.weight * ramp(state.step, *config.heard)
    if config.adaptive:
      weight *= adversarial.adaptive_weight(
        at_last_layer(towards.video), at_last_layer(verdict.towards)
      )
    # Not 0 times a gradient: that of a discriminator that waits may be infinite.
    heard = jnp.where(weight > 0, weight * verdict.towards, 0.0)
    grads = pull(towards._replace(video=towards.video + heard))[0]
    grads[DISCRIMINATOR] = verdict.grads
    metrics |= verdict.metrics | {"adversarial_weight": weight}
    return grads, (metrics, moments)

  return gradients


def make_update(run: VAERun, policy: Policy) -> Update:
  """Returns `update(state, frozen, batch) -> (state, metrics)`, a pure function."""
  gradients_of = make_gradients(run, policy)

  def update(
    state: TrainState, frozen: Params, batch: Batch
  ) -> tuple[TrainState, Metrics]:

    def gradients(params: Params, micro: Batch) -> tuple[Params, tuple]:
      key, video = key_of_step(run, state.step, micro), to_floats(micro["video"])
      return gradients_of(params, frozen, video, key, state)

    grads, (metrics, moments) = optim.accumulate(
      gradients, state.params, batch, run.optimizer.accumulate
    )
    extra, held = moved_statistics(run, state, moments), ()
    if run.trained == "decoder":
      extra, held = state.extra, ENCODING
    std = statistics.statistics(extra)["std"]
    metrics |= {"latent_std_min": jnp.min(std), "latent_std_max": jnp.max(std)}
    more = {"extra": extra, "held": held, "rivals": rivals_of(run)}
    return advance(run.optimizer, run.steps, state, grads, metrics, **more)

  return update


def moved_statistics(run: VAERun, state: TrainState, moments: Params) -> Params:
  """Returns the running moments after a batch; a first run starts from nothing."""
  decay = run.loss.statistics_decay
  if not run.init_from:
    decay = statistics.early_decay(decay, state.step)
  return statistics.update(state.extra, moments, decay)


def figures(made: Reconstruction, video: Video) -> Metrics:
  """Returns what the losses do not say of reconstructions and latents.

  These are SSIM, the L1 error of each wavelet band, how much of the motion is there,
  the temporal difference error, and of the latents' means the channels in use and the
  mean correlation of two of them (`metrics` defines them for whole data sets).
  """
  bands = jnp.mean(band_l1(made.video, video), axis=1)
  found = {f"band_{name}": bands[i] for i, name in enumerate(BANDS)}
  if min(video.shape[2:4]) >= WINDOW:
    index = jax.vmap(jax.vmap(ssim_of_frame))
    found["ssim"] = jnp.mean(index((made.video + 1) / 2, (video + 1) / 2))
  if video.shape[1] > 1:
    ours, theirs = jnp.diff(made.video, axis=1), jnp.diff(video, axis=1)
    moves = jnp.maximum(jnp.mean(jnp.abs(theirs)), 1e-6)
    found["motion_ratio"] = jnp.mean(jnp.abs(ours)) / moves
    found["difference_error"] = jnp.mean(jnp.abs(ours - theirs))
  z = made.mean.reshape(-1, made.mean.shape[-1])  # n c
  variance = jnp.var(z, axis=0)
  used = (variance > IN_USE).astype(jnp.float32)
  z = used * (z - jnp.mean(z, axis=0)) * jax.lax.rsqrt(variance + 1e-12)
  correlation = jnp.abs(z.T @ z / len(z))  # c c; 0 for channels that are not in use
  count = jnp.sum(used)
  pairs = jnp.maximum(count * (count - 1), 1.0)
  found["channels_in_use"] = count
  found["latent_correlation"] = (jnp.sum(correlation) - jnp.trace(correlation)) / pairs
  return found


def held_out_losses(
  state: TrainState, frozen: Params, batch: Batch, *, run: VAERun, policy: Policy
) -> Metrics:
  """Returns the losses of held-out clips, and their figures, with fixed noise."""
  key, video = jax.random.key(batch["seed"][0]), to_floats(batch["video"])
  of_frames, order = (jax.random.fold_in(key, use) for use in (_FRAMES, _ORDER))
  made = reconstruct(state.params, video, key, state.extra, run, policy)
  near = make_perceptual(run, policy)(frozen, made.video, video, of_frames)
  _, metrics = losses(made, video, state.step, run.loss, near)
  metrics |= figures(made, video)
  if run.adversarial.weight:
    rival = state.params[DISCRIMINATOR]
    metrics |= judge(rival, video, made.video, order, run, policy).metrics
  return metrics
