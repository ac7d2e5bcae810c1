"""The file of a discriminator, next to the VAE that it was trained against.

    down_0.weight (out, in, t, h, w) = down_0/kernel (t, h, w, in, out)

Sampling never needs it. A later run that goes on with the VAE needs it, because a new
discriminator would have to learn from nothing what the VAE already avoids.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

from ltx_jax.checkpoints import arrays
from ltx_jax.checkpoints.arrays import Place
from ltx_jax.checkpoints.keys import CONV, Entry, tree_shapes
from ltx_jax.checkpoints.networks import check
from ltx_jax.checkpoints.safetensors_io import (
  Reader,
  open_safetensors,
  write_safetensors,
)
from ltx_jax.checkpoints.trees import flatten
from ltx_jax.config.adversarial import AdversarialConfig
from ltx_jax.errors import shown
from ltx_jax.files import NotJSON, parse_json
from ltx_jax.typing import Params

FILE = "discriminator.safetensors"
"""Name of the file."""


def entries_of(config: AdversarialConfig) -> list[Entry]:
  """Returns the tensors of a discriminator."""
  return list(_entries(config))


def _entries(config: AdversarialConfig) -> Iterator[Entry]:
  n_in, widths = config.inputs * config.patch_size**2, {"conv_in": config.channels}
  widths |= {f"down_{i}": config.width(i + 1) for i in range(config.layers)}
  for name, n_out in (widths | {"conv_out": 1}).items():
    yield Entry(f"{name}.weight", f"{name}/kernel", (n_out, n_in, 3, 3, 3), CONV)
    yield Entry(f"{name}.bias", f"{name}/bias", (n_out,))
    n_in = n_out


def describe(config: AdversarialConfig) -> str:
  """Describes a discriminator by its sizes."""
  return (
    f"a discriminator of {config.inputs} colour channels, {config.channels} channels "
    f"and {config.layers} layers"
  )


def load_discriminator(
  path: str | os.PathLike[str], config: AdversarialConfig, place: Place | None = None
) -> Params:
  """Reads a discriminator in float32.

  Args:
    path: File that `save_discriminator` wrote.
    config: Config that it must have.
    place: Function that places each array; None uses the default device.

  Raises:
    ValueError: If it is another network; the message lists what differs.
  """
  entries = entries_of(config)
  with open_safetensors(path) as reader:
    found = {name: reader.shape(name) for name in reader.names}
    expected = {entry.key: entry.shape for entry in entries}
    check(str(path), describe(config), expected, found)
    _check_config(reader, config)
    return arrays.read_network(reader, entries, "float32", place)


def _check_config(reader: Reader, config: AdversarialConfig) -> None:
  """Refuses a network of the same tensors that uses them otherwise.

  Raises:
    ValueError: with the first field that differs.
  """
  try:
    found = dict(parse_json(reader.metadata.get("config", "{}")))
  except (NotJSON, TypeError, ValueError):
    found = {}
  for name, value in config.network.items():
    if found.get(name) != value:
      raise ValueError(
        f"The discriminator in {reader.path} has {name} = {shown(found.get(name))}, "
        f"but adversarial.{name} is {value}; give the same, or move "
        "the file away to begin with a new discriminator."
      )


def save_discriminator(
  path: str | os.PathLike[str], config: AdversarialConfig, params: Params
) -> None:
  """Writes a discriminator in float32, with its config in the metadata.

  Raises:
    ValueError: If `params` do not have the arrays that `config` needs.
  """
  entries = entries_of(config)
  found = {name: tuple(array.shape) for name, array in flatten(params).items()}
  check(f"The parameters of {path}", describe(config), tree_shapes(entries), found)
  tensors = arrays.network_to_write(entries, params, None)
  write_safetensors(path, tensors, {"config": json.dumps(config.network)})
