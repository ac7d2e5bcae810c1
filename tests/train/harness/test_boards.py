"""Weights & Biases, through a package that only records its calls."""

import dataclasses
import sys
import types

import numpy as np
import pytest

from configs import tiny
from ltx_jax.data.buckets import tokens_of
from tests.train.harness.loop_case import Crash, Rows, crash_at, run_in, train
from train.harness import boards, checks, reporting

IMAGE = np.zeros((4, 6, 3), np.uint8)


class FakeRun:
  """Returned by `init`, with the signatures of the real package."""

  def __init__(self, options):
    self.options = options
    self.logged = []
    self.axes = {}
    self.exit_code = None

  def define_metric(self, name, step_metric=None):
    self.axes[name] = step_metric

  def log(self, data, step=None, commit=None):
    assert self.exit_code is None
    self.logged.append(data)

  def finish(self, exit_code=None):
    self.exit_code = exit_code

  def of(self, name):
    """The logged values of one name, by their steps."""
    return {row["step"]: row[name] for row in self.logged if name in row}


class Image:
  def __init__(self, data_or_path, mode=None, caption=None):
    self.data, self.caption = data_or_path, caption


@pytest.fixture
def runs(monkeypatch):
  """The runs that were begun, of a package that is installed."""
  found = []

  def init(
    *,
    project=None,
    dir=None,
    id=None,
    name=None,
    config=None,
    allow_val_change=None,
    resume=None,
  ):
    found.append(FakeRun(locals()))
    return found[-1]

  package = types.ModuleType("wandb")
  package.Error, package.Image, package.init = (
    type("Error", (Exception,), {}),
    Image,
    init,
  )
  monkeypatch.setitem(sys.modules, "wandb", package)
  return found


def with_wandb(run):
  return dataclasses.replace(run, output=dataclasses.replace(run.output, wandb="mine"))


def test_numbers_pictures_and_held_out_clips_go_there(tmp_path, runs):
  train(
    with_wandb(run_in(tmp_path)),
    captions=["upper", "lower"],
    evaluate=lambda state, frozen: {"loss": np.float32(3)},
  )
  (found,) = runs
  assert found.options["project"] == "mine"
  assert found.options["name"] == tmp_path.name
  assert found.options["dir"] == str(tmp_path)
  assert found.options["config"]["optimizer"]["learning_rate"] == 1e-2
  assert found.axes == {"*": "step"} and found.exit_code == 0
  records = reporting.read_metrics(tmp_path)
  assert found.of("loss") == {row["step"]: row["loss"] for row in records}
  pictures = found.of("kernel")
  assert list(pictures) == [6, 12]
  assert pictures[6].data.shape == (8, 16, 3)
  assert pictures[6].caption == "upper\nlower"
  captions = tmp_path / "samples" / "captions.txt"
  assert captions.read_text() == "upper\nlower\n"


def test_held_out_numbers_have_the_names_that_tensorboard_has(tmp_path, runs):
  board = boards.WeightsAndBiases("mine", tmp_path, {})
  with reporting.Report(tmp_path, start=0, steps=4, boards=[board]) as report:
    report.evaluation(2, {"loss": 3.0, "a/loss": 4.0})
  assert runs[0].logged == [{"step": 2, "held_out/loss": 3.0, "held_out/a/loss": 4.0}]


def test_a_run_that_fails_says_so_and_is_the_same_one_when_it_goes_on(tmp_path, runs):
  run = with_wandb(run_in(tmp_path))
  with pytest.raises(Crash):
    train(run, Rows(at_step=crash_at(7)))
  train(run)
  first, second = runs
  assert (first.exit_code, second.exit_code) == (1, 0)
  assert first.options["id"] == second.options["id"]
  assert second.options["resume"] == "allow"
  assert list(second.of("loss")) == [6, 8, 10, 12]


def test_each_folder_is_a_run_of_its_own(tmp_path, runs):
  for name in ("a", "b"):
    (tmp_path / name).mkdir()
    boards.WeightsAndBiases("mine", tmp_path / name, {}).close(failed=False)
  a, b = (run.options["id"] for run in runs)
  assert a != b and a.isalnum()


def test_nothing_goes_there_unless_it_is_asked_for(tmp_path, runs):
  train(run_in(tmp_path))
  assert not runs
  assert not (tmp_path / boards.WANDB_ID_FILE).exists()


@pytest.mark.parametrize("module", [None, types.ModuleType("wandb")])
def test_a_package_that_is_missing_is_named_before_the_run(monkeypatch, module):
  # The second is how Python imports an existing folder `wandb/`.
  monkeypatch.setitem(sys.modules, "wandb", module)
  run = with_wandb(tiny.vae())
  with pytest.raises(ValueError) as refused:
    checks.check_run(run, run.vae, tokens_of(run.vae))
  assert str(refused.value) == (
    "output.wandb is 'mine', but the package wandb is not installed; `pip install "
    "wandb`, or leave --output.wandb out."
  )
  run = tiny.vae()
  checks.check_run(run, run.vae, tokens_of(run.vae))


def test_who_is_not_logged_in_is_told_what_to_do(tmp_path, runs, monkeypatch):
  package = sys.modules["wandb"]

  def init(**_):
    raise package.Error("No API key configured.")

  monkeypatch.setattr(package, "init", init)
  with pytest.raises(ValueError, match=r"'mine': No API key configured. Log in by `w"):
    boards.WeightsAndBiases("mine", tmp_path, {})
