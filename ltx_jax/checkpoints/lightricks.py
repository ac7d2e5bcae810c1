"""The official single file: transformer, VAE, statistics, and the config of them all.

Under the metadata key `config` such a file holds a JSON object with `transformer`,
`vae`, `scheduler` and, for distilled models, `allowed_inference_steps`. It is read
first, and says which tensors there must be; a file without it is recognised by the
shapes of its tensors. Each tensor is then read straight into its place in a stacked
array, transposed and cast on the way, and each array leaves host memory as soon as it
is placed, so that host memory holds at most the model and one stack.

It is our release format too: the PyTorch original reads what is written here. Source:
`Transformer3DModel.from_pretrained` and `CausalVideoAutoencoder.from_pretrained` there.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ltx_jax.checkpoints import arrays, keys, recognize
from ltx_jax.checkpoints.arrays import Place, listed
from ltx_jax.checkpoints.keys import Entry, Shape
from ltx_jax.checkpoints.safetensors_io import (
  Reader,
  TensorToWrite,
  open_safetensors,
  write_safetensors,
)
from ltx_jax.checkpoints.trees import flatten, nest
from ltx_jax.config import (
  ModelConfig,
  SchedulerConfig,
  TransformerConfig,
  VAEConfig,
)
from ltx_jax.metadata import freeze, thaw
from ltx_jax.typing import AnyArray, Params

PARTS = ("transformer", "vae")
_CONFIGS = {"transformer": TransformerConfig, "vae": VAEConfig}
_ENTRIES = {"transformer": keys.transformer_entries, "vae": keys.vae_entries}
_KNOWN = {*PARTS, "scheduler", "name", "allowed_inference_steps"}

Names = dict[str, dict[str, str]]
"""For every part in a file: the names in the file by official key."""


def load_checkpoint(
  path: str | os.PathLike[str],
  dtype: str | None = None,
  place: Place | None = None,
  parts: Sequence[str] | None = None,
) -> tuple[ModelConfig, Params]:
  """Reads a checkpoint.

  Args:
    path: The official file, or one with a transformer or a VAE alone.
    dtype: What weights are cast to while they are read; None keeps the file's. The
      statistics, per channel and of a latent norm, are float32 whatever it says.
    place: Where each array goes as soon as it is complete, such as its shards on a
      mesh; None: the default device.
    parts: "transformer", "vae" or both; None: what the file has.

  Returns:
    The configs, and {"transformer": ..., "vae": ...}; both hold the asked parts only.

  Raises:
    ValueError: in one sentence that names the file and what was found, where it is
      truncated, lacks a part asked for, has tensors that are missing, unknown or of
      another shape than its config asks for, or has networks that do not go together.
  """
  put = place or arrays.to_default_device
  with open_safetensors(path) as reader:
    names = _split(reader)
    config = _only(_config(reader, names), _asked(reader, names, parts))
    flat = {}
    for part in PARTS:
      if getattr(config, part) is None:
        continue
      entries = _fitting_entries(reader, names[part], part, getattr(config, part))
      for name, group in keys.by_path(entries).items():
        array_path = f"{part}/{name}"
        flat[array_path] = put(array_path, _read(reader, names[part], group, dtype))
  return config, nest(flat)


def read_config(path: str | os.PathLike[str]) -> ModelConfig:
  """Reads the configs of all parts that a checkpoint has, and no tensor.

  Raises:
    ValueError: as `load_checkpoint`.
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
    config: Parts that are None are not written.
    params: {"transformer": ..., "vae": ...}; a text encoder beside them is left to
      `t5.save_t5`.
    dtype: What weights are cast to; None keeps theirs. Statistics are written as
      float32.

  Raises:
    ValueError: where `params` are not the arrays that `config` asks for.
  """
  check_same_latents(config, config)
  parts = [part for part in PARTS if getattr(config, part) is not None]
  if not parts:
    raise ValueError(f"Cannot write {path}: the config has neither of {PARTS}.")
  tensors = []
  for part in parts:
    if part not in params:
      raise ValueError(f"Cannot write {path}: the parameters lack {part!r}.")
    entries = _ENTRIES[part](getattr(config, part))
    flat = flatten(params[part])
    what = recognize.describe(getattr(config, part))
    shapes = {name: tuple(array.shape) for name, array in flat.items()}
    _check(f"The parameters of {path}", what, keys.tree_shapes(entries), shapes)
    tensors += [_to_write(part, entry, flat[entry.path], dtype) for entry in entries]
  write_safetensors(path, tensors, {"config": json.dumps(_metadata(config))})


def check_same_latents(
  transformer: ModelConfig, vae: ModelConfig, sources: tuple[str, str] | None = None
) -> None:
  """Refuses a transformer and a VAE of different latents; parts may be missing.

  Their latents differ where their channels do, and where both name a release and it is
  not the same.

  Args:
    transformer: The model whose transformer is taken.
    vae: The model whose VAE is taken, which may be the same.
    sources: Where each of the two was found.

  Raises:
    ValueError: naming both.
  """
  network, decoder = transformer.transformer, vae.vae
  if network is None or decoder is None:
    return
  first, second = (f" in {source}" for source in sources) if sources else ("", "")
  if network.in_channels != decoder.latent_channels:
    raise ValueError(
      f"The networks do not go together: {recognize.describe(network)}{first} has "
      f"in_channels = {network.in_channels}, {recognize.describe(decoder)}{second} has "
      f"latent_channels = {decoder.latent_channels}; take both from one release."
    )
  if None not in (transformer.name, vae.name) and transformer.name != vae.name:
    raise ValueError(
      f"The networks do not go together: the transformer{first} is of "
      f"{transformer.name!r}, the VAE{second} of {vae.name!r}; take both from one "
      "release."
    )


def _split(reader: Reader) -> Names:
  """Sorts the names in a file by part.

  Where any name has a part's prefix, that part is the names that have it; else it is
  the names that start like its modules.
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
      f"{reader.path} has tensors that belong to no transformer and no VAE: {left}."
    )
  return names


