"""The compared recipes of the Video-VAE: one baseline, and controls.

All train the shipped small VAE further, on moving shapes with fine texture, which it
has never seen: 9 frames of 128x128, of which 32x32 pixels and 8 frames become one token
of 128 channels, the released 1:192. A run has two phases. In the first the
discriminator learns too, but the VAE does not hear it: a discriminator stays near
chance at first, the more so the fewer clips a step has, and hence sees every pair in
both orders. In the second, the VAE hears it. A control without one
shares the baseline's first phase.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from configs import moving_shapes
from ltx_jax.checkpoints.lightricks import load_checkpoint, save_checkpoint
from ltx_jax.checkpoints.trees import flatten, nest
from ltx_jax.config import ModelConfig, SchedulerConfig, VAEConfig
from ltx_jax.config.adversarial import AdversarialConfig
from ltx_jax.config.optimizer import UpdateConfig
from ltx_jax.config.runs import (
  Bucket,
  OptimizerConfig,
  OutputConfig,
  Stage,
  VAELossConfig,
  VAERun,
)
from ltx_jax.models.vae import init_vae
from ltx_jax.moving_shapes.source import TEXTURED
from ltx_jax.releases.presets import ASSETS
from ltx_jax.typing import AnyArray

SEEDS = (1, 2)
BASELINE = "baseline"
CLIP = Bucket(9, 128, 128)
CLIPS = 4
"""Clips of a step."""

SHIPPED = ASSETS / "moving_shapes" / "model.safetensors"
SECOND_RATE = 0.5
"""Learning rates of the second phase relative to the first's."""

SECOND_SEED = 1000
"""Added to the seed in the second phase, which so sees other clips than the first."""


def with_noise(vae: VAEConfig, inject: bool) -> VAEConfig:
  """Returns the VAE whose decoder injects noise of learned strength, or does not."""
  blocks = tuple(
    dataclasses.replace(block, inject_noise=inject and block.kind == "stage")
    for block in vae.decoder_blocks
  )
  return dataclasses.replace(vae, decoder_blocks=blocks)


VAE = with_noise(moving_shapes.VAE, True)


class Plan(NamedTuple):
  """How long a run is, and on what.

  Attributes:
    first: Steps of the first phase.
    second: Steps of the second phase.
    every: Interval in steps of the checkpoints whose latents are described.
    clips: Number of clips that a trained VAE is measured on; half are slow.
    bucket: Size of all clips.
    network: The baseline's VAE.
    start: Checkpoint that all start from.
  """

  first: int = 150
  second: int = 120
  every: int = 50
  clips: int = 24
  bucket: Bucket = CLIP
  network: VAEConfig = VAE
  start: Path = SHIPPED


PLAN = Plan()
"""What the results in docs/ are made by."""

Change = Callable[[VAERun], VAERun]
"""From the baseline's recipe to a control's."""


class Variant(NamedTuple):
  """One side of a comparison.

  Attributes:
    claim: Statement of the paper that this is the control of; "" of the baseline.
    change: What differs.
    decides: Titles of the figures (`page.FIGURES`) that the verdict rests on.
  """

  claim: str
  change: Change
  decides: tuple[str, ...] = ()


def baseline(seed: int, plan: Plan) -> VAERun:
  """The recipe of all, for one seed, as its second phase trains it.

  No features are compared in training: without LPIPS's weights they would be those of a
  random network, at more than half of a step's time.
  """
  return VAERun(
    vae=plan.network,
    stages=(Stage(plan.second, (plan.bucket,), tokens=_tokens(plan)),),
    data=(TEXTURED,),
    loss=VAELossConfig(wavelet=0.1, kl=1e-4, statistics_decay=0.95),
    adversarial=AdversarialConfig(
      weight=0.6,
      sees="both-orders",
      ramp=plan.second // 4,
      channels=24,
      optimizer=UpdateConfig(
        learning_rate=4e-4, b1=0.5, b2=0.9, weight_decay=0.0, warmup_steps=10
      ),
    ),
    optimizer=OptimizerConfig(learning_rate=5e-4, warmup_steps=10, weight_decay=1e-3),
    seed=seed,
  )


def _tokens(plan: Plan) -> int:
  size = plan.bucket.frames, plan.bucket.height, plan.bucket.width
  return CLIPS * math.prod(plan.network.latent_shape(*size))


def _loss(**changes: Any) -> Change:
  return lambda run: dataclasses.replace(
    run, loss=dataclasses.replace(run.loss, **changes)
  )


def _network(change: Callable[[VAEConfig], VAEConfig]) -> Change:
  return lambda run: dataclasses.replace(run, vae=change(run.vae))


def _gan(**changes: Any) -> Change:
  return lambda run: dataclasses.replace(
    run, adversarial=dataclasses.replace(run.adversarial, **changes)
  )


