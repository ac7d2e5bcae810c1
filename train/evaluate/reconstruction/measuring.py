"""What is measured of each clip: one number a clip, and curves over its frames.

| figure           | what it shows                                   | equal clips |
|------------------|-------------------------------------------------|-------------|
| psnr             | error pooled over the clip, in decibels         | 100         |
| psnr_frames      | mean over frames of their decibels              | 100         |
| ssim             | structure that is kept, Gaussian window of 11   | 1           |
| lpips-vgg16      | distance of features (with --lpips)             | 0           |
| vmaf             | what people would score (where ffmpeg has it)   | about 99    |
| flicker ratio    | change between frames, against the original's   | 1           |
| warp error ratio | the same beyond the motion of the original      | 1           |
| sharpness ratio  | change between pixels, against the original's   | 1           |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, UInt8

from ltx_jax.data.pixels import to_floats
from ltx_jax.metrics import figure as figures
from ltx_jax.metrics import lpips as lpips_of
from ltx_jax.metrics import optical_flow
from ltx_jax.metrics.figure import Figure
from ltx_jax.metrics.frames import plain, still
from ltx_jax.metrics.psnr import psnr_of_clip, psnr_of_frames, squared_error
from ltx_jax.metrics.sharpness import sharpness
from ltx_jax.metrics.ssim import ssim_by_frame
from ltx_jax.metrics.warp import ROUNDING, flicker, ratio, warp_errors
from train.evaluate.reconstruction import vmaf
from train.evaluate.reconstruction.material import Compared

Lpips = Callable[[np.ndarray, np.ndarray], float]
"""(made, original), floats in [-1, 1] -> the distance."""

GROUP = 8
"""Frames that share a latent frame; the first frame of a clip has one of its own."""

WARP = "warp error ratio"

UNITS = {"psnr": "dB", "psnr_frames": "dB"}
RECIPES = {
  "psnr": "PSNR of the error of a whole clip, 8 bits, at most 100",
  "psnr_frames": "mean over frames of their PSNR, 8 bits, each at most 100",
  "ssim": "SSIM, Gaussian window of 11, sigma 1.5, mean over frames and channels",
  lpips_of.NAME: "LPIPS v0.1, VGG16, mean over frames",
  "vmaf": "VMAF of ffmpeg's libvmaf, its default model, mean over frames",
  "flicker ratio": "change between frames against the original's; below 1 is smoother",
  WARP: "squared error of frames moved by the original's motion, against its own, each "
  "with the noise of 8 bits",
  "sharpness ratio": "change between pixels against the original's; below 1 is blur",
}


class Row(NamedTuple):
  """Figures of one reconstruction.

  Attributes:
    name: Name of the clip.
    source: Video that it was cut from.
    how: What was done, such as `sigma 0.05`.
    figures: One number each; infinite or NaN where there is none.
    psnr: PSNR of every frame.
    ssim: SSIM of every frame.
    still: Whether the original does not move.
    plain: Whether it has one colour.
  """

  name: str
  source: str
  how: str
  figures: dict[str, float]
  psnr: Float64[np.ndarray, "F"]
  ssim: Float64[np.ndarray, "F"]
  still: bool
  plain: bool


def measure(clip: Compared, lpips: Lpips | None) -> list[Row]:
  """Returns the figures of a clip's reconstructions.

  Args:
    clip: The clip.
    lpips: Function for LPIPS; None without its weights.
  """
  moved = _warp_ratios(clip)
  rows = [_row(clip, how, made, lpips) for how, made in clip.made.items()]
  for row in rows if moved is not None else ():
    row.figures[WARP] = moved[row.how]
  return rows


def _warp_ratios(clip: Compared) -> dict[str, float] | None:
  """Returns the warp error of each reconstruction against the original's."""
  if clip.motions is None:
    return None
  errors = warp_errors([clip.original, *clip.made.values()], clip.motions())
  errors = errors + ROUNDING  # A drawn clip may have no other error.
  found = ratio(errors[1:], np.repeat(errors[:1], len(clip.made)))
  return dict(zip(clip.made, found.tolist(), strict=True))


