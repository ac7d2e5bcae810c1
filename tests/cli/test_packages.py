"""A program that lacks its packages says what to do, without a traceback."""

import os
import subprocess
import sys

import pytest

from ltx_jax.cli import packages
from tests.program import ROOT


@pytest.mark.parametrize("program", ["sample.generate", "train.vae", "sample"])
def test_outside_the_environment_a_program_says_how_to_get_into_it(program):
  # Without its site packages, Python finds nothing that was installed.
  command = [sys.executable, "-S", "-m", program]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
  assert (done.returncode, done.stdout) == (2, "")
  (line,) = done.stderr.splitlines()
  assert "lacks jax, flax" in line and ". .venv/bin/activate" in line
  assert "install -r requirements.txt" in line


def test_where_all_packages_are_nothing_is_said(capsys):
  packages.check()
  assert capsys.readouterr().err == ""


def test_xla_keeps_its_log_to_itself_unless_it_is_asked_for(monkeypatch):
  monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")  # So that it is put back.
  monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
  packages.prepare()
  assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"
  monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
  packages.prepare()
  assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
