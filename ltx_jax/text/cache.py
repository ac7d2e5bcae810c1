"""Encoded prompts on disk, so that each prompt is encoded once, and T5 may be absent.

A text is one safetensors file. Its name is the sha256 of everything that it depends on:
the prompt, the text encoder, the number of tokens, its weights and its dtype. The file
holds the embeddings of the prompt's own tokens, without padding; its metadata repeat
what the name depends on. A file that cannot be read is reported and made again.

A text encoder is identified by its config, the names and sizes of the files of encoder
and tokenizer, and 256 blocks of 4 KiB spread evenly over each file: training changes
every weight, and reading all 9.5 GB would take longer than encoding a prompt. Folders
may be moved or copied.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import pathlib
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ltx_jax.checkpoints.safetensors_io import open_safetensors, write_safetensors
from ltx_jax.typing import AnyArray, EncodedText, TextMask

_LOG = logging.getLogger("ltx_jax")
_FORMAT = "1"
_BLOCK, _BLOCKS = 4096, 256
_FILES = ("*.json", "*.safetensors", "spiece.model")


def encoder_fingerprint(*folders: pathlib.Path) -> str:
  """Returns a hexadecimal hash that identifies a text encoder and its tokenizer."""
  digest = hashlib.sha256()
  for folder in folders:
    paths = {path for pattern in _FILES for path in folder.glob(pattern)}
    for path in sorted(paths):
      size = path.stat().st_size
      digest.update(f"{path.name} {size}\n".encode())
      with path.open("rb") as file:
        for start in range(0, size, max(_BLOCK, size // _BLOCKS)):
          file.seek(start)
          digest.update(file.read(_BLOCK))
  return digest.hexdigest()


@dataclasses.dataclass(frozen=True)
class TextCache:
  """Texts of one encoder on disk.

  Attributes:
    folder: Folder of the texts; it is made when the first is written.
    encoder: Everything that embeddings depend on besides the prompt
      (`encoder_fingerprint`).
    max_tokens: Length of a text, padding included.
  """

  folder: pathlib.Path
  encoder: Mapping[str, str]
  max_tokens: int

  def path(self, prompt: str) -> pathlib.Path:
    """Returns the path of a prompt's text, whether it exists or not."""
    known = json.dumps(self._metadata(prompt), sort_keys=True)
    return self.folder / f"{hashlib.sha256(known.encode()).hexdigest()}.safetensors"

  def read(self, prompt: str) -> EncodedText | None:
    """Returns a text [1 m e] and its mask [1 m], or None if it is not there."""
    path = self.path(prompt)
    if not path.is_file():
      return None
    try:
      with open_safetensors(path) as reader:
        tokens = reader.read("text")
        if reader.metadata != self._metadata(prompt):
          raise ValueError(f"{path} is of another prompt or encoder.")
      floats = jnp.issubdtype(tokens.dtype, jnp.floating)
      if tokens.ndim != 2 or not 0 < len(tokens) <= self.max_tokens or not floats:
        raise ValueError(f"{path} has a text {tokens.dtype} of shape {tokens.shape}.")
    except (OSError, ValueError) as error:
      _LOG.warning("%s It is ignored, and the prompt is encoded again.", error)
      return None
    padding = self.max_tokens - len(tokens)
    text = jnp.asarray(np.pad(tokens, ((0, padding), (0, 0))))
    return text[None], jnp.arange(self.max_tokens)[None] < len(tokens)

  def write(self, prompt: str, text: Float[AnyArray, "1 m e"], mask: TextMask) -> None:
    """Stores a text; its file appears only once it is complete.

    A folder that cannot be written to is reported, but does not stop the program.
    """
    tokens = np.asarray(text[0])[: int(np.sum(mask))]
    try:
      self.folder.mkdir(parents=True, exist_ok=True)
      tensor = "text", tokens.shape, tokens.dtype, lambda: tokens
      write_safetensors(self.path(prompt), [tensor], self._metadata(prompt))
    except OSError as error:
      reason = error.strerror or error
      _LOG.warning(f"An encoded prompt could not be kept in {self.folder}: {reason}.")

  def _metadata(self, prompt: str) -> dict[str, str]:
    own = {"prompt": prompt.strip(), "max_tokens": str(self.max_tokens)}
    return {"format": _FORMAT, **self.encoder, **own}
