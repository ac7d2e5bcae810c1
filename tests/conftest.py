"""Settings of all tests: eight host devices, so that sharded code runs anywhere.

They must be set before JAX starts its backend, hence before any test module is read.
"""

import contextlib
import os

import pytest

flags = os.environ.get("XLA_FLAGS", "")
if "xla_force_host_platform_device_count" not in flags:
  os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=8".strip()
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
