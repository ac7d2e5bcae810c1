"""A small random model in which 8 frames are a latent frame, and its conditions.

The original counts in eights wherever a clip starts later, whatever its VAE says.
"""

import dataclasses
import functools
import zlib

import jax
import numpy as np

from ltx_jax.config import Block, ModelConfig, SchedulerConfig, VAEConfig
from ltx_jax.diffusion.conditioning import Condition
from ltx_jax.diffusion.sampling import Sampling, TwoPasses
from ltx_jax.models import vae
from tests import pipeline_case as base
from tests.models import upsampler_case

VAE = VAEConfig(
  latent_channels=6,
  encoder_base_channels=8,
  decoder_base_channels=8,
  encoder_blocks=(
    Block("res_x", 1),
    Block("compress_all_res", multiplier=2),
    Block("compress_time_res", multiplier=1),
    Block("compress_time_res", multiplier=1),
    Block("res_x", 1),
  ),
  decoder_blocks=(
    Block("res_x", 1),
    Block("compress_all", multiplier=2, residual=True),
    Block("compress_time"),
    Block("compress_time"),
    Block("res_x", 1),
  ),
)
CONFIG = ModelConfig(
  base.TRANSFORMER, VAE, SchedulerConfig(sampler="LinearQuadratic"), name="random"
)
WIDTH, HEIGHT, FRAMES = 24, 16, 33


@dataclasses.dataclass(frozen=True)
class Task:
  """One run: its sampling, conditions as (frame, frames, strength), a starting clip."""

  given: tuple[tuple[int, int, float], ...] = ()
  video: bool = False
  sampling: Sampling = Sampling(steps=5, guidance=2.0)

  @property
  def keyframes(self):
    """Numbers of the conditions that have keyframes."""
    return [i for i, (frame, _, _) in enumerate(self.given) if frame > 0]


TASKS = {
  "clip_first": Task(((0, 17, 1.0),)),
  "image_later": Task(((11, 1, 1.0),)),
  "soft_image_later": Task(((32, 1, 0.5),)),
  "clip_later": Task(((16, 17, 1.0),)),
  "soft_clip_later": Task(((16, 17, 0.5),)),
  "short_clip_later": Task(((8, 9, 1.0),)),
  "several": Task(((0, 9, 0.5), (16, 17, 0.7), (30, 1, 1.0), (24, 1, 0.2))),
  "made_over": Task(
    ((16, 1, 1.0),), True, Sampling(steps=8, guidance=2.0, skip_initial=3)
  ),
}

PASSES = {
  "two_passes": TwoPasses(
    Sampling(sigmas=(1.0, 0.9, 0.6), guidance=2.0),
    Sampling(sigmas=(0.9, 0.4), guidance=1.0, tone_map=0.6),
  ),
  "two_schedules": TwoPasses(
    Sampling(steps=4, guidance=1.0, skip_final=1),
    Sampling(steps=6, guidance=2.0, skip_initial=4),
  ),
}
UPSAMPLER = upsampler_case.config("spatial")  # For 6 channels, as the VAE's.
LARGE = (9, 40, 48)
"""Frames, height, width that are asked for; the passes make 24x24 and 48x48."""


@functools.cache
def params():
  shapes = jax.eval_shape(lambda: vae.init_vae(jax.random.key(0), VAE))
  drawn = jax.tree_util.tree_map_with_path(base.drawn, shapes)
  return base.params() | {"vae": drawn}


def media(name, frames, height=HEIGHT, width=WIDTH):
  """Frames [F H W 3] in [-1, 1] that depend on their name alone."""
  rng = np.random.default_rng(zlib.crc32(str(name).encode()))
  return rng.uniform(-1, 1, (frames, height, width, 3)).astype(np.float32)


def conditions(task):
  """Returns our side's inputs of a task."""
  return [
    Condition(media(i, frames), frame, strength)
    for i, (frame, frames, strength) in enumerate(task.given)
  ]
