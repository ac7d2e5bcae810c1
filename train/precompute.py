"""Encodes clips and captions once: from a manifest to records that a trainer reads.

    python -m train.manifest clips/
    python -m train.precompute clips/manifest.jsonl --model ltxv-2b-0.9.6-dev

At the end it prints the command that trains on the records with the same VAE. The
program cuts each clip to the bucket that distorts and discards least, and encodes
it with the VAE of the model. Shards of records hold the result next to the tokens and
text of its caption. Records that exist are not made again: a killed run resumes where
it stopped, and after an edit only what changed is encoded. The result does not
depend on the number of devices. At the end the program writes the index, a list of the
dropped clips, and an image of clips next to what the VAE makes of them: the best that
can be learned.

Several processes can share the work on one folder: add `--processes N --process I` to
each, with I from 0. No process waits for another; the one that finds all shards
complete writes the index. If a process is lost, the next start does the rest of its
work, with any number of processes.

`moving-shapes` instead of a manifest renders the captions of the small world.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from ltx_jax.cli.command_line import cli, errors_in_words
from ltx_jax.cli.program import run as run_program
from ltx_jax.config.runs import AutoBuckets
from train.harness.sharing import Share


@dataclasses.dataclass(frozen=True)
class Options:
  """What is encoded, by what, and where to."""

  manifest: Annotated[
    str, tyro.conf.Positional, tyro.conf.arg(metavar="MANIFEST", help_behavior_hint="")
  ]
  """Manifest or folder of clips with captions, or `moving-shapes`."""

  output: Path = Path("runs/records")
  """Folder for the records."""

  model: str = "moving-shapes"
  """Model whose VAE encodes the clips: a preset, a checkpoint, or a file on the Hugging
  Face Hub."""

  text_encoder: str | None = None
  """Folder with the text encoder and its tokenizer; default: the model's. `none` keeps
  only tokens, for a text encoder that is trained with the transformer."""

  tokenizer: Path | None = None
  """Folder of another tokenizer, with `--text-encoder none`."""

  buckets: tuple[str, ...] = ("auto",)
  """Sizes of clips as FRAMESxHEIGHTxWIDTH, one or several, or `auto`."""

  auto: AutoBuckets = AutoBuckets()

  last_frame: bool = False
  """Encoding of each clip's last frame as an image as well, for training with
  `--conditions.last-frame`. A clip's reference, if it has one, is always encoded."""

  dtype: str | None = None
  """Compute dtype; default: bfloat16 on GPUs and TPUs, float32 on CPUs."""

  clips_per_call: int = 4
  """Number of clips that a device encodes at a time. With another number, everything is
  encoded again."""

  shard: int = 256
  """Largest number of records in a shard."""

  readers: int = 2
  """Number of threads that decode clips."""

  max_faulty: float = 0.05
  """Largest share of clips that may be unreadable."""

  samples: int = 8
  """Number of clips in the image at the end."""

  variants: int = 4
  """Number of clips per caption of the moving shapes."""

  share: tyro.conf.OmitArgPrefixes[Share] = Share()


def main(argv: Sequence[str] | None = None) -> None:
  """Encodes what is not encoded yet, and writes the index and the report."""
  options = cli(Options, argv, program="python -m train.precompute", about=__doc__)
  from train.harness import precomputing  # --help need not wait for Flax and PyAV.

  with errors_in_words():
    precomputing.precompute(options, Console(soft_wrap=True))


if __name__ == "__main__":
  run_program(main)
