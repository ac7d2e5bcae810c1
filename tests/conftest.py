"""Settings of all tests, set before JAX starts its backend: before modules are read.

Eight host devices, so that sharded code runs anywhere. Machine code is not optimised:
at these sizes compiling is most of the time, and it takes a third of it so.
"""

import contextlib
import os

import pytest

flags = os.environ.get("XLA_FLAGS", "").split()
for name, value in (
  ("--xla_force_host_platform_device_count", 8),
  ("--xla_backend_optimization_level", 0),
):
  if not any(flag.startswith(name) for flag in flags):
    flags.append(f"{name}={value}")
os.environ["XLA_FLAGS"] = " ".join(flags)
os.environ.setdefault("JAX_PLATFORMS", "cpu")


@pytest.fixture
def unchecked(monkeypatch):
  """Calls inside are those of users: no annotation is checked before our own words."""
  import jaxtyping

  monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


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
