"""The tasks to time, as data: configs and sizes for both workers, FLOPs, parameters."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from configs import moving_shapes
from ltx_jax.checkpoints import keys, lightricks
from ltx_jax.checkpoints.convert import convert
from ltx_jax.config import (
  TRANSFORMER_2B,
  VAE_C,
  ModelConfig,
  SchedulerConfig,
  TransformerConfig,
  VAEConfig,
)
from ltx_jax.config.adversarial import AdversarialConfig
from ltx_jax.planning import flops
from ltx_jax.planning.vae_walk import Size
from ltx_jax.releases import presets
from ltx_jax.text.prompts import MAX_TOKENS
from sample.benchmark import vae_training as vae_step
from sample.benchmark.ours import random_params

CLIPS, CLIP = 4, (25, 128, 128)
"""Clips of a step in the last stage of the small VAE's recipe, and their size."""

_STD = 0.02
_SIGMA = 0.05


@dataclasses.dataclass(frozen=True)
class Task:
  """One thing to time.

  Attributes:
    spec: Task for both workers, as JSON.
    flops: Floating-point operations of one run.
    parameters: Number of parameters on each side.
    target: Largest ratio of our seconds to theirs; None for no target.
  """

  spec: dict[str, Any]
  flops: int
  parameters: int
  target: float | None

  @property
  def name(self) -> str:
    """Kind of the task."""
    return self.spec["kind"]


def velocity(
  config: TransformerConfig = TRANSFORMER_2B, tokens: int = 256, text_tokens: int = 128
) -> Task:
  """One evaluation of a transformer."""
  spec = {
    "kind": "velocity",
    "transformer": config.to_metadata(),
    "tokens": tokens,
    "text_tokens": text_tokens,
    "std": _STD,
  }
  count = _count(keys.transformer_entries(config))
  return Task(spec, flops.velocity(config, tokens, text_tokens), count, 0.5)


def training(
  config: TransformerConfig = moving_shapes.TRANSFORMER,
  clips: int = 64,
  tokens: int = 64,
  text_tokens: int = moving_shapes.TEXT.max_text_tokens,
) -> Task:
  """A step of a transformer: loss, gradients and AdamW; by default as in its recipe.

  The loss is that of tokens at their clip's noise level. Text embeddings are given, so
  that both sides have the same parameters.
  """
  spec = {
    "kind": "training",
    "transformer": config.to_metadata(),
    "clips": clips,
    "tokens": tokens,
    "text_tokens": text_tokens,
    "std": _STD,
  }
  count = _count(keys.transformer_entries(config))
  # Backwards every product has two: for its input, and for its weights.
  work = 3 * clips * flops.velocity(config, tokens, text_tokens)
  return Task(spec, work, 4 * count, 0.8)


def _vae_spec(kind: str, config: VAEConfig, video: Sequence[int]) -> dict[str, Any]:
  return {
    "kind": kind,
    "vae": config.to_metadata(),
    "video": list(video),
    "latents": list(config.latent_shape(*video)),
    "sigma": _SIGMA,
    "std": _STD,
  }


def encode(config: VAEConfig = VAE_C, video: Sequence[int] = (25, 256, 256)) -> Task:
  """Encoding of a clip (frames, height, width) to latents."""
  count = _count(keys.vae_entries(config), "decoder/")
  return Task(
    _vae_spec("encode", config, video), flops.encoder(config, *video), count, 0.8
  )


def decode(config: VAEConfig = VAE_C, video: Sequence[int] = (25, 256, 256)) -> Task:
  """Decoding of latents to a clip (frames, height, width)."""
  spec = _vae_spec("decode", config, video)
  count = _count(keys.vae_entries(config), "encoder/")
  return Task(spec, flops.decoder(config, *spec["latents"]), count, 1.0)


def vae_training(
  path: Path, folder: Path, clips: int = CLIPS, size: Size = CLIP
) -> Task:
  """A step of a checkpoint's VAE: losses, gradients and AdamW, no discriminator.

  Both sides begin with the same parameters, clips and draws.

  Args:
    path: The checkpoint.
    folder: Folder where the clips and the first step's draws are written.
    clips: Number of clips.
    size: Frames, height and width of the clips.
  """
  run, batch = vae_step.recipe(path), folder.resolve() / "batch.npz"
  vae_step.write_batch(batch, run, clips, size)
  spec = {
    "kind": "vae-training",
    "path": str(Path(path).resolve()),
    "batch": str(batch),
    "loss": dataclasses.asdict(run.loss),
    "optimizer": dataclasses.asdict(run.optimizer),
  }
  return Task(spec, *_vae_step_costs(run.vae, clips, size), 0.8)


