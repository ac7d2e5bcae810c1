"""Images and clips that are given, and two passes, against the original, live."""

import pytest

pytest.importorskip("torch")

import ltx_jax
from ltx_jax.platforms import CPU
from tests import tasks_case as case
from tests.models.transformer_case import relative_error
from tests.oracle import make_golden_tasks as theirs
from tests.test_conditions import run_task
from tests.test_multiscale import run_passes, scales  # noqa: F401

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def original():
  return theirs.pipeline()


@pytest.mark.parametrize("name", case.TASKS)
def test_what_is_given(original, name):
  task = case.TASKS[name]
  model = ltx_jax.LTXVideo(case.CONFIG, case.params(), CPU)
  ours, drawn = run_task(model, task)
  latents, names = theirs.run_task(original, task)
  error = relative_error(ours, latents)
  print(f"{name}: {error:.1e}")
  assert error < 1e-4
  assert sorted(drawn) == sorted(names)


@pytest.mark.parametrize("name", case.PASSES)
def test_two_passes(original, scales, name):  # noqa: F811
  passes = case.PASSES[name]
  ours, video, drawn = run_passes(scales, passes)
  latents, expected, names = theirs.run_passes(original, passes)
  errors = relative_error(ours, latents), relative_error(video, expected)
  print(f"{name}: latents {errors[0]:.1e}, video {errors[1]:.1e}")
  assert errors[0] < 1e-4 and errors[1] < 1e-3
  assert sorted(drawn) == sorted(names)
