"""A text encoder whose weights are in memory only while it encodes.

T5-XXL is larger than the 2B transformer and runs once per prompt. Its weights are read
only to encode a prompt that was not encoded before, and then freed. A text in memory or
on disk (`text.cache`) needs no weights.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from ltx_jax import programs
from ltx_jax.config import TextEncoderConfig
from ltx_jax.errors import memory_in_words
from ltx_jax.files import readable
from ltx_jax.platforms import Policy
from ltx_jax.text.cache import TextCache
from ltx_jax.text.prompts import Tokenizer, tokenize, truncation_note
from ltx_jax.typing import EncodedText, Params

Texts = dict[str, EncodedText]
"""Texts [1 m e] and masks [1 m], by prompt."""

_LOG = logging.getLogger("ltx_jax")
_MOST_KEPT = 256
_REMEDY = "take its weights in 8 bits, or encode all prompts before the model is read"


@dataclasses.dataclass(frozen=True, eq=False)
class TextEncoder:
  """The text encoder that `ltx_jax.load_text_encoder` returns.

  Attributes:
    config: Config of the network.
    policy: Compute dtype.
    tokenizer: Tokenizer next to the weights.
    read: Function that reads the weights.
    cache: Texts on disk; None for no cache.
    texts: Texts that were encoded before.
  """

  config: TextEncoderConfig
  policy: Policy
  tokenizer: Tokenizer
  read: Callable[[], Params] = dataclasses.field(repr=False)
  cache: TextCache | None = None
  texts: Texts = dataclasses.field(default_factory=dict, init=False, repr=False)

  def encode(self, prompts: Sequence[str]) -> EncodedText:
    """Encodes prompts one by one, cached: text [b m e] and its mask [b m].

    Raises:
      ValueError: If there is no prompt, or the weights cannot be read or do not fit
        into memory.
    """
    if isinstance(prompts, str):
      raise ValueError(f"The prompts are {prompts!r}; give a list of prompts.")
    if note := truncation_note(self.tokenizer, prompts, self.config.max_text_tokens):
      _LOG.warning(note)
    prompts = [readable(prompt) for prompt in prompts]
    new = missing(self.texts, prompts)
    if self.cache is not None:
      found = {prompt: self.cache.read(prompt) for prompt in new}
      self.texts.update({p: text for p, text in found.items() if text is not None})
      new = [prompt for prompt in new if found[prompt] is None]
    self.texts.update(self._encode(new))
    texts, masks = zip(*(self.texts[prompt] for prompt in prompts), strict=True)
    return jnp.concatenate(texts), jnp.concatenate(masks)

  def _encode(self, prompts: Sequence[str]) -> Texts:
    """Reads the weights, encodes prompts one by one, and frees the weights."""
    if not prompts:
      return {}
    length = self.config.max_text_tokens
    with memory_in_words("the text encoder", _REMEDY):
      program = programs.encode_text(self.config, self.policy)
      params, texts = self.read(), {}
      for prompt in prompts:  # One by one, so that none depends on the others.
        tokens, mask = tokenize(self.tokenizer, [prompt], length)
        texts[prompt] = program(params, tokens, mask), jnp.asarray(mask)
      # Wait, so that the weights are freed before anything else is loaded.
      jax.block_until_ready(texts)
    if self.cache is not None:
      for prompt, (text, mask) in texts.items():
        self.cache.write(prompt, text, mask)
    return texts


def missing(texts: Texts, prompts: Sequence[str]) -> list[str]:
  """Returns the prompts that are not in `texts`, each once.

  If there would be too many to keep, `texts` is emptied first.
  """
  asked = list(dict.fromkeys(prompts))
  new = [prompt for prompt in asked if prompt not in texts]
  if new and len(texts) + len(new) > _MOST_KEPT:
    texts.clear()
    return asked
  return new
