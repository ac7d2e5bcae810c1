"""The transformer's trainer with a given, frozen text encoder."""

import dataclasses
import functools
import shutil

import jax
import numpy as np
import pytest

from ltx_jax.checkpoints import t5
from ltx_jax.models import text_encoder
from ltx_jax.text.prompts import load_tokenizer
from tests.policies import QUICK
from tests.train import trainer_case as case
from tests.train.transformer_case import ASSETS, CAPTIONS, INIT, RUN
from train.harness import checks, model
from train.harness.captions import Captions
from train.trainers import transformer


@pytest.fixture
def frozen(tmp_path):
  """A run with a frozen text encoder, and its parameters."""
  params = jax.jit(lambda key: text_encoder.init(RUN.text, key))(jax.random.key(7))
  t5.save_t5(tmp_path / "text_encoder", RUN.text, jax.device_get(params))
  shutil.copytree(ASSETS / "tokenizer", tmp_path / "tokenizer")
  run = dataclasses.replace(RUN, text_encoder="frozen", text_folder=str(tmp_path))
  return run, params


def test_a_frozen_encoder_gives_the_text_of_a_trained_one(frozen, tmp_path):
  run, params = frozen
  prompts = [*CAPTIONS[:6], ""]
  folders = tmp_path / "text_encoder", tmp_path / "tokenizer"
  read = Captions.of_encoder(*folders, QUICK, tmp_path / "texts", captions=2)
  read.encode(prompts)
  encode = jax.jit(transformer.TEXT["trained"](RUN, QUICK))
  for prompt in prompts:
    tokens = read.tokens(prompt)[None]
    batch = {"tokens": tokens, "mask": np.ones(tokens.shape, bool)}
    expected, _ = encode({"text_encoder": params}, batch)
    found = np.asarray(read.text(prompt), np.float32)
    np.testing.assert_allclose(found, expected[0], atol=0.02)  # It is bfloat16.
  keep = transformer.TEXT["frozen"](run, QUICK)
  text = np.ones((1, 3, 16))
  assert keep({}, {"text": text, "mask": None})[0] is text
  state = jax.eval_shape(
    functools.partial(transformer.init_state, run), jax.random.key(0)
  )
  assert set(state.params) == set(state.ema) == {"transformer"}


def test_a_frozen_encoder_is_known_by_its_weights(frozen, tmp_path):
  _, params = frozen
  folders = tmp_path / "text_encoder", tmp_path / "tokenizer"

  def made_by():
    return Captions.of_encoder(*folders, QUICK, tmp_path / "texts").made_by

  first = made_by()
  assert made_by() == first
  bent = jax.tree.map(np.array, params)
  bent["shared"]["embedding"][2, 0] += 1e-3
  t5.save_t5(tmp_path / "text_encoder", RUN.text, bent)
  assert made_by() != first
  assert Captions.of_tokenizer(folders[1]).made_by not in (first, made_by())


def test_a_frozen_encoder_is_copied_as_it_is(frozen, tmp_path):
  run, _ = frozen
  start = jax.jit(INIT)(jax.random.key(0))
  params = {"transformer": start.params["transformer"]}
  run = case.in_folder(run, tmp_path / "out")
  folder = model.export(run, model.model_of(run, params, case.frozen_vae(), QUICK))
  for name in ("model.safetensors", "config.json"):
    one, other = (f / "text_encoder" / name for f in (tmp_path, folder))
    assert one.read_bytes() == other.read_bytes()
  assert load_tokenizer(folder / "tokenizer")


def test_networks_that_do_not_go_together_are_refused(frozen):
  run, _ = frozen
  wide = dataclasses.replace(RUN.transformer, caption_channels=32)
  for text in ("trained", "frozen"):
    other = dataclasses.replace(run, transformer=wide, text_encoder=text)
    message = f"caption_channels = 32, but the {text} text encoder makes d_model = 16"
    with pytest.raises(ValueError, match=message):
      checks.check_text(other)
  few = dataclasses.replace(RUN.text, vocab_size=50)
  with pytest.raises(ValueError, match="has 97 tokens.* only vocab_size = 50"):
    checks.check_text(dataclasses.replace(RUN, text=few))
