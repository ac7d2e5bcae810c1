"""Folders in the Hugging Face layout: JSON configs, and weights in one file or several.

Weights with the name `name` are in `name.safetensors`, or in shards listed by
`name.safetensors.index.json`:

    {"metadata": {"total_size": bytes}, "weight_map": {tensor: file}}
"""

from __future__ import annotations

import contextlib
import json
import math
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ltx_jax.checkpoints.arrays import listed
from ltx_jax.checkpoints.safetensors_io import (
  Reader,
  TensorToWrite,
  open_safetensors,
  write_safetensors,
)
from ltx_jax.files import NotJSON, atomic_file, parse_json, read_text


def read_json(path: pathlib.Path, why: str) -> dict[str, Any]:
  """Reads a JSON object.

  Args:
    path: The file.
    why: The end of the sentence "There is no file; ...".

  Raises:
    ValueError: If it is missing, not JSON, or not an object.
  """
  if not path.is_file():
    raise ValueError(f"There is no {path}; {why}.")
  try:
    content = parse_json(read_text(path))
  except NotJSON as error:
    raise ValueError(f"{path} is not a JSON file ({error}).") from None
  if not isinstance(content, dict):
    raise ValueError(f"{path} holds a JSON {type(content).__name__}, not an object.")
  return content


def write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
  """Writes a JSON object; the file appears only once it is complete."""
  with atomic_file(path) as file:
    file.write(json.dumps(content, indent=2).encode() + b"\n")


def open_shards(
  folder: pathlib.Path, name: str, stack: contextlib.ExitStack
) -> dict[str, Reader]:
  """Opens one file or several shards, and returns which of them holds each tensor.

  Args:
    folder: Folder of the files.
    name: Name of the weights, such as "model".
    stack: Stack that closes the files.

  Raises:
    ValueError: If files are missing or malformed, or the index does not fit them.
  """
  single, index_file = f"{name}.safetensors", f"{name}.safetensors.index.json"
  if (folder / single).is_file():
    files: dict[str, Any] = {single: None}
  elif (folder / index_file).is_file():
    index = read_json(folder / index_file, "the shards need it").get("weight_map")
    if (
      not isinstance(index, dict) or not all(map(_is_text, index.values())) or not index
    ):
      raise ValueError(f"{folder / index_file} has no weight_map from names to files.")
    files = {}
    for tensor, file in index.items():
      files.setdefault(file, []).append(tensor)
  else:
    pickled = sorted(path.name for path in folder.glob("*.bin"))
    found = f"only {', '.join(pickled[:3])}" if pickled else "neither"
    raise ValueError(
      f"Expected {single} or {index_file} in {folder}, but found {found}; pickled "
      "weights are not read, convert them with the save_pretrained of the library that "
      "wrote them."
    )
  tensors: dict[str, Reader] = {}
  for file in sorted(files):
    reader = stack.enter_context(open_safetensors(folder / file))
    promised = reader.names if files[file] is None else files[file]
    lost = [tensor for tensor in promised if tensor not in reader]
    if lost:
      raise ValueError(
        f"{folder / index_file} says that {file} has {listed(lost)}, but it does not."
      )
    twice = [tensor for tensor in reader.names if tensor in tensors]
    if twice:
      raise ValueError(
        f"{folder / file} repeats tensors of another shard: {listed(twice)}."
      )
    tensors |= dict.fromkeys(reader.names, reader)
  return tensors


def write_shards(
  folder: pathlib.Path, name: str, tensors: Sequence[TensorToWrite], max_bytes: int
) -> None:
  """Writes tensors as one file, or as shards of at most `max_bytes` with an index.

  Existing weights of the same name are removed, their index first, so that shards of
  two models are never mixed.

  Args:
    folder: An existing folder.
    name: Name of the weights.
    tensors: Tensors in the form that `write_safetensors` takes.
    max_bytes: Largest size of a file; a larger tensor gets a file of its own.
  """
  groups = _grouped(tensors, max_bytes)
  index = f"{name}.safetensors.index.json"
  (folder / index).unlink(missing_ok=True)
  written = {f"{name}.safetensors"}
  if len(groups) == 1:
    write_safetensors(folder / f"{name}.safetensors", tensors, {"format": "pt"})
  else:
    weight_map = {}
    for i, group in enumerate(groups):
      file = f"{name}-{i + 1:05d}-of-{len(groups):05d}.safetensors"
      write_safetensors(folder / file, group, {"format": "pt"})
      weight_map |= dict.fromkeys((tensor[0] for tensor in group), file)
    total = sum(_bytes(tensor) for tensor in tensors)
    content = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(folder / index, content)
    written = set(weight_map.values())
  ours = re.compile(rf"{re.escape(name)}(-\d{{5}}-of-\d{{5}})?\.safetensors")
  for path in folder.iterdir():
    if ours.fullmatch(path.name) and path.name not in written:
      path.unlink()


def _is_text(value: Any) -> bool:
  return isinstance(value, str)


def _grouped(
  tensors: Sequence[TensorToWrite], max_bytes: int
) -> list[list[TensorToWrite]]:
  groups: list[list[TensorToWrite]] = [[]]
  size = 0
  for tensor in tensors:
    if groups[-1] and size + _bytes(tensor) > max_bytes:
      groups.append([])
      size = 0
    groups[-1].append(tensor)
    size += _bytes(tensor)
  return groups


def _bytes(tensor: TensorToWrite) -> int:
  return math.prod(tensor[1]) * np.dtype(tensor[2]).itemsize
