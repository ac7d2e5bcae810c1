"""The device benchmark, whole and in parts, on networks of no size."""

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console

from ltx_jax.models import attention as kernels
from ltx_jax.models import transformer
from ltx_jax.planning.peaks import peak_of
from ltx_jax.platforms import CPU
from sample.benchmark.device import (
  attention,
  driver,
  job,
  original,
  report,
  weights,
  worker,
)
from sample.benchmark.device.rows import BY_NAME, ROWS, Row
from sample.benchmark.device.sizes import FULL, TINY
from sample.benchmark.processes import Side, Worker

ROOT = Path(__file__).resolve().parent.parent.parent
NEEDED = {"jax", "flax", "optax", "numpy", "jaxtyping", "safetensors", "rich", "tyro"}
# Unoptimised programs compile in a third of the time.
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"

REFUSE = """
import sys
class Refused:
  def find_spec(self, name, path=None, target=None):
    if name.split(".")[0] in {names}:
      raise ImportError(name + " is not to be imported")
sys.meta_path.insert(0, Refused())
"""

ABOUT = {
  "device": "NVIDIA H100 80GB HBM3",
  "platform": "gpu",
  "runtime": "CUDA 12",
  "memory_bytes": 80 * 10**9,
  "jax": "1.2",
  "counts_peak": True,
}
MEASURED = {
  "seconds": [0.5, 0.4, 0.6],
  "median": 0.5,
  "fastest": 0.4,
  "slowest": 0.6,
  "flops": int(98.9e12),
  "planned_bytes": 4 * 10**9,
  "peak_bytes": 5 * 10**9,
  "figures": {},
}


def other_packages():
  """Import names of the packages in requirements.txt other than the eight allowed."""
  lines = (ROOT / "requirements.txt").read_text().splitlines()
  listed = {
    re.match(r"[\w-]+", line)[0].lower() for line in lines if line[:1].isalpha()
  }
  listed = {name.replace("_", "-") for name in listed}
  assert listed >= NEEDED - {"jaxtyping"}
  of_jax = {"ml-dtypes"}
  names = set()
  for module, packages in metadata.packages_distributions().items():
    owners = {package.lower().replace("_", "-") for package in packages}
    if owners & (listed - NEEDED - of_jax):
      names.add(module)
  assert names >= {"av", "grain", "orbax", "transformers", "PIL"}
  return names


