"""Models from files and to files."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Literal

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from ltx_jax.checkpoints import arrays, diffusers, lightricks, lora, t5, upsampler
from ltx_jax.checkpoints.arrays import Place
from ltx_jax.checkpoints.lora import Loras
from ltx_jax.checkpoints.networks import PARTS
from ltx_jax.checkpoints.quantization import Weights, is_quantized, quantizing
from ltx_jax.parallel import sharding
from ltx_jax.parallel.mesh import AXES
from ltx_jax.pipeline.model import LTXVideo
from ltx_jax.pipeline.multiscale import Upscaler
from ltx_jax.platforms import Policy, policy_of
from ltx_jax.releases import sources
from ltx_jax.releases.presets import UPSCALERS, completed, recipe_for
from ltx_jax.text.cache import TextCache, encoder_fingerprint
from ltx_jax.text.on_demand import TextOnDemand, Texts
from ltx_jax.text.prompts import load_tokenizer
from ltx_jax.typing import Params

_DTYPES = ("float32", "bfloat16", "float16")
_LAYOUTS = {"lightricks": lightricks, "diffusers": diffusers}


def load(
  source: sources.PathLike,
  *,
  dtype: str | None = None,
  text_encoder: sources.TextEncoderSource = None,
  mesh: Mesh | None = None,
  loras: Loras = (),
  weights: Weights | None = None,
  text_weights: Weights | None = None,
  prompts: Sequence[str] | None = None,
  text_cache: sources.PathLike | None = None,
) -> LTXVideo:
  """Loads a model.

  Args:
    source: A preset's name, a single-file checkpoint, a folder with one, a folder in
      the layout of diffusers, or a file on the hub as "organisation/repository/file".
    dtype: What weights are cast to and networks compute in; None: float32 on a CPU,
      bfloat16 on GPU and TPU, float16 on a GPU that has no bfloat16.
    text_encoder: The folder of a T5 v1.1 encoder and its tokenizer; None looks beside
      the checkpoint and takes a released preset's from the hub, False takes none.
    mesh: Devices that work together (`parallel.mesh.make_mesh`); every tensor goes
      straight to those that need it as it is read.
    loras: LoRA files, each with its strength: [("style.safetensors", 0.8)]. They are
      merged into the transformer's kernels, which `save` then writes.
    weights: "int8" or "fp8" keeps the transformer's kernels in 8 bits
      (`quantization`); of an fp8 file, the second keeps them as they are.
    text_weights: 8-bit format of the text encoder's kernels (see `weights`).
    prompts: Encoded before anything else is read. The text encoder is then freed, and
      read again only for other prompts.
    text_cache: A folder in which encoded prompts are kept (`text.cache`). The text
      encoder is then read only for prompts that are not there.

  Raises:
    ValueError: in one sentence that says what was found and what to do.
  """
  files = sources.resolve(source, text_encoder)
  policy = _policy(dtype, mesh)
  if mesh is not None:
    _check_mesh(mesh, files)
  place = arrays.to_default_device if mesh is None else _placer(mesh)
  text = _text(files, policy, quantizing(text_weights, place), text_weights, text_cache)
  put = quantizing(weights, place)
  if loras:
    put = lora.merging(_read_loras(files, loras), put)
  texts = {} if prompts is None else _encode_first(files, text, prompts)
  layout = _layout(files)
  config, params = layout.load_checkpoint(files.checkpoint, policy.dtype, put)
  config = completed(config, files.preset)
  recipe = recipe_for(config)
  if text is None:
    return LTXVideo(config, params, policy, recipe=recipe)
  config = dataclasses.replace(config, text_encoder=text.config)
  if prompts is not None or text_cache is not None:
    model = LTXVideo(config, params, policy, text.tokenizer, text, recipe)
    model.texts.update(texts)
    return model
  params["text_encoder"] = text.load()
  return LTXVideo(config, params, policy, text.tokenizer, recipe=recipe)


def load_upscaler(source: sources.PathLike) -> Upscaler:
  """Loads a network that enlarges latents, for `MultiScale`.

  Args:
    source: A name of `presets.UPSCALERS`, a file, or one on the hub as
      "organisation/repository/file".

  Raises:
    ValueError: in one sentence that says what was found and what to do.
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

  The text encoder is not part of it (`checkpoints.t5.save_t5` writes one).

  Args:
    model: What is written, in the dtypes that its parameters have.
    path: A `.safetensors` file, or a folder; each file appears only once it is
      complete.
    layout: "lightricks", the official single file, or "diffusers", a folder.

  Raises:
    ValueError: for another layout, a network that diffusers' classes cannot be, or
      weights in 8 bits.
  """
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
  transformer = _layout(files).read_config(files.checkpoint).transformer
  if transformer is None:
    raise ValueError(
      f"{files.checkpoint} has no transformer, which a LoRA is for; load a checkpoint "
      "that has one."
    )
  return lora.read_loras(loras, transformer)


def _text(
  files: sources.Files,
  policy: Policy,
  place: Place,
  weights: Weights | None,
  cache: sources.PathLike | None,
) -> TextOnDemand | None:
  """The text encoder of a model, of which nothing is read but what describes it."""
  if files.text_encoder is None:
    return None
  _check_same_text(files)
  config = t5.load_config(files.text_encoder)

  def read() -> Params:
    put = lambda path, array: place(f"text_encoder/{path}", array)  # noqa: E731
    return t5.load_t5(files.text_encoder, policy.dtype, put)[1]

  texts = None
  if cache is not None:
    known = encoder_fingerprint(files.text_encoder, files.tokenizer)
    how = {"dtype": policy.dtype, "weights": weights or "full"}
    encoder = {"encoder": known, **how}
    texts = TextCache(pathlib.Path(cache), encoder, config.max_text_tokens)
  return TextOnDemand(config, policy, load_tokenizer(files.tokenizer), read, texts)


def _encode_first(
  files: sources.Files, text: TextOnDemand | None, prompts: Sequence[str]
) -> Texts:
  """Encodes prompts while nothing else is in memory."""
  if isinstance(prompts, str):
    raise ValueError(f"prompts is {prompts!r}; give a list of prompts.")
  if text is None:
    _layout(files).read_config(files.checkpoint)  # What is wrong with the file first.
    raise ValueError(
      f"There are prompts to encode and no text encoder beside {files.checkpoint}; "
      "give its folder, as text_encoder=FOLDER or --text-encoder FOLDER."
    )
  return text.encode(prompts)


def _layout(files: sources.Files) -> ModuleType:
  """The module that reads a checkpoint."""
  return diffusers if files.checkpoint.is_dir() else lightricks


def _policy(dtype: str | None, mesh: Mesh | None) -> Policy:
  if dtype is not None and dtype not in _DTYPES:
    raise ValueError(f"dtype is {dtype!r}; it may be {', '.join(_DTYPES)}, or None.")
  policy = policy_of(jax.devices()[0] if mesh is None else mesh.devices.flat[0])
  if mesh is not None:
    policy = dataclasses.replace(policy, mesh=mesh)
  return policy if dtype is None else policy.in_dtype(dtype)


def _check_mesh(mesh: Mesh, files: sources.Files) -> None:
  """Refuses a mesh of other axes, or that heads cannot be split over.

  Before weights are read.
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
      f"The mesh has tensor = {tensor}, and the transformer in {files.checkpoint} has "
      f"{transformer.num_attention_heads} attention heads; give a number that divides "
      "them, and the other devices to context or data."
    )


def _placer(mesh: Mesh) -> Callable[[str, np.ndarray], jax.Array]:
  """Puts each array straight onto its shards."""

  def place(path: str, array: np.ndarray) -> jax.Array:
    rules = sharding.RULES[path.split("/")[0]]
    spec = sharding.spec_for(path, array.shape, mesh, rules)
    return jax.block_until_ready(jax.device_put(array, NamedSharding(mesh, spec)))

  return place


def _check_same_text(files: sources.Files) -> None:
  """Refuses a text encoder of another width than the transformer takes.

  By their configs alone: to read the weights of both takes minutes.
  """
  transformer = _layout(files).read_config(files.checkpoint).transformer
  text = t5.load_config(files.text_encoder)
  if transformer is not None and transformer.caption_channels != text.d_model:
    raise ValueError(
      f"The text encoder in {files.text_encoder} has d_model = {text.d_model}, the "
      f"transformer in {files.checkpoint} takes caption_channels = "
      f"{transformer.caption_channels}; take both from one release."
    )