DETAIL = "energy of high bands, distance from the original's"
FEATURES = "distance in a fixed random VGG16"
HIGH = "error of high bands, share missed"
IN_USE = "channels in use"
FAST = "PSNR of fast clips at sigma 0.1, dB"
SLOW = "PSNR of slow clips at sigma 0.1, dB"

VARIANTS = {
  BASELINE: Variant("", lambda run: run),
  "no-gan": Variant(
    "The reconstruction GAN recovers high-frequency detail at 1:192",
    _gan(weight=0.0),
    (DETAIL, FEATURES),
  ),
  "ordinary-gan": Variant(
    "The reconstruction GAN is better than an ordinary GAN",
    _gan(sees="clip"),
    (DETAIL, FEATURES, HIGH),
  ),
  "no-wavelet": Variant(
    "The wavelet loss keeps high bands", _loss(wavelet=0.0), (HIGH, DETAIL)
  ),
  "per-channel": Variant(
    "One log-variance for all channels leaves no channel unused",
    _network(lambda vae: dataclasses.replace(vae, latent_log_var="per_channel")),
    (IN_USE,),
  ),
  "no-noise": Variant(
    "Injected noise helps the decoder to make high-frequency detail",
    _network(lambda vae: with_noise(vae, False)),
    (DETAIL, FEATURES),
  ),
  "clean-decoder": Variant(
    "A decoder that is told the noise level does the last step of denoising better "
    "than one that knows clean latents alone, in slow and in fast motion",
    _loss(max_sigma=0.0),
    (FAST, SLOW),
  ),
}


class Phases(NamedTuple):
  """Both runs of one recipe and seed; the second starts from the first's VAE."""

  first: VAERun
  second: VAERun


def owner(name: str) -> str:
  """Returns the first recipe whose first phase trains the same VAE and discriminator.

  A recipe without a discriminator takes the VAE of one with.
  """
  run = baseline(SEEDS[0], PLAN)
  wanted = VARIANTS[name].change(run)
  if not wanted.adversarial.weight:
    wanted = dataclasses.replace(wanted, adversarial=run.adversarial)
  return next(n for n, v in VARIANTS.items() if v.change(run) == wanted)


def start_file(config: VAEConfig, plan: Plan, folder: Path) -> Path:
  """Writes the checkpoint that all start from as a VAE of another config.

  Noise that it does not inject is injected with strength 0. One log-variance for all
  channels becomes one for each, with the same value.
  """
  path = folder / f"start-{config.latent_log_var}-{_injects(config)}.safetensors"
  if path.is_file():
    return path
  _, found = load_checkpoint(plan.start, "float32", parts=("vae",))
  known = flatten(found["vae"])
  fresh = flatten(jax.jit(init_vae, static_argnums=1)(jax.random.key(0), config))
  params = {name: _fitted(known.get(name), new) for name, new in fresh.items()}
  whole = ModelConfig(transformer=None, vae=config, scheduler=SchedulerConfig())
  folder.mkdir(parents=True, exist_ok=True)
  save_checkpoint(path, whole, {"vae": nest(params)}, dtype="float32")
  return path


def _injects(config: VAEConfig) -> bool:
  return any(block.inject_noise for block in config.decoder_blocks)


def _fitted(known: AnyArray | None, new: AnyArray) -> np.ndarray:
  if known is None:
    return np.zeros(new.shape, np.float32)
  if known.shape == new.shape:
    return np.asarray(known)
  more = new.shape[-1] - known.shape[-1]
  last = np.repeat(np.asarray(known)[..., -1:], more, axis=-1)
  return np.concatenate([np.asarray(known), last], axis=-1)


def phases(name: str, seed: int, plan: Plan, folder: Path) -> Phases:
  """Returns what one recipe trains with one seed, in folders of their own."""
  recipe, shared = (
    VARIANTS[each].change(baseline(seed, plan)) for each in (name, owner(name))
  )

  def output(path: Path) -> OutputConfig:
    every = {"log_every": 5, "evaluate_every": 10**6, "sample_every": 10**6}
    return OutputConfig(str(path), save_every=plan.every, keep=100, **every)

  first, second = folder / f"{owner(name)}-{seed}-first", folder / f"{name}-{seed}"
  (stage,) = recipe.stages
  return Phases(
    dataclasses.replace(
      shared,
      adversarial=dataclasses.replace(shared.adversarial, head_start=plan.first),
      init_from=str(start_file(recipe.vae, plan, folder)),
      stages=(dataclasses.replace(stage, steps=plan.first),),
      output=output(first),
    ),
    dataclasses.replace(
      recipe,
      init_from=str(first / "vae.safetensors"),
      optimizer=dataclasses.replace(
        recipe.optimizer, learning_rate=SECOND_RATE * recipe.optimizer.learning_rate
      ),
      output=output(second),
      seed=seed + SECOND_SEED,
    ),
  )
