"""The options of `sample.generate`, and checks of them before it starts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ltx_jax.cli import console as shared
from ltx_jax.data import outputs
from ltx_jax.diffusion.conditioning import Condition, Reference
from ltx_jax.errors import check_fps, check_number, check_seed
from ltx_jax.files import refuse_overwriting
from ltx_jax.sizes import check_size
from ltx_jax.typing import Weights
from sample.enhance import EnhanceFlags
from sample.flags import (
  IfAny,
  OfRecipe,
  PassesFlags,
  SamplingFlags,
  WindowFlags,
)


@dataclasses.dataclass(frozen=True)
class Options:
  """What is asked for; None takes what the model's recipe says."""

  prompts: Annotated[
    tuple[str, ...],
    tyro.conf.Positional,
    tyro.conf.arg(metavar="PROMPT [PROMPT ...]", help_behavior_hint=""),
  ]
  """Prompt, placed before flags that take several values. Several prompts make several
  videos. With --window, A|B|C is one video with a prompt for each window."""

  prompt_file: Annotated[Path | None, IfAny] = None
  """Text file with more prompts, one per line. Lines that begin with # are ignored."""

  prompt_list: Annotated[Path | None, IfAny, tyro.conf.arg(name="prompts")] = None
  """List of prompts, a JSON line for each video: {"id": "17", "prompt": "a fox"}, with
  "image" (first frame) and "seed" if there are any. --output is a folder then, which
  gets ID.mp4 for each; what it has already is kept."""

  batch: int = 1
  """Number of videos of --prompts that are made together."""

  output: Path = Path("video.mp4")
  """Output: .mp4, .webm, .mov, .gif, .webp, .png, .jpg, or a folder of numbered PNGs
  (no suffix). Several videos are numbered."""

  model: str = "moving-shapes"
  """Preset, checkpoint (*.safetensors), diffusers folder, or ORG/REPO/FILE."""

  text_encoder: Annotated[str | None, IfAny] = None
  """Folder with the T5 encoder and its tokenizer, if not next to the model."""

  lora: Annotated[
    tuple[str, ...],
    tyro.conf.arg(metavar="PATH[:STRENGTH] ...", help_behavior_hint=""),
  ] = ()
  """LoRA files, each with an optional strength (default 1): style.safetensors:0.8."""

  image: Annotated[Path | None, IfAny] = None
  """Image or clip that the video begins with."""

  strength: Annotated[float | None, IfAny] = None
  """Strength of --image: 1 (default) keeps it unchanged, 0 ignores it."""

  condition: Annotated[
    tuple[str, ...],
    tyro.conf.UseAppendAction,
    tyro.conf.arg(metavar="PATH[@FRAME][:STRENGTH]", help_behavior_hint=""),
  ] = ()
  """Image or clip to show from a frame on (default 0), with a strength (default 1):
  clip.mp4@16:0.5. A clip starts at a multiple of 8. Repeat the flag for more."""

  reference: Annotated[
    tuple[str, ...],
    tyro.conf.UseAppendAction,
    tyro.conf.arg(metavar="VIDEO[:STRENGTH]", help_behavior_hint=""),
  ] = ()
  """Reference clip for an in-context --lora, such as outlines or depth, with a strength
  (default 1). Repeat the flag for more."""

  reference_downscale: Annotated[int | None, IfAny] = None
  """Factor by which the LoRA expects --reference to be smaller than the video; default
  1."""

  crf: Annotated[int | None, IfAny] = None
  """H.264 quality to compress --image and --condition with, so that they move more; the
  original uses 29."""

  video: Annotated[Path | None, IfAny] = None
  """Clip for video-to-video: sampling starts from it instead of noise. Needs
  --skip-initial."""

  width: Annotated[int | None, OfRecipe] = None
  """Width in pixels. Other sizes than multiples of 32 are cropped from a larger one."""

  height: Annotated[int | None, OfRecipe] = None
  """Height in pixels, like the width."""

  frames: Annotated[int | None, OfRecipe] = None
  """Number of frames, best 8k + 1 (1, 9, 17, 25, ...); 1 makes an image."""

  fps: Annotated[float | None, OfRecipe] = None
  """Frames per second. The model takes it into account."""

  negative: Annotated[str | None, IfAny] = None
  """Negative prompt: what the video should not show."""

  seed: tuple[int, ...] = (0,)
  """Random seed. The same seed makes the same video; several make one video each."""

  strict: bool = False
  """Refuse sizes that must be rounded."""

  sheet: bool = True
  """Write a contact sheet next to the videos."""

  dtype: Annotated[Literal["float32", "bfloat16", "float16"] | None, IfAny] = None
  """Precision of the networks. Default: bfloat16 on GPU and TPU (float16 on a T4),
  float32 on CPU."""

  weights: Annotated[Weights | None, IfAny] = None
  """8-bit format of the transformer's weights: half the memory of bfloat16, and a
  slightly different video. fp8 keeps the weights of an fp8 file unchanged."""

  text_weights: Annotated[Weights | None, IfAny] = None
  """8-bit format of the text encoder's weights, like --weights for the transformer."""

  text_cache: Annotated[
    str | None, tyro.conf.arg(metavar="DIR|off", help_behavior_hint="")
  ] = None
  """Folder that keeps encoded prompts, so that they need no text encoder again; default
  ~/.cache/ltx-jax/text."""

  mesh: Annotated[str | None, IfAny, tyro.conf.arg(metavar="AXIS=DEVICES,...")] = None
  """Devices that work together, by what they shard: data (clips, guidance branches),
  context (tokens), fsdp (tokens and weights), tensor (heads): data=2,context=4."""

  enhance: tyro.conf.OmitArgPrefixes[EnhanceFlags] = EnhanceFlags()
  """Prompt enhancement by a language model."""

  passes: tyro.conf.OmitArgPrefixes[PassesFlags] = PassesFlags()
  """Number of passes."""

  windows: tyro.conf.OmitArgPrefixes[WindowFlags] = WindowFlags()
  """Windows of a long video."""

  sampling: tyro.conf.OmitArgPrefixes[SamplingFlags] = SamplingFlags()
  """Sampling options; each defaults to the model's recipe. Several values, or lists of
  blocks, belong to the noise levels of --guidance-sigmas, in order."""

  second: SamplingFlags = SamplingFlags()
  """Sampling options of the second pass of --multi-scale."""


