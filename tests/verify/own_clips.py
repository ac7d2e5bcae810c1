"""Own clips, end to end on real video: from a folder to a trained model.

`tests.real_clips` makes the folder. (a) The shipped VAE is trained further on the
scenes that are not held out. PSNR on each unseen scene is measured before and after,
and compared with the best linear code of the same size. (b) A tokenizer, records and a
transformer are made from eight of the clips. For each caption and three seeds, the
generated clip must be nearest to its own in latent space. Finished steps are not
repeated: OWN_CLIPS names a folder to keep them in.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import ltx_jax
from ltx_jax.checkpoints import lightricks
from ltx_jax.config.runs import Bucket
from ltx_jax.data.clip_reader import read_clip
from ltx_jax.data.clips import Clip, Clips
from ltx_jax.data.contact_sheet import contact_sheet
from ltx_jax.data.manifest import read_manifest, write_manifest
from ltx_jax.data.records import Records
from ltx_jax.metrics.linear_code import fit_linear_code
from ltx_jax.metrics.psnr import psnr
from ltx_jax.platforms import CPU
from ltx_jax.releases.presets import ASSETS
from tests import real_clips
from tests.program import program
from train.harness.encoding import ClipEncoder

NAME = "Own clips: real video from a folder to a trained model"
COMMAND = "python -m tests.verify own_clips"

ROOT = Path(__file__).resolve().parent.parent.parent
SHIPPED = ASSETS / "moving_shapes" / "model.safetensors"
SIZE = Bucket(25, 128, 128)
MEMORISED = ("bunny", "earth", "meadow", "taxi", "cyclist", "title", "carphone", "wall")
"""Scenes whose first clip is memorised."""
SEEDS = (1, 2, 3)


def scene(clip: Clip) -> str:
  return clip.id.split("-")[0]


def clips_of(work: Path, unseen: Sequence[str]) -> Clips:
  """The clips with their captions; those of unseen scenes are held out."""
  folder = work / "clips"
  manifest = folder / "manifest.jsonl"
  if not manifest.is_file():
    real_clips.write_all(folder)
    program("train.manifest", folder)
    rows = read_manifest(manifest)
    marked = {"held_out": 1.0}
    write_manifest(
      manifest,
      [
        clip._replace(scores=marked) if scene(clip) in unseen else clip for clip in rows
      ],
    )
  return read_manifest(manifest)


def encoder_of(checkpoint: Path) -> ClipEncoder:
  config, params = lightricks.load_checkpoint(checkpoint, "float32", parts=("vae",))
  return ClipEncoder(config.vae, params["vae"], CPU, clips=2)


def reconstructed(checkpoint: Path, videos: Sequence[np.ndarray]) -> list[np.ndarray]:
  """Returns clips after a VAE's encoder and decoder."""
  encoder = encoder_of(checkpoint)
  return [encoder.decode(e.latents[None])[0] for e in encoder.encode(videos)]


def row(figure: str, value: float, unit: str, target: float | None = None) -> dict:
  ok = target is None or bool(value >= target)
  text = "" if target is None else f"at least {target:g} {unit}".strip()
  return {"figure": figure, "value": value, "unit": unit, "target": text, "ok": ok}


