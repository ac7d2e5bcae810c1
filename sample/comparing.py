"""Compares a video with its reconstruction, for `sample.reconstruct`."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ltx_jax.cli import console as shared
from ltx_jax.data import outputs, video
from ltx_jax.files import atomic_file, json_bytes
from ltx_jax.metrics import ssim
from ltx_jax.metrics.latents import LatentSums
from ltx_jax.metrics.reconstruction import Figures, mean, measure
from ltx_jax.pipeline.networks import Networks
from ltx_jax.pipeline.round_trip import RoundTrip, round_trip
from ltx_jax.planning.memory import free_memory
from ltx_jax.releases.loading import load_vae
from sample.reconstruct import Options, outputs_of

_BYTES = 40
"""Bytes per pixel and frame: 24 for the clip, its reconstruction, both with the error,
and a copy of these that is written; the rest for what the encoder of the file holds."""

_FPS = 24.0
"""Frames per second of an image, which has no rate of its own."""


def read(options: Options, console: Console) -> tuple[np.ndarray, float]:
  """Reads the frames and their rate.

  Raises:
    ValueError: If they cannot be read, are too small for SSIM, or fill the memory.
  """
  frames, fps = video.read(options.video, options.frames + 1)
  if len(frames) > options.frames:
    frames = frames[: options.frames]
    console.print(
      f"note: {options.video} is longer than {shared.counted(len(frames), 'frame')}, "
      "and only these are taken; --frames takes more.",
      markup=False,
    )
  ssim.check_size(*frames.shape[1:3])
  outputs.check_output(options.output, len(frames))
  needed, free = _BYTES * frames[..., 0].size, free_memory()
  if free is not None and needed > free:
    fits = max(1, int(len(frames) * free / needed))
    raise ValueError(
      f"Comparing {shared.counted(len(frames), 'frame')} of {frames.shape[2]}x"
      f"{frames.shape[1]} needs about {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB "
      f"are free; ask for --frames {fits}."
    )
  return frames, fps or _FPS


def can_draw(console: Console) -> bool:
  """Whether curves can be drawn; if not, says what is missing, before the wait."""
  there = importlib.util.find_spec("matplotlib") is not None
  if not there:
    console.print(
      "note: no curves are drawn, because matplotlib is missing; pip install it."
    )
  return there


def run(options: Options, console: Console) -> None:
  """Encodes, decodes and compares, writes the files, and prints a table."""
  frames, fps = read(options, console)
  drawn = can_draw(console)
  with shared.Clock() as clock:
    with clock.stage("load"):
      model = load_vae(options.model, dtype=options.dtype)
    console.print(summary(options, frames, fps, model), markup=False)
    if options.sigma and not model.config.vae.timestep_conditioning:
      console.print("note: this VAE is not told of noise; --sigma changes nothing.")
    if not console.is_terminal:  # Which has a bar in place of this.
      console.print("Compiling, then encoding and decoding ...")
    with shared.work_bar(console) as on_work:
      with clock.stage("round trip"):
        made = round_trip(
          model,
          frames,
          sigma=options.sigma,
          seed=options.seed,
          window=options.window,
          on_work=on_work,
        )
      with clock.stage("compare"):
        count = len(frames)
        figures = measure(made.video, frames, lambda i: on_work("compare", i, count))
  latents = describe_latents(made)
  write(options, frames, made, fps)
  if drawn:
    draw(figures, options, fps)
  record(figures, latents, options, frames.shape, fps)
  console.print(table(figures, latents), markup=False)
  console.print(f"seconds: {clock.summary()}", markup=False)
  clip, plot, found = outputs_of(options)
  written = [clip, plot, found] if drawn else [clip, found]
  console.print(f"wrote {', '.join(map(str, written))}", markup=False)


def summary(options: Options, frames: np.ndarray, fps: float, model: Networks) -> str:
  """Returns a line about what is compared, and on what."""
  height, width = frames.shape[1:3]
  return (
    f"{options.video}: {width}x{height}, {shared.counted(len(frames), 'frame')} at "
    f"{fps:g} a second, through the VAE of {options.model} at noise level "
    f"{options.sigma:g}, {model.policy.dtype} on {model.policy.name}"
  )


def describe_latents(made: RoundTrip) -> dict[str, Any]:
  """Returns figures of the clip's normalised latents."""
  sums = LatentSums.of([made.latents])
  return {
    "positions": sums.count,
    "channels": len(sums.std),
    "channels_in_use": int(sums.in_use().sum()),
    "least_std": float(sums.std.min()),
    "largest_std": float(sums.std.max()),
    "correlation": sums.correlation(),
    "effective_rank": sums.effective_rank(),
  }


