"""Models of the moving shapes: what a judge reads back from their pixels.

`reconstruction` sends clips through the VAE, and through the best linear code of the
same size. `generation` makes videos from captions that were never trained on. `judge`
tests the judges themselves.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import tyro
from rich.console import Console
from rich.progress import track

import ltx_jax
from ltx_jax.cli.console import path_and_strength
from ltx_jax.data.pixels import to_floats
from ltx_jax.errors import check_number
from ltx_jax.metrics.linear_code import LinearCode, fit_linear_code
from ltx_jax.metrics.psnr import psnr, psnr_inside
from ltx_jax.moving_shapes import world
from ltx_jax.moving_shapes.damage import blurred, noisy
from ltx_jax.moving_shapes.source import Shapes
from ltx_jax.sizes import check_size
from train.harness.figures import decibels, shares, spread, table
from train.harness.judging import SHOWN, judged, timed, verdict, with_vae
from train.harness.reporting import write_text

_IN_WORDS = tyro.conf.arg(help_behavior_hint="")  # Its text says what the default is.
Pairs = list[tuple[str, int]]
"""Captions of clips, each with its seed."""
UNSEEN_SEED = 10**9  # Loaders draw 32-bit seeds; the captions differ in any case.


@dataclasses.dataclass(frozen=True)
class Options:
  """What all three have in common.

  Attributes:
    frames: Number of frames per clip, 8k + 1.
    height: Height of a clip in pixels.
    width: Width of a clip in pixels.
    output: Folder for the results; it is created if it does not exist.
  """

  frames: int = 25
  height: int = 128
  width: int = 128
  output: Path = Path("runs/evaluation")

  @property
  def size(self) -> tuple[int, int, int]:
    """Frames, height and width of a clip."""
    return self.frames, self.height, self.width


@dataclasses.dataclass(frozen=True)
class Reconstruction(Options):
  """Quality of the VAE's reconstructions of clips that it never saw.

  Attributes:
    model: Preset, or path of a checkpoint.
    clips: Number of clips with held-out captions.
    fitted: Number of clips with trained captions that the linear code is fitted to; 0
      for no linear code.
    batch: Number of clips that are encoded and decoded together.
  """

  model: str = "moving-shapes"
  clips: int = 64
  fitted: int = 256
  batch: int = 4


@dataclasses.dataclass(frozen=True)
class Generation(Options):
  """Share of generated clips that show what their captions say.

  Attributes:
    model: Preset, or path of a checkpoint.
    prompts: Captions; default: a choice of the held-out ones.
    seeds: Random seeds, each used for every prompt; default: one seed per prompt.
    clips: Number of held-out captions that are chosen if there are no --prompts.
    conditioned: Number of prompts that are also generated from a rendered first frame.
    steps: Number of denoising steps; default: as the model's recipe says.
    guidance: Scale of classifier-free guidance; default: as the model's recipe says.
    batch: Number of clips that are generated together.
    vae: Checkpoint with the VAE that decodes the clips; default: the model's own. Only
      its decoder may differ.
    lora: LoRA files that are merged into the model, each as FILE or FILE:STRENGTH.
  """

  model: str = "moving-shapes"
  prompts: Annotated[tuple[str, ...], _IN_WORDS] = ()
  seeds: Annotated[tuple[int, ...], _IN_WORDS] = ()
  clips: int = 64
  conditioned: int = 64
  steps: Annotated[int | None, _IN_WORDS] = None
  guidance: Annotated[float | None, _IN_WORDS] = None
  batch: int = 8
  vae: Annotated[str | None, _IN_WORDS] = None
  lora: Annotated[tuple[str, ...], _IN_WORDS] = ()


@dataclasses.dataclass(frozen=True)
class Judge(Options):
  """Share of rendered clips that the judge reads correctly.

  Attributes:
    clips: Number of captions that are used, of the 768.
    blur: Standard deviation of a Gaussian blur, in pixels.
    noise: Standard deviation of the noise that is added after the blur, on a scale of 0
      to 255.
    rounded: Radius of the corners of squares and triangles, below 1, in units of the
      inscribed circle's.
  """

  clips: int = 768
  rounded: float = 0.0
  blur: float = 0.0
  noise: float = 0.0


# --- Reconstruction -------------------------------------------------------------------


def reconstruct(model: Any, videos: np.ndarray) -> np.ndarray:
  """Sends uint8 [b F H W 3] through the VAE: float32 in [0, 255], not rounded."""
  latents = model.encode(to_floats(videos))
  out = np.asarray(model.decode(latents, sigma=0.0, noise_scale=0.0), np.float32)
  return np.clip(127.5 * (out + 1), 0, 255)


def linear_code(model: Any, options: Reconstruction) -> LinearCode:
  """Fits the best linear code with the VAE's block size and channels."""
  vae = model.config.vae
  captions = spread(world.train_captions(), options.fitted)
  clips = (
    world.clip(caption, i, *options.size)
    for i, caption in enumerate(track(captions, "Fitting the linear code"))
  )
  factors = vae.latent_channels, vae.temporal_factor, vae.spatial_factor
  return fit_linear_code(clips, *factors)


