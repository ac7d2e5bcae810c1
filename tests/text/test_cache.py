"""Encoded prompts on disk, and the text encoder that is read when one is missing."""

import dataclasses
import gc
import shutil
import weakref

import jax
import ml_dtypes
import numpy as np
import pytest

import ltx_jax
from ltx_jax.checkpoints import lightricks, t5
from ltx_jax.checkpoints.lightricks import save_checkpoint
from ltx_jax.checkpoints.safetensors_io import open_safetensors
from ltx_jax.models.linear import SCALE
from ltx_jax.text.cache import TextCache, encoder_fingerprint
from ltx_jax.text.encoder import _MOST_KEPT, missing
from tests import pipeline_case as case
from tests.models.transformer_case import relative_error
from tests.releases.test_loading import copy_tokenizer, write_text_encoder

PROMPT, OTHER = "a small red circle", "a large blue square"


@pytest.fixture
def cache(tmp_path):
  return TextCache(tmp_path / "texts", {"encoder": "abc", "dtype": "bfloat16"}, 8)


@pytest.fixture
def text():
  """A text [1 8 4] of 3 tokens, its padding not 0, and its mask."""
  drawn = np.random.default_rng(0).standard_normal((1, 8, 4))
  return drawn.astype(ml_dtypes.bfloat16), np.arange(8)[None] < 3


def test_a_text_is_read_as_it_was_written_its_padding_zero(cache, text):
  assert cache.read(PROMPT) is None
  cache.write(PROMPT, *text)
  found, mask = cache.read(f"  {PROMPT}\n")  # As the tokenizer sees it.
  assert found.dtype == "bfloat16" and found.shape == (1, 8, 4)
  np.testing.assert_array_equal(found[:, :3], text[0][:, :3])
  assert not np.asarray(found[:, 3:], np.float32).any()
  np.testing.assert_array_equal(mask, text[1])
  (path,) = cache.folder.iterdir()
  with open_safetensors(path) as reader:
    assert reader.shape("text") == (3, 4)
    assert reader.metadata["prompt"] == PROMPT


def test_whatever_a_text_depends_on_makes_another_file(cache, text):
  cache.write(PROMPT, *text)
  assert cache.read(OTHER) is None
  for encoder, length in (
    ({"encoder": "abd", "dtype": "bfloat16"}, 8),
    ({"encoder": "abc", "dtype": "float32"}, 8),
    (cache.encoder, 9),
  ):
    assert TextCache(cache.folder, encoder, length).read(PROMPT) is None


def truncate(path):
  path.write_bytes(path.read_bytes()[:-5])


def exchange(path):
  """The file of another prompt under this one's name."""
  shutil.copy(path.parent / "other", path)


@pytest.mark.parametrize(
  "spoil", [truncate, exchange, lambda path: path.write_text("")]
)
def test_a_spoilt_file_is_passed_over_in_one_sentence(cache, text, spoil, caplog):
  cache.write(OTHER, *text)
  cache.path(OTHER).rename(cache.folder / "other")
  cache.write(PROMPT, *text)
  spoil(cache.path(PROMPT))
  assert cache.read(PROMPT) is None
  (said,) = caplog.messages
  assert str(cache.path(PROMPT)) in said and "encoded again" in said
  cache.write(PROMPT, *text)
  assert cache.read(PROMPT) is not None


def test_a_folder_that_cannot_be_written_to_stops_nothing(tmp_path, text, caplog):
  (tmp_path / "file").write_text("")
  TextCache(tmp_path / "file" / "texts", {}, 8).write(PROMPT, *text)
  assert "could not be kept" in caplog.text


def test_fingerprints_follow_content_not_place(tmp_path):
  first, second = tmp_path / "first", tmp_path / "second"
  drawn = np.random.default_rng(0)
  names = "encoder/model.safetensors", "encoder/config.json", "tokenizer/spiece.model"
  for name in names:
    (first / name).parent.mkdir(parents=True, exist_ok=True)
    (first / name).write_bytes(drawn.bytes(3 * 2**20))
  shutil.copytree(first, second)

  def of(folder):
    return encoder_fingerprint(folder / "encoder", folder / "tokenizer")

  assert of(first) == of(second)
  for name in names:
    content = np.fromfile(first / name, np.uint8)
    trained = content.copy()
    trained[2**20 :: 2048] ^= 1  # A weight here and there, none near the start.
    for other in (trained, content[:-1], np.append(content, np.uint8(0))):
      other.tofile(second / name)
      assert of(first) != of(second)
    content.tofile(second / name)
  assert of(first) == of(second)
  (second / "encoder" / "README.md").write_text("of no account")
  assert of(first) == of(second)


def test_texts_are_forgotten_when_they_are_too_many(text):
  texts, many = {"a": text, "b": text}, [str(i) for i in range(_MOST_KEPT)]
  assert missing(texts, ["c", "b", "c"]) == ["c"]
  assert missing(texts, ["a"]) == []
  assert missing(texts, ["b", *many]) == ["b", *many]
  assert texts == {}
  assert missing(dict.fromkeys(many, text), many) == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory, quick):
  folder = tmp_path_factory.mktemp("model")
  save_checkpoint(folder / "model.safetensors", case.config(), case.params())
  write_text_encoder(folder / "text_encoder")
  copy_tokenizer(folder / "tokenizer")
  return folder


