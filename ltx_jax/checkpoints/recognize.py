"""Recognises the released network in a file by the names and shapes of its tensors.

This is for files without a config in their metadata, and for error messages. A config
inside the file always takes precedence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

from ltx_jax.checkpoints.keys import Entry, Shape, transformer_entries, vae_entries
from ltx_jax.config import (
  TRANSFORMER_2B,
  TRANSFORMER_13B,
  VAE_A,
  VAE_B,
  VAE_C,
  SchedulerConfig,
  TransformerConfig,
  VAEConfig,
)

_Config = TypeVar("_Config", TransformerConfig, VAEConfig)

# 0.9.0 and 0.9.1 use VAEs A and B and shift the noise levels by the clip's length;
# 0.9.5 and later use VAE C, without shift or stretch.
SHIFTED = SchedulerConfig(
  base_resolution=None, shifting="SD3", target_shift_terminal=0.1
)
LINEAR_QUADRATIC = SchedulerConfig(base_resolution=None, sampler="LinearQuadratic")

TRANSFORMERS = {
  "the 2B transformer": TRANSFORMER_2B,
  "the 13B transformer": TRANSFORMER_13B,
}
VAES = {
  "VAE generation A (0.9.0)": VAE_A,
  "VAE generation B (0.9.1)": VAE_B,
  "VAE generation C (0.9.5 and later)": VAE_C,
}
# One in ten tensors may differ, so that a damaged file is still called by its name.
_SHARE = 0.9


class Guess(NamedTuple):
  """The networks of a file and the scheduler that was released with them."""

  transformer: TransformerConfig | None
  vae: VAEConfig | None
  scheduler: SchedulerConfig


def recognize(
  transformer: Mapping[str, Shape] | None, vae: Mapping[str, Shape] | None
) -> Guess:
  """Returns the released configs that have these tensors.

  The tensors do not show `causal_temporal_positioning`: the 13B transformer has it, and
  the 2B one if it comes with VAE C. A 2B transformer alone is taken for 0.9.0, like the
  default of the original.

  Args:
    transformer: Official keys and shapes; None if the file has no transformer.
    vae: Official keys and shapes of the VAE; None if the file has none.

  Raises:
    ValueError: If no release has these tensors.
  """
  vae_config = None
  if vae is not None:
    vae_config = _nearest("VAE", vae, VAES, vae_entries)
  if transformer is None:
    newer = vae_config == VAE_C
    return Guess(None, vae_config, LINEAR_QUADRATIC if newer else SHIFTED)
  config = _nearest("transformer", transformer, TRANSFORMERS, transformer_entries)
  if config == TRANSFORMER_2B and vae_config == VAE_C:
    config = TransformerConfig(causal_temporal_positioning=True)
  newer = config.causal_temporal_positioning
  return Guess(config, vae_config, LINEAR_QUADRATIC if newer else SHIFTED)


def describe(config: TransformerConfig | VAEConfig) -> str:
  """Names a config: by its release if one has these tensors, else by its sizes."""
  if isinstance(config, TransformerConfig):
    entries = transformer_entries(config)
    for name, known in TRANSFORMERS.items():
      if transformer_entries(known) == entries:
        return name
    return f"a transformer of {config.num_layers} layers and width {config.width}"
  entries = vae_entries(config)
  for name, known in VAES.items():
    if vae_entries(known) == entries:
      return name
  blocks = len(config.encoder_blocks) + len(config.decoder_blocks)
  return f"a VAE of {blocks} blocks and {config.latent_channels} latent channels"


def _nearest(
  part: str,
  found: Mapping[str, Shape],
  known: Mapping[str, _Config],
  entries: Callable[[_Config], list[Entry]],
) -> _Config:
  for config in known.values():
    if _likeness(found, entries(config)) >= _SHARE:
      return config
  some = ", ".join(f"{key} {shape}" for key, shape in list(found.items())[:3])
  raise ValueError(
    f"There is no config in its metadata, and its {part} of {len(found)} tensors "
    f"({some}, ...) is none of {', '.join(known)}."
  )


def _likeness(found: Mapping[str, Shape], entries: Iterable[Entry]) -> float:
  """Returns the share of tensors that agree, among all that either side has."""
  expected = {entry.key: entry.shape for entry in entries}
  same = sum(found.get(key) == shape for key, shape in expected.items())
  return same / len(found.keys() | expected.keys())
