"""The model that a transformer's run makes: shown while it learns, and written."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np

from ltx_jax.checkpoints import lightricks, lora, t5
from ltx_jax.config import ModelConfig, VAEConfig
from ltx_jax.config.runs import TransformerRun
from ltx_jax.pipeline.model import LTXVideo
from ltx_jax.platforms import Policy
from ltx_jax.releases.presets import recipe_for
from ltx_jax.training.state import Batch, TrainState
from ltx_jax.typing import EncodedText, Params
from train.harness.start import checkpoint_of
from train.harness.steps import Pictures


@dataclasses.dataclass(frozen=True, eq=False)
class FrozenVAE:
  """A VAE that is used and not trained."""

  config: VAEConfig
  params: Params
  policy: Policy


def model_of(
  run: TransformerRun, params: Params, vae: FrozenVAE, policy: Policy
) -> LTXVideo:
  """The networks as a model that generates from encoded text."""
  config = ModelConfig(
    transformer=run.transformer, vae=vae.config, scheduler=run.scheduler, name=run.name
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
) -> Pictures:
  """Returns a function that generates the captions, the last being "", a row each.

  Args:
    networks: State -> the networks that are shown, side by side.
    captions: What a batch has of them.
    text_fn: (parameters, batch) -> what the transformer is told.
  """
  bucket = run.stages[-1].buckets[0]
  text_fn = jax.jit(text_fn)

  def rows_of(params: Params) -> np.ndarray:
    model = model_of(run, params, vae, policy)
    text, mask = text_fn(model.params, captions)
    videos = model.generate(
      (text[:-1], mask[:-1]),
      negative_prompt=(text[-1:], mask[-1:]),
      width=bucket.width,
      height=bucket.height,
      frames=bucket.frames,
      fps=run.fps,
    )
    shown = np.linspace(0, videos.shape[1] - 1, min(5, videos.shape[1])).astype(int)
    rows = [np.concatenate(list(video[shown]), axis=1) for video in videos]
    return np.concatenate(rows, axis=0)

  def pictures(state: TrainState, step: int) -> dict[str, np.ndarray]:
    return {"samples": np.concatenate(list(map(rows_of, networks(state))), axis=1)}

  return pictures


def exported(run: TransformerRun) -> Path:
  """Returns the folder that the model is written to."""
  return Path(run.output.folder) / "model"


def outputs(run: TransformerRun) -> list[Path]:
  """Returns what is written at the end of a run."""
  if run.lora.rank:
    return [lora_file(run, reader) for reader in lora.WRITERS]
  return [exported(run) / name for name in ("model.safetensors", "tokenizer")]


def lora_file(run: TransformerRun, reader: str) -> Path:
  """Returns the file of low-rank updates for one program that reads it."""
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
  """Returns (option, path) of what a run is made from."""
  return [
    ("vae", run.vae),
    ("init_from", run.init_from and checkpoint_of(run.init_from)),
    ("text_folder", Path(run.text_folder) / "tokenizer"),
  ]


def export(run: TransformerRun, model: LTXVideo) -> Path:
  """Writes the model as it is released: one file, text encoder and tokenizer beside."""
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
