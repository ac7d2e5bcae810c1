"""Turns prompts into T5's tokens, with the tokenizer next to a text encoder.

Prompts are stripped, but neither lower-cased nor cleaned. Tokens end with the
end-of-sequence token and are padded to a fixed length, as in the PyTorch original. The
text encoder's config sets that length (`TextEncoderConfig.max_text_tokens`), because
the `model_max_length` of a tokenizer is 128 if diffusers saved it, although the
released models were trained with 256.

Only this module imports `transformers`, and only when a tokenizer is loaded.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int

from ltx_jax.config import TextEncoderConfig
from ltx_jax.errors import check_number, said, shown
from ltx_jax.files import parse_json, read_text, readable

MAX_TOKENS = TextEncoderConfig.max_text_tokens
"""Largest number of tokens of a prompt, in every release."""

_MOST_EXTRA = 10_000


@runtime_checkable
class Tokenizer(Protocol):
  """The part of a tokenizer from `transformers` that this module needs.

  It also needs `pad_token_id` and `eos_token_id`, which are created on access, so an
  `isinstance` check cannot see them.
  """

  def __call__(
    self, text: list[str], *, truncation: bool, verbose: bool
  ) -> Mapping[str, Any]: ...

  def __len__(self) -> int: ...


def load_tokenizer(folder: str | os.PathLike[str]) -> Tokenizer:
  """Reads a T5 tokenizer in the Hugging Face layout, without touching the network.

  Args:
    folder: Folder with `spiece.model` or `tokenizer.json`, and `tokenizer_config.json`.

  Raises:
    ValueError: If the folder holds no tokenizer, or one that cannot be read.
  """
  folder = pathlib.Path(folder)
  files = ("spiece.model", "tokenizer.json")
  if not any((folder / name).is_file() for name in files):
    found = "a folder without them" if folder.is_dir() else "no such folder"
    raise ValueError(
      f"Expected a tokenizer ({' or '.join(files)}) in {folder}, but found {found}; "
      "put there the `tokenizer` folder that belongs to the text encoder."
    )
  _check_pieces(folder / files[0])
  # `transformers` would report that PyTorch is missing, which is intended.
  os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
  from transformers import T5Tokenizer

  try:
    _check_settings(folder / "tokenizer_config.json")
    tokenizer = T5Tokenizer.from_pretrained(folder, local_files_only=True)
    # Some of what is wrong shows when it is first used.
    tokenizer(["a"], truncation=False, verbose=False)
    ids = tokenizer.pad_token_id, tokenizer.eos_token_id
    if not all(isinstance(number, int) for number in ids):
      raise ValueError("it has no token for padding, or for the end")
    return tokenizer
  except Exception as error:  # Its type depends on the part that could not be read.
    raise ValueError(
      f"The tokenizer in {folder} could not be read ({said(error)}); copy or "
      "train it again."
    ) from error


def _check_settings(path: pathlib.Path) -> None:
  """Refuses so many tokens beside the vocabulary that their names would fill memory."""
  settings = parse_json(read_text(path)) if path.is_file() else {}
  if not isinstance(settings, dict):
    raise ValueError(f"{path.name} holds no JSON object")
  extra = settings.get("extra_ids") or 0
  check_number("extra_ids", extra, at_least=0, at_most=_MOST_EXTRA, whole=True)


def _check_pieces(file: pathlib.Path) -> None:
  """Refuses a model of SentencePiece that is none; `transformers` would guess on.

  Raises:
    ValueError: naming the file.
  """
  if not file.is_file():
    return
  import sentencepiece

  try:
    sentencepiece.SentencePieceProcessor().LoadFromSerializedProto(file.read_bytes())
  except RuntimeError:
    raise ValueError(
      f"The tokenizer in {file.parent} could not be read: {file.name} is no model of "
      "SentencePiece; copy or train it again."
    ) from None


def tokenize(
  tokenizer: Tokenizer, prompts: Sequence[str], max_tokens: int = MAX_TOKENS
) -> tuple[Int[np.ndarray, "b m"], Bool[np.ndarray, "b m"]]:
  """Turns prompts into tokens of one length.

  Args:
    prompts: Prompts, at least one; longer ones are cut (`truncation_note`).
    max_tokens: Length m, including the end-of-sequence token.

  Returns:
    Tokens (int32), and a mask that is True for real tokens, including the
    end-of-sequence token.

  Raises:
    ValueError: If there are no prompts, or a single string instead of a list.
  """
  ids = _token_ids(tokenizer, prompts)
  tokens = np.full((len(ids), max_tokens), tokenizer.pad_token_id, np.int32)
  mask = np.zeros((len(ids), max_tokens), bool)
  for row, prompt_ids in enumerate(ids):
    if len(prompt_ids) > max_tokens:
      prompt_ids = [*prompt_ids[: max_tokens - 1], tokenizer.eos_token_id]
    tokens[row, : len(prompt_ids)] = prompt_ids
    mask[row, : len(prompt_ids)] = True
  return tokens, mask


def truncation_note(
  tokenizer: Tokenizer, prompts: Sequence[str], max_tokens: int = MAX_TOKENS
) -> str | None:
  """Returns a sentence for users whose prompts `tokenize` cuts, or None."""
  counts = [len(prompt_ids) for prompt_ids in _token_ids(tokenizer, prompts)]
  cut = [f"{row + 1} ({n} tokens)" for row, n in enumerate(counts) if n > max_tokens]
  if not cut:
    return None
  which = f"Prompt {cut[0]} is" if len(cut) == 1 else f"Prompts {', '.join(cut)} are"
  return (
    f"{which} longer than the {max_tokens} tokens that the text encoder reads; the "
    "rest is ignored: put the important words first, or use fewer words."
  )


def _token_ids(tokenizer: Tokenizer, prompts: Sequence[str]) -> list[list[int]]:
  several = isinstance(prompts, Sequence) and not isinstance(prompts, str | bytes)
  if not several or not prompts or not all(isinstance(p, str) for p in prompts):
    raise ValueError(
      f"Prompts must be a list of at least one string, not {shown(prompts)}."
    )
  stripped = [readable(prompt).strip() for prompt in prompts]
  return tokenizer(stripped, truncation=False, verbose=False)["input_ids"]
