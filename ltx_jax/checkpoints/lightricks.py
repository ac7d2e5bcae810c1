"""The official single file: transformer, VAE, statistics, and one config for all.

Under the metadata key `config` such a file has a JSON object with `transformer`, `vae`,
`scheduler` and, for distilled models, `allowed_inference_steps`. It is read first and
says which tensors the file must have. A file without it is recognised by the shapes of
its tensors. Each tensor is then read straight into its place in a stacked array,
transposed and cast on the way. Each array leaves host memory as soon as it is placed,
so host memory holds at most the model and one stack.

This is also our release format: the PyTorch original reads the files written here.
Source: the original's `Transformer3DModel.from_pretrained` and
`CausalVideoAutoencoder.from_pretrained`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from ltx_jax.checkpoints import keys, networks, recognize
from ltx_jax.checkpoints.arrays import Place, listed
from ltx_jax.checkpoints.networks import (
  PARTS,
  MakeTensor,
  Opened,
  check_same_latents,
)
from ltx_jax.checkpoints.safetensors_io import (
  Reader,
  open_safetensors,
  write_safetensors,
)
from ltx_jax.checkpoints.trees import nest
from ltx_jax.config import ModelConfig, SchedulerConfig
from ltx_jax.config.metadata import freeze, thaw
from ltx_jax.files import NotJSON, parse_json
from ltx_jax.typing import Params

_KNOWN = {*PARTS, "scheduler", *networks.OF_MODEL}

Names = dict[str, dict[str, str]]
"""Names in a file by official key, for every part that the file has."""


def load_checkpoint(
  path: str | os.PathLike[str],
  dtype: str | None = None,
  place: Place | None = None,
  parts: Sequence[str] | None = None,
) -> tuple[ModelConfig, Params]:
  """Reads a checkpoint.

  Args:
    path: The official file, or one with only a transformer or only a VAE.
    dtype: Dtype to cast weights to while they are read; None keeps the file's. The
      statistics, per channel and of a latent norm, are always float32.
    place: Function that places each array as soon as it is complete, for example in
      shards on a mesh; None uses the default device.
    parts: "transformer", "vae" or both; None reads all that the file has.

  Returns:
    The configs, and {"transformer": ..., "vae": ...}; both hold only the asked parts.

  Raises:
    ValueError: If the file is truncated, lacks an asked part, has tensors that are
      missing, unknown or of another shape than its config says, or has networks that do
      not fit together. The message names the file and what was found.
  """
  with open_checkpoint(path, parts) as opened:
    return opened.config, nest(networks.read(opened, dtype, place))


@contextlib.contextmanager
def open_checkpoint(
  path: str | os.PathLike[str], parts: Sequence[str] | None = None
) -> Iterator[Opened]:
  """Opens a checkpoint and reads its configs; a context manager.

  Args:
    path: The file.
    parts: Names of the networks to open; None opens all that the file has.

  Raises:
    ValueError: If the file is truncated or its config is missing or malformed.
  """
  with open_safetensors(path) as reader:
    names = _split(reader)
    if not names:
      raise ValueError(f"{reader.path} has no tensors; give a whole checkpoint.")
    config = _config(reader, names)
    asked = networks.asked_parts(str(reader.path), names, parts)
    tensors = {
      part: {key: (reader, name) for key, name in names[part].items()} for part in asked
    }
    config = dataclasses.replace(config, **networks.without(asked))
    yield Opened(str(reader.path), config, tensors)


def read_config(path: str | os.PathLike[str]) -> ModelConfig:
  """Reads the configs of all parts of a checkpoint, but no tensors.

  Raises:
    ValueError: If the file is truncated or its config is missing or malformed.
  """
  with open_safetensors(path) as reader:
    return _config(reader, _split(reader))


def save_checkpoint(
  path: str | os.PathLike[str],
  config: ModelConfig,
  params: Params,
  dtype: str | None = None,
) -> None:
  """Writes a checkpoint that the PyTorch original reads.

  The same configs and numbers give the same bytes.

  Args:
    path: The file; it appears only once it is complete.
    config: Configs; parts that are None are not written.
    params: {"transformer": ..., "vae": ...}; a text encoder among them is ignored, and
      `t5.save_t5` writes it.
    dtype: Dtype to cast weights to; None keeps theirs. Statistics are written as
      float32.

  Raises:
    ValueError: If `params` do not have the arrays that `config` needs.
  """
  write(path, config, networks.from_params(str(path), config, params, dtype))


def write(path: str | os.PathLike[str], config: ModelConfig, make: MakeTensor) -> None:
  """Writes a checkpoint, tensor by tensor as `make` returns them.

  Raises:
    ValueError: If the config has no part, or two that do not fit together.
  """
  tensors = [
    make(part, entry, keys.PREFIXES[part] + entry.key)
    for part in networks.written_parts(str(path), config)
    for entry in networks.ENTRIES[part](getattr(config, part))
  ]
  write_safetensors(path, tensors, {"config": json.dumps(_metadata(config))})


def _split(reader: Reader) -> Names:
  """Sorts the names in a file by part.

  If any name has a part's prefix, the part consists of the names that have it;
  otherwise of the names that start like its modules.
  """
  names: Names = {}
  unknown = dict.fromkeys(reader.names)
  prefixes = tuple(keys.PREFIXES.values())
  for part, prefix in keys.PREFIXES.items():
    of_part = {n: n.replace(prefix, "") for n in reader.names if n.startswith(prefix)}
    if not of_part:
      bare = [n for n in reader.names if not n.startswith(prefixes)]
      of_part = {n: n for n in bare if n.split(".")[0] in keys.MODULES[part]}
    if part == "vae":
      of_part = {name: keys.vae_key(key) for name, key in of_part.items()}
    if of_part:
      names[part] = {key: name for name, key in of_part.items()}
    twice = sorted(set(of_part) - set(names.get(part, {}).values()))
    if twice:
      raise ValueError(
        f"{reader.path} has tensors of the same meaning: {listed(twice)}."
      )
    for name in of_part:
      del unknown[name]
  if unknown:
    left = listed([f"{name} {reader.shape(name)}" for name in unknown])
    raise ValueError(
      f"{reader.path} has tensors that belong to no transformer and no VAE: {left}; "
      "give a checkpoint of LTX-Video."
    )
  return names


def _config(reader: Reader, names: Names) -> ModelConfig:
  """Reads the config inside the file; recognises the parts that it leaves out."""
  try:
    metadata = _read_metadata(reader)
    silent = [part for part in names if part not in metadata]
    shapes = {p: {k: reader.shape(n) for k, n in names[p].items()} for p in silent}
    guess = recognize.recognize(shapes.get("transformer"), shapes.get("vae"))
    configs = {
      part: networks.CONFIGS[part].from_metadata(metadata[part])
      if part in metadata
      else getattr(guess, part)
      for part in names
    }
    scheduler = guess.scheduler
    if metadata:
      scheduler = SchedulerConfig.from_metadata(metadata.get("scheduler", {}))
    config = ModelConfig(
      transformer=configs.get("transformer"),
      vae=configs.get("vae"),
      scheduler=scheduler,
      **networks.of_model(metadata),
      extra=tuple((k, freeze(v)) for k, v in metadata.items() if k not in _KNOWN),
    )
    check_same_latents(config, config)
  except ValueError as error:
    raise ValueError(f"{reader.path} cannot be read. {error}") from None
  return config


def _read_metadata(reader: Reader) -> dict[str, Any]:
  """Returns the JSON object under `config`, or an empty one if there is none."""
  try:
    metadata = parse_json(reader.metadata.get("config", "{}"))
  except NotJSON as error:
    raise ValueError(f"Its metadata config is not JSON ({error}).") from None
  nested = (*PARTS, "scheduler")
  if not isinstance(metadata, dict) or not all(
    isinstance(metadata.get(key, {}), dict) for key in nested
  ):
    raise ValueError(
      f"Its metadata config is not a JSON object of {', '.join(nested)}."
    )
  return metadata


def _metadata(config: ModelConfig) -> dict[str, Any]:
  """Returns the JSON object that `_config` reads."""
  metadata = {
    name: getattr(config, name).to_metadata()
    for name in (*PARTS, "scheduler")
    if getattr(config, name) is not None
  }
  for name in networks.OF_MODEL:
    if getattr(config, name) is not None:
      metadata[name] = thaw(getattr(config, name))
  return metadata | {key: thaw(value) for key, value in config.extra}
