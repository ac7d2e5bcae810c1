"""The compared recipes of the Video-VAE: one baseline, and controls.

All train the small VAE from nothing on moving shapes with fine texture: 17 frames of
64x64, of which 32x32 pixels and 8 frames become one token of 128 channels, the released
1:192. A run has two phases. The first knows no discriminator, so controls that differ
in the discriminator alone share the baseline's; the second goes on from its weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from configs import moving_shapes
from ltx_jax.config import VAEConfig
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
from ltx_jax.moving_shapes.source import TEXTURED

SEEDS = (1, 2)
BASELINE = "baseline"
CLIP = Bucket(17, 64, 64)
SECOND_RATE = 0.25
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


# Muon's share of a step grows with the third power of the width; at the shipped one it
# would be most of it.
NARROW = {"encoder_base_channels": 32, "decoder_base_channels": 24}
VAE = with_noise(dataclasses.replace(moving_shapes.VAE, **NARROW), True)


class Plan(NamedTuple):
  """How long a run is, and on what.

  Attributes:
    first: Steps of the first phase.
    second: Steps of the second phase.
    every: Interval in steps of the checkpoints whose latents are described.
    clips: Number of clips that a trained VAE is measured on; half are slow.
    bucket: Size of all clips.
    network: The baseline's VAE.
  """

  first: int = 500
  second: int = 300
  every: int = 100
  clips: int = 48
  bucket: Bucket = CLIP
  network: VAEConfig = VAE


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
  random network, at more than half of a step's time. The discriminator has a
  head start, because one that sees pairs stays at chance for its first hundred steps.
  """
  return VAERun(
    vae=plan.network,
    stages=(Stage(plan.second, (plan.bucket,), tokens=72),),
    data=(TEXTURED,),
    loss=VAELossConfig(wavelet=0.1, kl=1e-4, statistics_decay=0.95),
    adversarial=AdversarialConfig(
      weight=0.6,
      head_start=plan.second // 3,
      ramp=plan.second // 6,
      channels=32,
      optimizer=UpdateConfig(
        learning_rate=4e-4, b1=0.5, b2=0.9, weight_decay=0.0, warmup_steps=10
      ),
    ),
    optimizer=OptimizerConfig(
      name="muon",
      learning_rate=1.2e-3,
      muon_learning_rate=1.5e-2,
      warmup_steps=20,
      weight_decay=1e-3,
    ),
    seed=seed,
  )


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
  """Returns the first recipe whose first phase is the same."""
  run = baseline(SEEDS[0], PLAN)
  wanted = _alone(VARIANTS[name].change(run))
  return next(n for n, v in VARIANTS.items() if _alone(v.change(run)) == wanted)


def _alone(run: VAERun) -> VAERun:
  return dataclasses.replace(run, adversarial=AdversarialConfig())


def _slower(config: OptimizerConfig) -> OptimizerConfig:
  rates = {
    name: SECOND_RATE * getattr(config, name)
    for name in ("learning_rate", "muon_learning_rate")
  }
  return dataclasses.replace(config, **rates)


def phases(name: str, seed: int, plan: Plan, folder: Path) -> Phases:
  """Returns what one recipe trains with one seed, in folders of their own."""
  recipe = VARIANTS[name].change(baseline(seed, plan))

  def output(path: Path) -> OutputConfig:
    every = {"log_every": 5, "evaluate_every": 10**6, "sample_every": 10**6}
    return OutputConfig(str(path), save_every=plan.every, keep=100, **every)

  first, second = folder / f"{owner(name)}-{seed}-first", folder / f"{name}-{seed}"
  (stage,) = recipe.stages
  return Phases(
    dataclasses.replace(
      _alone(recipe),
      stages=(dataclasses.replace(stage, steps=plan.first),),
      output=output(first),
    ),
    dataclasses.replace(
      recipe,
      init_from=str(first / "vae.safetensors"),
      optimizer=_slower(recipe.optimizer),
      output=output(second),
      seed=seed + SECOND_SEED,
    ),
  )
