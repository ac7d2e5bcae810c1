"""Loads models from files, and saves them."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from types import ModuleType
from typing import Literal

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from ltx_jax.checkpoints import arrays, diffusers, lightricks, lora, t5, upsampler
from ltx_jax.checkpoints.arrays import Place
from ltx_jax.checkpoints.lora import Loras
from ltx_jax.checkpoints.networks import PARTS
from ltx_jax.checkpoints.quantization import is_quantized, quantizing
from ltx_jax.config import TextEncoderConfig
from ltx_jax.errors import check_kind, shown
from ltx_jax.parallel import sharding
from ltx_jax.parallel.mesh import AXES
from ltx_jax.pipeline.model import LTXVideo
from ltx_jax.pipeline.multiscale import Upscaler
from ltx_jax.pipeline.networks import Networks
from ltx_jax.platforms import Policy, policy_of
from ltx_jax.releases import sources
from ltx_jax.releases.presets import UPSCALERS, completed, recipe_for
from ltx_jax.text.cache import TextCache, encoder_fingerprint
from ltx_jax.text.encoder import TextEncoder
from ltx_jax.text.prompts import load_tokenizer
from ltx_jax.typing import Weights

_DTYPES = ("float32", "bfloat16", "float16")
_LAYOUTS = {"lightricks": lightricks, "diffusers": diffusers}


def load(
  source: sources.PathLike,
  *,
  dtype: str | None = None,
  text_encoder: sources.TextEncoderSource | TextEncoder = None,
  mesh: Mesh | None = None,
  loras: Loras = (),
  weights: Weights | None = None,
  text_weights: Weights | None = None,
) -> LTXVideo:
  """Loads a model.

  Args:
    source: A preset's name, a single-file checkpoint, a folder with one, a folder in
      the layout of diffusers, or a file on the hub as "organisation/repository/file".
    dtype: Dtype of the weights and of the computation; None means float32 on a CPU,
      bfloat16 on GPU and TPU, float16 on a GPU without bfloat16.
    text_encoder: Folder of a T5 v1.1 encoder and its tokenizer. None looks next to the
      checkpoint, and fetches a released preset's from the hub; False loads none. Its
      weights stay in `params`, unless it comes from `load_text_encoder`.
    mesh: Devices that work together (`parallel.mesh.make_mesh`); every tensor goes
      straight to the devices that need it as it is read.
    loras: LoRA files, each with its strength: [("style.safetensors", 0.8)]. They are
      merged into the transformer's kernels, and `save` writes the merged kernels.
    weights: "int8" or "fp8" keeps the transformer's kernels in 8 bits
      (`quantization`); "fp8" leaves those of an fp8 file unchanged.
    text_weights: 8-bit format of the text encoder's kernels (see `weights`).

  Raises:
    ValueError: If the model cannot be loaded; the message says what was found and what
      to do.
  """
  apart = isinstance(text_encoder, TextEncoder)
  files = sources.resolve(source, False if apart else text_encoder)
  policy = _policy(dtype, mesh)
  if mesh is not None:
    _check_mesh(mesh, files)
  place = _placer(mesh)
  text = text_encoder
  if not apart:
    text = _text_encoder(files, policy, quantizing(text_weights, place))
  if text is not None:
    _check_same_text(files, text.config)
  put = quantizing(weights, place)
  if loras:
    put = lora.merging(_read_loras(files, loras), put)
  layout = _layout(files)
  config, params = layout.load_checkpoint(files.checkpoint, policy.dtype, put)
  config = completed(config, files.preset)
  recipe = recipe_for(config)
  if text is None:
    return LTXVideo(config, params, policy, recipe=recipe)
  config = dataclasses.replace(config, text_encoder=text.config)
  if apart:
    return LTXVideo(config, params, policy, text.tokenizer, text, recipe)
  params["text_encoder"] = text.read()
  return LTXVideo(config, params, policy, text.tokenizer, recipe=recipe)


def load_vae(source: sources.PathLike, *, dtype: str | None = None) -> Networks:
  """Loads only the VAE of a model, for `encode` and `decode`.

  Args:
    source: The model, as `load` takes it; also a file that has only a VAE.
    dtype: Dtype of the weights and of the computation, as `load` takes it.

  Raises:
    ValueError: If it cannot be loaded, or has no VAE.
  """
  files, policy = sources.resolve(source, False), _policy(dtype, None)
  read = _layout(files).load_checkpoint
  config, params = read(files.checkpoint, policy.dtype, _placer(None), ["vae"])
  return Networks(config, params, policy)


def load_text_encoder(
  source: sources.PathLike,
  *,
  folder: sources.PathLike | None = None,
  dtype: str | None = None,
  mesh: Mesh | None = None,
  weights: Weights | None = None,
  cache: sources.PathLike | None = None,
) -> TextEncoder:
  """Finds the text encoder of a model; its weights are in memory only while it encodes.

      encoder = ltx_jax.load_text_encoder(source)
      text = encoder.encode(["A boat on a lake at dawn"])  # Reads, encodes and frees.
      model = ltx_jax.load(source, text_encoder=encoder)

  Args:
    source: The model, as `load` takes it.
    folder: Folder of the text encoder and its tokenizer; None looks where `load` does.
    dtype: Precision of the text encoder, as `load` takes it.
    mesh: Devices that work together, as `load` takes them.
    weights: "int8" or "fp8" keeps its kernels in 8 bits (see `load`).
    cache: Folder that stores encoded prompts (`text.cache`); the weights are then read
      only for prompts that are not in it.

  Raises:
    ValueError: If it cannot be found; the message says what was found and what to do.
  """
  files = sources.resolve(source, folder)
  policy = _policy(dtype, mesh)
  text = _text_encoder(files, policy, quantizing(weights, _placer(mesh)))
  _layout(files).read_config(files.checkpoint)  # Report its errors first.
  if text is None:
    raise ValueError(
      f"There is no text encoder next to {files.checkpoint}; give its folder, as "
      "folder=FOLDER or --text-encoder FOLDER."
    )
  _check_same_text(files, text.config)
  if cache is None:
    return text
  known = encoder_fingerprint(files.text_encoder, files.tokenizer)
  encoder = {"encoder": known, "dtype": policy.dtype, "weights": weights or "full"}
  texts = TextCache(pathlib.Path(cache), encoder, text.config.max_text_tokens)
  return dataclasses.replace(text, cache=texts)


def load_upscaler(source: sources.PathLike) -> Upscaler:
  """Loads a network that enlarges latents, for `MultiScale`.

  Args:
    source: A name of `presets.UPSCALERS`, a file, or one on the hub as
      "organisation/repository/file".

  Raises:
    ValueError: If it cannot be loaded; the message says what was found and what to do.
  """
  if source is None:
    raise ValueError(
      f"No upscaler is named; give one of {', '.join(UPSCALERS)}, or a file."
    )
  return Upscaler(*upsampler.load_upsampler(sources.resolve_upscaler(source)))


def save(
  model: LTXVideo,
  path: str | os.PathLike[str],
  layout: Literal["lightricks", "diffusers"] = "lightricks",
) -> None:
  """Writes transformer, VAE and their configs.

  The text encoder is not written; `checkpoints.t5.save_t5` does that.

  Args:
    model: Model to write, in the dtypes of its parameters.
    path: A `.safetensors` file, or a folder; each file appears only once it is
      complete.
    layout: "lightricks", the official single file, or "diffusers", a folder.

  Raises:
    ValueError: If the layout is another one, diffusers' classes cannot represent a
      network, or weights are in 8 bits.
  """
  check_kind("The model to save", model, LTXVideo, "what ltx_jax.load returned")
  sources.check_source("The path to save to", path, "a .safetensors file, or a folder")
  suffix = pathlib.Path(path).suffix
  if layout == "lightricks" and suffix != ".safetensors":
    raise ValueError(
      f"The path to save to is {path}; a single file is a .safetensors file."
    )
  if layout not in _LAYOUTS:
    raise ValueError(
      f"layout is {layout!r}; it may be 'lightricks', the official single file, or "
      "'diffusers', a folder."
    )
  parts = {part: model.params[part] for part in model.params if part in PARTS}
  if is_quantized(parts):
    raise ValueError(
      "The transformer's weights are in 8 bits with a scale, which no other program "
      "reads, and have lost digits; load it without weights= to save it."
    )
  _LAYOUTS[layout].save_checkpoint(path, model.config, model.params)


def _read_loras(files: sources.Files, loras: Loras) -> lora.Updates:
  pairs = [] if isinstance(loras, str | os.PathLike) else list(loras)
  if not pairs or not all(isinstance(p, tuple | list) and len(p) == 2 for p in pairs):
    raise ValueError(
      f"loras is {shown(loras)}; give a list of files with their strengths, such as "
      "[('style.safetensors', 0.8)]."
    )
  for path, _ in pairs:
    sources.check_source("A LoRA", path, "a .safetensors file")
  transformer = _layout(files).read_config(files.checkpoint).transformer
  if transformer is None:
    raise ValueError(
      f"{files.checkpoint} has no transformer, which a LoRA needs; load a checkpoint "
      "that has one."
    )
  return lora.read_loras(loras, transformer)


def _text_encoder(
  files: sources.Files, policy: Policy, place: Place
) -> TextEncoder | None:
  """Returns the text encoder of a model, after reading only its descriptions."""
  if files.text_encoder is None:
    return None
  put = lambda path, array: place(f"text_encoder/{path}", array)  # noqa: E731
  read = lambda: t5.load_t5(files.text_encoder, policy.dtype, put)[1]  # noqa: E731
  config = t5.load_config(files.text_encoder)
  return TextEncoder(config, policy, load_tokenizer(files.tokenizer), read)


def _layout(files: sources.Files) -> ModuleType:
  """Returns the module that reads a checkpoint."""
  return diffusers if files.checkpoint.is_dir() else lightricks


def _policy(dtype: str | None, mesh: Mesh | None) -> Policy:
  if dtype is not None and dtype not in _DTYPES:
    raise ValueError(
      f"dtype is {shown(dtype)}; it may be {', '.join(_DTYPES)}, or None."
    )
  if mesh is not None:
    check_kind("mesh", mesh, Mesh, "what ltx_jax.parallel.mesh.make_mesh returns")
  policy = policy_of(jax.devices()[0] if mesh is None else mesh.devices.flat[0])
  if mesh is not None:
    policy = dataclasses.replace(policy, mesh=mesh)
  return policy if dtype is None else policy.in_dtype(dtype)


def _check_mesh(mesh: Mesh, files: sources.Files) -> None:
  """Refuses a mesh with other axes, or one that does not divide the attention heads.

  It is checked before weights are read.
  """
  if tuple(mesh.axis_names) != AXES:
    raise ValueError(
      f"The mesh has the axes {', '.join(mesh.axis_names)}; make one with "
      "ltx_jax.parallel.mesh.make_mesh."
    )
  transformer = _layout(files).read_config(files.checkpoint).transformer
  tensor = mesh.shape.get("tensor", 1)
  if transformer is not None and transformer.num_attention_heads % tensor:
    raise ValueError(
      f"The mesh has tensor = {tensor}, but the transformer in {files.checkpoint} has "
      f"{transformer.num_attention_heads} attention heads; give a number that divides "
      "them, and the other devices to context or data."
    )


def _placer(mesh: Mesh | None) -> Place:
  """Returns a `Place` that puts each array straight onto its shards or its device."""
  if mesh is None:
    return arrays.to_default_device

  def place(path: str, array: np.ndarray) -> jax.Array:
    rules = sharding.RULES[path.split("/")[0]]
    spec = sharding.spec_for(path, array.shape, mesh, rules)
    return jax.block_until_ready(jax.device_put(array, NamedSharding(mesh, spec)))

  return place


def _check_same_text(files: sources.Files, text: TextEncoderConfig) -> None:
  """Refuses a text encoder of another width than the transformer takes.

  It compares only the configs, because reading both networks takes minutes.
  """
  transformer = _layout(files).read_config(files.checkpoint).transformer
  if transformer is not None and transformer.caption_channels != text.d_model:
    where = f" in {files.text_encoder}" if files.text_encoder else ""
    raise ValueError(
      f"The text encoder{where} has d_model = {text.d_model}, but the transformer in "
      f"{files.checkpoint} takes caption_channels = {transformer.caption_channels}; "
      "take both from one release."
    )