def check(options: Options) -> None:
  """Refuses numbers out of bounds, and flags without the flags that they belong to.

  All checks run before anything is read, planned or loaded.

  Raises:
    ValueError: If an option is invalid.
  """
  check_size(options.frames, options.height, options.width)
  if options.fps is not None:
    check_fps(options.fps)
  if not options.seed:
    raise ValueError("--seed needs a number, or several.")
  for seed in options.seed:
    check_seed(seed)
  check_number("--batch", options.batch, at_least=1, at_most=1000, whole=True)
  _check_partners(options)
  if options.prompt_list is not None:
    _check_list(options)


def _check_list(options: Options) -> None:
  """Refuses what a list of prompts leaves no room for."""
  given = {
    "prompts on the command line": options.prompts,
    "--prompt-file": options.prompt_file,
    "--enhance": options.enhance.enhance,
    "several seeds": options.seed[1:],
  }
  if extra := [name for name, value in given.items() if value]:
    raise ValueError(
      f"--prompts has a line for each video; leave out {' and '.join(extra)}."
    )
  if options.output.suffix:
    raise ValueError(
      f"--output is {options.output}, but with --prompts it is a folder; give a name "
      "without a suffix."
    )


def _check_partners(options: Options) -> None:
  """Refuses flags without the flags that they belong to, or that exclude each other."""
  pictures = options.image is not None or options.condition
  for flag, value, there, needed in (
    ("--strength", options.strength, options.image is not None, "--image"),
    ("--crf", options.crf, pictures, "--image or --condition"),
    (
      "--reference-downscale",
      options.reference_downscale,
      options.reference,
      "--reference",
    ),
  ):
    if value is not None and not there:
      raise ValueError(f"{flag} is for {needed}; add it, or leave {flag} out.")
  if options.video is not None and options.passes.multi_scale:
    raise ValueError(
      "--video works in one pass, but --multi-scale has two; leave one of them out."
    )
  if options.video is not None and options.windows.window is not None:
    raise ValueError(
      "--video works in one piece, but --window makes a video in parts; leave one of "
      "them out."
    )


def conditions_of(options: Options) -> list[Condition]:
  """Returns the conditions of --image, --condition and --reference."""
  strength = 1.0 if options.strength is None else options.strength
  given = [] if options.image is None else [(options.image, 0, strength)]
  given += [shared.path_frame_strength(text) for text in options.condition]
  conditions = [Condition(*each, options.crf) for each in given]
  for text in options.reference:
    path, strength = shared.path_and_strength(text)
    smaller = 1 if options.reference_downscale is None else options.reference_downscale
    conditions.append(Reference(path, 0, strength, downscale=smaller))
  return conditions


def outputs_of(options: Options, videos: int) -> list[Path]:
  """Returns the files of the videos, numbered if there are several."""
  output = options.output
  if videos == 1:
    return [output]
  return [output.with_stem(f"{output.stem}-{i + 1}") for i in range(videos)]


def sheet_of(options: Options) -> Path:
  """Returns the file of the contact sheet."""
  return options.output.with_name(f"{options.output.stem}-sheet.png")


def check_outputs(options: Options, videos: int) -> None:
  """Refuses outputs that cannot be written, or that would replace inputs.

  Raises:
    ValueError: If there is such an output.
  """
  outputs.check_output(options.output)
  written = outputs_of(options, videos)
  if options.sheet:
    written.append(sheet_of(options))
  refuse_overwriting(
    written,
    [
      ("--prompt-file", options.prompt_file),
      ("--image", options.image),
      ("--video", options.video),
      ("--model", options.model),
      ("--text-encoder", options.text_encoder),
      ("--upscaler", options.passes.upscaler),
      *(("--condition", shared.path_frame_strength(c)[0]) for c in options.condition),
      *(("--reference", shared.path_and_strength(r)[0]) for r in options.reference),
      *(("--lora", shared.path_and_strength(lora)[0]) for lora in options.lora),
    ],
  )