def compare(
  video: np.ndarray, results: dict[str, np.ndarray], caption: str, seed: int
) -> dict[str, Any]:
  """Returns measures of one clip's reconstructions, by name."""
  boxes = world.bounding_boxes(caption, seed, *video.shape[:3])
  record: dict[str, Any] = {"caption": caption, "seed": seed}
  for name, result in results.items():
    record[name] = {
      "psnr": psnr(result, video, 255.0),
      "inside": psnr_inside(result, video, boxes, 255.0),
      **verdict(result.round().astype(np.uint8), caption),
    }
  return record


def unseen_clips(options: Reconstruction) -> Pairs:
  """Returns the captions and seeds of the clips that are sent through the VAE."""
  captions = spread(world.held_out_captions(), options.clips)
  return [(caption, UNSEEN_SEED + i) for i, caption in enumerate(captions)]


def evaluate_reconstruction(model: Any, options: Reconstruction) -> dict[str, Any]:
  """Returns the figures; writes the contact sheet.

  PSNR is in decibels, over whole frames and inside the shape's bounding box.
  """
  pairs = unseen_clips(options)
  code = linear_code(model, options) if options.fitted else None
  records, shown, labels = [], [], []
  starts = range(0, len(pairs), options.batch)
  for start in track(starts, "Reconstructing", total=len(starts)):
    chosen = pairs[start : start + options.batch]
    videos = np.stack([world.clip(c, s, *options.size) for c, s in chosen])
    outputs = reconstruct(model, videos)
    for (caption, seed), video, output in zip(chosen, videos, outputs, strict=True):
      sides = {"VAE": output}
      if code is not None:
        sides["linear code"] = code.reconstruct(video)
      record = compare(video, sides, caption, seed)
      records.append(record)
      shown += [video, *(side.round().astype(np.uint8) for side in sides.values())]
      labels += [caption, *(f"{name}, {record[name]['psnr']:.1f} dB" for name in sides)]
      del shown[SHOWN:], labels[SHOWN:]
  path = options.output / "reconstruction.png"
  from ltx_jax.data.contact_sheet import contact_sheet  # --help needs no fonts.

  contact_sheet(path, shown, labels, columns=len(sides) + 1, height=64)
  results = {
    name: {
      "psnr": decibels([r[name]["psnr"] for r in records]),
      "psnr inside the box": decibels([r[name]["inside"] for r in records]),
      "judged right": shares([r[name]["right"] for r in records]),
    }
    for name in sides
  }
  return {"results": results, "clips": records}


# --- Generation -----------------------------------------------------------------------


def prompts_and_seeds(options: Generation) -> Pairs:
  """Returns the prompts and seeds of the clips to make.

  Raises:
    ValueError: If a prompt does not follow the grammar, because it cannot be judged.
  """
  held_out = world.held_out_captions()
  prompts = options.prompts or spread(held_out, options.clips)
  captions = [str(world.parse(prompt)) for prompt in prompts]
  if options.seeds:
    return [(caption, seed) for caption in captions for seed in options.seeds]
  return [(caption, seed) for seed, caption in enumerate(captions)]


def generate(
  model: Any, pairs: Sequence[tuple[str, int]], options: Generation
) -> Iterator[np.ndarray]:
  """Yields a video for each prompt and seed."""
  for start in range(0, len(pairs), options.batch):
    prompts, seeds = zip(*pairs[start : start + options.batch], strict=True)
    yield from model.generate(
      list(prompts), seed=list(seeds), **_generate_options(options)
    )


def animate(
  model: Any, pairs: Sequence[tuple[str, int]], options: Generation
) -> Iterator[np.ndarray]:
  """Yields a video for each prompt, from the first frame of the clip it describes."""
  for caption, seed in pairs:
    first = world.clip(caption, seed, *options.size)[:1]
    condition = ltx_jax.Condition(first, frame=0, strength=1.0)
    yield model.generate(
      caption, seed=seed, conditions=(condition,), **_generate_options(options)
    )[0]


def _generate_options(options: Generation) -> dict[str, Any]:
  names = ("width", "height", "frames", "steps", "guidance")
  return {name: getattr(options, name) for name in names}


