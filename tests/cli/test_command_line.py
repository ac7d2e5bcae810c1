"""Command lines of the trainers: overrides, errors in one sentence, help."""

import dataclasses
import re
import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro

import configs
from ltx_jax.cli import command_line
from ltx_jax.config import Block, VAEConfig
from ltx_jax.config.runs import Bucket, Stage, VAERun
from train.harness import recipe

CONFIG = '''"""A recipe for tests: two stages.

The second line.
"""

from tests.cli.test_command_line import make_run


def vae():
  return make_run()


def transformer():
  return "no run"
'''


def make_run():
  buckets = (Bucket(1, 32, 32), Bucket(9, 32, 32, weight=0.5))
  return VAERun(
    vae=VAEConfig(encoder_blocks=(Block("res_x", 2),)),
    stages=(Stage(100, buckets, 64), Stage(50, buckets[:1], 128)),
  )


@pytest.fixture(autouse=True)
def only_config(tmp_path, monkeypatch):
  """Makes a folder of configs with one recipe and one module that is not a recipe."""
  (tmp_path / "recipe.py").write_text(CONFIG)
  (tmp_path / "empty.py").write_text("")
  monkeypatch.setattr(configs, "__path__", [str(tmp_path)])
  for name in ("recipe", "empty"):
    monkeypatch.delitem(sys.modules, f"configs.{name}", raising=False)


def parse(*argv, function="vae"):
  run, dry = recipe.parse(VAERun, function, "Trains.\n\n  More.", list(argv))
  assert not dry
  return run


def test_a_dry_run_is_asked_for_beside_the_options():
  run, dry = recipe.parse(VAERun, "vae", "", ["recipe", "--dry-run", "--seed", "3"])
  assert dry and run.seed == 3


def refused(capsys, *argv, function="vae"):
  """Returns the one sentence a bad command line gives."""
  with pytest.raises(SystemExit) as end:
    parse(*argv, function=function)
  assert end.value.code == 2
  printed = capsys.readouterr()
  assert printed.out == ""
  (line,) = printed.err.splitlines()
  return line


def test_without_options_the_config_is_as_written():
  assert parse("recipe") == make_run()


def test_options_of_every_kind():
  run = parse(
    *("recipe", "--optimizer.learning-rate", "3e-4", "--optimizer.name=muon"),
    *("--loss.wavelet_ramp", "5", "9", "--vae.causal-decoder", "--mesh.data", "-1"),
    *("--vae.no-timestep-conditioning", "--output.folder", "a b", "--seed", "3"),
  )
  assert run.optimizer == dataclasses.replace(
    make_run().optimizer, learning_rate=3e-4, name="muon"
  )
  assert run.loss.wavelet_ramp == (5, 9)
  assert (run.vae.causal_decoder, run.vae.timestep_conditioning) == (True, False)
  assert (run.mesh.data, run.output.folder, run.seed) == (-1, "a b", 3)
  assert run.stages == make_run().stages
  assert run.vae.encoder_blocks == (Block("res_x", 2),)


def test_inputs_of_the_repository_are_found_from_any_folder(tmp_path, monkeypatch):
  (tmp_path / "elsewhere").mkdir()
  monkeypatch.chdir(tmp_path / "elsewhere")
  below = f"{tmp_path.name}/vae.safetensors"
  given = ("recipe", "--init-from", below)
  assert parse(*given).init_from == below  # It is missing, which its reader reports.
  (tmp_path / "vae.safetensors").touch()
  assert parse(*given).init_from == str(tmp_path / "vae.safetensors")
  here = tmp_path / "elsewhere" / below
  here.parent.mkdir()
  here.touch()
  assert parse(*given).init_from == below


@pytest.mark.parametrize(
  "steps, expected",
  [(30, [30]), (100, [100]), (120, [100, 20]), (150, [100, 50]), (400, [100, 300])],
)
def test_steps_cut_the_stages_or_lengthen_the_last(steps, expected):
  run = parse("recipe", "--steps", str(steps))
  assert [stage.steps for stage in run.stages] == expected
  assert run.steps == steps
  assert run.stages[0].buckets == make_run().stages[0].buckets


