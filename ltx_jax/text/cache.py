"""Encoded prompts on disk, so that a prompt is encoded once and T5 need not be there.

A text is one safetensors file, whose name is the sha256 of all that it depends on: the
prompt, the text encoder, the number of tokens it reads, its weights and its dtype. The
file holds the embeddings of the prompt's own tokens, without padding, and the same in
words under its metadata. A file that cannot be read is said to be so and made again.

A text encoder is known by its config, the names and sizes of the files of encoder and
tokenizer, and by 256 blocks of 4 KiB spread evenly over each of them: training changes
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
  """Returns what tells a text encoder and its tokenizer from others, as hexadecimal."""
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
  """Texts of one encoder.

  Attributes:
    folder: Folder that they are in; it is made when there is something to write.
    encoder: What the embeddings depend on beside the prompt (`encoder_fingerprint`).
    max_tokens: The length of a text, padding included.
  """

  folder: pathlib.Path
  encoder: Mapping[str, str]
  max_tokens: int

  def path(self, prompt: str) -> pathlib.Path:
    """Returns where the text of a prompt is, or would be."""
    known = json.dumps(self._metadata(prompt), sort_keys=True)
    return self.folder / f"{hashlib.sha256(known.encode()).hexdigest()}.safetensors"

  def read(self, prompt: str) -> EncodedText | None:
    """Returns a text [1 m e] and its mask [1 m], or None where it is not there."""
    path = self.path(prompt)
    if not path.is_file():
      return None
    try:
      with open_safetensors(path) as reader:
        tokens = reader.read("text")
        if reader.metadata != self._metadata(prompt):
          raise ValueError(f"{path} is of another prompt or encoder.")
      if tokens.ndim != 2 or not 0 < len(tokens) <= self.max_tokens:
        raise ValueError(f"{path} has a text of shape {tokens.shape}.")
    except (OSError, ValueError) as error:
      _LOG.warning("%s It is passed over, and the prompt is encoded again.", error)
      return None
    padding = self.max_tokens - len(tokens)
    text = jnp.asarray(np.pad(tokens, ((0, padding), (0, 0))))
    return text[None], jnp.arange(self.max_tokens)[None] < len(tokens)

  def write(self, prompt: str, text: Float[AnyArray, "1 m e"], mask: TextMask) -> None:
    """Keeps a text; its file appears only once it is complete.

    A folder that cannot be written to is said to be so, and stops nothing.
    """
    tokens = np.asarray(text[0])[: int(np.sum(mask))]
    try:
      self.folder.mkdir(parents=True, exist_ok=True)
      tensor = "text", tokens.shape, tokens.dtype, lambda: tokens
      write_safetensors(self.path(prompt), [tensor], self._metadata(prompt))
    except OSError as error:
      _LOG.warning("An encoded prompt could not be kept: %s.", error)

  def _metadata(self, prompt: str) -> dict[str, str]:
    own = {"prompt": prompt.strip(), "max_tokens": str(self.max_tokens)}
    return {"format": _FORMAT, **self.encoder, **own}