def evaluate_generation(model: Any, options: Generation) -> dict[str, Any]:
  """Returns the share of clips with each word right, and the PSNR of given frames."""
  pairs = prompts_and_seeds(options)
  seconds: list[float] = []
  videos = timed(generate(model, pairs, options), seconds)
  found = judged("from text", pairs, videos, options.output / "generation.png")
  records = [record for record, _ in found]
  results: dict[str, Any] = {
    "from text": {
      "judged right": shares([r["right"] for r in records]),
      "seconds a clip, compilation included": sum(seconds) / len(pairs),
    }
  }
  out = {"results": results, "clips": records}
  pairs = pairs[: options.conditioned]
  if pairs:
    name, path = "from a first frame", options.output / "first_frame.png"
    given = judged(name, pairs, animate(model, pairs, options), path)
    for record, video in given:
      clip = record["caption"], record["seed"], *options.size
      reference = world.clip(*clip)
      record["first frame"] = psnr(video[:1], reference[:1], 255.0)
      record["all frames"] = psnr(video, reference, 255.0)
    records = [record for record, _ in given]
    results[name] = {
      "judged right": shares([r["right"] for r in records]),
      "psnr of the first frame": decibels([r["first frame"] for r in records]),
      "psnr of all frames": decibels([r["all frames"] for r in records]),
    }
    out["clips from a first frame"] = records
  return out


# --- The judge ------------------------------------------------------------------------


def rendered_clips(options: Judge) -> Pairs:
  """Returns the captions and seeds of the clips that the judge reads."""
  return [(c, i) for i, c in enumerate(spread(world.captions(), options.clips))]


def evaluate_judge(options: Judge) -> dict[str, Any]:
  """Returns the share of rendered clips that the judge reads right."""
  agreements, figures, records = [], [], []
  for caption, seed in track(rendered_clips(options), "Judging rendered clips"):
    clip = video = world.clip(caption, seed, *options.size, options.rounded)
    soft = blurred(clip.astype(np.float32), options.blur) if options.blur else clip
    if options.blur or options.noise:
      video = noisy(soft, options.noise, seed)
      figures.append(psnr(video, clip, 255.0))
    found = verdict(video, caption)
    agreements.append(found["right"])
    if found["wrong"]:
      records.append({"caption": caption, "seed": seed, **found})
  results = {"judged right": shares(agreements)}
  if figures:
    results["psnr"] = decibels(figures)
  return {"results": {"rendered clips": results}, "wrong": records}


# --- The program ----------------------------------------------------------------------


def load(options: Generation) -> Any:
  """Returns the model that generates, with its LoRAs and its VAE.

  Raises:
    ValueError: If one of the files cannot be loaded, or does not fit the model.
  """
  loras = [path_and_strength(lora) for lora in options.lora]
  model = ltx_jax.load(options.model, loras=loras)
  return model if options.vae is None else with_vae(model, options.vae)


class _Program(NamedTuple):
  """A command: loads a model (None needs none), names clips, and measures them."""

  load: Callable[[Any], Any]
  clips: Callable[[Any], Pairs]
  evaluate: Callable[[Any, Any], dict[str, Any]]
  fps: Callable[[Any], float] = lambda model: Shapes.fps


_PROGRAMS = {
  Reconstruction: _Program(
    lambda options: ltx_jax.load(options.model, text_encoder=False),
    unseen_clips,
    evaluate_reconstruction,
  ),
  Generation: _Program(
    load, prompts_and_seeds, evaluate_generation, lambda model: model.recipe.fps
  ),
  Judge: _Program(
    lambda options: None,
    rendered_clips,
    lambda model, options: evaluate_judge(options),
  ),
}
_LEAST = {"clips": 1, "fitted": 0, "batch": 1, "conditioned": 0}
_LEAST |= {"blur": 0.0, "noise": 0.0}


def check(options: Options) -> None:
  """Refuses invalid numbers with a ValueError that names the flag."""
  check_size(*options.size)
  for name, least in _LEAST.items():
    value = getattr(options, name, least)
    whole = isinstance(least, int)
    check_number(f"--{name}", value, at_least=least, at_most=10**6, whole=whole)
  check_number("--rounded", getattr(options, "rounded", 0.0), at_least=0, below=1)


def run(options: Options, command: str) -> None:
  """Does what was asked for, prints a table and writes the files.

  Args:
    options: What is measured.
    command: The command that does it.

  Raises:
    ValueError: If a number is out of range, or a model cannot be loaded.
  """
  name = type(options).__name__.lower()
  check(options)
  options.output.mkdir(parents=True, exist_ok=True)
  program = _PROGRAMS[type(options)]
  model, pairs = program.load(options), program.clips(options)
  outcome = program.evaluate(model, options)
  from train.evaluate.header import Origin, weights  # --help needs no JAX.

  origin = Origin(options, command)
  also = len(outcome.get("clips from a first frame", ()))
  origin.add(options.size, program.fps(model), len(pairs) + also)
  data = hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:16]
  networks = {} if model is None else {options.model: weights(model)}
  content = {"program": name, **origin.header(data, networks), **outcome}
  path = options.output / f"{name}.json"
  write_text(path, json.dumps(content, indent=2, default=float) + "\n")
  console = Console()
  console.print(table(outcome["results"]))
  console.print(f"{path} has the figures of every clip.", highlight=False)
