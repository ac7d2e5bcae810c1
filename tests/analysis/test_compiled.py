"""Stages of sampling compiled from shapes, and the figures read from them."""

import dataclasses
import types

import jax
import numpy as np
import pytest

from ltx_jax import programs
from ltx_jax.analysis import compiled, devices, stages
from ltx_jax.parallel import sharding
from ltx_jax.parallel.mesh import make_mesh
from ltx_jax.parallel.sharding import TRANSFORMER_RULES as RULES
from ltx_jax.planning import flops
from ltx_jax.sizes import Canvas
from tests import pipeline_case as case
from tests.policies import QUICK

TARGET = devices.Target("test", QUICK, 1e9, 2e9, wire=1e7, memory=10**9)


def run(branches=3, clips=2, size=(9, 64, 64), mesh=None):
  config = case.config()
  return stages.SamplingRun(
    config=config,
    policy=dataclasses.replace(QUICK, mesh=mesh),
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
  assert report.arguments < report.in_use <= report.peak
  # Keys and values of the text are arguments, so their projection is not read.
  d, e = case.TRANSFORMER.width, case.TRANSFORMER.caption_channels
  layers = case.TRANSFORMER.num_layers
  unread = e * d + d * d + 2 * d + layers * (2 * d * d + 3 * d)
  assert report.unread == 4 * unread


def test_the_estimate_is_the_larger_of_two_times_where_nothing_is_sent(denoise):
  report = denoise[1]
  assert report.moved / 2e9 > report.flops / 1e9 / 10
  assert report.estimate == max(report.flops / 1e9, report.moved / 2e9)
  assert report.wire == 0 and report.sent == ()


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


@pytest.mark.slow
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
    with pytest.raises(ValueError, match=f"{name} is not installed.*{words}"):
      devices.devices_of(devices.TARGETS[name])


@pytest.fixture(scope="module")
def split():
  """A step with its weights, its tokens and its branches split."""
  stage = stages.denoise(run(mesh=make_mesh(fsdp=2, context=2, data=2)))
  return stage, compiled.compile_stage(stage, TARGET)


def test_figures_of_several_devices_are_those_of_one(denoise, split):
  whole, report = denoise[1], split[1]
  assert split[0].minimum == denoise[0].minimum // 8
  # Embeddings of noise levels are everyone's work.
  assert report.ratio == pytest.approx(1, abs=0.05)
  assert report.flops < whole.flops / 7
  weights = denoise[0].arguments[0].params
  kernels = compiled.device_bytes(weights["blocks"]["attn1"]["to_q"]["kernel"])
  own = split[0].arguments[0].params["blocks"]["attn1"]["to_q"]["kernel"]
  assert compiled.device_bytes(own) == kernels / 2
  assert 0.5 < report.unread / whole.unread < 0.6  # Biases are whole.


def test_what_devices_send_is_listed_by_kind_and_loop(split):
  stage, report = split
  rows, n, width = 6, stage.tokens, case.TRANSFORMER.width
  layers = case.TRANSFORMER.num_layers
  assert stage.queries == n / 4
  looped = {each.kind: each for each in report.sent if each.times == layers}
  # Keys and values of three rows at four times a device's own tokens: it sends 3 of 4.
  keys_values = 2 * 4 * (rows // 2) * n * width * 3 / 4
  assert looped["all-gather"].wire_bytes > layers * keys_values
  assert report.wire == sum(each.wire_bytes for each in report.sent)
  assert report.wire_seconds == report.wire / 1e7
  times = report.flops / 1e9, report.moved / 2e9, report.wire_seconds
  assert report.estimate == max(times) == report.wire_seconds
  assert report.as_dict()["sent"][0].keys() == {"kind", "count", "times", "wire_bytes"}


def test_arguments_are_split_as_they_come_from_the_programs_before():
  made = run(mesh=make_mesh(fsdp=2, context=2, tensor=2))
  mesh, config = made.policy.mesh, made.config.transformer
  (params, state, tables), x, *_ = stages.denoise(made).arguments

  def there(tree):
    return jax.tree.map(
      lambda leaf: jax.device_put(np.zeros(leaf.shape, leaf.dtype), leaf.sharding), tree
    )

  texts = there(stages.keys(made).arguments)
  coords = np.zeros((1, x.shape[1], 3), np.float32)
  came = programs.text_state(config, made.policy)(*texts)
  turned = programs.positions(config, made.policy)(coords)
  same = jax.tree.map(
    lambda a, b: a.sharding.is_equivalent_to(b.sharding, b.ndim),
    (came, turned),
    (state, tables),
  )
  assert all(jax.tree.leaves(same))
  kernel = params["blocks"]["attn1"]["to_q"]["kernel"]
  rules = sharding.spec_for("blocks/attn1/to_q/kernel", kernel.shape, mesh, RULES)
  assert kernel.sharding.spec == rules
  assert state.keys.sharding.shard_shape(state.keys.shape)[2:] == (128, 12)