@pytest.fixture
def reads(monkeypatch):
  """Lists the arrays that are read, in order, with a weak reference to one."""
  reads = []

  def watch(module, name):
    read = getattr(module, name)

    def watched(*arguments):
      config, params = read(*arguments)
      reads.append((name, weakref.ref(jax.tree.leaves(params)[0])))
      return config, params

    monkeypatch.setattr(module, name, watched)

  watch(t5, "load_t5")
  watch(lightricks, "load_checkpoint")
  return reads


def test_a_text_encoder_is_read_asked_and_freed(folder, reads):
  encoder = ltx_jax.load_text_encoder(folder)
  assert reads == []
  encoder.encode([PROMPT])
  gc.collect()
  assert reads[0][1]() is None
  model = ltx_jax.load(folder, text_encoder=encoder)
  assert [name for name, _ in reads] == ["load_t5", "load_checkpoint"]
  assert reads[1][1]() is not None
  assert set(model.params) == {"transformer", "vae"}
  whole = ltx_jax.load(folder)
  assert "text_encoder" in whole.params and len(reads) == 4
  for prompts, count in (([PROMPT], 4), ([PROMPT, OTHER], 5), ([OTHER], 5)):
    text, expected = model.encode_text(prompts), whole.encode_text(prompts)
    np.testing.assert_array_equal(text[0], expected[0])
    np.testing.assert_array_equal(text[1], expected[1])
    assert len(reads) == count  # One more read, for a prompt that was not encoded.


def test_cached_prompts_need_no_text_encoder(folder, tmp_path, reads, monkeypatch):
  cache = tmp_path / "cache"
  first = ltx_jax.load_text_encoder(folder, cache=cache)
  assert reads == []
  text, mask = first.encode([PROMPT, OTHER, PROMPT])
  assert [name for name, _ in reads] == ["load_t5"]
  assert len(list(cache.iterdir())) == 2

  def refuse(*_):
    raise AssertionError("The text encoder was read.")

  monkeypatch.setattr(t5, "load_t5", refuse)
  encoder = ltx_jax.load_text_encoder(folder, cache=cache)
  model = ltx_jax.load(folder, text_encoder=encoder)
  found, same = model.encode_text([PROMPT, OTHER, PROMPT])
  np.testing.assert_array_equal(same, mask)
  np.testing.assert_array_equal(found[mask], text[mask])
  with pytest.raises(AssertionError, match="was read"):
    model.encode_text(["a third one"])
  # In another precision, or with other weights, they are other texts.
  for change in ({"dtype": "bfloat16"}, {"weights": "int8"}):
    with pytest.raises(AssertionError, match="was read"):
      ltx_jax.load_text_encoder(folder, cache=cache, **change).encode([PROMPT])


def test_padding_from_the_cache_changes_no_velocity(folder, tmp_path):
  model, found = ltx_jax.load(folder, text_encoder=False), []
  for _ in range(2):  # By the encoder, and from the disk.
    encoder = ltx_jax.load_text_encoder(folder, cache=tmp_path / "c")
    found.append(encoder.encode([PROMPT, OTHER]))
  assert not np.array_equal(found[0][0], found[1][0])
  tokens = case.draws("tokens", (2, 3, case.TRANSFORMER.in_channels))
  clips = tokens, np.ones((2, 3, 3), np.float32)
  sigma = np.float32([0.9, 0.3])
  made = [model.velocity(*clips, *text, sigma) for text in found]
  np.testing.assert_array_equal(*made)


def test_the_encoder_in_8_bits_makes_nearly_the_same_text(folder, reads):
  prompts = [PROMPT, OTHER]
  text, mask = ltx_jax.load(folder).encode_text(prompts)
  eight = ltx_jax.load(folder, text_weights="int8")
  layer = eight.params["text_encoder"]["blocks"]["wo"]
  assert layer["kernel"].dtype == np.int8 and layer[SCALE].shape == (1, 10)
  assert "kernel_scale" not in eight.params["transformer"]["blocks"]["ff"]["proj_in"]
  found, _ = eight.encode_text(prompts)
  assert 1e-5 < relative_error(found[mask], text[mask]) < 0.02


def test_a_text_encoder_that_is_not_there_or_does_not_fit_is_refused(
  folder, tmp_path, reads
):
  alone = tmp_path / "alone.safetensors"
  alone.write_bytes((folder / "model.safetensors").read_bytes())
  with pytest.raises(
    ValueError, match="no text encoder next to .*alone.*; give its fo"
  ):
    ltx_jax.load_text_encoder(alone)
  encoder = ltx_jax.load_text_encoder(alone, folder=folder)
  with pytest.raises(ValueError, match="prompts are 'a small red circle'; give a list"):
    encoder.encode(PROMPT)
  wide = dataclasses.replace(encoder.config, d_model=8)
  with pytest.raises(ValueError, match="d_model = 8, but the transformer in .*alone"):
    ltx_jax.load(alone, text_encoder=dataclasses.replace(encoder, config=wide))
  assert reads == []
