"""T5 encoders in the Hugging Face layout: a folder with `config.json` and safetensors.

The tensors are in `model.safetensors`, or in shards that `model.safetensors.index.json`
lists. They are read one by one into arrays stacked over the layers, kernels transposed
to (in, out) on the way; a stack leaves host memory once it is placed on its device, so
that at most the model and one stack are ever held. A checkpoint of the whole T5 may be
given: its decoder and output head are passed over.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped

from ltx_jax.checkpoints.safetensors_io import (
  Reader,
  TensorToWrite,
  atomic_file,
  open_safetensors,
  write_safetensors,
)
from ltx_jax.config import TextEncoderConfig
from ltx_jax.models import text_encoder
from ltx_jax.platforms import CPU
from ltx_jax.typing import AnyArray, Params

CONFIG_FILE = "config.json"
SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

Place = Callable[[str, Shaped[np.ndarray, "..."]], AnyArray]
"""Takes a parameter's path ("blocks/q/kernel") and value, gives where it will live."""

_KEYS = {
  "shared/embedding": "shared.weight",
  "relative_attention_bias/embedding": (
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
  ),
  "final_norm/scale": "encoder.final_layer_norm.weight",
}
_BLOCK_KEYS = {
  "attention_norm/scale": "layer.0.layer_norm.weight",
  "q/kernel": "layer.0.SelfAttention.q.weight",
  "k/kernel": "layer.0.SelfAttention.k.weight",
  "v/kernel": "layer.0.SelfAttention.v.weight",
  "o/kernel": "layer.0.SelfAttention.o.weight",
  "ff_norm/scale": "layer.1.layer_norm.weight",
  "wi_0/kernel": "layer.1.DenseReluDense.wi_0.weight",
  "wi_1/kernel": "layer.1.DenseReluDense.wi_1.weight",
  "wo/kernel": "layer.1.DenseReluDense.wo.weight",
}
# Copies of `shared.weight`, and the half of T5 that no text encoder has.
_IGNORED = re.compile(
  r"encoder\.embed_tokens\.weight|decoder\..*|lm_head\.weight", re.DOTALL
)
_MAX_LISTED = 10


class _Leaf(NamedTuple):
  """One array of the parameter tree, and the tensors that it is made of.

  Attributes:
    shape: Of the array, with the leading layer axis where it is stacked.
    names: One tensor for each layer where the array is stacked, else one.
  """

  shape: tuple[int, ...]
  names: tuple[str, ...]
  stacked: bool
  transposed: bool

  @property
  def tensor_shape(self) -> tuple[int, ...]:
    """The shape of each tensor in the file."""
    shape = self.shape[1:] if self.stacked else self.shape
    return shape[::-1] if self.transposed else shape

  def part(self, array: Any, index: int) -> Any:
    """Tensor `index` of `array`, which has this leaf's shape, as the file has it.

    Of a NumPy array it is a view, so that the tensor can be read into it.
    """
    part = array[index] if self.stacked else array
    return part.T if self.transposed else part


def _leaves(config: TextEncoderConfig) -> dict[str, _Leaf]:
  """The parameter tree of `config` by path, from the model itself."""
  shapes = jax.eval_shape(
    lambda: text_encoder.init_params(config, CPU, jax.random.key(0))
  )
  leaves = {}
  for path, leaf in _flatten(shapes).items():
    stacked = path.startswith("blocks/")
    if stacked:
      key = _BLOCK_KEYS[path.removeprefix("blocks/")]
      names = tuple(f"encoder.block.{i}.{key}" for i in range(config.num_layers))
    else:
      names = (_KEYS[path],)
    leaves[path] = _Leaf(leaf.shape, names, stacked, path.endswith("kernel"))
  return leaves


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  flat = {}
  for name, value in tree.items():
    nested = isinstance(value, Mapping)
    flat |= _flatten(value, f"{prefix}{name}/") if nested else {prefix + name: value}
  return flat


