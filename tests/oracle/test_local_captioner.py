"""Captions from a network in a folder: a tiny one, made here, that nothing trained."""

import io

import numpy as np
import pytest
from PIL import Image

from ltx_jax.curation.captions import caption
from ltx_jax.curation.clip import Clip
from ltx_jax.curation.local_captioner import LocalCaptioner
from ltx_jax.curation.replies import Cache, Captioner, Question, Stills

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

WORDS = (
  "<pad> <s> </s> <unk> <image> a woman walks along the street and turns .".split()
)
TEMPLATE = (
  "{% for message in messages %}{% for part in message.content %}"
  "{% if part.type == 'image' %}<image> {% else %}{{ part.text }}{% endif %}"
  "{% endfor %}{% endfor %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A LLaVA of two layers, with a tokenizer of a few words."""
  from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
  )

  path = tmp_path_factory.mktemp("network")
  vocabulary = {word: k for k, word in enumerate(WORDS)}
  words = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, "<unk>"))
  words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
  tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
  )
  tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
  size = {"height": 16, "width": 16}
  LlavaProcessor(
    CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=size),
    tokenizer,
    patch_size=8,
    vision_feature_select_strategy="default",
    num_additional_image_tokens=1,
    chat_template=TEMPLATE,
    image_token="<image>",
  ).save_pretrained(path)
  small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
  torch.manual_seed(0)
  network = LlavaForConditionalGeneration(
    LlavaConfig(
      vision_config=CLIPVisionConfig(
        **small, intermediate_size=16, image_size=16, patch_size=8
      ),
      text_config=LlamaConfig(**small, intermediate_size=16, vocab_size=len(WORDS)),
      image_token_index=WORDS.index("<image>"),
    )
  )
  network.generation_config.eos_token_id = WORDS.index("</s>")
  network.generation_config.pad_token_id = WORDS.index("<pad>")
  network.save_pretrained(path)
  return path


def stills(seed, count=2):
  images = []
  for k in range(count):
    pixels = np.random.default_rng([seed, k]).integers(0, 256, (24, 32, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg")
    images.append(file.getvalue())
  return Stills(tuple(images), tuple(float(k) for k in range(count)))


def test_replies_of_a_batch_are_those_of_each_alone(folder):
  ask = LocalCaptioner(folder, most_tokens=12)
  assert isinstance(ask, Captioner)
  questions = [
    Question(stills(k, 1 + k % 2), "a woman walks " * (1 + k)) for k in range(4)
  ]
  together = ask(questions)
  assert together == [reply for q in questions for reply in ask([q])]
  assert all(reply.finish in ("stop", "length") for reply in together)
  assert all(0 < reply.tokens <= 12 for reply in together if reply.finish == "length")
  assert ask.settings == LocalCaptioner(folder, most_tokens=12).settings
  assert ask.settings != LocalCaptioner(folder, most_tokens=13).settings


def test_clips_are_captioned_once(folder, tmp_path):
  clips = [
    Clip(f"c{k}", "a", 0, "a.mp4", 0.0, 4.0, 640, 360, 100, 25.0) for k in range(5)
  ]
  ask, told = LocalCaptioner(folder, batch=2, most_tokens=8), []

  def run():
    cache = Cache(tmp_path / "replies.jsonl")
    return list(
      caption(clips, lambda c: stills(int(c.id[1:])), ask, cache, progress=told.append)
    )

  first = run()
  # Nothing taught it to write a caption, so each is asked for twice and dropped.
  assert [c.id for c in first] == [c.id for c in clips]
  assert all(c.decision for c in first) and told[-1].asked == 10
  assert run() == first and told[-1].asked == 0


def test_a_folder_of_something_else_is_refused(tmp_path):
  (tmp_path / "config.json").write_text('{"model_type": "t5"}')
  with pytest.raises(ValueError, match="holds no network that describes images here"):
    LocalCaptioner(tmp_path)