def _row(
  clip: Compared, how: str, made: UInt8[np.ndarray, "F H W 3"], lpips: Lpips | None
) -> Row:
  one, other = made[None], clip.original[None]
  error = np.asarray(squared_error(one, other), np.float64)
  similar = ssim_by_frame(made, clip.original, 255.0)
  moves = len(made) > 1
  found = {
    "psnr": float(psnr_of_clip(error)[0]),
    "psnr_frames": float(psnr_of_frames(error)[0]),
    "ssim": float(similar.mean()),
    "flicker ratio": _ratio(flicker, one, other) if moves else math.nan,
    "sharpness ratio": _ratio(sharpness, one, other),
  }
  if lpips is not None:
    found[lpips_of.NAME] = lpips(to_floats(made), to_floats(clip.original))
  if vmaf.program():
    found["vmaf"] = vmaf.vmaf(made, clip.original, clip.fps)
  by_frame = psnr_of_clip(error.T)  # Each frame as a clip of its own.
  flags = bool(still(other)[0]), bool(plain(other)[0])
  return Row(clip.name, clip.source, how, found, by_frame, similar, *flags)


def _ratio(of: Callable[[Any], Any], made: np.ndarray, original: np.ndarray) -> float:
  return float(ratio(of(made), of(original))[0])


def summary(rows: Sequence[Row], about: str) -> list[Figure]:
  """Returns the figures of many clips, with their intervals.

  Args:
    rows: Figures of clips, all made in one way.
    about: What they are of.
  """
  found = []
  names = [name for name in RECIPES if name in rows[0].figures]
  for name in names:
    values = np.array([row.figures[name] for row in rows])
    sources, known = np.array([row.source for row in rows]), np.isfinite(values)
    recipe = f"{RECIPES[name]}, {rows[0].how}, {about}"
    if not known.all():
      recipe += f"; {int((~known).sum())} clips without it"
    if known.any():
      unit = UNITS.get(name, "")
      found.append(figures.figure(name, values[known], recipe, unit, sources[known]))
  return found


def absent(row: Row) -> list[str]:
  """Returns a sentence for each figure that could not be measured."""
  sentences = {
    lpips_of.NAME: lpips_of.no_vgg16().line,
    "vmaf": f"{vmaf.MISSING}.",
    WARP: optical_flow.MISSING,
  }
  return [text for name, text in sentences.items() if name not in row.figures]


def remarks(rows: Sequence[Row]) -> list[str]:
  """Returns sentences on clips whose figures say little, of those that exist."""
  counts = {
    "do not move": sum(row.still for row in rows),
    "are of one colour": sum(row.plain for row in rows),
  }
  return [f"{n} of {len(rows)} clips {what}." for what, n in counts.items() if n]


def curve(rows: Sequence[Row], name: str) -> Float64[np.ndarray, "F"]:
  """Returns the mean of a figure at each frame, over the clips that have it.

  Args:
    rows: Figures of clips.
    name: `psnr` or `ssim`.
  """
  each = [getattr(row, name) for row in rows]
  most = max(map(len, each))
  padded = [np.pad(x, (0, most - len(x)), constant_values=np.nan) for x in each]
  return np.nanmean(np.stack(padded), axis=0)


def by_place(values: Float64[np.ndarray, "F"]) -> dict[str, float | None]:
  """Returns the mean at each place in the group of frames that share a latent one."""
  places = np.arange(len(values))
  found = {"first frame": float(values[0])}
  for place in range(GROUP):
    there = values[(places > 0) & ((places - 1) % GROUP == place)]
    found[f"frame {place + 1} of {GROUP}"] = float(there.mean()) if len(there) else None
  return found
