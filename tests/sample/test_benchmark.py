"""The benchmark's driver and our side of it, on tiny networks."""

import dataclasses
import io
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console

from ltx_jax.checkpoints import keys
from ltx_jax.config import Block, TransformerConfig, VAEConfig
from ltx_jax.diffusion.sampling import Sampling
from sample.benchmark import __main__ as benchmark
from sample.benchmark import comparison, ours, report, tasks, worker

TRANSFORMER = TransformerConfig(
  num_attention_heads=2,
  attention_head_dim=12,
  num_layers=2,
  in_channels=6,
  out_channels=6,
  cross_attention_dim=24,
  caption_channels=10,
)
VAE = VAEConfig(
  latent_channels=6,
  encoder_base_channels=8,
  decoder_base_channels=8,
  encoder_blocks=(Block("res_x", 1), Block("compress_all_res", multiplier=2)),
  decoder_blocks=(
    Block("res_x", 1),
    Block("compress_all", multiplier=2, residual=True),
  ),
)
TRANSFORMER_OF_128 = dataclasses.replace(TRANSFORMER, in_channels=128, out_channels=128)
VIDEO = (5, 16, 24)
PYTHON = Path(sys.executable)


def generation(folder):
  path = tasks.random_checkpoint(folder / "model.safetensors", TRANSFORMER, VAE)
  size = {"frames": 5, "height": 16, "width": 24, "sampling": Sampling(steps=2)}
  return tasks.generate(path, text_tokens=7, **size)


@pytest.mark.slow
def test_driver_times_both_sides_in_turn(tmp_path):
  task = tasks.velocity(TRANSFORMER, tokens=9, text_tokens=5)
  options = benchmark.Options(threads=1)
  mine = comparison.sides_of(options)[0]
  # We stand in for the original, which the test suite does without.
  result = comparison.measure(task, [mine, mine], repeats=3, threads=1)
  for side in (result["ours"], result["theirs"]):
    assert len(side["seconds"]) == 3
    assert 0 < side["fastest"] <= side["median"] < side["warm_up"]
    assert 0 < side["compile"] < side["warm_up"]
    assert side["peak"] > 50e6 and side["rate"] > 1e8
    assert side["share"] == task.flops / side["median"] / side["rate"]
  ratio = result["ours"]["median"] / result["theirs"]["median"]
  assert result["ratio"] == ratio and result["target"] == 0.5
  assert json.loads(json.dumps(result)) == result

  console = Console(file=io.StringIO(), width=200)
  console.print(report.table([result], "ltx-video", threads=1))
  row = next(r for r in console.file.getvalue().splitlines() if "velocity" in r)
  assert f" {ratio:.2f} " in row and " <= 0.5 " in row and " <= 1.1 " in row


def test_a_failing_worker_is_one_sentence():
  task = tasks.velocity(TRANSFORMER)
  broken = comparison.Side(
    "theirs", (sys.executable, "-c", "raise KeyError('weights')")
  )
  with pytest.raises(ValueError, match="theirs ended in 'velocity' .*'weights'"):
    comparison.measure(task, [broken, broken], repeats=1, threads=1)


@pytest.mark.parametrize(
  "kind",
  [
    "velocity",
    "encode",
    "decode",
    pytest.param("training", marks=pytest.mark.slow),
    "generate",
  ],
)
def test_every_task_runs_here(kind, tmp_path):
  made = {
    "velocity": lambda: tasks.velocity(TRANSFORMER, 9, 5),
    "encode": lambda: tasks.encode(VAE, VIDEO),
    "decode": lambda: tasks.decode(VAE, VIDEO),
    "training": lambda: tasks.training(TRANSFORMER, 2, 8, 5),
    "generate": lambda: generation(tmp_path),
  }
  task = made[kind]()
  run, times = ours.build(json.loads(json.dumps(task.spec)))
  out = np.asarray(run())
  grid = VAE.latent_shape(*VIDEO)
  shapes = {
    "velocity": (1, 9, 6),
    "encode": (1, *grid, 6),
    "decode": (1, *VIDEO, 3),
    "training": (),
    "generate": (1, *VIDEO, 3),
  }
  assert out.shape == shapes[kind]
  assert np.isfinite(out).all() and np.any(out)
  assert 0 < times["compile"] < times["warm_up"]


def test_stages_add_up_to_the_run(tmp_path):
  run, times = ours.build(json.loads(json.dumps(generation(tmp_path).spec)))
  lines, answers = io.StringIO("{}\nrun\nend\n"), []
  worker.serve(
    lambda spec: (run, times), lambda size: lambda: None, lines, answers.append
  )
  stages = answers[1]["stages"]
  assert set(stages) == {"denoise", "decode"} and min(stages.values()) > 0
  assert abs(sum(stages.values()) - answers[1]["seconds"]) < 0.01
  assert times["versions"] == {"jax": jax.__version__}