def test_all_rows_run_without_the_packages_that_it_must_not_need(tmp_path):
  (tmp_path / "sitecustomize.py").write_text(REFUSE.format(names=other_packages()))
  paths = os.pathsep.join([str(tmp_path), str(ROOT)])
  output = tmp_path / "out"
  command = [sys.executable, "-m", "sample.benchmark", "device", "--size", "tiny"]
  done = subprocess.run(
    [*command, "--output", str(output)],
    cwd=ROOT,
    env=os.environ | {"PYTHONPATH": paths, "XLA_FLAGS": QUICK, "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  found = json.loads((output / report.JSON).read_text())
  assert [row["row"] for row in found["rows"]] == [row.name for row in ROWS]
  not_run = {row["row"] for row in found["rows"] if "not_run" in row}
  assert not_run == {"lora_step", "velocity_original", "decode_original"}
  for row in found["rows"]:
    assert "failed" not in row, row
    if row["row"] not in not_run:
      assert 0 < row["fastest"] <= row["median"] <= row["slowest"]
      assert row["flops"] > 0
      assert ("compile, cold" in row["figures"]) == (row["row"] == "clip")
  first = found["rows"][0]["figures"]
  assert min(first["compile, warm"], first["compile, cold"]) > 0
  assert {"text", "denoise", "decode"} <= first.keys()
  table = (output / report.MARKDOWN).read_text().splitlines()
  assert len(table) == 4 + len(ROWS)
  assert {line.count("|") for line in table[2:]} == {10}


class FakeDevice:
  """Replaces a device; looks at the files on disk before it answers."""

  def __init__(self, size, cache):
    self.about, self.asked = ABOUT, []
    FakeDevice.last = self

  def start(self):
    pass

  stop = start

  def measure(self, row, *, compiling, timeout):
    on_disk = json.loads((FakeDevice.folder / report.JSON).read_text())
    measured = [each["row"] for each in on_disk["rows"] if "median" in each]
    assert measured == [name for name, _ in self.asked]
    self.asked.append((row.name, compiling))
    return dict(MEASURED)


def run(monkeypatch, folder, names, **changes):
  monkeypatch.setattr(driver, "Device", FakeDevice)
  FakeDevice.folder = folder
  options = driver.Options(output=folder, **changes)
  return driver.run(options, driver.chosen(names), Console(quiet=True))["rows"]


def test_rows_are_on_disk_as_soon_as_they_are_measured(monkeypatch, tmp_path):
  rows = run(monkeypatch, tmp_path, "decode,clip,velocity")
  # In the table's order, and only the first row that runs reports compilation.
  assert FakeDevice.last.asked == [
    ("clip", True),
    ("velocity", False),
    ("decode", False),
  ]
  assert rows[0]["share"] == pytest.approx(0.2)  # 98.9 TFLOP in 0.5 s of 989 a second.
  line = (tmp_path / report.MARKDOWN).read_text().splitlines()[4]
  for cell in ("500 ms", "400 ms to 600 ms", "98.9", "198", "20 %", "5.00", "4.00"):
    assert f" {cell} " in line
  assert not list(tmp_path.glob("*.part"))


def test_a_row_that_would_not_fit_the_time_is_listed(monkeypatch, tmp_path):
  rows = run(monkeypatch, tmp_path, "clip,attention", seconds=40)
  assert "takes about 70 s" in rows[0]["not_run"]
  assert rows[1]["median"] == 0.5
  assert FakeDevice.last.asked == [("attention", True)]


def test_the_original_is_compared_with_our_row(monkeypatch, tmp_path):
  theirs = MEASURED | {"median": 2.0, "versions": {"torch": "9.8"}}
  monkeypatch.setattr(driver, "measure_original", lambda *_: dict(theirs))
  rows = run(monkeypatch, tmp_path, "velocity,velocity_original,decode_original")
  assert rows[1]["ratio"] == 0.25
  assert "ratio" not in rows[2]  # Our decode was not asked for.
  assert "ours over theirs 0.25, torch 9.8" in (tmp_path / report.MARKDOWN).read_text()


def test_where_the_original_is_not_installed_the_row_says_so():
  found = original.measure_original(Path(sys.executable), "decode", TINY, "tpu", 1.0)
  assert "does not run on a tpu" in found["not_run"]
  found = original.measure_original(Path("/no/python"), "decode", TINY, "cpu", 1.0)
  assert "/no/python is not a working Python" in found["not_run"]


def test_what_goes_wrong_in_a_row_is_its_sentence(monkeypatch):
  def refuse(sizes, policy):
    raise MemoryError("RESOURCE_EXHAUSTED:\n out of memory " + "x" * 999)

  monkeypatch.setitem(BY_NAME, "decode", Row("decode", "decode", 1, refuse))
  request = {"row": "decode", "size": "tiny", "compiling": False}
  said = worker.answer(request)["failed"]
  assert said.startswith("MemoryError: RESOURCE_EXHAUSTED: out of memory xxx")
  assert len(said) < 320


DYING = """
import json, sys
sys.stdin.readline()
print(json.dumps({about}), flush=True)
request = json.loads(sys.stdin.readline())
if request["row"] == "clip":
  raise SystemExit("out of luck")
if request["row"] == "decode":
  sys.stdin.readline()
print(json.dumps({measured}), flush=True)
sys.stdin.readline()
"""


def test_a_process_that_ends_or_hangs_takes_no_other_row_with_it(monkeypatch):
  code = DYING.format(about=ABOUT, measured=MEASURED)
  monkeypatch.setattr(driver, "_COMMAND", (sys.executable, "-c", code))
  device = driver.Device("tiny", "unused")
  measure = {"compiling": False, "timeout": 20.0}
  try:
    assert "out of luck" in device.measure(BY_NAME["clip"], **measure)["failed"]
    assert device.measure(BY_NAME["velocity"], **measure) == MEASURED
    assert device._worker is None  # It counts its peak, so each row has its own.
    hung = device.measure(BY_NAME["decode"], compiling=False, timeout=1.0)
    assert "'decode' after 1 s, when the time was up" in hung["failed"]
  finally:
    device.stop()


def test_a_worker_that_is_in_time_is_not_ended():
  code = "import sys; [print(len(line), flush=True) for line in sys.stdin]"
  with Worker(Side("ours", (sys.executable, "-c", code)), "count") as process:
    assert process.ask("one", timeout=30.0) == 4
    assert process.ask("three") == 6


@pytest.mark.slow
def test_gradients_that_are_wrong_by_a_hundredth_show(monkeypatch):
  right = attention.gradients(TINY, CPU).figures
  assert max(right.values()) < 1e-5

  @jax.custom_vjp
  def attend(q, k, v, bias):
    return kernels.attend_in_chunks(q, k, v, bias)

  def forward(*inputs):
    return jax.vjp(kernels.attend_in_chunks, *inputs)

  def backward(pull, g):
    q, *others = pull(g)
    return (1.01 * q, *others)

  attend.defvjp(forward, backward)
  monkeypatch.setitem(kernels.IMPLEMENTATIONS, "xla", attend)
  jax.clear_caches()
  wrong = attention.gradients(TINY, CPU).figures
  assert set(wrong) == {"error", "error, text"}
  assert all(0.009 < error < 0.011 for error in wrong.values())


def test_weights_are_spread_like_trained_ones():
  config = TINY.model.transformer
  params = weights.make(lambda key: transformer.init(config, key), "bfloat16")
  kernel = params["blocks"]["ff"]["proj_in"]["kernel"]
  assert kernel.dtype == "bfloat16"
  numbers = np.asarray(kernel, np.float64)
  assert abs(numbers.std() - 0.02) < 1e-3 and abs(numbers.mean()) < 1e-3
  assert len(np.unique(np.asarray(weights.normal(64, 65)))) > 4100
  pairs = np.asarray(weights.normal(64, 64))
  assert abs(np.corrcoef(pairs[:-1].ravel(), pairs[1:].ravel())[0, 1]) < 0.05

  narrow = weights.make_int8(lambda key: transformer.init(config, key), CPU)
  ff = narrow["blocks"]["ff"]["proj_in"]
  assert ff["kernel"].dtype == "int8" and ff["kernel_scale"].dtype == "float32"
  widened = (
    np.asarray(ff["kernel"], np.float64) * np.asarray(ff["kernel_scale"])[:, None]
  )
  assert abs(widened.std() - 0.02) < 1e-3


def test_released_sizes_are_those_of_the_paper():
  assert FULL.tokens == 6144 and FULL.words["clip"] == "768x512x121"
  assert FULL.model.text_encoder.num_layers == 24 and FULL.text_tokens == 256
  names = [row.what.format(**FULL.words) for row in ROWS]
  assert "attention, 24576 tokens" in names
  assert peak_of("NVIDIA H100 80GB HBM3") == 989e12 and peak_of("abacus") is None


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--rows", "velocty"], "No row is called 'velocty'; did you mean velocity?"),
    (["--rows", ","], "--rows names none"),
    (["--seconds", "0"], "--seconds is 0"),
    (["--size", "huge"], "--size"),
  ],
)
def test_bad_options_are_one_sentence(arguments, message, capsys, tmp_path):
  with pytest.raises(SystemExit) as end:
    driver.main([*arguments, "--output", str(tmp_path / "out")])
  assert end.value.code == 2
  said = capsys.readouterr().err
  assert message in said and len(said.strip().splitlines()) == 1
  assert not (tmp_path / "out").exists()


def test_a_job_is_timed_over_enough_calls(monkeypatch):
  monkeypatch.setattr(job, "_ENOUGH", 0.0)
  calls = []
  found = job.measure(
    job.Job(lambda: calls.append(1), flops=7, figures={"error": 0.5}), compiling=False
  )
  assert len(found["seconds"]) == 3
  assert len(calls) > 3 * 100  # 20 ms of calls that take no time.
  assert found["figures"] == {"error": 0.5}
