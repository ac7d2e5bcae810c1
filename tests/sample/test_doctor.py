"""The report about a machine, and the advice for each problem."""

import importlib.metadata

import pytest

from ltx_jax.platforms import CPU, GPU, T4, TPU
from sample import doctor


def report(capsys):
  with pytest.raises(SystemExit) as ended:
    doctor.main([])
  return ended.value.code, " ".join(capsys.readouterr().out.split())


def test_a_whole_machine_gets_no_advice(capsys, monkeypatch):
  monkeypatch.setattr(doctor, "free_memory", lambda device: 8_000_000_000)
  code, out = report(capsys)
  assert code == 0 and "All is well." in out and "advice" not in out
  for part in (
    f"jax {importlib.metadata.version('jax')}",
    "8.0 GB free",
    "precision float32: a CPU is no faster with less",
    "attention xla: in chunks, which fit any memory",
    "model moving-shapes",
    "video writes libx264",
    "video reads h264, hevc, vp9, av1",
    "text encoder T5-XXL not downloaded",
  ):
    assert part in out


def test_each_thing_that_is_amiss_gets_a_line_of_advice(capsys, monkeypatch):
  monkeypatch.setattr(doctor, "free_memory", lambda device: 1_000_000_000)
  monkeypatch.setattr(doctor, "has_codec", lambda name, mode: mode == "r")
  monkeypatch.setattr(doctor, "has_nvidia", lambda: True)
  monkeypatch.setattr(doctor, "NEEDED", ("jax", "no-such-package"))
  monkeypatch.setattr(doctor, "PACKAGES", ("jax", "no-such-package"))
  code, out = report(capsys)
  assert code == 1 and "All is well" not in out
  for part in (
    "advice: Little memory is free",
    "advice: Install PyAV's own wheel, which has libx264",
    "advice: JAX does not see the NVIDIA GPU of this machine: pip install -U",
    "advice: Install it: pip install no-such-package.",
  ):
    assert part in out


def test_every_policy_has_its_reasons():
  for policy in (CPU, GPU, T4, TPU):
    assert doctor.why_dtype(policy) and doctor.why_attention(policy)


def test_sizes_of_folders_are_those_of_all_files_below(tmp_path):
  assert doctor.size_of(tmp_path / "nothing") == 0
  (tmp_path / "a").mkdir()
  (tmp_path / "a" / "b").write_bytes(bytes(7))
  (tmp_path / "c").write_bytes(bytes(5))
  assert doctor.size_of(tmp_path) == 12
