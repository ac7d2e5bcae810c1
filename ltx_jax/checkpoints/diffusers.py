"""Folders in the layout of diffusers: a JSON config and weights for each network.

    model_index.json                     the class of each part
    transformer/  vae/                   config.json, diffusion_pytorch_model*.safetensors
    scheduler/                           scheduler_config.json
    text_encoder/  tokenizer/            in the Hugging Face layout (`t5`), left
    unchanged

The tensors are the official ones under other names, with the same shapes and numbers.
They are read one by one, as from the official file (`lightricks`). A folder may hold
only a transformer or only a VAE.

Source: the names and configs of diffusers 0.35.2, which reads the folders written here.
"""  # noqa: E501

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ltx_jax.checkpoints import diffusers_configs as configs
from ltx_jax.checkpoints import diffusers_vae, networks, shards
from ltx_jax.checkpoints.arrays import Place, Tensors, listed
from ltx_jax.checkpoints.keys import transformer_entries
from ltx_jax.checkpoints.networks import (
  PARTS,
  MakeTensor,
  Opened,
  check_same_latents,
)
from ltx_jax.checkpoints.trees import nest
from ltx_jax.config import (
  TRANSFORMER_13B,
  ModelConfig,
  TransformerConfig,
  VAEConfig,
)
from ltx_jax.config.metadata import freeze, thaw
from ltx_jax.errors import shown
from ltx_jax.typing import Params

WEIGHTS = "diffusion_pytorch_model"
MAX_SHARD_BYTES = 10**10
"""Largest size of a file of weights, as in diffusers."""

_INDEX = "model_index.json"
_FILES = {
  "transformer": "transformer/config.json",
  "vae": "vae/config.json",
  "scheduler": "scheduler/scheduler_config.json",
}
_CLASSES = {
  "transformer": ["diffusers", configs.TRANSFORMER],
  "vae": ["diffusers", diffusers_vae.CLASS],
  "scheduler": ["diffusers", configs.SCHEDULER],
  "text_encoder": ["transformers", "T5EncoderModel"],
  "tokenizer": ["transformers", "T5Tokenizer"],
}
_VERSION = "0.35.2"
_RENAMED = (
  ("patchify_proj.", "proj_in."),
  ("adaln_single.", "time_embed."),
  (".q_norm.", ".norm_q."),
  (".k_norm.", ".norm_k."),
)

Contents = dict[str, dict[str, Any]]
"""The JSON objects of a folder: `transformer`, `vae`, `scheduler` and the `index`."""


def is_folder(path: str | os.PathLike[str]) -> bool:
  """Whether a path is a folder in this layout."""
  return any((pathlib.Path(path) / _FILES[part]).is_file() for part in PARTS)


def transformer_name(key: str) -> str:
  """Returns diffusers' name of a transformer's tensor, given its official one."""
  for ours, theirs in _RENAMED:
    key = key.replace(ours, theirs)
  return key


def load_checkpoint(
  path: str | os.PathLike[str],
  dtype: str | None = None,
  place: Place | None = None,
  parts: Sequence[str] | None = None,
) -> tuple[ModelConfig, Params]:
  """Reads a folder; see `lightricks.load_checkpoint` for arguments and errors."""
  with open_checkpoint(path, parts) as opened:
    return opened.config, nest(networks.read(opened, dtype, place))


@contextlib.contextmanager
def open_checkpoint(
  path: str | os.PathLike[str], parts: Sequence[str] | None = None
) -> Iterator[Opened]:
  """Opens a folder's files and reads its configs; a context manager.

  Args:
    path: The folder.
    parts: Names of the networks to open; None opens all that the folder has.

  Raises:
    ValueError: If a config or file is missing or malformed, or a tensor does not belong
      to the network that its config describes.
  """
  folder = pathlib.Path(path)
  config = read_config(folder)
  there = [part for part in PARTS if getattr(config, part) is not None]
  asked = networks.asked_parts(str(folder), there, parts)
  config = dataclasses.replace(config, **networks.without(asked))
  with contextlib.ExitStack() as stack:
    tensors = {part: _tensors(folder / part, part, config, stack) for part in asked}
    yield Opened(str(folder), config, tensors)


def _tensors(
  folder: pathlib.Path, part: str, config: ModelConfig, stack: contextlib.ExitStack
) -> Tensors:
  """Returns the tensors in a part's folder, by official key."""
  official = {name: key for key, name in _names(part, config).items()}
  readers = shards.open_shards(folder, WEIGHTS, stack)
  unknown = [name for name in readers if name not in official]
  if unknown:
    found = [f"{name} {readers[name].shape(name)}" for name in unknown]
    raise ValueError(
      f"The tensors in {folder} do not fit its config.json: {len(unknown)} of them are "
      f"unknown: {listed(found)}."
    )
  return {official[name]: (reader, name) for name, reader in readers.items()}


def _names(part: str, config: ModelConfig) -> dict[str, str]:
  """Returns diffusers' name of each tensor of a part, by official key."""
  if part == "vae":
    return diffusers_vae.names(config.vae)
  entries = transformer_entries(config.transformer)
  return {entry.key: transformer_name(entry.key) for entry in entries}


def read_config(path: str | os.PathLike[str]) -> ModelConfig:
  """Reads the configs of all parts of a folder, but no tensors.

  Raises:
    ValueError: If a config is missing or malformed.
  """
  folder = pathlib.Path(path)
  files = {"index": _INDEX} | _FILES
  why = "a folder in the diffusers layout has one"
  contents = {
    name: shards.read_json(folder / file, why)
    for name, file in files.items()
    if (folder / file).is_file()
  }
  if not any(part in contents for part in PARTS):
    raise ValueError(
      f"{folder} is not a folder in the diffusers layout: it has neither "
      f"{_FILES['transformer']} nor {_FILES['vae']}."
    )
  try:
    config = _config(contents)
    check_same_latents(config, config)
  except ValueError as error:
    raise ValueError(f"{folder} cannot be read. {error}") from None
  return config