@pytest.mark.parametrize(
  "argv, message",
  [
    (["recipes"], "No recipe recipes defines vae() in configs/; did you mean recipe?"),
    (["configs/recipe.py"], "defines vae() in configs/; did you mean recipe?"),
    (["empty"], "No recipe empty defines vae() in configs/; nothing is named like it."),
    (["recipe", "--optimizer.learning-rat", "1"], "mean --optimizer.learning-rate?"),
    (["recipe", "--optimiser.b2=0.9"], "mean --optimizer.b2?"),
    (["recipe", "--warmup-steps", "9"], "did you mean --optimizer.warmup-steps?"),
    (["recipe", "--size", "9"], "Unknown option --size; "),
    (["recipe", "--xyz"], "Unknown option --xyz; nothing is named like it."),
    (["recipe", "--vae.encoder-blocks", "1"], "Unknown option --vae.encoder-blocks"),
    (["recipe", "--stages", "1"], "Unknown option --stages; did you mean --steps?"),
    (["recipe", "stray"], "Nothing takes stray; remove it"),
    (["recipe", "--seed"], "--seed needs a value."),
    (["recipe", "--seed", "one"], "--seed is one; it must be a whole number."),
    (
      ["recipe", "--dtype", "float16"],
      "--dtype is float16; it may be bfloat16 or float32. Did you mean bfloat16?",
    ),
    (["recipe", "—seed", "1"], "Unknown option —seed; did you mean --seed?"),
    (["recipe", "--SEED", "1"], "Unknown option --SEED; did you mean --seed?"),
    (["recipe", "--loss.wavelet-ramp", "1"], "--loss.wavelet-ramp needs 2 values."),
    (["recipe", "--loss.wavelet-ramp", "1", "x"], "is 1 x; it must be whole numbers."),
    (["recipe", "--steps", "0"], "--steps is 0; a run has at least 1."),
    (["recipe", "--vae.norm-layer", "batch"], "norm_layer = 'batch'; this code runs"),
  ],
)
def test_bad_command_lines_get_one_sentence(capsys, argv, message):
  assert message in refused(capsys, *argv)


def test_a_config_that_returns_something_else_is_refused(capsys):
  message = refused(capsys, "recipe", function="transformer")
  assert message == "configs/recipe.py: transformer() returns str, not VAERun."


def test_help_names_configs_and_options(capsys):
  with pytest.raises(SystemExit) as end:
    parse("--help")
  assert end.value.code == 0
  text = capsys.readouterr().out
  assert "python -m train.vae CONFIG [OPTIONS]" in text
  assert "A recipe for tests: two stages." in text
  with pytest.raises(SystemExit) as end:
    parse("recipe", "--help")
  assert end.value.code == 0
  text = capsys.readouterr().out
  assert "The second line." in text
  assert "Peak rate of AdamW. (default: 0.0001)" in text
  words = " ".join(text.split())
  assert "Number of steps of the whole run." in words and "(default: 150)" in text
  assert "follows a longer cosine" in words
  assert "encoder-blocks" not in text and "extra" not in text


def test_without_a_config_the_help_is_shown(capsys):
  with pytest.raises(SystemExit) as end:
    parse()
  assert end.value.code == 2
  assert "CONFIG is one of" in capsys.readouterr().out


class Broken(command_line.Ended):
  exit_code = 7


@pytest.mark.parametrize(
  "error, code",
  [
    (ValueError("a is 3;\n  take 4."), 2),
    (FileNotFoundError("no x"), 2),
    (OSError("a folder is full"), 2),
    (Broken(), 7),
  ],
)
def test_errors_in_words(capsys, error, code):
  with pytest.raises(SystemExit) as end, command_line.errors_in_words():
    raise error
  assert end.value.code == code
  expected = " ".join(str(error).split()) or "Broken()"
  assert capsys.readouterr().err == expected + "\n"


def test_a_path_without_end_is_not_printed_whole(capsys):
  path = "d/" * 3000
  for error in (
    ValueError(f"{path} is none."),
    OSError(36, "File name too long", path),
  ):
    with pytest.raises(SystemExit), command_line.errors_in_words():
      raise error
    assert len(capsys.readouterr().err) < 300


def test_errors_of_the_system_name_the_file(capsys, tmp_path):
  (tmp_path / "file").touch()
  for act, error, remedy in (
    (lambda: (tmp_path / "file").mkdir(), "File exists", "choose another name."),
    (lambda: (tmp_path / "file" / "a").touch(), "Not a directory", "that is one."),
    (
      lambda: (tmp_path / "none").open(),
      "No such file or directory",
      "check the path.",
    ),
  ):
    with pytest.raises(SystemExit) as end, command_line.errors_in_words():
      act()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Cannot read or write {tmp_path}/")
    assert f": {error}; " in line and line.endswith(remedy)


