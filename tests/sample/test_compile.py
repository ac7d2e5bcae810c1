"""The program that compiles for an accelerator: its flags, its table, its JSON."""

import dataclasses
import json

import jax
import pytest

from ltx_jax.analysis import devices, stages
from ltx_jax.cli import console
from ltx_jax.config import TextEncoderConfig
from sample import compile as program
from sample import compiling
from tests import pipeline_case as case

TEXT = TextEncoderConfig(
  vocab_size=32, d_model=10, d_kv=4, d_ff=12, num_layers=1, num_heads=2
)
SIZE = ("--size", "64x48", "--frames", "9")


@pytest.fixture
def compile_for(monkeypatch, capsys):
  """Runs the program on a small model; returns exit code, output and errors."""
  config = dataclasses.replace(case.config(), text_encoder=TEXT)
  cpu = devices.TARGETS["cpu"]
  policy = dataclasses.replace(cpu.policy, unroll=False)
  monkeypatch.setitem(devices.TARGETS, "cpu", dataclasses.replace(cpu, policy=policy))
  monkeypatch.setattr(compiling, "config_of", lambda name: config)
  monkeypatch.setattr(devices, "use_host_only", lambda: None)

  def run(*arguments):
    code = 0
    try:
      console.run(lambda: program.main(["--device", "cpu", *arguments]))
    except SystemExit as error:
      code = error.code
    return (code, *capsys.readouterr())

  return run


def test_a_table_and_json_say_the_same(compile_for):
  asked = (*SIZE, "--stages", "denoise", "--branches", "2")
  code, out, err = compile_for(*asked)
  assert (code, err) == (0, "")
  for words in ("denoise", "peak, GB", "N x N", "sent, GB", "estimate", "nothing was"):
    assert words in out
  code, out, _ = compile_for(*asked, "--json")
  found = json.loads(out)
  (stage,) = found["stages"]
  assert found["asked"]["branches"] == 2
  assert stage["stage"] == "denoise"
  assert stage["flops_over_minimum"] == pytest.approx(1, abs=0.02)
  assert stage["peak"] >= stage["arguments"] + stage["temporaries"]


def test_a_chips_share_is_what_a_mesh_gives(compile_for):
  asked = (*SIZE, "--stages", "denoise", "--branches", "2", "--mesh", "context=2")
  code, out, err = compile_for(*asked)
  assert (code, err) == (0, "")
  layers = case.TRANSFORMER.num_layers
  for words in ("(context=2), a chip's share", f"all-gather 2 x {layers}: 0.00"):
    assert words in out


def test_each_flag_changes_what_is_compiled(compile_for, monkeypatch):
  runs = []

  def recorded(run, names, memory):
    runs.append((run, names, memory))
    return iter(())

  monkeypatch.setattr(stages, "stages", recorded)
  compile_for(*SIZE)
  plain, names, memory = runs[-1]
  assert plain.canvas.used == (9, 48, 64) and plain.clips == 1
  assert (names, memory) == (stages.STAGES, None)
  for flags, read, expected in (
    (("--size", "80x48"), lambda run: run.canvas.used, (9, 48, 80)),
    (("--frames", "17"), lambda run: run.canvas.used, (17, 48, 64)),
    (("--branches", "3"), lambda run: run.branches, 3),
    (("--clips", "2"), lambda run: run.clips, 2),
    (("--mesh", "context=4"), lambda run: run.policy.mesh and run.policy.mesh.size, 4),
  ):
    compile_for(*SIZE, *flags)
    assert read(runs[-1][0]) == expected != read(plain)
  compile_for(*SIZE, "--stages", "tiled", "--decode-memory", "0.5")
  assert runs[-1][1:] == (("tiled",), 500_000_000)


def test_the_preset_and_the_device_decide(monkeypatch):
  monkeypatch.setattr(devices, "devices_of", lambda target: jax.devices())
  options = program.Options("t4", "ltxv-13b-0.9.8-dev")
  run = compiling.run_of(options)
  assert run.config.transformer.num_layers == 48
  assert (run.policy.dtype, run.policy.attention) == ("float16", "xla")
  other = compiling.run_of(program.Options("v5e", "moving-shapes"))
  assert other.config.transformer.num_layers != 48
  assert other.text_config.d_model != 4096
  assert other.policy.attention == "splash"


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (("--device", "cpu", "--preset", "ltxv-2b-0.9.6"), "did you mean 'ltxv-2b-0.9."),
    (("--device", "cpu", "--size", "768"), "--size is 768; give width and height"),
    (("--device", "a100"), "a100"),
    (("--device", "v5p-8"), "v5p-8 is 4 chips, but --mesh does not say"),
    (("--device", "cpu", "--mesh", "context=3"), "cannot be laid over 8 device(s)"),
    ((), "--device"),
  ],
)
def test_errors_are_sentences(arguments, message, monkeypatch, capsys):
  monkeypatch.setattr(devices, "use_host_only", lambda: None)
  with pytest.raises(SystemExit) as error:
    console.run(lambda: program.main(arguments))
  assert error.value.code == 2
  said = capsys.readouterr().err
  assert message in said and "Traceback" not in said


def test_all_stages_are_offered_and_compiled_by_default():
  assert program.Options("v5e").stages == stages.STAGES
