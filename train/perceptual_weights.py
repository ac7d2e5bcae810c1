"""Makes the file of weights that the perceptual loss and metric (LPIPS) read.

    python -m train.perceptual_weights vgg16-397923af.pth \\
      --heads lpips/weights/v0.1/vgg.pth --output perceptual.safetensors

The first file is a VGG16 trained on ImageNet: torchvision's own, or a safetensors file
with the same names from the hub, such as model.safetensors of timm/vgg16.tv_in1k. The
heads are a file in the package lpips. Without them all channels count equally, which
is no longer LPIPS as papers report it.

Files of PyTorch (.pth) are read by PyTorch, which must be installed; it runs no code
that is in them. Safetensors files need no PyTorch. Converting does not change a
licence: keep those of torchvision and of lpips with the file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from ltx_jax.checkpoints.perceptual import Released, from_released, save_perceptual
from ltx_jax.checkpoints.safetensors_io import open_safetensors
from ltx_jax.cli.command_line import cli, errors_in_words
from ltx_jax.cli.program import run as run_program
from ltx_jax.files import refuse_overwriting


@dataclasses.dataclass(frozen=True)
class Options:
  """What is read, and where the weights are written.

  Attributes:
    vgg: VGG16 of torchvision: a .pth file, or a .safetensors file with the same names.
    heads: Heads of LPIPS, vgg.pth of the package lpips; default: equal weights.
    output: The file to write.
  """

  vgg: Annotated[
    Path, tyro.conf.Positional, tyro.conf.arg(metavar="VGG16", help_behavior_hint="")
  ]
  heads: Path | None = None
  output: Path = Path("perceptual.safetensors")


def read_tensors(path: Path) -> Released:
  """Reads a file of tensors; only PyTorch's own format needs PyTorch.

  Raises:
    ValueError: If the file cannot be read, holds something else than tensors by name,
      or needs a PyTorch that is not installed.
  """
  if path.suffix == ".safetensors":
    with open_safetensors(path) as reader:
      return {name: reader.read(name) for name in reader.names}
  if not path.is_file():
    raise ValueError(f"There is no file {path}; give a .pth or .safetensors file.")
  try:
    import torch
  except ImportError:
    raise ValueError(
      f"{path} is a file of PyTorch, which is not installed; install it with pip "
      "install torch, or give a .safetensors file."
    ) from None
  try:
    found = torch.load(path, map_location="cpu", weights_only=True)
    return {str(name): tensor.float().numpy() for name, tensor in found.items()}
  except Exception as error:  # Of many kinds, for what is no such file.
    reason = str(error).split("\n")[0]
    raise ValueError(
      f"{path} cannot be read as a PyTorch file of tensors ({reason}); download it "
      "again."
    ) from None


def convert(vgg: Path, heads: Path | None, output: Path) -> int:
  """Writes the weights and returns the number of parameters.

  Raises:
    ValueError: If a file cannot be read, has other tensors, or would be overwritten.
  """
  refuse_overwriting([output], [("VGG16", vgg), ("--heads", heads)])
  names = str(vgg), str(heads)
  tensors = None if heads is None else read_tensors(heads)
  params = from_released(read_tensors(vgg), tensors, names)
  save_perceptual(output, params)
  arrays = [*params["heads"].values()]
  arrays += [array for conv in params["vgg"].values() for array in conv.values()]
  return sum(np.size(array) for array in arrays)


def main(argv: Sequence[str] | None = None) -> None:
  """Reads the command line, converts, and says what was written."""
  program = "python -m train.perceptual_weights"
  options = cli(Options, argv, program=program, about=__doc__)
  with errors_in_words():
    count = convert(options.vgg, options.heads, options.output)
  heads = "heads that weigh all channels equally" if options.heads is None else "heads"
  print(f"Wrote {options.output}: VGG16 and {heads}, {count} numbers.")


if __name__ == "__main__":
  run_program(main)
