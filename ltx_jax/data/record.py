"""A record: a clip as latents with its text, and its form as bytes.

The bytes are in the safetensors format: the array `latents`, the optional arrays
`logvar`, `text`, `tokens`, `last` and `reference`, and everything else as texts next to
them, with numbers as JSON.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import BFloat16, Float, Int32

from ltx_jax.data import blobs
from ltx_jax.data.clips import Crop

SCHEMA = 1
_ARRAYS = ("latents", "logvar", "text", "tokens", "last", "reference")
_TEXTS = ("id", "caption", "key", "source_sha256", "vae", "text_encoder")


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
  """An encoded clip.

  Attributes:
    id: Id of the clip in its manifest.
    caption: The caption that `text` and `tokens` encode.
    latents: Normalised mean of the posterior.
    logvar: Log-variance of the posterior, before normalising.
    text: Encoding of the caption's own tokens, without padding.
    tokens: Tokens of the caption, without padding.
    fps: Frames per second.
    frames: Number of frames of the encoded clip.
    height: Height of the encoded clip, in pixels.
    width: Width of the encoded clip, in pixels.
    vae: Fingerprint of the VAE.
    text_encoder: Fingerprint of the text encoder that made `text`; without one, that of
      the tokenizer; "" for neither.
    last: Normalised mean of the clip's last frame, encoded as an image.
    reference: Normalised mean of the reference clip.
    start: Second of the media at which the clip begins.
    end: Second of the media at which the clip ends.
    crop: The part of the image that was used.
    source_sha256: SHA-256 of the media file.
    key: Hash of everything that determined the record.
    scores: Measures, for filters.
  """

  id: str
  caption: str
  latents: BFloat16[np.ndarray, "f h w c"] | Float[np.ndarray, "f h w c"]
  fps: float
  frames: int
  height: int
  width: int
  vae: str
  text_encoder: str = ""
  logvar: Float[np.ndarray, "f h w _"] | None = None
  text: BFloat16[np.ndarray, "m e"] | None = None
  tokens: Int32[np.ndarray, "m"] | None = None
  last: BFloat16[np.ndarray, "1 h w c"] | Float[np.ndarray, "1 h w c"] | None = None
  reference: BFloat16[np.ndarray, "f h w c"] | Float[np.ndarray, "f h w c"] | None = (
    None
  )
  start: float | None = None
  end: float | None = None
  crop: Crop | None = None
  source_sha256: str = ""
  key: str = ""
  scores: Mapping[str, float] = dataclasses.field(default_factory=dict)


def encode(record: Record) -> bytes:
  """Returns a record as bytes that depend only on its content."""
  fields = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
  arrays = {name: fields.pop(name) for name in _ARRAYS}
  texts = {
    name: value if name in _TEXTS else json.dumps(value, sort_keys=True)
    for name, value in fields.items()
  }
  arrays = {name: array for name, array in arrays.items() if array is not None}
  return blobs.dump(arrays, texts | {"schema": str(SCHEMA)})


def decode(blob: bytes) -> Record:
  """Returns the record that `encode` turned into bytes; its arrays are views of them.

  Raises:
    ValueError: If the bytes are not a record, or one of another schema.
  """
  arrays, texts = blobs.load(blob)
  if texts.get("schema") != str(SCHEMA):
    raise ValueError(
      f"it is a record of schema {texts.get('schema')} instead of {SCHEMA}; "
      "run train.precompute again"
    )
  try:
    fields: dict[str, Any] = {
      name: value if name in _TEXTS else json.loads(value)
      for name, value in texts.items()
      if name != "schema"
    }
    crop = fields.pop("crop")
    return Record(**arrays, **fields, crop=None if crop is None else tuple(crop))
  except (KeyError, TypeError, json.JSONDecodeError) as error:
    raise ValueError(
      f"it lacks a field of a record, or has another ({error})"
    ) from None
