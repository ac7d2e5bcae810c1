"""Measures a trained VAE on textured clips whose captions were never trained on.

The latents are the encoder's means, at noise level sigma made as in training
(`diffusion.statistics`), with the same noise for all recipes. Half of the clips are
slow. Distances between features are those in a fixed random VGG16; they are no LPIPS.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from ltx_jax.checkpoints.discriminator import FILE, load_discriminator
from ltx_jax.checkpoints.lightricks import load_checkpoint
from ltx_jax.checkpoints.trees import nest
from ltx_jax.config import VAEConfig
from ltx_jax.config.runs import VAERun
from ltx_jax.data.pixels import to_floats, to_uint8
from ltx_jax.diffusion import statistics
from ltx_jax.losses import adversarial
from ltx_jax.metrics import reconstruction
from ltx_jax.metrics.bands import BANDS, band_errors
from ltx_jax.metrics.latents import LatentSums
from ltx_jax.metrics.lpips import lpips
from ltx_jax.metrics.psnr import psnr
from ltx_jax.models import vae as vae_lib
from ltx_jax.models.discriminator import discriminate
from ltx_jax.models.perceptual import features_fn, init_perceptual
from ltx_jax.moving_shapes import texture, world
from ltx_jax.platforms import Policy, policy_of
from ltx_jax.typing import Params
from tests.experiments.vae.variants import Phases, Plan
from train.trainers.vae import exported

SIGMAS = (0.0, 0.05, 0.1)
SHOWN_SIGMA = 0.1
COMPONENTS = 16
"""Number of principal components whose shares of the variance are kept."""

_VGG_SEED = 2
_FRAMES = 3  # Frames of a clip whose features are compared.
_FIRST_SEED = 50_000
_CROP, _ZOOM = 32, 3


class Clip(NamedTuple):
  """A held-out clip.

  Attributes:
    caption: Its caption.
    seed: Its seed.
    video: uint8 pixels.
  """

  caption: str
  seed: int
  video: np.ndarray

  @property
  def pace(self) -> str:
    """Whether it is `slow` or `fast`."""
    return "fast" if texture.speed(self.seed) == max(texture.SPEEDS) else "slow"


@functools.cache
def clips(plan: Plan) -> tuple[Clip, ...]:
  """Returns the held-out clips, slow and fast in turn."""
  captions, made = world.held_out_captions(), []
  size = plan.bucket.frames, plan.bucket.height, plan.bucket.width
  for number in range(plan.clips):
    wanted = texture.SPEEDS[number % len(texture.SPEEDS)]
    seed = _FIRST_SEED + 100 * number
    while texture.speed(seed) != wanted:
      seed += 1
    caption = captions[number * 5 % len(captions)]
    made.append(Clip(caption, seed, texture.clip(caption, seed, *size)))
  return tuple(made)


class Coder(NamedTuple):
  """A trained VAE.

  Attributes:
    config: Its config.
    params: Its parameters, with statistics.
    told: Whether its decoder learned what noise levels mean.
    policy: How it is computed.
  """

  config: VAEConfig
  params: Params
  told: bool
  policy: Policy

  @classmethod
  def of(cls, run: VAERun) -> Coder:
    """Reads the VAE that a run has written."""
    config, params = load_checkpoint(exported(run), "float32", parts=("vae",))
    policy = policy_of(jax.devices()[0])
    return cls(config.vae, params["vae"], run.loss.max_sigma > 0, policy)

  def encode(self, video: np.ndarray) -> jax.Array:
    """Returns the means of one clip's latents."""
    return _encode(self.config, self.policy, self.params, video[None])

  def decode(self, mean: jax.Array, sigma: float, number: int) -> np.ndarray:
    """Adds noise of a level, decodes, and returns uint8 pixels.

    Args:
      mean: Result of `encode`.
      sigma: Noise level.
      number: The clip's; decides the noise.
    """
    levels = jnp.array([sigma, sigma if self.told else 0.0])
    key = jax.random.key(number)
    video = _decode(self.config, self.policy, self.params, mean, levels, key)
    return to_uint8(np.asarray(video[0]))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _encode(config, policy, params, video):
  return vae_lib.encode_moments(params, config, policy, to_floats(video))[0]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _decode(config, policy, params, mean, levels, key):
  sigma, told = levels[:1], levels[1:]
  key_noise, key_inject = jax.random.split(key)
  noise = jax.random.normal(key_noise, mean.shape)
  latents = params["per_channel_statistics"]
  z = statistics.noisy_latents(mean, latents, sigma, noise)
  return vae_lib.decode(params, config, policy, z, told, key_inject)


def measured(both: Phases, plan: Plan) -> dict[str, Any]:
  """Returns all figures of a recipe and seed."""
  coder = Coder.of(both.second)
  means = [coder.encode(clip.video) for clip in clips(plan)]
  made = [coder.decode(mean, 0.0, i) for i, mean in enumerate(means)]
  return {
    **_of_pixels(made, plan),
    "psnr_by_sigma": {
      str(sigma): _by_pace(coder, means, sigma, plan) for sigma in SIGMAS
    },
    "discriminator_accuracy": _accuracy(both.second, made, plan),
    "latents": list(along(both, plan)),
  }


