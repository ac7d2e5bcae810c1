"""A small random model, whole, for the tests of this folder that need one."""

import dataclasses

import jax
import pytest

import ltx_jax
from ltx_jax.config import TextEncoderConfig
from ltx_jax.models import text_encoder
from ltx_jax.releases.presets import ASSETS
from ltx_jax.text.prompts import load_tokenizer
from tests import pipeline_case as case
from tests.policies import QUICK


@pytest.fixture(scope="module")
def model():
  """With a random T5 encoder and the tokenizer of the moving shapes."""
  tokenizer = load_tokenizer(ASSETS / "moving_shapes" / "tokenizer")
  config = TextEncoderConfig(
    vocab_size=len(tokenizer), d_model=10, d_kv=4, d_ff=12, num_layers=1, num_heads=2
  )
  params = case.params() | {
    "text_encoder": text_encoder.init(config, jax.random.key(1))
  }
  whole = dataclasses.replace(case.config(), text_encoder=config)
  return ltx_jax.LTXVideo(whole, params, QUICK, tokenizer)
