"""Turns captions into tokens and, if there is a text encoder, into texts.

Texts are stored on disk as they are encoded. So the encoder is read once, before the
VAE, freed, and not read again after an interruption.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
from rich.progress import track

from ltx_jax.checkpoints import t5
from ltx_jax.config import TextEncoderConfig
from ltx_jax.platforms import Policy
from ltx_jax.text.cache import TextCache, encoder_fingerprint
from ltx_jax.text.prompts import MAX_TOKENS, Tokenizer, load_tokenizer, tokenize
from train.harness.encoding import encode_captions


@dataclasses.dataclass(frozen=True)
class Encoder:
  """A frozen text encoder that is read only when there is something to encode.

  Attributes:
    folder: Folder of the encoder, in the Hugging Face layout.
    config: Config of the encoder.
    policy: Compute dtype; without a mesh.
    captions: Number of captions per device and call.
    cache: Texts on disk.
    devices: Devices to use; by default all local ones.
  """

  folder: Path
  config: TextEncoderConfig
  policy: Policy
  captions: int
  cache: TextCache
  devices: tuple[jax.Device, ...] = ()


@dataclasses.dataclass(frozen=True)
class Captions:
  """Turns captions into tokens and texts.

  Attributes:
    tokenizer: Tokenizer.
    folder: Folder of the tokenizer.
    max_tokens: Largest number of tokens of a text; longer ones are cut.
    made_by: Fingerprint of the tokenizer, and of the encoder if there is one.
    encoder: Text encoder; None makes only tokens.
  """

  tokenizer: Tokenizer
  folder: Path
  max_tokens: int
  made_by: str
  encoder: Encoder | None

  @classmethod
  def of_tokenizer(cls, folder: Path, max_tokens: int = MAX_TOKENS) -> Captions:
    """Returns an object that makes only tokens, with the tokenizer in a folder."""
    tokenizer = load_tokenizer(folder)
    made_by = encoder_fingerprint(folder)[:16]
    return cls(tokenizer, folder, max_tokens, made_by, None)

  @classmethod
  def of_encoder(
    cls,
    folder: Path,
    tokenizer: Path,
    policy: Policy,
    cache: Path,
    *,
    captions: int = 8,
    devices: tuple[jax.Device, ...] = (),
  ) -> Captions:
    """Returns an object that makes tokens, and texts with the encoder in a folder."""
    config = t5.load_config(folder)
    made_by = encoder_fingerprint(folder, tokenizer)
    known = {"encoder": made_by, "dtype": policy.dtype, "captions": str(captions)}
    texts = TextCache(cache, known, config.max_text_tokens)
    encoder = Encoder(folder, config, policy, captions, texts, devices)
    longest = config.max_text_tokens
    return cls(load_tokenizer(tokenizer), tokenizer, longest, made_by[:16], encoder)

  def tokens(self, caption: str) -> np.ndarray:
    """Returns a caption's own tokens [m], int32."""
    tokens, mask = tokenize(self.tokenizer, [caption], self.max_tokens)
    return tokens[0, : int(mask.sum())]

  def text(self, caption: str) -> np.ndarray | None:
    """Returns the text [m e] of a caption that `encode` was given, or None.

    Raises:
      ValueError: If it is no longer on disk.
    """
    if self.encoder is None:
      return None
    cache = self.encoder.cache
    found = cache.read(caption)
    if found is None:
      raise ValueError(
        f"The text of {caption!r} is gone from {cache.folder}; start again."
      )
    text, mask = found
    return np.asarray(text[0, : int(np.sum(mask))])

  def empty(self) -> dict[str, np.ndarray]:
    """Returns the arrays of the caption "", which guidance leads away from, by name."""
    arrays = {"tokens": self.tokens(""), "text": self.text("")}
    return {name: array for name, array in arrays.items() if array is not None}

  def encode(
    self,
    captions: Sequence[str],
    progress: Callable[..., Sequence[int]] = track,
  ) -> None:
    """Encodes the captions whose texts are not on disk; the encoder is then freed."""
    encoder = self.encoder
    if encoder is None:
      return
    new = [c for c in dict.fromkeys(captions) if not encoder.cache.path(c).is_file()]
    if not new:
      return
    # In the encoder's own dtype, as in sampling; bfloat16 is stored.
    _, params = t5.load_t5(encoder.folder, encoder.policy.dtype)
    tokens, mask = tokenize(self.tokenizer, new, self.max_tokens)
    how = {"captions": encoder.captions, "devices": encoder.devices}
    texts = encode_captions(encoder.config, params, encoder.policy, tokens, mask, **how)
    for row in progress(range(len(new)), description=f"Encoding {len(new)} captions"):
      text = next(texts)
      encoder.cache.write(new[row], text[None], np.ones((1, len(text)), bool))