def test_rows_to_paste_say_what_was_measured_and_with_what():
  side = {"median": 1.234, "stages": {"denoise": 1.0, "decode": 0.234}}
  found = {
    "task": "generate",
    "ours": side | {"versions": {"jax": "1.2"}},
    "theirs": side | {"versions": {"torch": "2.3", "diffusers": "0.4"}},
    "ratio": 0.987,
    "memory_ratio": None,
  }
  head, line, row = report.markdown([found], "diffusers", 2)
  assert head.count("|") == line.count("|") == row.count("|")
  for text in (
    "generate, against diffusers",
    f"{report.machine()}, 2 CPUs, float32",
    "1.23 s (denoise 1.00, decode 0.23); jax 1.2",
    "torch 2.3, diffusers 0.4",
    "0.99",
  ):
    assert text in row


def test_diffusers_is_given_whole_videos_from_a_folder(tmp_path, monkeypatch):
  path = tasks.random_checkpoint(
    tmp_path / "m.safetensors",
    dataclasses.replace(tasks.EXPRESSIBLE_TRANSFORMER, num_layers=1),
    tasks.EXPRESSIBLE_VAE,
  )
  spec = tasks.for_diffusers(path, tmp_path / "folder").spec
  assert spec["kind"] == "generate" and spec["path"] == str(path)
  parts = {part.name for part in Path(spec["folder"]).iterdir() if part.is_dir()}
  assert parts == {"scheduler", "transformer", "vae"}
  assert benchmark.chosen(None, "diffusers") == ["generate"]
  with pytest.raises(
    ValueError, match="diffusers is not timed for 'decode'; it is for"
  ):
    benchmark.chosen("decode", "diffusers")
  sides = comparison.sides_of(benchmark.Options(against="diffusers"))
  assert "sample.benchmark.theirs_diffusers" in sides[1].command


def test_random_weights_are_there_once():
  entries = keys.vae_entries(VAE)
  params = ours.random_params(entries, 0.02, skip="decoder/")
  assert set(params) == {"encoder", "per_channel_statistics"}
  assert (params["per_channel_statistics"]["std"] == 1).all()
  kernel = params["encoder"]["down_blocks_0"]["res_blocks"]["conv1"]["kernel"]
  assert abs(kernel.std() - 0.02) < 1e-3 and abs(kernel.mean()) < 1e-3
  placed = jax.device_put(kernel, jax.devices("cpu")[0])
  assert placed.unsafe_buffer_pointer() == kernel.ctypes.data


def test_worker_says_what_was_measured():
  lines = io.StringIO('{"kind": "none"}\nrun\nrun\nend\n')
  runs, answers = [], []
  worker.serve(
    lambda spec: (lambda: runs.append(spec), {"warm_up": 0.5}),
    lambda size: lambda: np.ones((8, 8)) @ np.ones((8, 8)),
    lines,
    answers.append,
  )
  assert runs == [{"kind": "none"}] * 2
  assert answers[0]["warm_up"] == 0.5 and "build" in answers[0]
  assert [set(a) for a in answers[1:]] == [{"seconds"}, {"seconds"}, {"peak", "rate"}]


def run_main(monkeypatch, *arguments):
  monkeypatch.setattr(sys, "argv", ["benchmark", *arguments])
  with pytest.raises(SystemExit) as end:
    benchmark.shared.run(benchmark.main)
  return end.value.code


def test_without_the_original_it_says_so(monkeypatch, capsys):
  needed = {"ltx-video": ("json", "no_such_package")}
  monkeypatch.setattr(benchmark, "NEEDED", needed)
  assert run_main(monkeypatch, "--tasks", "velocity") == 2
  said = capsys.readouterr().err
  assert "lacks no_such_package" in said and "--against-python" in said
  assert len(said.splitlines()) == 1


def test_bad_options_are_one_sentence(monkeypatch, capsys):
  for option, value, message in (
    ("--tasks", "velocty", "did you mean velocity?"),
    ("--against", "diffuser", "--against"),
    ("--repeats", "0", "--repeats is 0"),
    ("--repeats", "some", "--repeats"),
    ("--against-python", "/no/python", "/no/python"),
    ("--taks", "velocity", "Unknown option --taks; did you mean --tasks?"),
  ):
    assert run_main(monkeypatch, option, value) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1


def test_too_little_memory_is_said_before(monkeypatch):
  monkeypatch.setattr(comparison.memory, "free_memory", lambda: 10**9)
  side = comparison.Side("ours", ("false",))
  task = dataclasses.replace(tasks.velocity(TRANSFORMER), parameters=10**9)
  with pytest.raises(ValueError, match=r"about 10\.1 GB .* 1\.0 GB are free"):
    comparison.measure(task, [side, side], repeats=1, threads=1)


def test_json_holds_all_figures(monkeypatch, capsys):
  monkeypatch.setattr(benchmark, "check_installed", lambda *_: None)
  found = {"task": "decode", "ratio": 0.9}
  monkeypatch.setattr(comparison, "measure", lambda *_: found)
  arguments = ["benchmark", "--tasks", "decode", "--json"]
  monkeypatch.setattr(sys, "argv", arguments)
  benchmark.main()
  assert json.loads(capsys.readouterr().out) == {"threads": 2, "results": [found]}