@dataclasses.dataclass(frozen=True)
class Draw:
  """What is drawn.

  Attributes:
    runs: Folders.
    file_name: Name of the picture.
    grid: Whether lines are drawn.
  """

  runs: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
  file_name: str = "a.png"
  grid: bool = True


@dataclasses.dataclass(frozen=True)
class Count:
  """What is counted."""

  up_to: int = 3


@dataclasses.dataclass(frozen=True)
class Named:
  """What must be given."""

  name: tyro.conf.Positional[str]
  kind: Literal["one", "two"]
  share: float | None = None
  file: Path | None = None


@dataclasses.dataclass(frozen=True)
class Shares:
  """What is shared."""

  shares: tuple[float, ...] = (1.0,)


def cli(*argv, options=Draw):
  return command_line.cli(options, list(argv), program="python -m p", about="Does it.")


def test_any_dataclass_is_a_command_line():
  assert cli() == Draw()
  assert cli("a", "--no-grid", "--file_name=b") == Draw(("a",), "b", False)
  assert cli("--", "-c") == Draw(("-c",))
  assert cli("count", "--up-to", "5", options=Draw | Count) == Count(5)


@pytest.mark.parametrize(
  "options, argv, message",
  [
    (Count, ["yes"], "Nothing takes yes; remove it, or see --help"),
    (Named, [], "are missing; --help shows what must be given."),
    (Named, ["a", "--kind", "one", "--file", ""], "--file is empty; give a path"),
    (Named, ["a", "--file="], "--file is empty; give a path, or leave it out."),
    (Named, ["a"], "--kind is missing; it may be one or two."),
    (
      Named,
      ["a", "--kind", "onee"],
      "--kind is onee; it may be one or two. Did you mean",
    ),
    (
      Named,
      ["a", "--kind", "one", "--share", "1%"],
      "--share is 1%; it must be a number.",
    ),
    (Draw, ["--file-nam", "b"], "Unknown option --file-nam; did you mean --file-name?"),
    (
      Shares,
      ["--shares", "1", "a red circle"],
      "--shares is 1 a red circle; it takes all words up to the next option",
    ),
    (Draw, ["--runs", "a"], "Unknown option --runs; nothing is named like it."),
    (Draw, ["a", "--file-name"], "--file-name needs a value."),
    (Draw | Count, [], "needs a command; there are: draw, count. `python -m p --help`"),
    (Draw | Count, ["cuont"], "has no command cuont; there are: draw, count."),
    (Draw | Count, ["count", "--grid"], "Unknown option --grid; nothing"),
    (Draw | Count, ["count", "--upto", "1"], "--up-to? `python -m p count --help`"),
    (
      Draw | Count,
      ["count", "--up-to", "x"],
      "--up-to is x; it must be a whole number.",
    ),
  ],
)
def test_what_is_wrong_with_any_command_line_is_one_sentence(
  capsys, options, argv, message
):
  with pytest.raises(SystemExit) as end:
    cli(*argv, options=options)
  assert end.value.code == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert message in line and "│" not in line


def test_help_of_any_command_line(capsys):
  for argv in (["--help"], ["count", "-h"]):
    with pytest.raises(SystemExit) as end:
      cli(*argv, options=Draw | Count)
    assert end.value.code == 0
    assert "What is counted." in capsys.readouterr().out


def test_other_errors_keep_their_traceback():
  with pytest.raises(ZeroDivisionError), command_line.errors_in_words():
    raise ZeroDivisionError


@pytest.mark.parametrize(
  ("words", "meant"),
  [
    (["--size", "256x128"], "did you mean --width 256 --height 128?"),
    (["--size=256*128"], "did you mean --width 256 --height 128?"),
    (["--size", "large"], "did you mean --width W --height H?"),
  ],
)
def test_a_size_is_answered_with_its_two_sides(words, meant):
  with pytest.raises(ValueError, match=re.escape(meant)):
    command_line.refuse_unknown(words, ["width", "height", "seed"], "program")


def test_a_command_is_written_as_a_shell_reads_it(monkeypatch):
  program = "python -m sample.generate"
  given = ["a fox's den", "--output", "a b.mp4"]
  command = command_line.as_typed(program, given)
  assert shlex.split(command) == [*program.split(), *given]
  assert command_line.as_typed(program, []) == program
  monkeypatch.setattr(sys, "argv", ["generate.py", "--seed", "3"])
  assert command_line.as_typed(program) == f"{program} --seed 3"
