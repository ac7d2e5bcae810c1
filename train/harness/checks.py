"""Checks before a training run: refuses two settings that do not fit together.

The configs check the range of single numbers themselves (`config.runs`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ltx_jax.checkpoints import t5
from ltx_jax.checkpoints.arrays import listed
from ltx_jax.config import VAEConfig
from ltx_jax.config.conditions import ConditionConfig
from ltx_jax.config.runs import (
  AutoBuckets,
  Bucket,
  OutputConfig,
  TransformerRun,
  VAERun,
)
from ltx_jax.data.buckets import groups_of
from ltx_jax.data.clips import Clips
from ltx_jax.data.layouts import CAPTIONS
from ltx_jax.data.records import Records
from ltx_jax.diffusion.timesteps import median, token_shift
from ltx_jax.errors import shown
from ltx_jax.files import refuse_overwriting
from ltx_jax.parallel.mesh import make_mesh
from ltx_jax.text.prompts import load_tokenizer
from train.harness.boards import check_wandb

LARGEST_MEDIAN = 0.99
"""Largest median of a bucket's noise levels without a warning."""


def check_run(
  run: VAERun | TransformerRun, vae: VAEConfig, tokens: Callable[[Bucket], int]
) -> None:
  """Refuses a run that the config alone shows to be impossible.

  Buckets that are chosen from the data are checked when they are known
  (`data.with_buckets`).

  Args:
    vae: Config of the VAE that encodes the clips.
    tokens: Function that returns the number of tokens of one clip of a bucket.

  Raises:
    ValueError: If the mesh does not fit the devices, the VAE cannot encode a bucket's
      size, a batch cannot be divided into micro-batches, or the Weights & Biases
      package is needed but missing.
  """
  check_wandb(run.output.wandb)
  make_mesh(**vars(run.mesh))
  named = [s for s in run.stages if not isinstance(s.buckets, AutoBuckets)]
  for stage in named:
    for bucket in stage.buckets:
      _check_size(bucket, vae)
  count = run.optimizer.accumulate
  dropping = run.token_dropping
  for group in (g for stage in named for g in groups_of(stage, tokens, dropping)):
    if group.batch_size % count:
      bucket = group.smallest
      raise ValueError(
        f"optimizer.accumulate is {count}, but a batch of "
        f"{bucket.frames}x{bucket.height}x{bucket.width} has {group.batch_size} clips; "
        "choose a number that divides the batches of all buckets."
      )


def _check_size(bucket: Bucket, vae: VAEConfig) -> None:
  t, s = vae.temporal_factor, vae.spatial_factor
  if (bucket.frames - 1) % t or bucket.height % s or bucket.width % s:
    raise ValueError(
      f"A bucket is {bucket.frames}x{bucket.height}x{bucket.width}; this VAE takes "
      f"{t}k + 1 frames, and sides that are multiples of {s}."
    )


def check_heads(run: TransformerRun) -> None:
  """Refuses a mesh whose `tensor` axis does not divide the attention heads.

  Raises:
    ValueError: If it does not; the message has both numbers.
  """
  heads, tensor = run.transformer.num_attention_heads, run.mesh.tensor
  if tensor > 0 and heads % tensor:
    raise ValueError(
      f"mesh.tensor is {tensor}, but the transformer has {heads} attention heads; give "
      "a number that divides them, and the other devices to another axis."
    )


def check_text(run: TransformerRun) -> None:
  """Refuses a tokenizer, text encoder and transformer that do not fit together.

  A frozen text encoder may be absent, because the records hold its results.

  Raises:
    ValueError: If they do not fit; the message has the two numbers that differ.
  """
  folder = Path(run.text_folder)
  config = run.text
  if run.text_encoder == "frozen":
    if not (folder / "text_encoder").is_dir():
      return
    config = t5.load_config(folder / "text_encoder")
  if run.transformer.caption_channels != config.d_model:
    raise ValueError(
      f"The transformer takes texts of caption_channels = "
      f"{run.transformer.caption_channels}, but the {run.text_encoder} text encoder "
      f"makes d_model = {config.d_model}; the two must be equal."
    )
  tokens = len(load_tokenizer(folder / "tokenizer"))
  if tokens > config.vocab_size:
    raise ValueError(
      f"The tokenizer in {run.text_folder} has {tokens} tokens, but the "
      f"{run.text_encoder} text encoder only vocab_size = {config.vocab_size}."
    )


def check_outputs(
  exports: Sequence[Path], inputs: Sequence[tuple[str, Path | str]]
) -> None:
  """Refuses a run whose outputs would replace its inputs.

  Args:
    exports: Files and folders that are written at the end of the run.
    inputs: (the option that names it, what is read); "" is ignored.

  Raises:
    ValueError: If they would; the message names both.
  """
  given = [(option, path) for option, path in inputs if str(path)]
  try:
    refuse_overwriting(exports, given)
  except ValueError as error:
    raise ValueError(f"{error} For that, take another --output.folder.") from None


