"""Fixtures of the diffusion tests."""

import contextlib

import jax
import pytest


@pytest.fixture
def compilations():
  """A context that lists the programs compiled inside it."""

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
