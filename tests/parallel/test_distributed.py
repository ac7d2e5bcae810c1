"""What is set before several devices or processes run."""

import jax
import pytest

from ltx_jax.parallel import distributed


@pytest.mark.parametrize(
  ("flags", "asked"),
  [
    ("--xla_a=1 --xla_force_host_platform_device_count=8", 1),
    ("--xla_force_host_platform_device_count=1", 0),
    ("", 0),
  ],
)
def test_several_host_devices_have_one_program_at_a_time(monkeypatch, flags, asked):
  updates = []
  monkeypatch.setenv("XLA_FLAGS", flags)
  monkeypatch.setattr(jax.config, "update", lambda *change: updates.append(change))
  distributed.run_host_devices_in_turn()
  assert updates == [("jax_cpu_enable_async_dispatch", False)] * asked
