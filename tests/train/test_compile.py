"""The program that compiles training steps: its options, its table, its JSON.

For a CPU at tiny sizes; the chips that are not there are `tests/verify`'s.
"""

import dataclasses
import functools
import json
from types import SimpleNamespace

import jax
import pytest

from configs import tiny
from ltx_jax.analysis import devices
from ltx_jax.analysis.training import DoesNotFit
from ltx_jax.cli import console
from ltx_jax.config.adversarial import AdversarialConfig
from ltx_jax.config.runs import Bucket, MeshConfig
from ltx_jax.planning import flops
from ltx_jax.planning.training import device_bytes
from train import compile as program
from train.harness import compiling

LISTED = {
  *("device", "mesh", "clips", "remat", "state_bytes", "temporaries_bytes"),
  *("peak_bytes", "flops", "recomputed_flops", "minimum_flops", "sent_bytes"),
  "collectives",
}
CPU = devices.TARGETS["cpu"]
# Blocks in a loop compile in a fraction of the time.
LOOPED = dataclasses.replace(
  CPU, policy=dataclasses.replace(CPU.policy, unroll=False, convolution="direct")
)


@pytest.fixture
def compile_for(monkeypatch, capsys, tmp_path):
  """Runs the program; returns exit code, output, errors, and the JSON it wrote."""
  monkeypatch.setitem(devices.TARGETS, "cpu", LOOPED)
  monkeypatch.setattr(devices, "use_host_only", lambda: None)
  path = tmp_path / "found.json"

  def run(*arguments):
    code = 0
    try:
      asked = ["tiny", "--device", "cpu", "--json", str(path), *arguments]
      console.run(lambda: program.main(asked))
    except SystemExit as error:
      code = error.code
    found = json.loads(path.read_text()) if path.exists() else None
    return (code, *capsys.readouterr(), found)

  return run


@pytest.mark.slow
def test_json_says_what_the_table_says(compile_for):
  asked = ("--bucket", "32x32x5", "--clips", "1", "--remat", "full")
  asked += ("--mesh.fsdp", "4", "--mesh.data", "2", "--text-encoder", "frozen")
  code, out, err, (found,) = compile_for(*asked)
  assert (code, err) == (0, "")
  assert found.keys() >= LISTED
  assert found["mesh"] == {"data": 2, "fsdp": 4, "context": 1, "tensor": 1}
  assert (found["device"], found["clips"], found["remat"]) == ("cpu", 1.0, "full")
  assert found["minimum_flops"] == 3 * flops.velocity(tiny.TRANSFORMER, 8, 32)
  assert 0 < found["recomputed_flops"] < found["flops"]
  assert found["peak_bytes"] >= found["state_bytes"] + found["temporaries_bytes"]
  sent = sum(kind["bytes"] for kind in found["collectives"].values())
  assert found["sent_bytes"] == pytest.approx(sent, abs=2)
  assert all(kind["count"] > 0 for kind in found["collectives"].values())
  for words in ("cpu data=2 fsdp=4", "32x32x5", "computed again", "estimate, s", "yes"):
    assert words in out


def test_every_size_of_a_recipe_is_compiled_once(compile_for, monkeypatch):
  def refuse(step, target):
    raise DoesNotFit("The step needs more.", None)

  monkeypatch.setattr(compiling, "compile_step", refuse)
  code, _, err, found = compile_for()
  assert (code, err) == (0, "")
  assert [each["bucket"] for each in found] == ["32x32x5", "32x32x1"]
  # Of a budget of 64 tokens, over eight devices.
  assert [each["clips"] for each in found] == [1.0, 2.0]


@pytest.mark.slow
def test_the_vae_of_a_recipe_is_compiled_where_asked_for(compile_for):
  sizes = ("--bucket", "32x32x1", "--clips", "1")
  code, out, err, (found,) = compile_for("--network", "vae", *sizes)
  assert (code, err) == (0, "")
  least = flops.vae_training(
    tiny.VAE, AdversarialConfig(), (1, 32, 32), encoder_trained=True
  )
  assert found["minimum_flops"] == least
  assert found["remat"] == "none" and found["squares"] == []
  assert "all-reduce" in found["collectives"]


@pytest.mark.parametrize(
  ("asked", "words"),
  [
    (("--bucket", "32x32"), "--bucket is 32x32; give width, height and frames"),
    (("--clips", "0.3"), r"is 2.4 clips a batch, which 8 of them share; give a multi"),
    (("--clips", "0"), "--clips is 0.0; it must be above 0"),
    (("--mesh.fspd", "8"), "Unknown option --mesh.fspd; did you mean --mesh.fsdp?"),
    (("--remat", "dot"), "dots+attention"),
    (("--mesh.fsdp", "5"), "cannot be laid over 8 device"),
  ],
)
def test_bad_input_is_refused_in_a_sentence(compile_for, asked, words):
  code, _, err, found = compile_for(*asked)
  assert (code, found) == (2, None)
  assert words in err and err.count("\n") == 1