def vae_convolutions(
  config: VAEConfig = moving_shapes.VAE, clips: int = CLIPS, size: Size = CLIP
) -> Task:
  """The convolutions of `vae_training` alone, with their gradients."""
  rows = vae_step.convolutions_of(config, clips, size)
  spec = {"kind": "vae-convolutions", "convolutions": rows}
  return Task(spec, *_vae_step_costs(config, clips, size), None)


def _vae_step_costs(config: VAEConfig, clips: int, size: Size) -> tuple[int, int]:
  """Returns a step's FLOPs, and the numbers held: parameters, gradients, moments."""
  alone = AdversarialConfig()
  work = flops.vae_training(config, alone, size, encoder_trained=True)
  return clips * work, 4 * _count(keys.vae_entries(config))


def generate(path: Path, text_tokens: int = MAX_TOKENS, **changes: Any) -> Task:
  """A whole video by a single-file checkpoint, with its model's recipe.

  Args:
    path: The checkpoint.
    text_tokens: Length of the text embeddings, of the prompt and of the negative one.
    **changes: Fields of the recipe to change, e.g. frames=9.
  """
  config = lightricks.read_config(path)
  recipe = dataclasses.replace(presets.recipe_for(config), **changes)
  sampling = recipe.sampling
  steps = sampling.steps or 40
  spec = {
    "kind": "generate",
    "path": str(Path(path).resolve()),
    "video": [recipe.frames, recipe.height, recipe.width],
    "fps": recipe.fps,
    "steps": steps,
    "guidance": float(sampling.guidance),
    "decode_sigma": sampling.decode_sigma,
    "decode_noise": sampling.decode_noise,
    "text_tokens": text_tokens,
    "caption_channels": config.transformer.caption_channels,
  }
  grid = config.vae.latent_shape(*spec["video"])
  tokens = grid[0] * grid[1] * grid[2]
  of_step = flops.denoise(config.transformer, tokens, text_tokens)
  of_text = flops.text_state(config.transformer, text_tokens)
  total = 2 * (steps * of_step + of_text) + flops.decoder(config.vae, *grid)
  entries = (
    *keys.transformer_entries(config.transformer),
    *keys.vae_entries(config.vae),
  )
  return Task(spec, total, _count(entries), 0.6)


def _count(entries: Iterable[keys.Entry], skip: str | None = None) -> int:
  shapes = (e.shape for e in entries if skip is None or not e.path.startswith(skip))
  return sum(math.prod(shape) for shape in shapes)


def random_checkpoint(
  path: Path,
  transformer: TransformerConfig = moving_shapes.TRANSFORMER,
  vae: VAEConfig = moving_shapes.VAE,
) -> Path:
  """Writes a checkpoint of random weights in the layout of the released ones."""
  params = {
    "transformer": random_params(keys.transformer_entries(transformer), _STD),
    "vae": random_params(keys.vae_entries(vae), _STD),
  }
  scheduler = SchedulerConfig(sampler="Uniform", shifting="SD3")
  config = ModelConfig(transformer, vae, scheduler, name="moving-shapes")
  lightricks.save_checkpoint(path, config, params)
  return path


EXPRESSIBLE_TRANSFORMER = dataclasses.replace(
  moving_shapes.TRANSFORMER,
  positional_embedding_max_pos=TRANSFORMER_2B.positional_embedding_max_pos,
  causal_temporal_positioning=False,
)
"""The small model's transformer, with the token positions built into diffusers."""

EXPRESSIBLE_VAE = dataclasses.replace(
  VAE_C, encoder_base_channels=16, decoder_base_channels=16
)
"""The newest release's VAE at an eighth of its width. The small model's own VAE begins
with a block that changes the size, which diffusers cannot represent."""


def for_diffusers(
  path: Path, folder: Path, text_tokens: int = MAX_TOKENS, **changes: Any
) -> Task:
  """A whole video by a checkpoint, written to `folder` in the layout of diffusers.

  Args:
    path: The checkpoint.
    folder: Folder to write; it must not exist.
    text_tokens: Length of the text embeddings (see `generate`).
    **changes: Fields of the recipe to change (see `generate`).

  Raises:
    ValueError: If diffusers cannot represent the checkpoint's networks.
  """
  convert(path, folder)
  task = generate(path, text_tokens, **changes)
  spec = task.spec | {"folder": str(folder.resolve())}
  return dataclasses.replace(task, spec=spec, target=None)


BY_NAME = {
  "velocity": velocity,
  "decode": decode,
  "encode": encode,
  "training": training,
  "vae-convolutions": vae_convolutions,
}
"""Tasks on networks with random weights; `generate` and `vae-training` take a
checkpoint."""
