"""The text encoder in memory only while it encodes.

T5-XXL is larger than the 2B transformer and runs once a prompt. Here it is read when a
prompt comes that nobody encoded before, and freed again with the last one; texts that
are on disk (`text.cache`) need it not at all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from ltx_jax import programs
from ltx_jax.config import TextEncoderConfig
from ltx_jax.errors import memory_in_words
from ltx_jax.platforms import Policy
from ltx_jax.text.cache import TextCache
from ltx_jax.text.prompts import Tokenizer, tokenize
from ltx_jax.typing import EncodedText, Params

Texts = dict[str, EncodedText]
"""Texts [1 m e] and masks [1 m], by prompt."""


_MOST_KEPT = 256


def missing(texts: Texts, prompts: Sequence[str]) -> list[str]:
  """Returns which prompts are not among `texts`, each once.

  Where all of them would be too many to keep, `texts` is emptied first.
  """
  asked = list(dict.fromkeys(prompts))
  new = [prompt for prompt in asked if prompt not in texts]
  if new and len(texts) + len(new) > _MOST_KEPT:
    texts.clear()
    return asked
  return new


def encode_each(
  params: Params,
  config: TextEncoderConfig,
  policy: Policy,
  tokenizer: Tokenizer,
  prompts: Sequence[str],
) -> Texts:
  """Encodes prompts one by one, so that none depends on those beside it."""
  program = programs.encode_text(config, policy)
  texts = {}
  for prompt in prompts:
    tokens, mask = tokenize(tokenizer, [prompt], config.max_text_tokens)
    texts[prompt] = program(params, tokens, mask), jnp.asarray(mask)
  return texts


@dataclasses.dataclass(frozen=True, eq=False)
class TextOnDemand:
  """A text encoder that is read when it is needed.

  Attributes:
    config: Its config.
    policy: Compute dtype.
    tokenizer: Belongs to it.
    load: Reads its parameters.
    cache: Texts on disk; None for none.
  """

  config: TextEncoderConfig
  policy: Policy
  tokenizer: Tokenizer
  load: Callable[[], Params]
  cache: TextCache | None = None

  def encode(self, prompts: Sequence[str]) -> Texts:
    """Returns the texts of prompts, and frees the encoder if it was read.

    Raises:
      ValueError: where the encoder cannot be read, or its memory is not there.
    """
    texts = {} if self.cache is None else self._kept(prompts)
    if new := [prompt for prompt in dict.fromkeys(prompts) if prompt not in texts]:
      remedy = "take it in 8 bits, or give load(prompts=), which encodes them first"
      with memory_in_words("the text encoder", remedy):
        how = self.config, self.policy, self.tokenizer
        # Waited for, so that the encoder is not in memory beside what is loaded next.
        texts |= jax.block_until_ready(encode_each(self.load(), *how, new))
    if self.cache is not None:
      for prompt in new:
        self.cache.write(prompt, *texts[prompt])
    return texts

  def _kept(self, prompts: Sequence[str]) -> Texts:
    found = {prompt: self.cache.read(prompt) for prompt in dict.fromkeys(prompts)}
    return {prompt: text for prompt, text in found.items() if text is not None}