def check_captions(clips: Clips, manifest: str) -> None:
  """Refuses clips without a caption, because a transformer learns nothing from them.

  Raises:
    ValueError: If there are any; the message names them.
  """
  bare = [clips.ids[row] for row, text in enumerate(clips.captions) if not text]
  if bare:
    raise ValueError(
      f"{_lacking(bare, f'{len(clips)} clips of {manifest}', 'caption')} A transformer "
      "learns what captions say, so write them (a field "
      f"{', '.join(CAPTIONS[:-1])} or {CAPTIONS[-1]}; or NAME.txt next to NAME.mp4, "
      "and make the manifest again), or remove these clips; train.vae needs none."
    )


def _lacking(bare: Sequence[str], of: str, what: str) -> str:
  """Returns the sentence: 1 of the 8 clips of FOLDER has no caption: dog.mp4."""
  have = "has" if len(bare) == 1 else "have"
  return f"{len(bare)} of the {of} {have} no {what}: {listed(bare)}."


def check_references(clips: Clips, manifest: str) -> bool:
  """Returns whether the clips have references; either all have one, or none does.

  Raises:
    ValueError: If only some have one; the message names the others.
  """
  bare = [clip.id for clip in clips if not clip.reference]
  if bare and len(bare) < len(clips):
    raise ValueError(
      f"{_lacking(bare, f'{len(clips)} clips of {manifest}', 'reference')} Name one in "
      "the field `reference`, or move these clips to a manifest of their own."
    )
  return not bare


def check_records(records: Records) -> None:
  """Refuses records whose captions are empty: their only token is the end of the text.

  Raises:
    ValueError: If there are any; the message names them.
  """
  least = int(records.empty["mask"].sum())
  rows = np.flatnonzero(records.index.tokens <= least).tolist()
  if rows:
    bare = [records.index.ids[row] for row in rows]
    all_of_them = f"{len(records)} records in {records.folder}"
    raise ValueError(
      f"{_lacking(bare, all_of_them, 'caption')} Write their captions, or remove these "
      "clips, and run train.precompute again."
    )


def check_beside(records: Records, conditions: ConditionConfig) -> None:
  """Refuses records that lack the extra clips that a run shows.

  Raises:
    ValueError: If they do; the message names the option, and how to make such records.
  """
  remedies = {
    "last": ("last_frame", "last frames", "run train.precompute with --last-frame"),
    "reference": (
      *("reference", "references"),
      "name each clip's in the manifest's field `reference`, and run train.precompute",
    ),
  }
  for name, share in conditions.beside.items():
    if name not in records.info.beside:
      option, what, remedy = remedies[name]
      raise ValueError(
        f"conditions.{option} is {share:g}, but the records in {records.folder} have "
        f"no {what}; {remedy}."
      )


def flow_warnings(run: TransformerRun, tokens: Callable[[Bucket], int]) -> list[str]:
  """Returns a warning per bucket whose noise levels leave almost nothing to see."""
  warnings = []
  if run.flow.uniform_share == 1:  # That law is not in use.
    return warnings
  for bucket in dict.fromkeys(b for stage in run.stages for b in stage.buckets):
    shift = run.flow.shift
    if shift is None:
      shift = token_shift(tokens(bucket), run.flow.shift_at_most)
    level = median(shift)
    if level > LARGEST_MEDIAN:
      warnings.append(
        f"the noise levels of {bucket.frames}x{bucket.height}x{bucket.width} "
        f"({tokens(bucket)} tokens) are shifted by {shift:.2f}: half of them lie above "
        f"sigma = {level:.4f}, where almost nothing is left to see. Limit it with "
        "--flow.shift-at-most 2.05 to 3."
      )
  return warnings


def has_checkpoint(output: OutputConfig) -> bool:
  """Whether a run in this folder would be resumed, and so needs no first state."""
  return any(Path(output.folder, "checkpoints").glob("[0-9]*"))


def check_same_network(part: str, found: Any, asked: Any, source: str) -> None:
  """Refuses to start a run from a checkpoint of another network.

  Configs are compared without the keys that this code does not use.

  Raises:
    ValueError: If they differ; the message has the first fields that do.
  """
  a, b = dataclasses.asdict(found), dataclasses.asdict(asked)
  differing = [k for k in a if k != "extra" and a[k] != b[k]]
  if differing:
    words = "; ".join(
      f"{k} is {shown(a[k])} there and {shown(b[k])} here" for k in differing[:3]
    )
    raise ValueError(
      f"The {part} in {source} is another network than this run's: {words}. Name a "
      "checkpoint of the same config, or leave --init-from empty."
    )
