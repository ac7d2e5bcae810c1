"""Public functions refuse what is of another kind, in a sentence, before any work."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import ltx_jax
from ltx_jax.pipeline.recipes import Recipe
from ltx_jax.text.prompts import load_tokenizer
from tests import pipeline_case as case
from tests.policies import QUICK

VAE = case.config().vae
WORDLESS = ltx_jax.LTXVideo(case.config(), {}, QUICK)


def request(*prompts, **changes):
  size = {"size": (5, 32, 40)}
  return Recipe().request(VAE, prompts, **(size | changes))


@pytest.mark.parametrize(
  "call, message",
  [
    (lambda: ltx_jax.load(None), "The model is None; give the name of a preset"),
    (lambda: ltx_jax.load(""), "The model is ''; give"),
    (lambda: ltx_jax.load("a\0b"), "The model is 'a.x00b'; give"),
    (lambda: ltx_jax.load("moving-shapes", mesh=8), "mesh is 8; give what"),
    (lambda: ltx_jax.load("moving-shapes", text_encoder=True), "text_encoder is True"),
    (lambda: ltx_jax.load("moving-shapes", dtype=jnp.int8), "dtype is "),
    (
      lambda: ltx_jax.load("moving-shapes", text_encoder=False, loras="a.safetensors"),
      "loras is 'a.safetensors'; give a list of files with their strengths",
    ),
    (lambda: ltx_jax.load_upscaler(2), "The upscaler is 2; give one of"),
    (lambda: ltx_jax.save("a", "b.safetensors"), "The model to save is 'a'; give"),
    (lambda: ltx_jax.save(WORDLESS, ""), "The path to save to is ''; give"),
    (lambda: ltx_jax.save(WORDLESS, "a.ckpt"), "a.ckpt; a single file is a .safetens"),
    (lambda: ltx_jax.Condition("a.png", strength="1"), "strength of a condition is 1;"),
    (lambda: ltx_jax.Condition("a.png", frame=1.5), "frame 1.5; give a whole number"),
    (lambda: ltx_jax.Condition("a.png", crf="low"), "crf of a condition is low"),
    (lambda: ltx_jax.Sampling(decode_sigma="low"), "decode_sigma is low; it must lie"),
    (
      lambda: ltx_jax.Sampling(guidance="high"),
      "guidance is high; it must be at least",
    ),
    (lambda: ltx_jax.Sampling(sigmas=0.5), "sigmas is 0.5; give noise levels"),
    (lambda: ltx_jax.Sampling(sigmas=()), "sigmas is .*; give noise levels"),
    (lambda: ltx_jax.Sampling(stg_blocks="19"), "stg_blocks is '19'; give a tuple"),
    (lambda: ltx_jax.TwoPasses(None, None), "A pass is None; give an ltx_jax.Sampling"),
    (lambda: ltx_jax.LongVideo("a", 9), "The model is 'a'; give what ltx_jax.load"),
    (lambda: ltx_jax.MultiScale(WORDLESS, "a"), "The upscaler is 'a'; give what"),
    (lambda: request(None), "The prompt is None; give a text"),
    (lambda: request([1]), "The prompt is .1.; give a text"),
    (lambda: request({"prompt": "a"}), "The prompt is {'prompt': 'a'}; give a text"),
    (lambda: request(np.zeros((2, 3))), r"an array of shape \(2, 3\)"),
    (lambda: request("a", negative_prompt=["b"]), "negative_prompt is .'b'.; give one"),
    (lambda: request("a", fps="fast"), "fps is 'fast'; it must be at least"),
    (lambda: request("a", conditions=["a.png"]), "A condition is 'a.png'; give an ltx"),
    (lambda: request("a", size=("5", 32, 40)), "frames is '5'; it must be"),
    (lambda: WORDLESS.generate("a", sampling=3), "sampling is 3; give an ltx_jax.Samp"),
    (lambda: WORDLESS.encode(np.zeros((5, 8, 8, 3), "f4")), "The video is an array of"),
    (lambda: WORDLESS.decode([1]), "latents is .1.; give latents as .b f h w 6."),
  ],
)
def test_what_is_of_another_kind_is_refused_in_a_sentence(unchecked, call, message):
  with pytest.raises(ValueError, match=message) as error:
    call()
  assert "<class" not in str(error.value) and "\n" not in str(error.value)


def test_a_callback_is_a_function(unchecked):
  with pytest.raises(ValueError, match="on_step is 3; give a function"):
    WORDLESS.generate("a", width=40, height=32, frames=5, on_step=3)


def test_a_model_without_a_network_makes_no_video(unchecked):
  for part in ("transformer", "vae"):
    config = dataclasses.replace(case.config(), **{part: None})
    model = ltx_jax.LTXVideo(config, {}, QUICK)
    with pytest.raises(ValueError, match=f"This model has no {part}; load a checkp"):
      model.generate("a", width=40, height=32, frames=5)


def test_a_tokenizer_of_zeros_is_refused_without_advice_on_packages(tmp_path):
  (tmp_path / "spiece.model").write_bytes(bytes(900))
  with pytest.raises(
    ValueError, match="spiece.model is no model of SentencePiece; copy"
  ):
    load_tokenizer(tmp_path)