def vae_rows(work: Path, clips: Clips) -> list[dict]:
  """Trains the VAE, and compares it on each unseen scene."""
  trained = work / "vae" / "vae.safetensors"
  if not trained.is_file():
    manifest = work / "clips" / "manifest.jsonl"
    options = "--data", manifest, "--output.folder", trained.parent
    program("train.vae", "own_clips", *options, *os.environ.get("OWN_VAE", "").split())
  unseen = [clip for clip in clips if scene(clip) in real_clips.UNSEEN]
  seen = [clip for clip in clips if scene(clip) not in real_clips.UNSEEN]
  videos = [read_clip(clip, SIZE)[0] for clip in unseen]
  config = encoder_of(trained).config
  code = fit_linear_code(
    (read_clip(clip, SIZE)[0] for clip in seen),
    *(config.latent_channels, config.temporal_factor, config.spatial_factor),
  )
  sides = {
    "before": reconstructed(SHIPPED, videos),
    "after": reconstructed(trained, videos),
    "linear code": [code.reconstruct(video) for video in videos],
  }
  rows, shown, labels = [], [], []
  for name in real_clips.UNSEEN:
    own = [k for k, clip in enumerate(unseen) if scene(clip) == name]
    means = {
      side: float(np.mean([psnr(outputs[k], videos[k], 255.0) for k in own]))
      for side, outputs in sides.items()
    }
    gain = means["after"] - means["before"]
    rows.append(row(f"VAE on the unseen scene {name}: gain", gain, "dB", 2.0))
    rows += [row(f"{name}: PSNR {side}", value, "dB") for side, value in means.items()]
    shown += [videos[own[0]], *(np.uint8(s[own[0]].round()) for s in sides.values())]
    labels += [name, *(f"{side}, {means[side]:.1f} dB" for side in sides)]
  contact_sheet(work / "vae.png", shown, labels, columns=4, frames=3)
  return rows


def records_of(work: Path, clips: Clips) -> Path:
  """Makes the tokenizer and the records of the eight clips."""
  folder, few = work / "records", work / "eight.jsonl"
  if not (folder / "index.safetensors").is_file():
    chosen = [next(c for c in clips if scene(c) == name) for name in MEMORISED]
    write_manifest(few, [clip._replace(scores={}) for clip in chosen])
    program("train.tokenizer", "--data", few, "--output", work / "tokenizer")
    program(
      *("train.precompute", few, "--model", work / "vae" / "vae.safetensors"),
      *("--text-encoder", "none", "--tokenizer", work / "tokenizer"),
      *("--buckets", "25x128x128", "--output", folder),
    )
  return folder


def transformer_rows(work: Path, records: Path) -> list[dict]:
  """Trains the transformer, and generates each clip from its caption."""
  folder = work / "transformer"
  if not (folder / "model" / "model.safetensors").is_file():
    program(
      *("train.transformer", "own_clips", "--data", records, "--text-folder", work),
      *("--vae", work / "vae" / "vae.safetensors", "--held-out", 0),
      *("--output.folder", folder, *os.environ.get("OWN_TRANSFORMER", "").split()),
    )
  source = Records(records)
  stored = [source.record(k) for k in range(len(source))]
  captions = [record.caption for record in stored]
  known = np.stack([np.asarray(r.latents, np.float32).reshape(-1) for r in stored])
  model = ltx_jax.load(folder / "model", dtype="float32")
  text, negative = model.encode_text(captions), model.encode_text([""])
  sampling = model.recipe.sampling.override(30, 2.0)
  rows = []
  for seed in SEEDS:
    latents = model.denoise(
      text,
      width=128,
      height=128,
      frames=25,
      fps=float(stored[0].fps),
      sampling=sampling,
      negative=negative,
      seed=seed,
    )
    made = np.asarray(latents).reshape(len(stored), -1)
    nearest = np.linalg.norm(made[:, None] - known[None], axis=-1).argmin(axis=1)
    right = int((nearest == np.arange(len(stored))).sum())
    rows.append(row(f"clips nearest to their own, seed {seed}", right, "of 8", 8))
  videos = np.asarray(model.decode(latents, sigma=0.0, noise_scale=0.0))
  shown = np.uint8(np.round(127.5 * (np.clip(videos, -1, 1) + 1)))
  contact_sheet(work / "generated.png", list(shown), captions, frames=3)
  return rows


def checks(work: Path) -> list[dict[str, Any]]:
  clips = clips_of(work, real_clips.UNSEEN)
  rows = [row("clips with captions", len(clips), "", 40)]
  rows += vae_rows(work, clips)
  return rows + transformer_rows(work, records_of(work, clips))


def run() -> list[dict[str, Any]]:
  """Rows of both halves."""
  if "OWN_CLIPS" in os.environ:
    return checks(Path(os.environ["OWN_CLIPS"]))
  with tempfile.TemporaryDirectory() as work:
    return checks(Path(work))
