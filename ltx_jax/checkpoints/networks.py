"""The part of reading and writing checkpoints that all layouts share.

A layout is the official single file (`lightricks`) or a diffusers folder (`diffusers`).
It opens a checkpoint as its configs and, for each network, the tensors by their
official keys. The rest of reading is the same for all: the config says which tensors
there must be (`keys`), the checkpoint is refused if one is missing, and each tensor is
read straight into its place. Writing goes the other way, from the same lists.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ltx_jax.checkpoints import arrays, keys, recognize
from ltx_jax.checkpoints.arrays import Place, Placed, Tensors, listed
from ltx_jax.checkpoints.keys import Entry, Shape
from ltx_jax.checkpoints.safetensors_io import TensorToWrite
from ltx_jax.checkpoints.trees import flatten
from ltx_jax.config import ModelConfig, TransformerConfig, VAEConfig
from ltx_jax.config.metadata import checked, freeze
from ltx_jax.typing import Params

PARTS = ("transformer", "vae")
CONFIGS = {"transformer": TransformerConfig, "vae": VAEConfig}
ENTRIES = {"transformer": keys.transformer_entries, "vae": keys.vae_entries}

MakeTensor = Callable[[str, Entry, str], TensorToWrite]
"""Returns what to write, given a part, an entry and the name in the new file."""


class Opened(NamedTuple):
  """An open checkpoint.

  Attributes:
    where: Name of the checkpoint in error messages.
    config: Config of the parts that the checkpoint has.
    tensors: Tensors of each part, by official key without prefix.
  """

  where: str
  config: ModelConfig
  tensors: Mapping[str, Tensors]


def read(opened: Opened, dtype: str | None, place: Place | None) -> dict[str, Placed]:
  """Reads the parts that `opened.config` has, as flat paths that start with their
  names.

  Args:
    opened: The checkpoint.
    dtype: Dtype to cast weights to while they are read; None keeps the file's.
    place: Function that places each array as soon as it is complete; None uses the
      default device.

  Raises:
    ValueError: If the tensors are not exactly those that the config needs.
  """
  put = place or arrays.to_default_device
  flat = {}
  for part in PARTS:
    if getattr(opened.config, part) is None:
      continue
    tensors = opened.tensors[part]
    for name, group in keys.by_path(fitting_entries(opened, part)).items():
      path = f"{part}/{name}"
      flat[path] = put(path, _read_array(group, tensors, dtype))
  return flat


def fitting_entries(opened: Opened, part: str) -> list[Entry]:
  """Returns the entries to read, after checking that the tensors are exactly those.

  Raises:
    ValueError: If a tensor is missing, unknown, misshaped or not floating point.
  """
  tensors, config = opened.tensors[part], getattr(opened.config, part)
  entries = ENTRIES[part](config)
  ignored = set(keys.IGNORED)
  if part == "vae":
    ignored |= keys.stray_norms(tensors, entries)
  found = {k: r.shape(n) for k, (r, n) in tensors.items() if k not in ignored}
  expected = {entry.key: entry.shape for entry in entries}
  if keys.MEAN_OF_MEANS not in found:
    expected.pop(keys.MEAN_OF_MEANS, None)
  check(opened.where, recognize.describe(config), expected, found)
  for key, (reader, name) in tensors.items():
    if key in expected and not jnp.issubdtype(reader.dtype(name), jnp.floating):
      raise ValueError(
        f"{opened.where} has {name} as {reader.dtype(name)}; weights are "
        "floating-point numbers; save them as bfloat16 or float32."
      )
  return entries


def check(
  where: str, what: str, expected: Mapping[str, Shape], found: Mapping[str, Shape]
) -> None:
  """Refuses anything but the expected names with the expected shapes.

  Raises:
    ValueError: If any differ; the message names them.
  """
  problems = differences(expected, found)
  if problems:
    raise ValueError(
      f"{where} should hold {what} by its config, but differs in {len(problems)} "
      f"tensors: {listed(problems)}; take a checkpoint as it was released."
    )


def differences(expected: Mapping[str, Shape], found: Mapping[str, Shape]) -> list[str]:
  """Returns what is missing, unknown or misshaped, each in words."""
  return [
    f"{name} (expected {expected.get(name, 'nothing')}, "
    f"found {found.get(name, 'nothing')})"
    for name in (*expected, *(name for name in found if name not in expected))
    if expected.get(name) != found.get(name)
  ]


_OF_MODEL = {
  "name": str | None,
  "allowed_inference_steps": tuple[float, ...] | None,
  "default_size": tuple[int, ...] | None,
  "default_fps": float | None,
}
OF_MODEL = tuple(_OF_MODEL)
"""Fields of `ModelConfig` that belong to no network; their metadata has these names."""


def of_model(metadata: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the fields of `OF_MODEL`, None if the metadata does not have them.

  Raises:
    ValueError: If one has a wrong type; the message names it.
  """
  return {
    key: checked(f"Its {key}", freeze(metadata.get(key)), kind)
    for key, kind in _OF_MODEL.items()
  }