def _of_pixels(made: list[np.ndarray], plan: Plan) -> dict[str, Any]:
  """Returns the figures of clean latents' reconstructions."""
  originals = [clip.video for clip in clips(plan)]
  figures = [
    reconstruction.measure(*pair) for pair in zip(made, originals, strict=True)
  ]
  error = sum(f.bands.squared_error for f in figures)
  given = sum(f.bands.energy for f in figures)
  energy = sum(band_errors(video, video).energy for video in made)
  bands = zip(BANDS, error.tolist(), given.tolist(), energy.tolist(), strict=True)
  return {
    "psnr": float(np.mean([f.clip_psnr for f in figures])),
    "ssim": float(np.mean([f.ssim.mean() for f in figures])),
    "difference_error": float(np.mean([f.difference_error.mean() for f in figures])),
    "motion_ratio": float(np.mean([f.motion_ratio for f in figures])),
    "bands": {
      band: {"error": e / len(made), "given": g / len(made), "made": m / len(made)}
      for band, e, g, m in bands
    },
    "feature_distance": feature_distance(made, originals),
  }


def feature_distance(made: list[np.ndarray], originals: list[np.ndarray]) -> float:
  """Returns the mean distance in a fixed random VGG16, of three frames of each clip."""
  features = features_fn(policy_of(jax.devices()[0]))
  params = jax.jit(init_perceptual)(jax.random.key(_VGG_SEED))
  found = []
  for pair in zip(made, originals, strict=True):
    chosen = np.linspace(0, len(pair[0]) - 1, _FRAMES).astype(int)
    frames = (np.asarray(to_floats(video[chosen])) for video in pair)
    found.append(lpips(features, params, *frames))
  return float(np.mean(found))


def _by_pace(
  coder: Coder, means: list[jax.Array], sigma: float, plan: Plan
) -> dict[str, float]:
  """Returns the PSNR at a noise level, of slow and of fast clips."""
  found: dict[str, list[float]] = {"slow": [], "fast": []}
  for number, (clip, mean) in enumerate(zip(clips(plan), means, strict=True)):
    video = coder.decode(mean, sigma, number)
    found[clip.pace].append(psnr(video, clip.video, 255.0))
  return {pace: float(np.mean(values)) for pace, values in found.items()}


def _accuracy(run: VAERun, made: list[np.ndarray], plan: Plan) -> float | None:
  """Returns the share of patches that the run's discriminator tells right, if any."""
  config = run.adversarial
  if not config.weight:
    return None
  policy = policy_of(jax.devices()[0])
  rival = load_discriminator(exported(run).with_name(FILE), config)
  see = adversarial.SEES[config.sees]

  @jax.jit
  def accuracy(original: jax.Array, video: jax.Array, swapped: jax.Array) -> jax.Array:
    seen = see(to_floats(original), to_floats(video), swapped)
    logits = discriminate(rival, config, policy, seen.video)
    return adversarial.accuracy(logits, seen.target)

  # Slow and fast clips alternate, so pairs of neighbours have the same order.
  found = [
    accuracy(clip.video[None], video[None], np.array([i // 2 % 2 == 1]))
    for i, (clip, video) in enumerate(zip(clips(plan), made, strict=True))
  ]
  return float(np.mean(found))


def along(both: Phases, plan: Plan) -> Iterator[dict[str, Any]]:
  """Yields what the latents look like at every checkpoint of both phases."""
  policy = policy_of(jax.devices()[0])
  for run, before in ((both.first, 0), (both.second, both.first.steps)):
    kept = Path(run.output.folder) / "checkpoints"
    for step in sorted(int(p.name) for p in kept.iterdir() if p.name.isdigit()):
      params = encoder_at(kept / str(step) / "state")
      sums = LatentSums.of(
        np.asarray(_encode(run.vae, policy, params, clip.video[None]))
        for clip in clips(plan)
      )
      spectrum = sums.spectrum()
      yield {
        "step": before + step,
        "in_use": int(sums.in_use().sum()),
        "correlation": sums.correlation(),
        "effective_rank": sums.effective_rank(),
        "spectrum": (spectrum / max(spectrum.sum(), 1e-12))[:COMPONENTS].tolist(),
      }


def encoder_at(folder: Path) -> Params:
  """Reads the encoder of a checkpoint of training."""
  import orbax.checkpoint as ocp

  place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  with ocp.StandardCheckpointer() as reader:
    saved = reader.metadata(folder).item_metadata.tree
    target = {
      name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)
      for name, leaf in saved.items()
    }
    flat = reader.restore(folder, target)
  parts = {
    name.removeprefix("params/"): array
    for name, array in flat.items()
    if name.startswith("params/encoder/")
  }
  return nest(parts)


def strip(run: VAERun | None, plan: Plan) -> Image.Image:
  """Returns detail of clips in a row: four at sigma 0, then two fast ones at 0.1.

  Args:
    run: Run whose VAE is shown; None shows the originals.
    plan: Plan with the clips.
  """
  chosen = [(i, 0.0) for i in range(4)] + [(i, SHOWN_SIGMA) for i in (1, 3)]
  coder = Coder.of(run) if run else None
  tiles = []
  for number, sigma in chosen:
    clip = clips(plan)[number]
    video = clip.video
    if coder:
      video = coder.decode(coder.encode(video), sigma, number)
    tiles.append(_detail(clip, video))
  image = Image.fromarray(np.concatenate(tiles, axis=1))
  return image.resize(
    (_ZOOM * image.width, _ZOOM * image.height), Image.Resampling.NEAREST
  )


def _detail(clip: Clip, video: np.ndarray) -> np.ndarray:
  """Returns the pixels around the shape in the middle frame."""
  frames, height, width = video.shape[:3]
  yx = texture.centers(clip.caption, clip.seed, frames, height, width)[frames // 2]
  top, left = (
    int(np.clip(round(z) - _CROP // 2, 0, size - _CROP))
    for z, size in zip(yx, (height, width), strict=True)
  )
  return video[frames // 2, top : top + _CROP, left : left + _CROP]
