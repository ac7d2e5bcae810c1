"""Clips of the small world, encoded once and kept: what the transformer trains on.

Encoding a clip costs more than a training step on its latents, so each caption is
rendered a few times for every size, encoded by the frozen VAE to the mode of its
posterior, normalised, and reused in every epoch. The arrays lie in the run's folder
under a name that says which VAE made them; a resumed run reads them back.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8
from rich.progress import track

from ltx_jax import programs
from ltx_jax.checkpoints.safetensors_io import atomic_file
from ltx_jax.config import VAEConfig
from ltx_jax.config.runs import Bucket
from ltx_jax.errors import memory_in_words
from ltx_jax.moving_shapes import world
from ltx_jax.platforms import Policy
from ltx_jax.typing import Params

_CLIPS_AT_ONCE = 8

Latents = Float[np.ndarray, "captions variants f h w c"]
Size = tuple[int, int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class FrozenVAE:
  """A VAE that is used and not trained."""

  config: VAEConfig
  params: Params
  policy: Policy

  def fingerprint(self) -> str:
    """Hash of the config and the weights."""
    return fingerprint(self.config, self.params)

  def encode(
    self, video: UInt8[np.ndarray, "b F H W 3"]
  ) -> Float[np.ndarray, "b f h w c"]:
    """Returns the normalised mode of the posterior."""
    pixels = video.astype(np.float32) / 127.5 - 1
    program = programs.encode(self.config, self.policy)
    return np.asarray(program(self.params, pixels, None))


@dataclasses.dataclass(frozen=True, eq=False)
class Cached:
  """The latents of every size.

  Attributes:
    latents: By (frames, height, width).
    fingerprint: Hash of the VAE, the captions and the number of variants, which
      together decide the latents.
  """

  latents: dict[Size, Latents]
  fingerprint: str


def fingerprint(config: Any, params: Params) -> str:
  """Hash of a network: its config and its weights, to the last bit."""
  digest = hashlib.sha256(repr(config).encode())
  for path, leaf in jax.tree.leaves_with_path(params):
    digest.update(jax.tree_util.keystr(path).encode())
    digest.update(np.asarray(leaf).reshape(-1).view(np.uint8))
  return digest.hexdigest()[:16]


def tokens_of(config: VAEConfig) -> Callable[[Bucket], int]:
  """Returns what counts the latent positions of one clip of a bucket."""
  return lambda bucket: math.prod(config.latent_shape(*bucket_size(bucket)))


def bucket_size(bucket: Bucket) -> Size:
  """(frames, height, width)."""
  return bucket.frames, bucket.height, bucket.width


def _encode(
  vae: FrozenVAE, size: Size, captions: Sequence[str], variants: int
) -> Latents:
  """Renders and encodes every caption `variants` times, each time with its own seed."""
  clips = [(caption, i) for i, caption in enumerate(np.repeat(captions, variants))]
  batches = range(0, len(clips), _CLIPS_AT_ONCE)
  shape = "x".join(map(str, size))
  name = f"Encoding {len(clips)} clips of {shape}"
  what = f"encoding {_CLIPS_AT_ONCE} clips of {shape}"
  out = []
  for start in track(batches, description=name):
    part = clips[start : start + _CLIPS_AT_ONCE]
    # The last batch is filled up, so that there is one shape and one program.
    filled = part + part[:1] * (_CLIPS_AT_ONCE - len(part))
    video = np.stack([world.clip(str(c), seed, *size) for c, seed in filled])
    with memory_in_words(what, "take smaller or shorter clips in the config's stages"):
      out.append(vae.encode(video)[: len(part)])
  latents = np.concatenate(out)
  return latents.reshape(len(captions), variants, *latents.shape[1:])


def load_or_encode(
  vae: FrozenVAE,
  buckets: Sequence[Bucket],
  captions: Sequence[str],
  variants: int,
  folder: Path,
) -> Cached:
  """Returns the latents of every bucket, from the folder where they are there already.

  Args:
    variants: Renderings of each caption.
    folder: Files are written there, one a bucket.
  """
  what = json.dumps([vae.fingerprint(), list(captions), variants])
  fingerprint = hashlib.sha256(what.encode()).hexdigest()[:16]
  folder.mkdir(parents=True, exist_ok=True)
  result = {}
  for size in sorted({bucket_size(bucket) for bucket in buckets}):
    path = folder / f"latents-{'x'.join(map(str, size))}-{fingerprint}.npy"
    if not path.is_file():
      with atomic_file(path) as file:
        np.save(file, _encode(vae, size, captions, variants), allow_pickle=False)
    result[size] = np.load(path, allow_pickle=False)
  return Cached(result, fingerprint)
