"""Settings of all tests, set before JAX starts its backend: before modules are read.

Eight host devices, so that sharded code runs anywhere. Compiling is most of the time at
these sizes: machine code is not optimised, which takes a third of it, nor made through
MLIR where XLA has another way still, which takes half of that, and what one process
compiled (a worker, a program that a test starts) the others read from a folder. Tell
JAX where (JAX_COMPILATION_CACHE_DIR) and the next run finds it there too.
"""

import atexit
import contextlib
import gc
import importlib.metadata
import os
import shutil
import signal
import tempfile

import pytest

flags = os.environ.get("XLA_FLAGS", "").split()
settings = {
  "--xla_force_host_platform_device_count": 8,
  "--xla_backend_optimization_level": 0,
  "--xla_cpu_opt_preset": "FAST_COMPILE",
  # A fifth of what is left, on jax 0.12; on 0.10 a sixth.
  "--xla_llvm_disable_expensive_passes": "true",
  "--xla_cpu_parallel_codegen_split_count": 1,
  # Eight devices on two busy cores may meet late; XLA's default is 40 seconds.
  "--xla_cpu_collective_call_terminate_timeout_seconds": 300,
}
if importlib.metadata.version("jaxlib").startswith("0.10."):
  settings["--xla_cpu_use_fusion_emitters"] = "false"  # Gone from later ones.
for name, value in settings.items():
  if not any(flag.startswith(name) for flag in flags):
    flags.append(f"{name}={value}")
os.environ["XLA_FLAGS"] = " ".join(flags)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
  compiled = tempfile.mkdtemp(prefix="ltx-jax-compiled-")
  atexit.register(shutil.rmtree, compiled, ignore_errors=True)
  os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled
# Optimisations that take longer than they save in a short test are left out.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
# Tracing makes many objects that live long; looking through them takes 4 % of the time.
gc.set_threshold(50_000, 20, 100)


NUMERIC = ("models", "diffusion", "losses")
"""Folders whose tests compare sums: their last digits depend on the processor."""


def pytest_collection_modifyitems(items):
  """Marks what `.ci/run` repeats without AVX-512 on a machine with one Python alone."""
  for item in items:
    if item.path.parent.name in NUMERIC:
      item.add_marker(pytest.mark.numeric)


@pytest.fixture(scope="module")
def quick():
  """Models that are loaded run with the policy of `tests.policies`."""
  from ltx_jax import platforms
  from tests.policies import QUICK

  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(platforms.POLICIES, "cpu", QUICK)
    yield


@pytest.fixture
def unchecked(monkeypatch):
  """Runs calls as users do: annotations are not checked before our own messages."""
  import jaxtyping

  monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def heeded_signals():
  """Signals work although whoever started the tests has them ignored, as `nohup`."""
  numbers = signal.SIGHUP, signal.SIGINT
  before = {number: signal.getsignal(number) for number in numbers}
  signal.signal(signal.SIGHUP, signal.SIG_DFL)
  signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  for number, handler in before.items():
    signal.signal(number, handler)


@pytest.fixture
def compilations():
  """A context that lists the programs compiled inside it."""
  import jax

  @contextlib.contextmanager
  def listen():
    events = []

    def record(event, duration, **details):
      if event == "/jax/core/compile/backend_compile_duration":
        events.append(details)

    jax.monitoring.register_event_duration_secs_listener(record)
    try:
      yield events
    finally:
      jax.monitoring.unregister_event_duration_listener(record)

  return listen
