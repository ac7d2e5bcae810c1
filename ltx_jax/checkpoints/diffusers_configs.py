"""Configs of a diffusers folder, and what they leave out, in both directions.

diffusers' configs say less than the official ones: nothing about the positions of
frames (`causal_temporal_positioning`), a distilled model's noise levels, or foreign
keys. When a folder is written here, values without a diffusers option are stored under
`_ltx_video` in the same JSON file; diffusers ignores names with an underscore.

For folders that others wrote, the networks tell the release. Generation C of the VAE,
48 layers, or `LTXConditionPipeline` means 0.9.5 or later, with causal positions and
linear-quadratic noise levels; everything else is 0.9.0 or 0.9.1.

Source: `transformer_ltx.py`, `pipeline_ltx.py`, `pipeline_ltx_condition.py` and
`scheduling_flow_match_euler_discrete.py` of diffusers 0.35.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from ltx_jax.checkpoints.arrays import listed
from ltx_jax.config import SchedulerConfig, TransformerConfig
from ltx_jax.config.metadata import Metadata, require
from ltx_jax.errors import shown

REST = "_ltx_video"
TRANSFORMER = "LTXVideoTransformer3DModel"
SCHEDULER = "FlowMatchEulerDiscreteScheduler"
OLDER_PIPELINE, NEWER_PIPELINE = "LTXPipeline", "LTXConditionPipeline"

_Config = TypeVar("_Config", bound=Metadata)

# Defaults of the constructor for options that both sides have.
_DEFAULTS: dict[str, Any] = {
  "in_channels": 128,
  "out_channels": 128,
  "num_attention_heads": 32,
  "attention_head_dim": 64,
  "cross_attention_dim": 2048,
  "num_layers": 28,
  "norm_eps": 1e-6,
  "caption_channels": 4096,
  "attention_bias": True,
}
# Options of which only one value is supported, here or there.
_FIXED: dict[str, Any] = {
  "patch_size": 1,
  "patch_size_t": 1,
  "activation_fn": "gelu-approximate",
  "qk_norm": "rms_norm_across_heads",
  "norm_elementwise_affine": False,
  "attention_out_bias": True,
}
# Values that are built into diffusers' code.
_BUILT_IN: dict[str, Any] = {
  "qk_norm": "rms_norm",
  "positional_embedding_theta": 10000.0,
  "positional_embedding_max_pos": (20, 2048, 2048),
  "timestep_scale_multiplier": 1000.0,
  "rope_spacing": "exponential",
}
_LONGEST_LIST = 100
_DYNAMIC = {
  "base_shift": (0.95, 0.5),
  "max_shift": (2.05, 1.15),
  "base_image_seq_len": (1024, 256),
  "max_image_seq_len": (4096, 4096),
}
"""The shift of LTX-Video, and what diffusers assumes if a config does not say it."""


def transformer_from_diffusers(
  metadata: Mapping[str, Any], causal: bool
) -> TransformerConfig:
  """Builds the config from `transformer/config.json`.

  Args:
    metadata: The JSON object.
    causal: Whether latent frame 0 stands for one frame; the JSON object does not say.

  Raises:
    ValueError: If the class is another one, or an option is unknown.
  """
  name = "The transformer's config in the diffusers layout"
  class_name = metadata.get("_class_name", TRANSFORMER)
  require(name, "_class_name", class_name, (TRANSFORMER,))
  given = {k: v for k, v in metadata.items() if not k.startswith("_")}
  unknown = sorted(given.keys() - _DEFAULTS.keys() - _FIXED.keys())
  if unknown:
    raise ValueError(f"{name} has unknown options: {listed(unknown)}.")
  for key, only in _FIXED.items():
    require(name, key, given.pop(key, only), (only,))
  given = {k: v for k, v in given.items() if v is not None or k == "out_channels"}
  check_kinds(name, given, _DEFAULTS)
  options = _DEFAULTS | given
  options["out_channels"] = options["out_channels"] or options["in_channels"]
  return TransformerConfig(**options, causal_temporal_positioning=causal)


def check_kinds(
  name: str, given: Mapping[str, Any], defaults: Mapping[str, Any]
) -> None:
  """Refuses options of another type than their defaults; null is allowed.

  Raises:
    ValueError: If an option has another type.
  """
  for key, value in given.items():
    if not (value is None or _alike(value, defaults[key])):
      raise ValueError(
        f"{name} has {key} = {shown(value)}; this code reads values such as "
        f"{defaults[key]!r}."
      )


def _alike(value: Any, default: Any) -> bool:
  if isinstance(default, list):
    lists = isinstance(value, list | tuple) and 0 < len(value) <= _LONGEST_LIST
    return lists and all(_alike(item, default[0]) for item in value)
  if default is None:
    return type(value) is int
  return type(value) is type(default) or (type(value), type(default)) == (int, float)


def transformer_to_diffusers(config: TransformerConfig) -> dict[str, Any]:
  """Returns `transformer/config.json` of a transformer.

  Raises:
    ValueError: If diffusers' class cannot represent this transformer.
  """
  for key, only in _BUILT_IN.items():
    if getattr(config, key) != only:
      raise ValueError(
        f"diffusers' {TRANSFORMER} has {key} = {only!r} built in, but this transformer "
        f"has {getattr(config, key)!r}; write the official single file (layout "
        '"lightricks") instead.'
      )
  options = {key: getattr(config, key) for key in _DEFAULTS} | _FIXED
  return {"_class_name": TRANSFORMER} | options


def scheduler_from_diffusers(
  metadata: Mapping[str, Any], newer: bool
) -> SchedulerConfig:
  """Builds the config from `scheduler/scheduler_config.json`.

  Args:
    metadata: The JSON object.
    newer: Whether the model belongs to 0.9.5 or later.

  Raises:
    ValueError: If the class is another one, or it spaces the noise levels in a way that
      this code does not support.
  """
  name = "The scheduler's config in the diffusers layout"
  class_name = metadata.get("_class_name", SCHEDULER)
  require(name, "_class_name", class_name, (SCHEDULER,))
  for key in (
    "invert_sigmas",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
  ):
    require(name, key, metadata.get(key, False), (False, None))
  steps = metadata.get("num_train_timesteps", 1000)
  if metadata.get("use_dynamic_shifting", False):
    for key, (ours, default) in _DYNAMIC.items():
      require(name, key, metadata.get(key, default), (ours,))
    time_shift = metadata.get("time_shift_type", "exponential")
    require(name, "time_shift_type", time_shift, ("exponential",))
    terminal = metadata.get("shift_terminal")
    return SchedulerConfig(steps, "SD3", None, terminal)
  require(name, "shift", metadata.get("shift", 1.0), (1.0,))
  sampler = "LinearQuadratic" if newer else "Uniform"
  return SchedulerConfig(steps, base_resolution=None, sampler=sampler)


def scheduler_to_diffusers(config: SchedulerConfig) -> dict[str, Any]:
  """Returns `scheduler/scheduler_config.json` of a scheduler."""
  shifted = config.shifting == "SD3"
  return {
    "_class_name": SCHEDULER,
    "num_train_timesteps": config.num_train_timesteps,
    "shift": 1.0,
    "use_dynamic_shifting": shifted,
    "shift_terminal": config.target_shift_terminal if shifted else None,
    **{key: ours for key, (ours, _) in _DYNAMIC.items()},
  }


def rest_of(config: Metadata, read_back: Metadata) -> dict[str, Any]:
  """Returns what diffusers' options for `config` leave out: `{REST: ...}` or nothing.

  Args:
    config: Config that is written.
    read_back: Config that results from reading only diffusers' own options.
  """
  known, absent = _comparable(read_back), object()
  said = _comparable(config).items()
  rest = {key: value for key, value in said if known.get(key, absent) != value}
  return {REST: rest} if rest else {}


def with_rest(config: _Config, metadata: Mapping[str, Any]) -> _Config:
  """Returns a config, completed by the values under `REST` in its JSON file.

  Raises:
    ValueError: If these are not a JSON object, or have unknown options.
  """
  rest = metadata.get(REST, {})
  if not isinstance(rest, Mapping):
    raise ValueError(f"{REST} is {shown(rest)} and should be a JSON object.")
  return type(config).from_metadata(config.to_metadata() | rest) if rest else config


def pipeline_class(transformer: TransformerConfig | None) -> str:
  """Returns the diffusers pipeline that samples a transformer."""
  newer = transformer is not None and transformer.causal_temporal_positioning
  return NEWER_PIPELINE if newer else OLDER_PIPELINE


def _comparable(config: Metadata) -> dict[str, Any]:
  """Returns metadata without block lists, which diffusers' own options cover fully."""
  metadata = config.to_metadata()
  for key in ("encoder_blocks", "decoder_blocks"):
    metadata.pop(key, None)
  return metadata