def _asked(
  reader: Reader, names: Names, parts: Sequence[str] | None
) -> tuple[str, ...]:
  if not names:
    raise ValueError(f"{reader.path} has no tensors.")
  asked = tuple(names) if parts is None else tuple(parts)
  for part in asked:
    if part not in PARTS:
      raise ValueError(f"No part is called {part!r}; there are {', '.join(PARTS)}.")
    if part not in names:
      raise ValueError(f"{reader.path} has no {part}; it has {', '.join(names)}.")
  return asked


def _only(config: ModelConfig, parts: Sequence[str]) -> ModelConfig:
  others = {part: None for part in PARTS if part not in parts}
  return dataclasses.replace(config, **others)


def _config(reader: Reader, names: Names) -> ModelConfig:
  """Reads the config inside the file; recognises the parts that it is silent about."""
  try:
    metadata = _read_metadata(reader)
    silent = [part for part in names if part not in metadata]
    shapes = {p: {k: reader.shape(n) for k, n in names[p].items()} for p in silent}
    guess = recognize.recognize(shapes.get("transformer"), shapes.get("vae"))
    networks = {
      part: _CONFIGS[part].from_metadata(metadata[part])
      if part in metadata
      else getattr(guess, part)
      for part in names
    }
    scheduler = guess.scheduler
    if metadata:
      scheduler = SchedulerConfig.from_metadata(metadata.get("scheduler", {}))
    steps = metadata.get("allowed_inference_steps")
    config = ModelConfig(
      transformer=networks.get("transformer"),
      vae=networks.get("vae"),
      scheduler=scheduler,
      name=metadata.get("name"),
      allowed_inference_steps=None if steps is None else tuple(map(float, steps)),
      extra=tuple((k, freeze(v)) for k, v in metadata.items() if k not in _KNOWN),
    )
    check_same_latents(config, config)
  except ValueError as error:
    raise ValueError(f"{reader.path} cannot be read. {error}") from None
  return config


def _read_metadata(reader: Reader) -> dict[str, Any]:
  """The JSON object under `config`, empty where there is none."""
  try:
    metadata = json.loads(reader.metadata.get("config", "{}"))
  except json.JSONDecodeError as error:
    raise ValueError(f"Its metadata config is no JSON ({error}).") from None
  nested = (*PARTS, "scheduler")
  if not isinstance(metadata, dict) or not all(
    isinstance(metadata.get(key, {}), dict) for key in nested
  ):
    raise ValueError(f"Its metadata config is no JSON object of {', '.join(nested)}.")
  return metadata


def _metadata(config: ModelConfig) -> dict[str, Any]:
  """The JSON object that `_config` reads."""
  networks = (*PARTS, "scheduler")
  metadata = {
    name: getattr(config, name).to_metadata()
    for name in networks
    if getattr(config, name) is not None
  }
  if config.allowed_inference_steps is not None:
    metadata["allowed_inference_steps"] = list(config.allowed_inference_steps)
  if config.name is not None:
    metadata["name"] = config.name
  return metadata | {key: thaw(value) for key, value in config.extra}


def _fitting_entries(
  reader: Reader, names: Mapping[str, str], part: str, config: Any
) -> list[Entry]:
  """Returns the entries to read, once the tensors in the file are exactly those."""
  entries = _ENTRIES[part](config)
  ignored = set(keys.IGNORED)
  if part == "vae":
    ignored |= keys.stray_norms(names, entries)
  found = {key: reader.shape(n) for key, n in names.items() if key not in ignored}
  expected = {entry.key: entry.shape for entry in entries}
  if keys.MEAN_OF_MEANS not in found:
    expected.pop(keys.MEAN_OF_MEANS, None)
  _check(str(reader.path), recognize.describe(config), expected, found)
  for key, name in names.items():
    if key in expected and not jnp.issubdtype(reader.dtype(name), jnp.floating):
      raise ValueError(
        f"{reader.path} has {name} as {reader.dtype(name)}; weights are floating-point "
        "numbers."
      )
  return entries


def _check(
  where: str, what: str, expected: Mapping[str, Shape], found: Mapping[str, Shape]
) -> None:
  """Refuses anything but the expected names with the expected shapes."""
  problems = [
    f"{name} (expected {expected.get(name, 'nothing')}, "
    f"found {found.get(name, 'nothing')})"
    for name in (*expected, *(name for name in found if name not in expected))
    if expected.get(name) != found.get(name)
  ]
  if problems:
    raise ValueError(
      f"{where} should hold {what} by its config and differs in {len(problems)} "
      f"tensors: {listed(problems)}."
    )


def _read(
  reader: Reader, names: Mapping[str, str], group: list[Entry], dtype: str | None
) -> np.ndarray:
  """Reads one array of our tree, layer by layer where it is a stack."""
  first = group[0]
  if first.key not in names:  # `mean-of-means`, which alone may be missing.
    return np.zeros(first.our_shape, np.float32)
  tensors = {entry.key: (reader, names[entry.key]) for entry in group}
  return arrays.read(group, tensors, _stored_as(first, dtype))


def _to_write(
  part: str, entry: Entry, array: AnyArray, dtype: str | None
) -> TensorToWrite:
  name = keys.PREFIXES[part] + entry.key
  return arrays.to_write(name, entry, array, _stored_as(entry, dtype))


def _stored_as(entry: Entry, dtype: str | None) -> str | None:
  return "float32" if entry.path.startswith(keys.MEASURED) else dtype
