"""Headers, configs and settings that no program wrote are refused in one sentence.

Found by mutated files (`tests.verify.mutated_files`), a case here for each kind.
"""

import dataclasses
import json
import struct

import numpy as np
import pytest

from ltx_jax.checkpoints import diffusers, lightricks, t5
from ltx_jax.checkpoints.lora import read_loras
from ltx_jax.checkpoints.safetensors_io import open_safetensors
from ltx_jax.checkpoints.upsampler import load_upsampler
from ltx_jax.releases.presets import ASSETS
from ltx_jax.text.prompts import load_tokenizer
from tests.checkpoints import folders, small
from tests.checkpoints.test_lora import CONFIG, as_file, pairs, write
from tests.fuzz import judge

DEEP = 10_000 * "[" + 10_000 * "]"


def refused(message, read, *given):
  """Reading raises one sentence, as the fuzzer's judge has it."""
  with pytest.raises(ValueError, match=message) as error:
    read(*given)
  assert judge.complaint(error.value) is None, error.value


def entry(**changes):
  return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes


@pytest.mark.parametrize(
  ("header", "message"),
  [
    (DEEP, "brackets are nested too deep"),
    ('{"a": 1' + 5000 * "0" + "}", "a number has too many digits"),
    ({"a": entry(dtype=["F32"])}, r"dtype \['F32'\]; this code reads"),
    ({"a\nb": entry()}, r"a tensor's name is 'a\\nb'"),
    ({"a" * 9999: entry()}, "a tensor's name is 'aaa.*\\.\\.\\.a*'"),
    ({"a": entry(shape=["a" * 9999])}, r"has shape \['aaa"),
    ({"a": entry(shape=[2, *[1] * 32])}, r"has shape \[2, 1, 1"),
    ({"a": entry(shape=[2**62, 2**62, 0])}, "has shape"),
    ({"__metadata__": {"a\nb" * 9999: 1}}, "is not a string"),
  ],
)
def test_headers_that_lie(tmp_path, header, message):
  raw = (header if isinstance(header, str) else json.dumps(header)).encode()
  path = tmp_path / "bad.safetensors"
  path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(8))
  refused(message, open_safetensors, path)


@pytest.mark.parametrize(
  ("part", "changes", "message"),
  [
    ("transformer", {"num_layers": 2**31}, "num_layers is 2147483648; it must be at"),
    (
      "transformer",
      {"num_layers": "3"},
      "transformer.num_layers is '3'; it must be a w",
    ),
    ("transformer", {"norm_eps": 10**400}, "norm_eps is 1000.*; it must be a number"),
    (
      "transformer",
      {"qk_norm": ["a"]},
      r"qk_norm is \['a'\]; it must be a text or null",
    ),
    ("transformer", {"attention_bias": {}}, "attention_bias is {}; it must be true or"),
    (
      "transformer",
      {"positional_embedding_max_pos": 3},
      "max_pos is 3; it must be a l",
    ),
    ("transformer", {"activation_fn": "a" * 99_999}, "activation_fn = 'aaa"),
    ("vae", {"encoder_blocks": 7}, "encoder_blocks = 7; it must be a list of at most"),
    ("vae", {"encoder_blocks": [["res_x", 1]] * 101}, "a list of at most 100 blocks"),
    ("vae", {"decoder_blocks": [["res_x"]]}, r"A VAE block is \['res_x'\]; it must be"),
    (
      "vae",
      {"decoder_blocks": [["res_x", None]]},
      "it must be .name, number of layers",
    ),
    ("vae", {"decoder_blocks": [[["a"], 1]]}, r"A VAE block has name = \['a'\]"),
    (
      "vae",
      {"decoder_blocks": [["res_x", {"num_layers": [1]}]]},
      "num_layers of a VAE",
    ),
    ("vae", {"patch_size": [2]}, "vae.patch_size is .2.; it must be a whole number"),
    ("vae", {"_class_name": [0] * 9999}, "_class_name = .0, 0"),
    ("scheduler", {"target_shift_terminal": "a"}, "target_shift_terminal is 'a'"),
  ],
)
def test_configs_in_a_file_that_say_odd_things(tmp_path, part, changes, message):
  metadata = small.metadata()
  metadata[part] |= changes
  path = small.write(tmp_path / "model.safetensors", small.official(), metadata)
  refused(message, lightricks.read_config, path)


@pytest.mark.parametrize(
  "changes",
  [
    {"name": ["a"]},
    {"allowed_inference_steps": "abc"},
    {"default_size": [9, 64, "96"]},
    {"default_fps": [24]},
  ],
)
def test_names_and_steps_of_other_kinds(tmp_path, changes):
  metadata = small.metadata() | changes
  path = small.write(tmp_path / "model.safetensors", small.official(), metadata)
  refused(f"Its {next(iter(changes))} is ", lightricks.read_config, path)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"default_size": [9, 64]}, "default_size is .9, 64.; it must be three numbers"),
    ({"default_size": [9, 64, 0]}, "default_size is 0; it must be at least 1"),
    ({"default_fps": -1}, "fps is -1.0; it must be"),
  ],
)
def test_sizes_that_no_clip_has(tmp_path, changes, message):
  metadata = small.metadata() | changes
  path = small.write(tmp_path / "model.safetensors", small.official(), metadata)
  refused(message, lightricks.read_config, path)


