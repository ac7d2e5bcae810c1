"""Measures reconstructions of clips, with an interval for each figure.

    python -m train.evaluate.reconstruction clips --data clips.jsonl --model MODEL
    python -m train.evaluate.reconstruction folders --made decoded --original clips

`clips` sends clips of a manifest, of a folder or of the moving shapes through a VAE,
and decodes them at each noise level of --sigmas. `folders` compares clips that other
programs made, under the same names; they must have one size, length and rate.

Files: clips.csv (figures of each clip), frames.csv and frames.png (curves over the
frame index), worst.png (the ten worst next to their originals) and figures.json. Each
figure is a line with its interval, number of clips and recipe. Clips of one video count
as one witness. LPIPS needs --lpips, rFVD --fvd, VMAF an ffmpeg that has it, and the
warp error of real clips OpenCV; without them a sentence says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from ltx_jax.cli.command_line import as_typed, cli, errors_in_words
from ltx_jax.cli.program import run as run_program
from ltx_jax.errors import check_number
from ltx_jax.sizes import check_size

_PROGRAM = "python -m train.evaluate.reconstruction"
_IN_WORDS = tyro.conf.arg(help_behavior_hint="")  # Its text says what the default is.


@dataclasses.dataclass(frozen=True)
class Reported:
  """What both have in common.

  Attributes:
    lpips: File of VGG16 and the heads of LPIPS (python -m train.perceptual_weights);
      default: without LPIPS.
    fvd: File of I3D's weights for rFVD (safetensors), or `shapes` for the features of
      moving shapes; default: without rFVD.
    output: Folder for the results; it is created if it does not exist.
  """

  lpips: Annotated[Path | None, _IN_WORDS] = None
  fvd: Annotated[str | None, _IN_WORDS] = None
  output: Path = Path("runs/reconstruction")


@dataclasses.dataclass(frozen=True)
class Clips(Reported):
  """Clips of a source through a VAE.

  Attributes:
    data: Manifest, folder of videos, or small world: moving-shapes, with texture
      moving-shapes-textured, in other colours moving-shapes-tinted, of little contrast
      moving-shapes-faint.
    model: Preset, or path of a checkpoint.
    count: Largest number of clips.
    frames: Number of frames per clip, 8k + 1.
    height: Height of a clip in pixels.
    width: Width of a clip in pixels.
    sigmas: Noise levels that the latents are decoded at.
  """

  data: str = "moving-shapes"
  model: str = "moving-shapes"
  count: int = 64
  frames: int = 25
  height: int = 128
  width: int = 128
  sigmas: tuple[float, ...] = (0.0, 0.05, 0.1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Folders(Reported):
  """Clips of one folder against those of another.

  Attributes:
    made: Folder of reconstructions.
    original: Folder of the originals, under the same names.
  """

  made: Path
  original: Path


def check(options: Clips | Folders) -> None:
  """Refuses invalid numbers with a ValueError that names the flag."""
  if isinstance(options, Folders):
    return
  check_size(options.frames, options.height, options.width)
  check_number("--count", options.count, at_least=1, at_most=10**6, whole=True)
  if not options.sigmas:
    raise ValueError("--sigmas needs a noise level, or several.")
  for sigma in options.sigmas:
    check_number("--sigmas", sigma, at_least=0, at_most=1)


def run(options: Clips | Folders, command: str, console: Console) -> None:
  """Measures, writes the files and prints the figures.

  Args:
    options: What is measured.
    command: The command that does it.
    console: Where figures are printed.

  Raises:
    ValueError: If clips or weights cannot be read, or do not fit.
  """
  check(options)
  from train.evaluate.reconstruction import running  # The models: --help need not wait.

  # Decided here: run as a program, this module has other classes than if imported.
  of = running.of_folders if isinstance(options, Folders) else running.of_clips
  origin = running.Origin(options, command)
  running.run(origin, of, lambda words: _say(console, words))


def _say(console: Console, words: Any) -> None:
  console.print(words, markup=False, highlight=False, soft_wrap=True)


def main(argv: Sequence[str] | None = None) -> None:
  """Measures what the command line says."""
  options = cli(
    Clips | Folders,
    argv,
    program=_PROGRAM,
    about=__doc__,
  )
  with errors_in_words():
    run(options, as_typed(_PROGRAM, argv), Console())


if __name__ == "__main__":
  run_program(main)