def _config(contents: Contents) -> ModelConfig:
  """Returns the configs in JSON objects, including values stored under `REST`."""
  plain = _plain_config(contents)
  index = contents.get("index", {}).get(configs.REST, {})
  if not isinstance(index, Mapping):
    raise ValueError(f"{configs.REST} is {shown(index)} and should be a JSON object.")
  extra = index.get("extra", {})
  if not isinstance(extra, Mapping):
    raise ValueError(f"Its extra is {shown(extra)} and should be a JSON object.")
  networks_and_scheduler = {
    part: configs.with_rest(getattr(plain, part), contents[part])
    for part in (*PARTS, "scheduler")
    if part in contents
  }
  return dataclasses.replace(
    plain,
    **networks_and_scheduler,
    **networks.of_model(index),
    extra=tuple((k, freeze(v)) for k, v in extra.items()),
  )


def _plain_config(contents: Contents) -> ModelConfig:
  """Returns the configs that diffusers' options give, with a guess at the release."""
  vae = transformer = None
  if "vae" in contents:
    vae = diffusers_vae.from_diffusers(contents["vae"])
  if "transformer" in contents:
    pipeline = contents.get("index", {}).get("_class_name")
    transformer = configs.transformer_from_diffusers(contents["transformer"], False)
    newer = _is_newer(pipeline, transformer, vae)
    transformer = dataclasses.replace(transformer, causal_temporal_positioning=newer)
  else:
    newer = _is_newer(None, None, vae)
  scheduler = configs.scheduler_from_diffusers(contents.get("scheduler", {}), newer)
  return ModelConfig(transformer, vae, scheduler)


def _is_newer(
  pipeline: str | None, transformer: TransformerConfig | None, vae: VAEConfig | None
) -> bool:
  """Whether a model belongs to 0.9.5 or later."""
  deep = transformer and transformer.num_layers == TRANSFORMER_13B.num_layers
  shuffles = vae and any(block.kind == "shuffle" for block in vae.encoder_blocks)
  return pipeline == configs.NEWER_PIPELINE or bool(deep or shuffles)


def save_checkpoint(
  path: str | os.PathLike[str],
  config: ModelConfig,
  params: Params,
  dtype: str | None = None,
  max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
  """Writes a folder that diffusers reads.

  Its pipelines also need `text_encoder/` and `tokenizer/`; copy them into the folder,
  or pass `text_encoder=None, tokenizer=None` to `from_pretrained`.

  Args:
    path: The folder; it is made if it does not exist.
    config: Configs; parts that are None are not written.
    params: {"transformer": ..., "vae": ...}.
    dtype: Dtype to cast weights to; None keeps theirs. Statistics are written as
      float32.
    max_shard_bytes: Size above which weights are written as several files.

  Raises:
    ValueError: If diffusers' classes cannot represent these networks, or `params` do
      not have the arrays that `config` needs.
  """
  make = networks.from_params(str(path), config, params, dtype)
  write(path, config, make, max_shard_bytes)


def write(
  path: str | os.PathLike[str],
  config: ModelConfig,
  make: MakeTensor,
  max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
  """Writes a folder, tensor by tensor as `make` returns them, configs last.

  Raises:
    ValueError: If diffusers' classes cannot represent these networks.
  """
  folder = pathlib.Path(path)
  parts = networks.written_parts(str(path), config)
  contents = _contents(config, parts)
  if folder.exists() and not folder.is_dir():
    raise ValueError(f"{folder} is a file; the diffusers layout needs a folder's name.")
  names = {part: _names(part, config) for part in parts}
  tensors = {
    part: [
      make(part, entry, names[part][entry.key])
      for entry in networks.ENTRIES[part](getattr(config, part))
    ]
    for part in parts
  }
  for part in parts:
    (folder / part).mkdir(parents=True, exist_ok=True)
    shards.write_shards(folder / part, WEIGHTS, tensors[part], max_shard_bytes)
  for name, content in contents.items():
    file = folder / ({"index": _INDEX} | _FILES)[name]
    file.parent.mkdir(exist_ok=True)
    shards.write_json(file, content)


def _contents(config: ModelConfig, parts: Sequence[str]) -> Contents:
  """Returns the JSON objects that `_config` reads, the index last."""
  version = {"_diffusers_version": _VERSION}
  contents: Contents = {}
  if "transformer" in parts:
    contents["transformer"] = configs.transformer_to_diffusers(config.transformer)
  if "vae" in parts:
    contents["vae"] = diffusers_vae.to_diffusers(config.vae)
  contents["scheduler"] = configs.scheduler_to_diffusers(config.scheduler)
  whole = _CLASSES | {part: [None, None] for part in PARTS if part not in parts}
  pipeline = configs.pipeline_class(config.transformer)
  contents["index"] = {"_class_name": pipeline} | version | whole
  plain = _plain_config(contents)
  for name in (*parts, "scheduler"):
    rest = configs.rest_of(getattr(config, name), getattr(plain, name))
    contents[name] |= version | rest
  kept = {name: thaw(getattr(config, name)) for name in networks.OF_MODEL}
  kept["extra"] = {key: thaw(value) for key, value in config.extra}
  kept = {key: value for key, value in kept.items() if value}
  if kept:
    contents["index"][configs.REST] = kept
  return contents