@pytest.mark.parametrize(
  ("file", "changes", "message"),
  [
    ("transformer", {"num_layers": [3]}, r"num_layers = \[3\]; this code reads values"),
    ("transformer", {"a" * 9999: 1}, "unknown options: 'aaa"),
    (
      "vae",
      {"block_out_channels": 8},
      "block_out_channels = 8; this code reads values",
    ),
    ("vae", {"block_out_channels": [8, "a"]}, r"block_out_channels = \[8, 'a'\]"),
    ("vae", {"layers_per_block": []}, r"layers_per_block = \[\]"),
    (
      "vae",
      {"upsample_factor": [0, 0, 0]},
      "upsample_factor with .*, not a multiple of 0",
    ),
    ("vae", {"_ltx_video": [1]}, r"_ltx_video is \[1\] and should be a JSON object"),
    ("scheduler", {"num_train_timesteps": "a"}, "num_train_timesteps is 'a'"),
    (
      "index",
      {"_ltx_video": {"extra": [1]}},
      "Its extra is .1. and should be a JSON o",
    ),
  ],
)
def test_configs_of_a_folder_that_say_odd_things(
  tmp_path, file, changes, message, unchecked
):
  config = folders.config(newer=True)
  contents = diffusers._contents(config, ["transformer", "vae"])
  for name, content in contents.items():
    path = tmp_path / ({"index": diffusers._INDEX} | diffusers._FILES)[name]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content | (changes if name == file else {})))
  refused(message, diffusers.read_config, tmp_path)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"lora_alpha": {}}, "lora_adapter_metadata that is wrong. alpha of 'lora_alpha'"),
    ({"lora_alpha": "a"}, "alpha of 'lora_alpha' is 'a'"),
    ({"lora_alpha": 10**400}, "alpha of 'lora_alpha' is 1000"),
    ({"alpha_pattern": [1]}, r"alpha_pattern is \[1\], not a JSON object"),
    ({"alpha_pattern": {"to_q": None}}, "alpha of 'to_q' is None"),
    ({"alpha_pattern": {"(": 1}}, r"alpha_pattern '\(' is not a pattern"),
  ],
)
def test_settings_of_a_lora_that_say_odd_things(tmp_path, settings, message):
  metadata = {"lora_adapter_metadata": json.dumps(settings)}
  path = as_file(tmp_path / "x", "transformer.", ("lora_A", "lora_B"), **metadata)
  refused(message, read_loras, [(path, 1.0)], CONFIG)


@pytest.mark.parametrize(
  ("alpha", "rank", "message"),
  [
    (np.zeros(0, np.float32), 2, r"alpha of shape \(0,\); alpha is one number"),
    (np.array(np.nan, np.float32), 2, "has alpha = nan"),
    (None, 0, r"with A \(0, 24\) and B \(24, 0\)"),
  ],
)
def test_a_lora_without_a_rank_or_an_alpha(tmp_path, alpha, rank, message):
  name = "transformer_blocks.1.attn1.to_q"
  (down, up) = pairs({name: (24, 24)}, rank=rank)[name]
  tensors = {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
  tensors |= {} if alpha is None else {f"{name}.alpha": alpha}
  path = write(tmp_path / "x.safetensors", tensors)
  refused(message, read_loras, [(path, 1.0)], CONFIG)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"mid_channels": "%s"}, "upsampler.mid_channels is '%s'; it must be a whole"),
    ({"spatial_upsample": [1]}, r"spatial_upsample is \[1\]; it must be true or false"),
    ({"num_blocks_per_stage": 2**31}, "num_blocks_per_stage is 2147483648"),
  ],
)
def test_an_upscaler_that_says_odd_things(tmp_path, changes, message):
  config = {"spatial_upsample": True, "dims": 3} | changes
  metadata = {"config": json.dumps(config)}
  path = write(tmp_path / "x.safetensors", {"a": np.zeros(1, np.float32)}, **metadata)
  refused(message, load_upsampler, path)


def test_a_text_encoder_that_says_odd_things_is_named(tmp_path):
  path = tmp_path / "config.json"
  for content, message in (
    ('{"feed_forward_proj": "gated-gelu", "d_model": "a"}', "text.d_model is 'a'"),
    ('{"model_type": ["' + 9999 * "a" + '"]}', "has model_type .'aaa"),
    (DEEP, "is not a JSON file .its brackets are nested too deep"),
  ):
    path.write_text(content)
    refused(f"config.json .*{message}", t5.load_config, tmp_path)


def test_a_tokenizer_that_fails_when_it_is_used_is_refused(tmp_path):
  for file in (ASSETS / "moving_shapes" / "tokenizer").iterdir():
    (tmp_path / file.name).write_bytes(file.read_bytes())
  path = tmp_path / "tokenizer_config.json"
  settings = json.loads(path.read_text())
  path.write_text(json.dumps(settings | {"model_max_length": "a"}))
  refused("could not be read", load_tokenizer, tmp_path)
  path.write_text(json.dumps(settings | {"extra_ids": 2**53}))
  refused("extra_ids is 9007199254740992; it must be", load_tokenizer, tmp_path)


def test_a_config_takes_whole_numbers_for_others_and_keeps_null():
  plain = small.TRANSFORMER.to_metadata()
  found = type(small.TRANSFORMER).from_metadata(
    plain | {"norm_eps": 1, "qk_norm": None}
  )
  assert found == dataclasses.replace(small.TRANSFORMER, norm_eps=1.0, qk_norm=None)
