"""Two judges of one clip, and a decoder in place of the model's own."""

import types

import numpy as np
import pytest

from ltx_jax.config import ModelConfig, SchedulerConfig
from ltx_jax.moving_shapes import world
from ltx_jax.pipeline.model import LTXVideo
from ltx_jax.releases import loading
from train.harness import judging

SQUARE = "a small white square moving left on a black background"


def test_a_clip_that_is_right_has_nothing_to_say():
  found = judging.verdict(world.clip(SQUARE, 0, 3, 128, 128), SQUARE)
  assert set(found["right"].values()) == {True} and len(found["right"]) == 6
  assert found["wrong"] == ""
  assert found["sharpness"]["square"] > 0.9 > 0.1 > found["sharpness"]["triangle"]


def test_the_judges_may_disagree():
  """Corners of this radius are a square's by its area, and too round by themselves."""
  found = judging.verdict(world.clip(SQUARE, 0, 3, 128, 128, 0.6), SQUARE)
  assert found["wrong"] == "shape by its corners circle"
  assert found["right"]["shape"] and not found["right"][judging.BY_CORNERS]


def test_a_clip_of_nothing_is_wrong_by_both():
  empty = np.full((3, 64, 64, 3), (15, 20, 70), np.uint8)
  wrong = judging.verdict(empty, SQUARE)["wrong"].split(", ")
  assert "shape unclear" in wrong and "shape by its corners unclear" in wrong


def test_only_the_making_of_a_video_is_timed(monkeypatch):
  times = iter([0.0, 3.0, 10.0, 14.0, 20.0])
  clock = types.SimpleNamespace(monotonic=lambda: next(times))
  monkeypatch.setattr(judging, "time", clock)
  seconds = []
  assert list(judging.timed(iter("ab"), seconds)) == ["a", "b"]
  assert seconds == [3.0, 4.0]


def _model(**vae):
  """A model whose networks are one number for each part."""
  parts = {"encoder": 1, "decoder": 2, "per_channel_statistics": 3} | vae
  arrays = {part: {"kernel": np.full(2, value)} for part, value in parts.items()}
  config = ModelConfig(transformer=None, vae=None, scheduler=SchedulerConfig())
  return LTXVideo(config, {"transformer": {}, "vae": arrays}, policy=None)


def test_another_decoder_takes_the_place_of_the_model_s(monkeypatch):
  model, other = _model(), _model(decoder=5)
  monkeypatch.setattr(loading, "load_vae", {"vae.safetensors": other}.__getitem__)
  found = judging.with_vae(model, "vae.safetensors")
  assert found.params["vae"] is other.params["vae"]
  assert found.params["transformer"] is model.params["transformer"]


@pytest.mark.parametrize("part", ["encoder", "per_channel_statistics", "another"])
def test_a_vae_with_other_latents_is_refused(monkeypatch, part):
  for mine, theirs in (
    (_model(), _model(**{part: 7})),
    (_model(**{part: 7}), _model()),
  ):
    monkeypatch.setattr(loading, "load_vae", {"vae.safetensors": theirs}.__getitem__)
    with pytest.raises(ValueError, match="vae.safetensors has another encoder than"):
      judging.with_vae(mine, "vae.safetensors")