def job(**mesh):
  run = dataclasses.replace(tiny.transformer(), mesh=MeshConfig(**mesh))
  return compiling.job_of(run, LOOPED, tiny.VAE)


def test_a_recipes_budget_gives_the_batch():
  made = job(data=4, fsdp=2)
  (clip, image) = compiling.buckets_of(made)
  assert compiling.rows_of(made, clip, None) == 8  # Of 64 tokens.
  assert compiling.rows_of(made, image, None) == 16
  assert compiling.rows_of(made, image, 2) == 16
  assert made.sharers == 8


def test_what_is_compiled_is_split_as_in_a_run():
  made = job(data=2, fsdp=4)
  abstract = made.abstract(Bucket(5, 32, 32), 8, "full")
  state, *_, batch = abstract.arguments
  kernel = state.params["transformer"]["blocks"]["ff"]["proj_in"]["kernel"]
  assert device_bytes(kernel) == 4 * kernel.size / 4
  assert {device_bytes(x) for x in jax.tree.leaves(batch)} == {
    x.size * x.dtype.itemsize / 8 for x in jax.tree.leaves(batch)
  }


class Compiler:
  """Replaces the compiler: a step with more rows than `most` does not fit."""

  def __init__(self, most, guess):
    self.most, self.guess, self.asked = most, guess, []

  def __call__(self, job, bucket, rows, remat):
    self.asked.append(rows)
    return Answer(rows, rows <= self.most, self.guess)


@dataclasses.dataclass
class Answer:
  rows: int
  fitting: bool
  guess: int

  def fits(self, target):
    return self.fitting

  def most_rows(self, target):
    return self.guess


@pytest.mark.parametrize("guess", [0, 27, 5000])
@pytest.mark.parametrize("most", [8, 24, 100])
def test_the_most_that_fits_is_confirmed_from_both_sides(monkeypatch, most, guess):
  compiler = Compiler(most, guess)
  monkeypatch.setattr(compiling, "most_rows", lambda plan, memory, step: 32)
  found = compiling.fit(job(data=8), Bucket(5, 32, 32), "full", compiler)
  assert found.rows == most // 8 * 8
  assert found.rows + 8 in compiler.asked and found.rows in compiler.asked


def test_where_not_one_clip_fits_there_is_none(monkeypatch):
  monkeypatch.setattr(compiling, "most_rows", lambda plan, memory, step: 16)
  compiler = Compiler(0, 8)
  assert compiling.fit(job(data=8), Bucket(5, 32, 32), "full", compiler) is None
  assert compiler.asked == [16, 8]


def test_the_next_batch_follows_from_what_the_compiler_says_of_one():
  plan = SimpleNamespace(state=10)
  target = SimpleNamespace(memory=100)
  case = functools.partial(compiling.Case, Bucket(5, 32, 32), 8, "full", plan)
  # 8 rows take 20 beside the state, so that 85 have room for 34.
  assert case(SimpleNamespace(peak_bytes=30)).most_rows(target) == 34
  assert case(None, 250).most_rows(target) == 2
  assert case(None, None).most_rows(target) == 4


@pytest.mark.parametrize(("effort", "value"), [("full", "UNKNOWN"), ("least", "O1")])
def test_the_compiler_is_told_the_effort(compile_for, monkeypatch, effort, value):
  told = []

  def refuse(step, target):
    told.append(jax.config.jax_optimization_level)
    raise DoesNotFit("The step needs more.", None)

  monkeypatch.setattr(compiling, "compile_step", refuse)
  effort_now = jax.config.jax_optimization_level
  compile_for("--bucket", "32x32x1", "--remat", "full", "--effort", effort)
  jax.config.update("jax_optimization_level", effort_now)
  assert told == [value]


def test_what_the_compiler_has_no_place_for_is_said_with_what_it_wanted(
  compile_for, monkeypatch
):
  def refuse(step, target):
    raise DoesNotFit("The step needs more.", 246 * 10**9)

  monkeypatch.setattr(compiling, "compile_step", refuse)
  code, out, err, (found,) = compile_for("--bucket", "32x32x1", "--remat", "full")
  assert (code, err) == (0, "")
  assert "the compiler finds no room for it (246 GB)" in out
  assert found["fits"] is False and found["flops"] is None
  assert found["wanted_bytes"] == 246 * 10**9
