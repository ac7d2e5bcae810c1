"""Converts checkpoints between layouts and dtypes.

    python -m sample.convert ltxv-2b-0.9.6-dev-04-25.safetensors ltxv-2b-diffusers

The output's name sets its layout: NAME.safetensors is the official single file, which
the PyTorch original and ComfyUI read; any other name is a folder in the layout of
diffusers. The numbers stay unchanged, or are cast with --dtype, which makes float8
files usable everywhere:

    python -m sample.convert ltxv-13b-0.9.8-dev-fp8.safetensors 13b.safetensors \\
      --dtype bfloat16

Tensors are read and written one by one, so a model needs disk but hardly any memory.
The text encoder is never part of a checkpoint; a folder for diffusers also needs the
`text_encoder` and `tokenizer` folders of its release next to `transformer` and `vae`.
Converting does not change a model's licence: keep its text with every copy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from ltx_jax.checkpoints import recognize
from ltx_jax.checkpoints.convert import convert
from ltx_jax.cli import console as shared
from ltx_jax.cli.command_line import cli
from ltx_jax.releases import sources


@dataclasses.dataclass(frozen=True)
class Options:
  """What is converted, and to what."""

  source: Annotated[
    str,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="SOURCE", help_behavior_hint=""),
  ]
  """Checkpoint (*.safetensors), diffusers folder, preset, or hub file."""

  target: Annotated[
    Path,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="TARGET", help_behavior_hint=""),
  ]
  """Output: NAME.safetensors, or a folder name. It must not exist yet."""

  dtype: Annotated[
    Literal["float32", "bfloat16"] | None,
    tyro.conf.arg(help_behavior_hint="(default: as in the source)"),
  ] = None
  """Dtype of the weights; latent statistics always stay float32."""


def main(argv: Sequence[str] | None = None) -> None:
  """Reads the command line, converts, and says what was written."""
  options = cli(Options, argv, program="python -m sample.convert", about=__doc__)
  console = Console(soft_wrap=True)
  shared.show_notes(console)
  checkpoint = sources.resolve(options.source, text_encoder=False).checkpoint
  with shared.byte_bar(console, "convert") as on_bytes:
    written = convert(checkpoint, options.target, options.dtype, on_bytes)
  networks = (written.config.transformer, written.config.vae)
  what = " and ".join(recognize.describe(network) for network in networks if network)
  console.print(
    f"wrote {options.target}: {what}, {written.tensors} tensors, "
    f"{written.bytes / 1e6:.1f} MB",
    highlight=False,
    markup=False,
  )


if __name__ == "__main__":
  shared.run(main)
