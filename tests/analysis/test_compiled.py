"""Stages of sampling compiled from shapes, and what is read of them."""

import types

import jax
import pytest

from ltx_jax.analysis import compiled, devices, flops, stages
from ltx_jax.sizes import Canvas
from tests import pipeline_case as case
from tests.policies import QUICK

TARGET = devices.Target("test", QUICK, flops=1e9, bandwidth=2e9, memory=10**9)


def run(branches=3, clips=2, size=(9, 64, 64)):
  config = case.config()
  return stages.Run(
    config=config,
    policy=QUICK,
    device=jax.devices()[0],
    canvas=Canvas.of(config.vae, *size),
    branches=branches,
    clips=clips,
  )


@pytest.fixture(scope="module")
def denoise():
  stage = stages.denoise(run())
  return stage, compiled.compile_stage(stage, TARGET)


def test_a_step_does_what_its_mathematics_takes_and_no_more(denoise):
  stage, report = denoise
  rows, n = 2 * 3, stage.tokens
  assert stage.minimum == rows * flops.denoise(case.TRANSFORMER, n, 256)
  assert report.flops == pytest.approx(stage.minimum, rel=0.02)
  assert report.ratio == report.flops / report.minimum
  assert report.unknown_trips == 0


def test_memory_is_the_compilers_and_what_it_does_not_read_stands_apart(denoise):
  stage, report = denoise
  read = stage.compile().memory_analysis()
  assert report.arguments == read.argument_size_in_bytes
  assert report.temporaries == read.temp_size_in_bytes
  # Keys and values of the text are given: what projects them is not read.
  d, e = case.TRANSFORMER.width, case.TRANSFORMER.caption_channels
  layers = case.TRANSFORMER.num_layers
  unread = e * d + d * d + 2 * d + layers * (2 * d * d + 3 * d)
  assert report.unread == 4 * unread


def test_the_estimate_is_the_larger_of_the_two_times(denoise):
  report = denoise[1]
  assert report.moved / 2e9 > report.flops / 1e9 / 10
  assert report.estimate == max(report.flops / 1e9, report.moved / 2e9)


def test_logits_in_memory_are_found(denoise):
  # No fused kernel here, and so few tokens that no chunk is made.
  stage, report = denoise
  assert report.attention == ()
  assert any(f"{stage.tokens}, {stage.tokens}" in shape for shape in report.squares)


@pytest.mark.parametrize(("branches", "texts"), [(1, 2), (2, 4), (3, 4)])
def test_branches_are_rows_of_the_step(branches, texts):
  stage = stages.denoise(run(branches))
  context, tokens, control, *_ = stage.arguments
  assert control.guidance.count == branches
  assert context.text.keys.shape[1] == texts
  assert tokens.shape == (2, stage.tokens, case.TRANSFORMER.in_channels)


def test_stages_follow_one_another_and_tiles_come_in_two_programs():
  made = list(stages.stages(run(), stages.STAGES, 10**5))
  tiled = ["tiled decode, before", "tiled decode, tiles"]
  assert [stage.name for stage in made] == ["text", "keys", "denoise", "decode", *tiled]
  whole, head, tail = (stage.minimum for stage in made[3:])
  assert head + tail == whole
  with pytest.raises(ValueError, match="there is nothing to tile"):
    list(stages.stages(run(), ("tiled",), 10**12))


def test_a_missing_compiler_is_named_with_its_command(monkeypatch):
  monkeypatch.setattr(
    devices,
    "importlib",
    types.SimpleNamespace(util=types.SimpleNamespace(find_spec=lambda _: None)),
  )
  for name, words in (
    ("h100", r"jax\[cuda12\]==.* \(5.5 GB\)"),
    ("v5e", r"jax\[tpu\]"),
  ):
    with pytest.raises(ValueError, match=f"compile for {name} takes its.*{words}"):
      devices.device_of(devices.TARGETS[name])
