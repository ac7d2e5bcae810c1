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

import ml_dtypes
import numpy as np
from jaxtyping import BFloat16, Float, Int32

from ltx_jax.config.metadata import checked, freeze
from ltx_jax.data import blobs
from ltx_jax.data.clips import Crop
from ltx_jax.errors import said, shown
from ltx_jax.files import NotJSON, parse_json

SCHEMA = 1
_AXES = {"latents": 4, "logvar": 4, "text": 2, "tokens": 1, "last": 4, "reference": 4}
_KINDS: dict[str, Any] = {
  "fps": float,
  "frames": int,
  "height": int,
  "width": int,
  "start": float | None,
  "end": float | None,
  "crop": tuple[int, ...] | None,
}
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
  arrays = {name: fields.pop(name) for name in _AXES}
  texts = {
    name: value if name in _TEXTS else json.dumps(value, sort_keys=True)
    for name, value in fields.items()
  }
  arrays = {name: array for name, array in arrays.items() if array is not None}
  return blobs.dump(arrays, texts | {"schema": str(SCHEMA)})


def schema_of(texts: Mapping[str, str]) -> str:
  """Returns the schema in the texts of a file, for an error message."""
  return shown(texts.get("schema")).strip("'")


def decode(blob: bytes) -> Record:
  """Returns the record that `encode` turned into bytes; its arrays are views of them.

  Raises:
    ValueError: If the bytes are not a record, or one of another schema.
  """
  arrays, texts = blobs.load(blob)
  if texts.get("schema") != str(SCHEMA):
    raise ValueError(
      f"it is a record of schema {schema_of(texts)} instead of {SCHEMA}; "
      "run train.precompute again"
    )
  try:
    fields: dict[str, Any] = {
      name: value if name in _TEXTS else parse_json(value)
      for name, value in texts.items()
      if name != "schema"
    }
    record = Record(**arrays, **fields | _of_their_kinds(fields))
    check_arrays(arrays)
  except (KeyError, TypeError, NotJSON) as error:
    raise ValueError(
      f"it lacks a field of a record, or has another ({said(error)})"
    ) from None
  return record


def _of_their_kinds(fields: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the fields that are numbers, as `Record` has them."""
  scores = fields["scores"]
  numbers = isinstance(scores, Mapping) and all(
    isinstance(score, int | float) for score in scores.values()
  )
  if not numbers:
    raise ValueError(f"its scores are {shown(scores)}, no numbers by name")
  kinds = _KINDS.items()
  return {name: checked(f"its {name}", freeze(fields[name]), k) for name, k in kinds}


def check_arrays(arrays: blobs.Arrays) -> None:
  """Refuses arrays of other names, axes or dtypes than a record has.

  Raises:
    ValueError: If an array is wrong; the message names it.
  """
  for name, array in arrays.items():
    floats = array.dtype.kind == "f" or array.dtype == ml_dtypes.bfloat16
    known = array.dtype == np.int32 if name == "tokens" else floats
    if array.ndim != _AXES.get(name) or not known or not len(array):
      raise ValueError(f"its {name} are {array.dtype} of shape {array.shape}")
