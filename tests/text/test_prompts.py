import json
import pathlib
import shutil

import numpy as np
import pytest
import sentencepiece

import ltx_jax
from ltx_jax.moving_shapes import world
from ltx_jax.text import prompts as text

FOLDER = (
  pathlib.Path(ltx_jax.__file__).parent / "assets" / "moving_shapes" / "tokenizer"
)
PROMPTS = [
  "",
  "   ",
  "A large Red circle, moving left on a black background.",
  " a\tlarge\n red   circle ",
  "two zebras & 3 (shy) owls",
  "été ½ ﬁn 日本 🙂🙂 x",
  "a " * 40,
  "</s> <pad> <unk>",
]


@pytest.fixture(scope="module")
def tokenizer():
  return text.load_tokenizer(FOLDER)


def test_tokens_are_those_of_sentencepiece(tokenizer):
  processor = sentencepiece.SentencePieceProcessor(
    model_file=str(FOLDER / "spiece.model")
  )
  prompts = PROMPTS[:6] + world.captions()
  tokens, mask = text.tokenize(tokenizer, prompts, 32)
  assert (tokens.shape, tokens.dtype) == ((len(prompts), 32), np.int32)
  for prompt, row, real in zip(prompts, tokens, mask, strict=True):
    ids = processor.encode(prompt.strip()) + [processor.eos_id()]
    assert row.tolist() == ids + [0] * (32 - len(ids)), prompt
    assert real.tolist() == [i < len(ids) for i in range(32)], prompt


@pytest.mark.parametrize("max_tokens", [1, 7, 32, 256])
def test_tokens_are_those_of_transformers(tokenizer, max_tokens):
  reference = tokenizer(
    [prompt.strip() for prompt in PROMPTS],
    padding="max_length",
    truncation=True,
    max_length=max_tokens,
    return_tensors="np",
  )
  tokens, mask = text.tokenize(tokenizer, PROMPTS, max_tokens)
  np.testing.assert_array_equal(tokens, reference["input_ids"])
  np.testing.assert_array_equal(mask, reference["attention_mask"])


def test_captions_are_whole_words(tokenizer):
  tokens, mask = text.tokenize(tokenizer, world.captions())
  assert (mask.sum(axis=1) == 11).all()  # Ten words and the end of sequence.
  assert len(np.unique(tokens, axis=0)) == 768
  assert 2 not in tokens
  assert tokens.max() < len(tokenizer) == 97


def test_case_and_spacing_do_not_matter(tokenizer):
  tokens, _ = text.tokenize(tokenizer, ["a red circle", "  A\nRED   circle"])
  np.testing.assert_array_equal(tokens[0], tokens[1])


def test_unseen_words_are_spelt(tokenizer):
  tokens, mask = text.tokenize(tokenizer, ["zebras, 12!", "日本"])
  pieces = tokenizer.convert_ids_to_tokens(tokens[0][mask[0]])
  assert pieces == ["▁", *"zebras,", "▁", *"12!", "</s>"]
  assert tokens[1][mask[1]].tolist()[-2:] == [2, 1]


def test_cut_prompts_are_reported(tokenizer):
  note = text.truncation_note(tokenizer, PROMPTS, 32)
  assert note.startswith("Prompt 7 (41 tokens) is longer than the 32 tokens")
  note = text.truncation_note(tokenizer, PROMPTS[2:], 5)
  assert note.startswith("Prompts 1 (13 tokens), 3 (")
  assert text.truncation_note(tokenizer, world.captions()) is None
  assert text.truncation_note(tokenizer, ["a " * 255]) is None
  assert text.truncation_note(tokenizer, ["a " * 256]) is not None


def test_bad_calls_are_refused(tokenizer):
  with pytest.raises(ValueError, match="list of at least one string, not 'a red'"):
    text.tokenize(tokenizer, "a red")
  with pytest.raises(ValueError, match="list of at least one string"):
    text.tokenize(tokenizer, [])


# As diffusers saved T5-XXL's, and as nobody said.
@pytest.mark.parametrize("limit", [128, None])
def test_limit_of_a_tokenizer_is_not_asked(tmp_path, limit):
  folder = tmp_path / "tokenizer"
  shutil.copytree(FOLDER, folder)
  path = folder / "tokenizer_config.json"
  config = json.loads(path.read_text())
  config |= {"model_max_length": limit}
  path.write_text(json.dumps(config))
  tokenizer = text.load_tokenizer(folder)
  tokens, _ = text.tokenize(tokenizer, ["a " * 300, "a"])
  assert tokens.shape == (2, 256)
  assert tokens[0, -2:].tolist() == [tokens[0, 0], 1]
  assert text.truncation_note(tokenizer, ["a " * 255]) is None


def test_folders_without_a_tokenizer_are_refused(tmp_path):
  with pytest.raises(ValueError, match="found no such folder"):
    text.load_tokenizer(tmp_path / "none")
  with pytest.raises(ValueError, match="found a folder without them"):
    text.load_tokenizer(tmp_path)
  shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
  model = tmp_path / "spiece.model"
  model.write_bytes(model.read_bytes()[:1000])
  with pytest.raises(ValueError, match="could not be read"):
    text.load_tokenizer(tmp_path)
