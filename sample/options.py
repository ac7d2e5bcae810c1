"""What `sample.generate` is asked for, and what of it is refused before it starts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ltx_jax.checkpoints.quantization import Weights
from ltx_jax.cli import console as shared
from ltx_jax.data import video
from ltx_jax.diffusion.conditioning import Condition, Reference
from ltx_jax.errors import check_fps, check_seed
from ltx_jax.files import refuse_overwriting
from ltx_jax.sizes import check_size
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
  """What to show, before flags that take several values. Several prompts give several
  videos; with --window, A|B|C gives one, with a prompt for each window."""

  prompt_file: Annotated[Path | None, IfAny] = None
  """A text file with more of them, one a line; # begins a line that is none."""

  output: Path = Path("video.mp4")
  """File to write: .mp4, .gif, .webp or .png. Several videos get a number each."""

  model: str = "moving-shapes"
  """A preset, a checkpoint (*.safetensors), a diffusers folder, or ORG/REPO/FILE."""

  text_encoder: Annotated[str | None, IfAny] = None
  """Folder of the T5 encoder and its tokenizer, if not beside the model."""

  lora: Annotated[tuple[str, ...], tyro.conf.arg(metavar="PATH[:STRENGTH] ...")] = ()
  """LoRA files, each with a strength (1 if not given): style.safetensors:0.8."""

  image: Annotated[Path | None, IfAny] = None
  """A picture, or a clip, that the video begins with."""

  strength: Annotated[float | None, IfAny] = None
  """How firmly --image is kept: 1, the usual, as it is, 0 not at all."""

  condition: Annotated[
    tuple[str, ...],
    tyro.conf.UseAppendAction,
    tyro.conf.arg(metavar="PATH[@FRAME][:STRENGTH]", help_behavior_hint=""),
  ] = ()
  """A picture or a clip that the video shows from a frame on (0), with a strength (1):
  clip.mp4@16:0.5. A clip starts at a multiple of 8. Once for each."""

  reference: Annotated[
    tuple[str, ...],
    tyro.conf.UseAppendAction,
    tyro.conf.arg(metavar="VIDEO[:STRENGTH]", help_behavior_hint=""),
  ] = ()
  """A clip that guides the video from beside it, such as outlines or depth, with the
  --lora that was trained for it; with a strength (1). Once for each."""

  reference_downscale: Annotated[int | None, IfAny] = None
  """How many times smaller than the video the LoRA takes what --reference gives; 1 if
  not given."""

  crf: Annotated[int | None, IfAny] = None
  """Softens what --image and --condition give as H.264 does, so that it moves more; 29
  in the original."""

  video: Annotated[Path | None, IfAny] = None
  """A clip to start from in place of noise, with --skip-initial: it is made over."""

  width: Annotated[int | None, OfRecipe] = None
  """Width in pixels. Multiples of 32 waste nothing; others are cropped from larger
  ones."""

  height: Annotated[int | None, OfRecipe] = None
  """Height in pixels, as the width."""

  frames: Annotated[int | None, OfRecipe] = None
  """Length of the video. 8k + 1 (1, 9, 17, 25, ...) wastes nothing; 1 is a picture."""

  fps: Annotated[float | None, OfRecipe] = None
  """Frames a second. The model is told, and moves things accordingly."""

  negative: Annotated[str | None, IfAny] = None
  """What the video should not show."""

  seed: tuple[int, ...] = (0,)
  """The same seed gives the same video. Several seeds give a video each."""

  strict: bool = False
  """Refuse sizes that would have to be rounded."""

  sheet: bool = True
  """Write a contact sheet beside the videos."""

  dtype: Annotated[Literal["float32", "bfloat16", "float16"] | None, IfAny] = None
  """Precision of the networks; bfloat16 on GPU (a T4: float16) and TPU, float32 on
  CPU."""

  weights: Annotated[Weights | None, IfAny] = None
  """Keeps the transformer's matrices in 8 bits, which takes half of bfloat16's memory
  and changes the video a little; fp8 keeps those of an fp8 file as they are."""

  text_weights: Annotated[Weights | None, IfAny] = None
  """Keeps the text encoder's matrices in 8 bits, like --weights for the transformer."""

  text_cache: Annotated[
    str | None, tyro.conf.arg(metavar="DIR|off", help_behavior_hint="")
  ] = None
  """Folder of encoded prompts, which then need no text encoder; ~/.cache/ltx-jax/text
  if not given."""

  mesh: Annotated[str | None, IfAny, tyro.conf.arg(metavar="AXIS=DEVICES,...")] = None
  """Devices that work together, by what they split: data (clips, branches of guidance),
  context (tokens), fsdp (tokens and weights), tensor (heads), as data=2,context=4."""

  enhance: tyro.conf.OmitArgPrefixes[EnhanceFlags] = EnhanceFlags()
  """Prompts made longer first, by a language model behind an address."""

  passes: tyro.conf.OmitArgPrefixes[PassesFlags] = PassesFlags()
  """One pass or two."""

  windows: tyro.conf.OmitArgPrefixes[WindowFlags] = WindowFlags()
  """Whether a long video is made window after window."""

  sampling: tyro.conf.OmitArgPrefixes[SamplingFlags] = SamplingFlags()
  """How it is sampled, where it is not as the model's recipe says. Several values, or
  lists of blocks, belong to the noise levels of --guidance-sigmas, in order."""

  second: SamplingFlags = SamplingFlags()
  """How the second pass of --multi-scale is sampled, by the same flags as the first."""


def check(options: Options) -> None:
  """Refuses numbers out of bounds, and flags that lack what they are for.

  All of it before anything is read, planned or loaded.

  Raises:
    ValueError: in one sentence.
  """
  check_size(options.frames, options.height, options.width)
  if options.fps is not None:
    check_fps(options.fps)
  if not options.seed:
    raise ValueError("--seed needs a number, or several.")
  for seed in options.seed:
    check_seed(seed)
  _check_partners(options)


def _check_partners(options: Options) -> None:
  """Refuses flags that lack what they are for, or that exclude one another."""
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
      "--video is made over in one pass, and the second pass of --multi-scale starts "
      "from the first; leave one of them out."
    )
  if options.video is not None and options.windows.window is not None:
    raise ValueError(
      "--video is made over in one go, and --window makes a video part by part; leave "
      "one of them out."
    )


def conditions_of(options: Options) -> list[Condition]:
  """What --image, --condition and --reference give."""
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
  """The files of the videos, numbered where there are several."""
  output = options.output
  if videos == 1:
    return [output]
  return [output.with_stem(f"{output.stem}-{i + 1}") for i in range(videos)]


def sheet_of(options: Options) -> Path:
  """The file of the contact sheet."""
  return options.output.with_name(f"{options.output.stem}-sheet.png")


def check_outputs(options: Options, videos: int) -> None:
  """Refuses outputs that cannot be written, or would replace what is read.

  Raises:
    ValueError: in one sentence.
  """
  video.check_output(options.output)
  outputs = outputs_of(options, videos)
  if options.sheet:
    outputs.append(sheet_of(options))
  refuse_overwriting(
    outputs,
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
