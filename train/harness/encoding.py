"""The frozen networks of precomputing, on all local devices.

A call always takes the same number of clips, or captions, per device; the last call is
padded. So there is one program per size, and a clip's result does not depend on the
number of devices.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Bool, Int, UInt8

from ltx_jax import programs
from ltx_jax.config import TextEncoderConfig, VAEConfig
from ltx_jax.errors import memory_in_words
from ltx_jax.platforms import Policy
from ltx_jax.programs import records
from ltx_jax.typing import Params

_LESS = "lower --clips-per-call, or take smaller or shorter buckets"
_CALLS_AHEAD = 2


class Encoded(NamedTuple):
  """A clip's latents [f h w c] in bfloat16, and their log-variance [f h w 1]."""

  latents: np.ndarray
  logvar: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class ClipEncoder:
  """A frozen VAE over the local devices.

  Attributes:
    config: Config of the VAE.
    params: Parameters of the VAE.
    policy: Compute dtype; without a mesh.
    clips: Number of clips per device and call.
    devices: Devices to use; by default all local ones.
  """

  config: VAEConfig
  params: Params
  policy: Policy
  clips: int = 4
  devices: tuple[Any, ...] = ()

  def __post_init__(self):
    mesh = records.row_mesh(self.devices or tuple(jax.local_devices()))
    object.__setattr__(self, "mesh", mesh)
    object.__setattr__(self, "params", records.replicate(self.params, mesh))

  def encode(self, videos: Iterable[UInt8[np.ndarray, "F H W 3"]]) -> Iterator[Encoded]:
    """Yields each clip's latents, in order; all clips have one size."""
    program = records.encode_clips(self.config, self.policy, self.mesh)
    sharding = NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names))
    pending: collections.deque = collections.deque()
    for rows in _calls(videos, self.clips * self.mesh.size):
      video = _filled(np.stack(rows), self.clips * self.mesh.size)
      with memory_in_words(f"encoding clips of shape {rows[0].shape}", _LESS):
        result = program(self.params, jax.device_put(video, sharding))
      pending.append((len(rows), result))
      # The device runs the next call while the host writes this one's clips.
      if len(pending) >= _CALLS_AHEAD:
        yield from _fetched(pending.popleft())
    while pending:
      yield from _fetched(pending.popleft())

  def decode(self, latents: np.ndarray) -> UInt8[np.ndarray, "b F H W 3"]:
    """Decodes [b f h w c] without noise: the best that a transformer could show."""
    program = programs.decode(self.config, self.policy, programs.to_uint8)
    rows = np.asarray(latents, np.float32)
    with memory_in_words(f"decoding latents of shape {rows.shape}", _LESS):
      return np.asarray(program(self.params, rows, 0.0, None, 0.0, None))


def _calls(videos: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
  rows: list[np.ndarray] = []
  for video in videos:
    rows.append(video)
    if len(rows) == size:
      yield rows
      rows = []
  if rows:
    yield rows


def _filled(rows: np.ndarray, size: int) -> np.ndarray:
  """Repeats the first row until there are `size` rows."""
  return np.concatenate([rows, *[rows[:1]] * (size - len(rows))])


def _fetched(call: tuple[int, tuple[jax.Array, jax.Array]]) -> Iterator[Encoded]:
  count, result = call
  with memory_in_words("encoding clips", _LESS):
    latents, logvar = jax.device_get(result)
  yield from map(Encoded, latents[:count], logvar[:count])


def encode_captions(
  config: TextEncoderConfig,
  params: Params,
  policy: Policy,
  tokens: Int[np.ndarray, "b m"],
  mask: Bool[np.ndarray, "b m"],
  *,
  captions: int = 8,
  devices: tuple[Any, ...] = (),
) -> Iterator[np.ndarray]:
  """Yields the text [n e] of each caption's own tokens, in bfloat16.

  Args:
    config: Config of the text encoder.
    params: Parameters of the text encoder.
    policy: Compute dtype; without a mesh.
    tokens: Tokens of the captions.
    mask: Mask of the tokens that are not padding.
    captions: Number of captions per device and call.
    devices: Devices to use; by default all local ones.
  """
  mesh = records.row_mesh(devices or tuple(jax.local_devices()))
  program = records.encode_captions(config, policy, mesh)
  params = records.replicate(params, mesh)
  size = captions * mesh.size
  for start in range(0, len(tokens), size):
    part = slice(start, start + size)
    filled = (_filled(rows[part], size) for rows in (tokens, mask))
    text = np.asarray(program(params, *filled))
    for row, own in zip(text, mask[part], strict=False):
      yield row[: int(own.sum())]
