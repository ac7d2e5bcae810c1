"""The model that a transformer's run trains: shown during training, and written."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
from jaxtyping import UInt8

from ltx_jax import programs
from ltx_jax.checkpoints import lightricks, lora, t5
from ltx_jax.config import ModelConfig, VAEConfig
from ltx_jax.config.runs import TransformerRun
from ltx_jax.diffusion.conditioning import Reference
from ltx_jax.pipeline.model import LTXVideo
from ltx_jax.platforms import Policy
from ltx_jax.releases.presets import recipe_for
from ltx_jax.training.state import Batch, TrainState
from ltx_jax.typing import EncodedText, Params
from train.harness.start import checkpoint_of
from train.harness.steps import Pictures


@dataclasses.dataclass(frozen=True, eq=False)
class FrozenVAE:
  """A VAE that is used but not trained."""

  config: VAEConfig
  params: Params
  policy: Policy


def model_of(
  run: TransformerRun, params: Params, vae: FrozenVAE, policy: Policy
) -> LTXVideo:
  """Returns the networks as a model that generates from encoded text.

  By default it generates clips of the largest size that it was trained on.
  """
  buckets = [bucket for stage in run.stages for bucket in stage.buckets]
  largest = max(buckets, key=lambda b: b.frames * b.height * b.width)
  config = ModelConfig(
    transformer=run.transformer,
    vae=vae.config,
    scheduler=run.scheduler,
    name=run.name,
    default_size=(largest.frames, largest.height, largest.width),
    default_fps=run.fps,
  )
  params = dict(params) | {"vae": vae.params}
  return LTXVideo(config, params, policy, recipe=recipe_for(config))


def make_pictures(
  run: TransformerRun,
  networks: Callable[[TrainState], Sequence[Params]],
  vae: FrozenVAE,
  captions: Batch,
  policy: Policy,
  text_fn: Callable[[Params, Batch], EncodedText],
  *,
  references: Sequence[np.ndarray] = (),
) -> Pictures:
  """Returns a function that generates the captions, one row each; the last one is "".

  Args:
    networks: Function from a state to the networks to show, side by side.
    captions: Arrays of a batch for the captions.
    text_fn: (parameters, batch) -> text input of the transformer.
    references: Latents of each caption's reference, shown to the left of the networks'
      videos.
  """
  bucket = run.stages[-1].buckets[0]
  size = {"width": bucket.width, "height": bucket.height, "frames": bucket.frames}
  text_fn = jax.jit(text_fn)
  guides = decoded(vae, references)

  def rows_of(params: Params) -> np.ndarray:
    model = model_of(run, params, vae, policy)
    text, mask = text_fn(model.params, captions)
    how = size | {"negative_prompt": (text[-1:], mask[-1:]), "fps": run.fps}
    if not guides:
      return _rows(model.generate((text[:-1], mask[:-1]), **how))
    videos = [
      model.generate(
        (text[k : k + 1], mask[k : k + 1]), conditions=[Reference(guide)], **how
      )
      for k, guide in enumerate(guides)
    ]
    return _rows(np.concatenate(videos))

  def pictures(state: TrainState, step: int) -> dict[str, np.ndarray]:
    columns = [_rows(guides)] if guides else []
    columns += map(rows_of, networks(state))
    return {"samples": np.concatenate(columns, axis=1)}

  return pictures


def _rows(videos: Sequence[np.ndarray]) -> np.ndarray:
  """Puts frames of each video [F H W 3] in a row, and the rows below each other."""
  rows = []
  for video in videos:
    shown = np.linspace(0, len(video) - 1, min(5, len(video))).astype(int)
    rows.append(np.concatenate(list(video[shown]), axis=1))
  return np.concatenate(rows, axis=0)


def decoded(
  vae: FrozenVAE, latents: Sequence[np.ndarray]
) -> list[UInt8[np.ndarray, "F H W 3"]]:
  """Decodes latents [f h w c] into clips."""
  program = programs.decode(vae.config, vae.policy, programs.to_uint8)
  clips = (np.asarray(clip, np.float32)[None] for clip in latents)
  return [np.asarray(program(vae.params, z, 0.0, None, 0.0, None))[0] for z in clips]


def exported(run: TransformerRun) -> Path:
  """Returns the folder where the model is written."""
  return Path(run.output.folder) / "model"


def outputs(run: TransformerRun) -> list[Path]:
  """Returns the files and folders that are written at the end of a run."""
  if run.lora.rank:
    return [lora_file(run, reader) for reader in lora.WRITERS]
  return [exported(run) / name for name in ("model.safetensors", "tokenizer")]


def how_to_sample(run: TransformerRun, prompt: str) -> str:
  """Returns the command that samples what was trained, with a held-out caption."""
  words = "python", "-m", "sample.generate", prompt, "--model", str(exported(run))
  return f"Sample it with a held-out caption: {shlex.join(words)}"


def lora_file(run: TransformerRun, reader: str) -> Path:
  """Returns the file of low-rank updates for a program that reads it."""
  return Path(run.output.folder) / f"lora-{reader}.safetensors"


def export_lora(run: TransformerRun, updates: Params) -> Path:
  """Writes low-rank updates for each program that reads them; returns the folder."""
  trained = {
    "base_model": run.init_from,
    "data": " ".join(run.data),
    "steps": str(run.steps),
    "trained_by": "ltx-jax",
  }
  updates = jax.device_get(updates)
  for reader, write in lora.WRITERS.items():
    write(lora_file(run, reader), updates, run.transformer, run.lora, trained)
  return Path(run.output.folder)


def inputs(run: TransformerRun) -> list[tuple[str, Path | str]]:
  """Returns (option, path) of a run's inputs."""
  return [
    ("vae", run.vae),
    ("init_from", run.init_from and checkpoint_of(run.init_from)),
    ("text_folder", Path(run.text_folder) / "tokenizer"),
  ]


def export(run: TransformerRun, model: LTXVideo) -> Path:
  """Writes the model as released: one file, text encoder and tokenizer next to it."""
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