def written_parts(where: str, config: ModelConfig) -> list[str]:
  """Returns the parts that a checkpoint of `config` has.

  Raises:
    ValueError: If there is none, or two do not fit together.
  """
  check_same_latents(config, config)
  parts = [part for part in PARTS if getattr(config, part) is not None]
  if not parts:
    raise ValueError(f"Cannot write {where}: the config has neither of {PARTS}.")
  return parts


def from_params(
  where: str, config: ModelConfig, params: Params, dtype: str | None
) -> MakeTensor:
  """Returns the function that makes a file's tensors from parameters.

  Args:
    where: Name of the new checkpoint in error messages.
    config: Configs of the checkpoint.
    params: {"transformer": ..., "vae": ...}.
    dtype: Dtype to cast weights to; None keeps theirs.

  Raises:
    ValueError: If `params` do not have the arrays that `config` needs.
  """
  flat = {}
  for part in written_parts(where, config):
    if part not in params:
      raise ValueError(f"Cannot write {where}: the parameters lack {part!r}.")
    what = recognize.describe(getattr(config, part))
    flat[part] = flatten(params[part])
    shapes = {name: tuple(array.shape) for name, array in flat[part].items()}
    expected = keys.tree_shapes(ENTRIES[part](getattr(config, part)))
    check(f"The parameters of {where}", what, expected, shapes)

  def make(part: str, entry: Entry, name: str) -> TensorToWrite:
    array = flat[part][entry.path]
    return arrays.to_write(name, entry, array, stored_as(entry, dtype))

  return make


def stored_as(entry: Entry, dtype: str | None) -> str | None:
  """Returns the dtype of a tensor in a file; statistics are always float32."""
  return "float32" if entry.path.startswith(keys.MEASURED) else dtype


def check_same_latents(
  transformer: ModelConfig, vae: ModelConfig, sources: tuple[str, str] | None = None
) -> None:
  """Refuses a transformer and a VAE with different latents; parts may be missing.

  Their latents differ if their numbers of channels differ, or if they name different
  releases.

  Args:
    transformer: Config of the model whose transformer is used.
    vae: Config of the model whose VAE is used, which may be the same.
    sources: Names of the places where the two were found.

  Raises:
    ValueError: If their latents differ; the message names both.
  """
  network, decoder = transformer.transformer, vae.vae
  if network is None or decoder is None:
    return
  first, second = (f" in {source}" for source in sources) if sources else ("", "")
  if network.in_channels != decoder.latent_channels:
    raise ValueError(
      f"The networks do not go together: {recognize.describe(network)}{first} has "
      f"in_channels = {network.in_channels}, but {recognize.describe(decoder)}{second} "
      f"has latent_channels = {decoder.latent_channels}; take both from one release."
    )
  if None not in (transformer.name, vae.name) and transformer.name != vae.name:
    raise ValueError(
      f"The networks do not go together: the transformer{first} is of "
      f"{transformer.name!r}, but the VAE{second} is of {vae.name!r}; take both from "
      "one release."
    )


def asked_parts(
  where: str, there: Collection[str], parts: Collection[str] | None
) -> tuple[str, ...]:
  """Returns the parts to read, in the order asked.

  Raises:
    ValueError: If one is not there.
  """
  asked = tuple(there) if parts is None else tuple(parts)
  for part in asked:
    if part not in PARTS:
      raise ValueError(f"No part is called {part!r}; there are {', '.join(PARTS)}.")
    if part not in there:
      raise ValueError(
        f"{where} has no {part}; it has {', '.join(there)}; give one that has it."
      )
  return asked


def without(parts: Collection[str]) -> dict[str, Any]:
  """Returns the changes to a `ModelConfig` that leave only `parts` in it."""
  return {part: None for part in PARTS if part not in parts}


def _read_array(group: list[Entry], tensors: Tensors, dtype: str | None) -> np.ndarray:
  """Reads one array of our tree, layer by layer if it is a stack."""
  first = group[0]
  if first.key not in tensors:  # `mean-of-means`, the only one that may be missing.
    return np.zeros(first.our_shape, np.float32)
  return arrays.read(group, tensors, stored_as(first, dtype))
