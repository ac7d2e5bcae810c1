"""Captions as the transformer's trainer reads them: once, before the first step.

Where the text encoder is trained, a batch has the captions' tokens; where it is frozen,
what it makes of them, computed here, and the encoder is not needed any more.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ltx_jax import programs
from ltx_jax.checkpoints import t5
from ltx_jax.config import TextEncoderConfig
from ltx_jax.config.runs import TransformerRun
from ltx_jax.platforms import Policy
from ltx_jax.text.prompts import load_tokenizer, tokenize
from train import latents


@dataclasses.dataclass(frozen=True, eq=False)
class Captions:
  """Every caption's text, row by row; the last row is that of "".

  Attributes:
    rows: Tokens of the prompts where the encoder is trained; else their embeddings.
    mask: True for real tokens.
    fingerprint: Hash of what decides them: the tokens and, where it is frozen, the
      encoder. Embeddings themselves differ between machines in their last bits.
  """

  rows: np.ndarray
  mask: np.ndarray
  fingerprint: str


def caption_reader(
  run: TransformerRun, policy: Policy
) -> Callable[[Sequence[str]], Captions]:
  """Returns what tokenises prompts, and encodes them where the encoder is frozen.

  It holds a frozen encoder, so let go of it before training. Rows are cut to the
  longest: attention is masked, so padding changes nothing.

  Raises:
    ValueError: where tokenizer, text encoder and transformer do not go together.
  """
  tokenizer = load_tokenizer(Path(run.text_folder) / "tokenizer")
  folder = Path(run.text_folder) / "text_encoder"
  frozen = run.text_encoder == "frozen"
  known = t5.load_config(folder) if frozen else run.text
  _check_text(run, known, len(tokenizer))
  if frozen:
    config, params = t5.load_t5(folder)
    program = programs.encode_text(config, policy)
  encoder = latents.fingerprint(config, params) if frozen else ""

  def read(prompts: Sequence[str]) -> Captions:
    tokens, mask = tokenize(tokenizer, prompts, known.max_text_tokens)
    longest = int(mask.sum(axis=1).max())
    tokens, mask = tokens[:, :longest], mask[:, :longest]
    read_as = encoder.encode() + tokens.tobytes() + mask.tobytes()
    fingerprint = hashlib.sha256(read_as).hexdigest()[:16]
    if not frozen:
      return Captions(tokens, mask, fingerprint)
    rows = [
      np.asarray(program(params, tokens[i : i + 1], mask[i : i + 1])[0], np.float32)
      for i in range(len(prompts))
    ]
    return Captions(np.stack(rows), mask, fingerprint)

  return read


def _check_text(run: TransformerRun, config: TextEncoderConfig, tokens: int) -> None:
  if run.transformer.caption_channels != config.d_model:
    raise ValueError(
      f"The transformer takes texts of caption_channels = "
      f"{run.transformer.caption_channels}, the {run.text_encoder} text encoder makes "
      f"d_model = {config.d_model}; the two must be equal."
    )
  if tokens > config.vocab_size:
    raise ValueError(
      f"The tokenizer in {run.text_folder} has {tokens} tokens, the "
      f"{run.text_encoder} text encoder only vocab_size = {config.vocab_size}."
    )