def write(options: Options, frames: np.ndarray, made: RoundTrip, fps: float) -> None:
  """Writes original, reconstruction and error side by side."""
  f, height, width, _ = frames.shape
  shown = np.empty((f, height, 3 * width, 3), np.uint8)
  shown[:, :, :width] = frames
  shown[:, :, width : 2 * width] = made.video
  for row, before, after in zip(shown, frames, made.video, strict=True):
    error = np.abs(after.astype(np.float32) - before)
    row[:, 2 * width :] = np.minimum(np.rint(options.gain * error), 255)
  video.write(options.output, shown, fps)


def draw(figures: Figures, options: Options, fps: float) -> None:
  """Draws the figures of every frame."""
  import matplotlib

  matplotlib.use("Agg")
  from matplotlib import pyplot

  seconds = np.arange(len(figures.psnr)) / fps
  curves = [
    ("PSNR [dB]", seconds, np.minimum(figures.psnr, 100)),
    ("SSIM", seconds, figures.ssim),
    ("difference error [0-255]", seconds[1:], figures.difference_error),
  ]
  figure, axes = pyplot.subplots(len(curves), figsize=(7, 6), sharex=True)
  for axis, (name, times, values) in zip(axes, curves, strict=True):
    axis.plot(times, values, marker="." if len(times) < 50 else None)
    axis.set_ylabel(name, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
  axes[0].set_title(f"{options.video.name} through {Path(options.model).name}")
  axes[-1].set_xlabel("seconds", fontsize=9)
  figure.tight_layout()
  with atomic_file(outputs_of(options)[1]) as file:
    figure.savefig(file, dpi=90, format="png")
  pyplot.close(figure)


def record(
  figures: Figures,
  latents: dict[str, Any],
  options: Options,
  shape: tuple[int, ...],
  fps: float,
) -> None:
  """Writes the options and all figures as JSON."""
  f, height, width, _ = shape
  given = dataclasses.asdict(options) | {"video": str(options.video)}
  given["output"] = str(options.output)
  size = {"frames": f, "height": height, "width": width, "fps": fps}
  found = {"options": given, "size": size, "latents": latents} | figures.as_json()
  with atomic_file(outputs_of(options)[2]) as file:
    file.write(json_bytes(found) + b"\n")


def table(figures: Figures, latents: dict[str, Any]) -> str:
  """Returns the figures of the clip, and those of its worst frame."""
  change, shares = figures.difference_error, figures.bands.shares
  rows = [("", "clip", "worst frame")]
  for name, clip, values, worst in (
    ("PSNR [dB]", figures.clip_psnr, figures.psnr, np.argmin),
    ("SSIM", figures.ssim.mean(), figures.ssim, np.argmin),
    ("difference error", mean(change), np.pad(change, (1, 0)), np.argmax),
  ):
    i = int(worst(values))
    rows.append((name, _number(clip), f"{_number(values[i])} (frame {i})"))
  rows.append(("motion ratio", _number(figures.motion_ratio), ""))
  lines = [f"{a:18}{b:>8}   {c}".rstrip() for a, b, c in rows]
  missed = ", ".join(f"{band} {share:.2f}" for band, share in shares.items())
  lines.append(f"energy missed by band (time, height, width): {missed}")
  lines.append(
    f"latents: deviation {latents['least_std']:.2f} to {latents['largest_std']:.2f}, "
    f"{latents['channels_in_use']} of {latents['channels']} channels in use, effective "
    f"rank {latents['effective_rank']:.1f}"
  )
  return "\n".join(lines)


def _number(value: float) -> str:
  return f"{value:.2f}" if value >= 1 else f"{value:.3f}"