def _nest(flat: Mapping[str, Any]) -> Params:
  tree: Params = {}
  for path, value in flat.items():
    *parents, name = path.split("/")
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[name] = value
  return tree


def load_config(folder: str | os.PathLike[str]) -> TextEncoderConfig:
  """Reads `config.json`; keys that this code does not use are kept in `extra`.

  Raises:
    ValueError: where it is missing, is no JSON object, or describes something other
      than a T5 v1.1 encoder.
  """
  path = pathlib.Path(folder) / CONFIG_FILE
  metadata = _read_json(path, "a T5 encoder in the Hugging Face layout has one")
  model_type = metadata.get("model_type", "t5")
  if model_type != "t5":
    raise ValueError(f"{path} has model_type {model_type!r}; this code reads 't5'.")
  return TextEncoderConfig.from_metadata(metadata)


def load_t5(
  folder: str | os.PathLike[str],
  dtype: str | None = None,
  place: Place | None = None,
) -> tuple[Params, TextEncoderConfig]:
  """Reads a T5 encoder.

  Args:
    folder: In the Hugging Face layout, such as `text_encoder` of a diffusers folder.
    dtype: What the parameters are cast to while they are read; None keeps the file's.
    place: Where each array goes as soon as it is complete; None: the default device.

  Raises:
    ValueError: where a file is missing, truncated or malformed, or the tensors are not
      exactly those that the config asks for.
  """
  folder = pathlib.Path(folder)
  config = load_config(folder)
  leaves = _leaves(config)
  put = place or (lambda _, array: jnp.asarray(array))
  with contextlib.ExitStack() as stack:
    tensors = _open_tensors(folder, stack)
    _check(folder, leaves, tensors)
    flat = {
      path: put(path, _read_leaf(leaf, tensors, dtype)) for path, leaf in leaves.items()
    }
  return _nest(flat), config


def _read_json(path: pathlib.Path, why: str) -> dict[str, Any]:
  if not path.is_file():
    raise ValueError(f"There is no {path}; {why}.")
  try:
    content = json.loads(path.read_text(encoding="utf-8"))
  except (UnicodeDecodeError, json.JSONDecodeError) as error:
    raise ValueError(f"{path} is no JSON file ({error}).") from None
  if not isinstance(content, dict):
    raise ValueError(f"{path} holds a JSON {type(content).__name__}, not an object.")
  return content


def _open_tensors(
  folder: pathlib.Path, stack: contextlib.ExitStack
) -> dict[str, Reader]:
  """Opens the file or the shards, and returns which of them holds each tensor."""
  if (folder / SINGLE_FILE).is_file():
    files: dict[str, Any] = {SINGLE_FILE: None}
  elif (folder / INDEX_FILE).is_file():
    index = _read_json(folder / INDEX_FILE, "the shards need it").get("weight_map")
    if not isinstance(index, dict) or not index:
      raise ValueError(f"{folder / INDEX_FILE} has no weight_map from names to files.")
    files = {}
    for name, file in index.items():
      files.setdefault(file, []).append(name)
  else:
    pickled = sorted(path.name for path in folder.glob("*.bin"))
    found = f"only {', '.join(pickled[:3])}" if pickled else "neither"
    raise ValueError(
      f"Expected {SINGLE_FILE} or {INDEX_FILE} in {folder} and found {found}; pickled "
      "weights are not read, convert them with the save_pretrained of transformers."
    )
  tensors: dict[str, Reader] = {}
  for file in sorted(files):
    reader = stack.enter_context(open_safetensors(folder / file))
    promised = reader.names if files[file] is None else files[file]
    lost = [name for name in promised if name not in reader]
    if lost:
      raise ValueError(
        f"{folder / INDEX_FILE} says {file} has {_list(lost)}; it has not."
      )
    twice = [name for name in reader.names if name in tensors]
    if twice:
      raise ValueError(
        f"{folder / file} repeats tensors of another shard: {_list(twice)}."
      )
    tensors |= dict.fromkeys(reader.names, reader)
  return tensors


