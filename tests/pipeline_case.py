"""A small random model and whole sampling runs, as data for several tests.

Every random draw of a run is replaced by numbers made here from its name and shape, in
the original as in ours, so that runs can be compared from end to end.
"""

import dataclasses
import functools
import zlib

import jax
import numpy as np

from ltx_jax.config import (
  Block,
  ModelConfig,
  SchedulerConfig,
  TransformerConfig,
  VAEConfig,
)
from ltx_jax.diffusion.conditioning import Condition
from ltx_jax.diffusion.sampling import Sampling
from ltx_jax.models import transformer, vae

TRANSFORMER = TransformerConfig(
  num_attention_heads=2,
  attention_head_dim=12,
  num_layers=2,
  in_channels=6,
  out_channels=6,
  cross_attention_dim=24,
  caption_channels=10,
  positional_embedding_max_pos=(2, 60, 60),
  causal_temporal_positioning=True,
)
VAE = VAEConfig(
  latent_channels=6,
  encoder_base_channels=8,
  decoder_base_channels=8,
  encoder_blocks=(
    Block("res_x", 1),
    Block("compress_all_res", multiplier=2),
    Block("res_x", 1),
  ),
  decoder_blocks=(
    Block("res_x", 1),
    Block("compress_all", multiplier=2, residual=True),
    Block("res_x", 1),
  ),
)
SCHEDULERS = {
  "linear_quadratic": SchedulerConfig(sampler="LinearQuadratic"),
  "shifted": SchedulerConfig(shifting="SD3", target_shift_terminal=0.1),
}
WIDTH, HEIGHT, FRAMES, FPS = 40, 32, 5, 25.0
CLIPS, TEXT_LENGTH = 2, 7


@dataclasses.dataclass(frozen=True)
class Run:
  """One sampling run."""

  scheduler: str
  sampling: Sampling
  strength: float | None = None
  from_latents: bool = False


RUNS = {
  "text_to_video": Run("shifted", Sampling(steps=6, guidance=3.0)),
  "unguided": Run("linear_quadratic", Sampling(steps=4, guidance=1.0)),
  "image_to_video": Run(
    "linear_quadratic", Sampling(steps=6, guidance=3.0, condition_noise=0.15), 1.0
  ),
  "soft_image": Run("shifted", Sampling(steps=7, guidance=2.5), 0.3),
}

_STG = {"steps": 4, "guidance": 3.0, "stg": 1.5}
# With entries that need every set of branches: 1 alone, 2 of either kind, all 3.
_SCHEDULES = {
  "guidance_sigmas": (1.0, 0.99, 0.9, 0.5),
  "guidance": (1.0, 6.0, 4.0, 1.0),
  "stg": (0.0, 0.0, 3.0, 1.0),
  "rescale": (1.0, 0.5, 0.7, 0.3),
  "stg_blocks": ((), (0,), (0, 1), (1,)),
}
# The original does these for one clip at a time only.
GUIDED = {
  "attention_values": Run("shifted", Sampling(stg_blocks=(1,), **_STG)),
  "attention_skip": Run(
    "shifted", Sampling(stg_mode="attention_skip", stg_blocks=(0, 1), **_STG)
  ),
  "transformer_block": Run(
    "shifted", Sampling(stg_mode="transformer_block", stg_blocks=(0,), **_STG)
  ),
  "residual": Run(
    "shifted", Sampling(stg_mode="residual", stg_blocks=(0, 1), rescale=0.7, **_STG)
  ),
  "stg_alone": Run(
    "shifted", Sampling(steps=4, guidance=1.0, stg=2.0, stg_blocks=(1,), rescale=0.5)
  ),
  "cfg_star": Run("shifted", Sampling(steps=4, guidance=4.0, cfg_star=True)),
  "schedules": Run(
    "linear_quadratic", Sampling(steps=8, cfg_star=True, **_SCHEDULES), 1.0
  ),
  "stochastic": Run(
    "linear_quadratic", Sampling(steps=5, guidance=1.0, stochastic=True)
  ),
  "stochastic_image": Run(
    "shifted", Sampling(steps=5, guidance=2.0, stochastic=True), 0.4
  ),
  "skipped_end": Run("linear_quadratic", Sampling(steps=8, skip_final=3)),
  "skipped_start": Run(
    "linear_quadratic",
    Sampling(steps=8, skip_initial=3, skip_final=1),
    from_latents=True,
  ),
  "distilled": Run(
    "linear_quadratic",
    Sampling(sigmas=(1.0, 0.9937, 0.725), guidance=1.0, tone_map=0.6),
  ),
}


def config(scheduler="linear_quadratic"):
  return ModelConfig(TRANSFORMER, VAE, SCHEDULERS[scheduler], name="random")


def drawn(path, leaf):
  """Random everywhere, so that no zero-initialised parameter hides a mistake."""
  name = jax.tree_util.keystr(path, simple=True, separator="/")
  noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(leaf.shape)
  if name.endswith("timestep_scale_multiplier"):
    noise = np.full(leaf.shape, 1000.0)
  elif name.endswith("kernel"):
    noise *= np.prod(leaf.shape[-4:-1] if leaf.ndim >= 5 else leaf.shape[-2:-1]) ** -0.5
  elif name.endswith(("_norm/scale", "per_channel_statistics/std")):
    noise = np.exp(0.3 * noise)
  else:
    noise *= 0.3
  if "decoder/conv_out" in name:
    noise *= 0.3  # Or most pixels would lie outside [-1, 1] and be clipped.
  return noise.astype(np.float32)


@functools.cache
def params():
  key = jax.random.key(0)
  inits = {
    "transformer": lambda: transformer.init(TRANSFORMER, key),
    "vae": lambda: vae.init_vae(key, VAE),
  }
  return {
    part: jax.tree_util.tree_map_with_path(drawn, jax.eval_shape(init))
    for part, init in inits.items()
  }


def texts():
  """((text, mask) of the prompts, the same of one negative prompt)."""
  rng = np.random.default_rng(3)
  shape = (CLIPS + 1, TEXT_LENGTH, TRANSFORMER.caption_channels)
  text = rng.standard_normal(shape).astype(np.float32)
  mask = np.arange(TEXT_LENGTH) < np.array([[5], [7], [2]])
  return (text[:CLIPS], mask[:CLIPS]), (text[CLIPS:], mask[CLIPS:])


def start_latents():
  """Normalised latents [b f h w c] to start from."""
  grid = VAE.latent_shape(FRAMES, HEIGHT, WIDTH)
  shape = (CLIPS, *grid, VAE.latent_channels)
  return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def image():
  """One frame [1 H W 3] in [-1, 1]."""
  rng = np.random.default_rng(4)
  return rng.uniform(-1, 1, (1, HEIGHT, WIDTH, 3)).astype(np.float32)


def draws(name, shape):
  """Standard normal numbers that depend on name and shape alone."""
  rng = np.random.default_rng(zlib.crc32(name.encode()))
  return rng.standard_normal(shape).astype(np.float32)


def denoise(model, run, **changes):
  """Runs one of `RUNS` on our side, up to the latents."""
  text, negative = texts()
  given = () if run.strength is None else (Condition(image(), 0, run.strength),)
  options = {
    "width": WIDTH,
    "height": HEIGHT,
    "frames": FRAMES,
    "fps": FPS,
    "sampling": run.sampling,
    "conditions": given,
    "latents": start_latents() if run.from_latents else None,
    "negative": negative,
    "draws": draws,
  }
  return model.denoise(text, **(options | changes))
