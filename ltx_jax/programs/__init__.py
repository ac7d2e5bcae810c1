"""The programs compiled for sampling, one per network config and policy."""

from ltx_jax.programs.networks import (
  as_floats,
  caching_step,
  decode,
  decode_in_tiles,
  encode,
  encode_text,
  enlarge,
  placed,
  positions,
  step,
  step_of_run,
  text_state,
  tiled_decode,
  to_uint8,
  velocity,
)

__all__ = [
  "as_floats",
  "caching_step",
  "decode",
  "decode_in_tiles",
  "encode",
  "encode_text",
  "enlarge",
  "placed",
  "positions",
  "step",
  "step_of_run",
  "text_state",
  "tiled_decode",
  "to_uint8",
  "velocity",
]
