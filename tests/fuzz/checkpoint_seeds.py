"""Checkpoints in every layout, LoRAs, upscalers, text encoders, encoded prompts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

import ml_dtypes
import numpy as np

import ltx_jax
from ltx_jax.checkpoints import arrays, convert, diffusers, keys, lightricks, lora, t5
from ltx_jax.checkpoints.safetensors_io import write_safetensors
from ltx_jax.checkpoints.trees import flatten, nest
from ltx_jax.checkpoints.upsampler import (
  load_upsampler,
  save_upsampler,
  upsampler_entries,
)
from ltx_jax.config import TextEncoderConfig, TransformerConfig
from ltx_jax.releases.presets import ASSETS
from ltx_jax.text.cache import TextCache
from ltx_jax.text.prompts import load_tokenizer, tokenize
from ltx_jax.typing import Params
from tests import pipeline_case as case
from tests.checkpoints import folders
from tests.fuzz.seeds import Seed
from tests.models import upsampler_case

POSITIONS = TransformerConfig.positional_embedding_max_pos
TRANSFORMER = dataclasses.replace(
  case.TRANSFORMER, positional_embedding_max_pos=POSITIONS
)
CONFIG = dataclasses.replace(
  case.config(),
  transformer=TRANSFORMER,
  name="tiny",
  allowed_inference_steps=(1.0, 0.9937, 0.725),
  extra=(("made_by", "a test"),),
)
TEXT = TextEncoderConfig(
  vocab_size=512, d_model=10, d_kv=4, d_ff=12, num_layers=1, num_heads=2
)
MODEL = "model.safetensors"
_PROMPT = "a red circle"


def _drawn(entries: Iterable[keys.Entry]) -> Params:
  draw = np.random.default_rng(0)
  return nest(
    {
      path: draw.standard_normal(shape).astype(np.float32)
      for path, shape in keys.tree_shapes(entries).items()
    }
  )


def _write_single(folder: Path) -> None:
  lightricks.save_checkpoint(folder / MODEL, CONFIG, folders.params(CONFIG))


def _write_vae(folder: Path) -> None:
  config = dataclasses.replace(CONFIG, transformer=None)
  lightricks.save_checkpoint(folder / MODEL, config, folders.params(CONFIG), "bfloat16")


def _write_float8(folder: Path) -> None:
  flat = flatten(folders.params(CONFIG))
  for path, array in flat.items():
    if path.startswith("transformer/blocks/") and path.endswith("/kernel"):
      flat[path] = array.astype(ml_dtypes.float8_e4m3fn)
  lightricks.save_checkpoint(folder / MODEL, CONFIG, nest(flat))


def _write_diffusers(folder: Path) -> None:
  diffusers.save_checkpoint(
    folder, CONFIG, folders.params(CONFIG), max_shard_bytes=30_000
  )


def _write_with_text(folder: Path) -> None:
  _write_single(folder)
  _write_text(folder)


def _write_text(folder: Path) -> None:
  t5.save_t5(folder / "text_encoder", TEXT, _drawn(t5.t5_entries(TEXT)))
  (folder / "tokenizer").mkdir()
  for file in (ASSETS / "moving_shapes" / "tokenizer").iterdir():
    (folder / "tokenizer" / file.name).write_bytes(file.read_bytes())


def _load(folder: Path) -> None:
  ltx_jax.load(folder)


def _load_int8(folder: Path) -> None:
  ltx_jax.load(folder, weights="int8")


def _load_fp8(folder: Path) -> None:
  ltx_jax.load(folder, weights="fp8")


def _read_single(folder: Path) -> None:
  lightricks.read_config(folder / MODEL)
  lightricks.load_checkpoint(folder / MODEL, "float32", arrays.on_host)


def _read_diffusers(folder: Path) -> None:
  diffusers.load_checkpoint(folder, "float32", arrays.on_host)


def _to_folder(folder: Path) -> None:
  convert.convert(folder / MODEL, folder / "converted")


def _to_file(folder: Path) -> None:
  convert.convert(folder, folder / "converted.safetensors", "bfloat16")


def _read_text(folder: Path) -> None:
  t5.load_t5(folder / "text_encoder", place=arrays.on_host)


def _read_tokenizer(folder: Path) -> None:
  tokenize(load_tokenizer(folder / "tokenizer"), [_PROMPT])


def _cache(folder: Path) -> TextCache:
  return TextCache(folder, {"encoder": "abc", "dtype": "bfloat16"}, 8)


def _write_cache(folder: Path) -> None:
  text = np.random.default_rng(0).standard_normal((1, 8, 4))
  _cache(folder).write(_PROMPT, text.astype(ml_dtypes.bfloat16), np.arange(8)[None] < 3)


def _read_cache(folder: Path) -> None:
  _cache(folder).read(_PROMPT)


def _write_upscaler(folder: Path) -> None:
  config = dataclasses.replace(
    upsampler_case.config("frames"), mid_channels=32, num_blocks_per_stage=1
  )
  path = folder / "upscaler.safetensors"
  save_upsampler(path, config, _drawn(upsampler_entries(config)))


def _read_upscaler(folder: Path) -> None:
  load_upsampler(folder / "upscaler.safetensors", place=arrays.on_host)


_SETTINGS = {
  "transformer.r": 2,
  "transformer.lora_alpha": 4,
  "transformer.alpha_pattern": {"attn1.to_q": 3},
  "transformer.rank_pattern": {},
  "transformer.target_modules": ["to_q"],
  "transformer.use_rslora": False,
}


def _lora(prefix: str, sides: tuple[str, str], with_alpha: bool, settings: bool):
  """Writes a LoRA with the names of one program."""

  def write(folder: Path) -> None:
    draw = np.random.default_rng(2)
    width = TRANSFORMER.width
    tensors = {}
    for name, n_out in (
      ("transformer_blocks.0.attn1.to_q", width),
      ("transformer_blocks.1.ff.net.0.proj", 4 * width),
      ("proj_out", TRANSFORMER.out_channels),
    ):
      halves = draw.standard_normal((2, width)), draw.standard_normal((n_out, 2))
      for side, half in zip(sides, halves, strict=True):
        tensors[f"{prefix}{name}.{side}.weight"] = half.astype(np.float32)
      if with_alpha:
        tensors[f"{prefix}{name}.alpha"] = np.array(3, np.float32)
    listed = [(k, v.shape, v.dtype, lambda v=v: v) for k, v in tensors.items()]
    metadata = {"lora_adapter_metadata": json.dumps(_SETTINGS)} if settings else {}
    write_safetensors(folder / "lora.safetensors", listed, {"format": "pt"} | metadata)

  return write


def _read_lora(folder: Path) -> None:
  updates = lora.read_loras([(folder / "lora.safetensors", 0.5)], TRANSFORMER)
  shapes = keys.tree_shapes(keys.transformer_entries(TRANSFORMER))
  for path, found in updates.items():
    lora.merge(np.zeros(shapes[path.removeprefix("transformer/")], np.float32), found)


def _write_model_and_lora(folder: Path) -> None:
  _write_single(folder)
  _lora("transformer.", ("lora_A", "lora_B"), False, True)(folder)


def _load_with_lora(folder: Path) -> None:
  ltx_jax.load(folder / MODEL, loras=[(folder / "lora.safetensors", 0.5)])


_ALL = ("*.safetensors", "*/*.safetensors", "*.json", "*/*.json")
_CHECKPOINTS = (
  ("single-file", _write_single, _read_single, (MODEL,)),
  ("single-file-loaded", _write_single, _load, (MODEL,)),
  ("single-file-converted", _write_single, _to_folder, (MODEL,)),
  ("vae-alone", _write_vae, _read_single, (MODEL,)),
  ("float8-file", _write_float8, _load_fp8, (MODEL,)),
  ("file-to-int8", _write_single, _load_int8, (MODEL,)),
  ("diffusers-folder", _write_diffusers, _read_diffusers, _ALL),
  ("diffusers-configs", _write_diffusers, _read_diffusers, ("*/*.json", "*.json")),
  ("diffusers-loaded", _write_diffusers, _load, _ALL),
  ("diffusers-converted", _write_diffusers, _to_file, ("*.json", "*/*.json")),
  ("upscaler", _write_upscaler, _read_upscaler, ("*",)),
)
_TEXTS = (
  ("text-encoder", _write_text, _read_text, ("text_encoder/*",)),
  ("model-with-text", _write_with_text, _load, ("text_encoder/*", "tokenizer/*")),
  ("tokenizer", _write_text, _read_tokenizer, ("tokenizer/*",)),
  ("encoded-prompt", _write_cache, _read_cache, ("*",)),
)
_AB, _DOWN_UP = ("lora_A", "lora_B"), ("lora_down", "lora_up")
_LORAS = (
  ("lora-diffusers", _lora("transformer.", _AB, False, True), _read_lora, ("*",)),
  (
    "lora-comfyui",
    _lora("diffusion_model.", _DOWN_UP, True, False),
    _read_lora,
    ("*",),
  ),
  ("lora-peft", _lora("base_model.model.", _AB, False, False), _read_lora, ("*",)),
  ("lora-loaded", _write_model_and_lora, _load_with_lora, ("lora.safetensors",)),
)
SEEDS = tuple(
  Seed(name, family, *rest)
  for family, rows in (
    ("checkpoints", _CHECKPOINTS),
    ("text encoders", _TEXTS),
    ("LoRAs", _LORAS),
  )
  for name, *rest in rows
)
