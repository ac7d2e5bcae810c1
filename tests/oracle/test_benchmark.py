"""The original's side of the benchmark does the same work as ours."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("ltx_video")

from sample.benchmark import tasks, theirs  # noqa: E402
from tests.sample import test_benchmark as case  # noqa: E402

# The original calls functions that PyTorch is to change.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("kind", ["velocity", "encode", "decode", "generate"])
def test_every_task_runs_in_the_original(kind, tmp_path):
  made = {
    "velocity": lambda: tasks.velocity(case.TRANSFORMER, 9, 5),
    "encode": lambda: tasks.encode(case.VAE, case.VIDEO),
    "decode": lambda: tasks.decode(case.VAE, case.VIDEO),
    "generate": lambda: case.generation(tmp_path),
  }
  spec = json.loads(json.dumps(made[kind]().spec)) | {"threads": 1}
  run, times = theirs.build(spec)
  out = np.asarray(run())
  shapes = {
    "velocity": (1, 9, 6),
    "encode": (1, 6, *case.VAE.latent_shape(*case.VIDEO)),
    "decode": (1, 3, *case.VIDEO),
    "generate": (1, 3, *case.VIDEO),
  }
  assert out.shape == shapes[kind]
  assert np.isfinite(out).all() and out.std() > 0
  assert times["warm_up"] > 0
