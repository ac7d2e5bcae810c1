"""T5 encoders in the Hugging Face layout: a folder with `config.json` and safetensors.

The tensors are in `model.safetensors`, or in shards that `model.safetensors.index.json`
lists. They are read one by one into arrays stacked over the layers, and kernels are
transposed to (in, out) on the way. A stack leaves host memory once it is placed on its
device, so memory holds at most the model and one stack. The checkpoint of a whole T5 is
accepted: its decoder and output head are ignored.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from ltx_jax.checkpoints import arrays
from ltx_jax.checkpoints.arrays import Place, listed
from ltx_jax.checkpoints.keys import DENSE, Entry, by_path, tree_shapes
from ltx_jax.checkpoints.safetensors_io import (
  Reader,
  write_safetensors,
)
from ltx_jax.checkpoints.shards import open_shards, read_json, write_json
from ltx_jax.checkpoints.trees import flatten, nest
from ltx_jax.config import TextEncoderConfig
from ltx_jax.errors import shown
from ltx_jax.typing import Params

CONFIG_FILE = "config.json"
WEIGHTS = "model"

# Copies of `shared.weight`, and the half of T5 that a text encoder does not need.
_IGNORED = re.compile(r"encoder\.embed_tokens\.weight|decoder\..*|lm_head\.weight")


def t5_entries(config: TextEncoderConfig) -> Iterator[Entry]:
  """Yields the tensors of an encoder, as `transformers` names them."""
  e, inner, ff = config.d_model, config.num_heads * config.d_kv, config.d_ff
  heads, buckets = config.num_heads, config.relative_attention_num_buckets
  attention, gated = "layer.0.SelfAttention", "layer.1.DenseReluDense"
  bias = f"encoder.block.0.{attention}.relative_attention_bias.weight"
  yield Entry("shared.weight", "shared/embedding", (config.vocab_size, e))
  yield Entry(bias, "relative_attention_bias/embedding", (buckets, heads))
  block = [
    Entry("layer.0.layer_norm.weight", "attention_norm/scale", (e,)),
    *(
      Entry(f"{attention}.{name}.weight", f"{name}/kernel", (inner, e), DENSE)
      for name in "qkv"
    ),
    Entry(f"{attention}.o.weight", "o/kernel", (e, inner), DENSE),
    Entry("layer.1.layer_norm.weight", "ff_norm/scale", (e,)),
    Entry(f"{gated}.wi_0.weight", "wi_0/kernel", (ff, e), DENSE),
    Entry(f"{gated}.wi_1.weight", "wi_1/kernel", (ff, e), DENSE),
    Entry(f"{gated}.wo.weight", "wo/kernel", (e, ff), DENSE),
  ]
  for layer in range(config.num_layers):
    for entry in block:
      yield dataclasses.replace(
        entry,
        key=f"encoder.block.{layer}.{entry.key}",
        path=f"blocks/{entry.path}",
        layer=layer,
        layers=config.num_layers,
      )
  yield Entry("encoder.final_layer_norm.weight", "final_norm/scale", (e,))


def load_config(folder: str | os.PathLike[str]) -> TextEncoderConfig:
  """Reads `config.json`; keys that this code does not use are kept in `extra`.

  Raises:
    ValueError: If it is missing, is not a JSON object, or does not describe a T5 v1.1
      encoder.
  """
  path = pathlib.Path(folder) / CONFIG_FILE
  metadata = read_json(path, "a T5 encoder in the Hugging Face layout has one")
  model_type = metadata.get("model_type", "t5")
  if model_type != "t5":
    raise ValueError(
      f"{path} has model_type {shown(model_type)}; this code reads 't5'."
    )
  try:
    return TextEncoderConfig.from_metadata(metadata)
  except ValueError as error:
    raise ValueError(f"{path} cannot be read. {error}") from None


def load_t5(
  folder: str | os.PathLike[str],
  dtype: str | None = None,
  place: Place | None = None,
) -> tuple[TextEncoderConfig, Params]:
  """Reads a T5 encoder.

  Args:
    folder: Folder in the Hugging Face layout, such as `text_encoder` of a diffusers
      folder.
    dtype: Dtype to cast the parameters to while they are read; None keeps the file's.
    place: Function that places each array as soon as it is complete, for example in
      shards on a mesh; None uses the default device.

  Raises:
    ValueError: If a file is missing, truncated or malformed, or the tensors are not
      exactly those that the config needs.
  """
  folder = pathlib.Path(folder)
  config = load_config(folder)
  entries = list(t5_entries(config))
  put = place or arrays.to_default_device
  with contextlib.ExitStack() as stack:
    readers = open_shards(folder, WEIGHTS, stack)
    _check_tensors(folder, entries, readers)
    tensors = {name: (reader, name) for name, reader in readers.items()}
    flat = {
      path: put(path, arrays.read(group, tensors, dtype))
      for path, group in by_path(entries).items()
    }
  return config, nest(flat)


def _check_tensors(
  folder: pathlib.Path, entries: Sequence[Entry], tensors: Mapping[str, Reader]
) -> None:
  """Refuses tensors that are missing, extra, misshaped, or not floating point."""
  expected = {entry.key: entry.shape for entry in entries}
  there = {name: r for name, r in tensors.items() if not _IGNORED.fullmatch(name)}
  both = {name: r for name, r in there.items() if name in expected}
  problems = {
    "missing": [f"{n} {expected[n]}" for n in expected if n not in there],
    "unknown": [f"{n} {r.shape(n)}" for n, r in there.items() if n not in expected],
    "misshaped": [
      f"{n} (expected {expected[n]}, found {r.shape(n)})"
      for n, r in both.items()
      if r.shape(n) != expected[n]
    ],
    "not of floating point": [
      f"{n} ({r.dtype(n)})"
      for n, r in both.items()
      if not jnp.issubdtype(r.dtype(n), jnp.floating)
    ],
  }
  found = "; ".join(f"{what}: {listed(bad)}" for what, bad in problems.items() if bad)
  if found:
    raise ValueError(f"The tensors in {folder} do not fit its {CONFIG_FILE}: {found}.")


def save_t5(
  folder: str | os.PathLike[str],
  config: TextEncoderConfig,
  params: Params,
  dtype: str | None = None,
) -> None:
  """Writes `config.json` and `model.safetensors`, as `transformers` reads them.

  Args:
    folder: Folder to write to; it is made if it does not exist. Each file appears only
      once it is complete.
    params: The encoder's parameters.
    dtype: Dtype to cast the parameters to; None keeps theirs.

  Raises:
    ValueError: If `params` is not the tree that `config` needs.
  """
  entries, flat = list(t5_entries(config)), flatten(params)
  expected = tree_shapes(entries)
  found = {path: tuple(array.shape) for path, array in flat.items()}
  if found != expected:
    wrong = [
      f"{path} (expected {expected.get(path, 'nothing')}, "
      f"found {found.get(path, 'nothing')})"
      for path in sorted(expected.keys() | found.keys())
      if expected.get(path) != found.get(path)
    ]
    raise ValueError(
      f"The text encoder's parameters do not fit its config: {listed(wrong)}."
    )
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  tensors = [
    arrays.to_write(entry.key, entry, flat[entry.path], dtype) for entry in entries
  ]
  write_safetensors(folder / f"{WEIGHTS}.safetensors", tensors, {"format": "pt"})
  write_json(folder / CONFIG_FILE, _metadata(config))


def _metadata(config: TextEncoderConfig) -> dict[str, Any]:
  """Returns `config.json` without the dtype, which the tensors have."""
  metadata = config.to_metadata()
  for key in ("dtype", "torch_dtype"):
    metadata.pop(key, None)
  defaults = {
    "is_encoder_decoder": False,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
    "eos_token_id": 1,
  }
  encoder = {"architectures": ["T5EncoderModel"], "model_type": "t5"}
  missing = {key: value for key, value in defaults.items() if key not in metadata}
  return metadata | encoder | missing