def _check(
  folder: pathlib.Path, leaves: Mapping[str, _Leaf], tensors: Mapping[str, Reader]
) -> None:
  """Refuses tensors that are missing, extra, misshaped, or not of floating point."""
  expected = {
    name: leaf.tensor_shape for leaf in leaves.values() for name in leaf.names
  }
  there = {name: r for name, r in tensors.items() if not _IGNORED.fullmatch(name)}
  problems = {
    "missing": [f"{n} {expected[n]}" for n in expected if n not in there],
    "unknown": [f"{n} {r.shape(n)}" for n, r in there.items() if n not in expected],
    "misshaped": [
      f"{n} (expected {expected[n]}, found {r.shape(n)})"
      for n, r in there.items()
      if n in expected and r.shape(n) != expected[n]
    ],
    "not of floating point": [
      f"{n} ({r.dtype(n)})"
      for n, r in there.items()
      if n in expected and not jnp.issubdtype(r.dtype(n), jnp.floating)
    ],
  }
  found = "; ".join(f"{what}: {_list(bad)}" for what, bad in problems.items() if bad)
  if found:
    raise ValueError(f"The tensors in {folder} do not fit its {CONFIG_FILE}: {found}.")


def _list(names: list[str]) -> str:
  rest = len(names) - _MAX_LISTED
  return ", ".join(names[:_MAX_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _read_leaf(
  leaf: _Leaf, tensors: Mapping[str, Reader], dtype: str | None
) -> Shaped[np.ndarray, "..."]:
  stored = jnp.result_type(*{tensors[name].dtype(name) for name in leaf.names})
  array = np.empty(leaf.shape, dtype or stored)
  for index, name in enumerate(leaf.names):
    tensors[name].read_into(name, leaf.part(array, index))
  return array


def save_t5(
  params: Params,
  config: TextEncoderConfig,
  folder: str | os.PathLike[str],
  dtype: str | None = None,
) -> None:
  """Writes `config.json` and `model.safetensors`, as `transformers` reads them.

  Args:
    params: The encoder's parameters.
    folder: Is made if it is not there; each file appears only once it is complete.
    dtype: What the parameters are cast to; None keeps theirs.

  Raises:
    ValueError: where `params` is not the tree that `config` asks for.
  """
  leaves, flat = _leaves(config), _flatten(params)
  expected = {path: leaf.shape for path, leaf in leaves.items()}
  found = {path: array.shape for path, array in flat.items()}
  if found != expected:
    wrong = sorted(dict(expected.items() ^ found.items()))
    raise ValueError(
      f"The parameters do not fit the text encoder's config: {_list(wrong)}."
    )
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  tensors = [
    tensor
    for path, leaf in leaves.items()
    for tensor in _tensors_to_write(leaf, flat[path], dtype)
  ]
  write_safetensors(folder / SINGLE_FILE, tensors, {"format": "pt"})
  with atomic_file(folder / CONFIG_FILE) as file:
    file.write(json.dumps(_metadata(config), indent=2).encode() + b"\n")


def _tensors_to_write(
  leaf: _Leaf, array: AnyArray, dtype: str | None
) -> list[TensorToWrite]:
  out_dtype = np.dtype(dtype or array.dtype)

  def producer(index: int) -> Callable[[], np.ndarray]:
    return lambda: np.asarray(leaf.part(array, index)).astype(out_dtype, copy=False)

  return [
    (name, leaf.tensor_shape, out_dtype, producer(index))
    for index, name in enumerate(leaf.names)
  ]


def _metadata(config: TextEncoderConfig) -> dict[str, Any]:
  """What `config.json` says; the dtype is left to the tensors, which know it."""
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
