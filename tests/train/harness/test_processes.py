"""Several processes: they stop together, and end with a message if one is gone."""

import signal
import time

import pytest

from tests.train import processes_case
from tests.train.harness.loop_case import run_in, train
from tests.train.processes_case import outputs, started
from train.harness.reporting import read_metrics

TOY = "tests.train.harness.toy_process", "--folder"


def wait_for_step(folder, step):
  """Returns once a run has logged a step."""
  deadline = time.monotonic() + processes_case.PATIENCE
  while not (rows := read_metrics(folder)) or rows[-1]["step"] < step:
    assert time.monotonic() < deadline, "the run makes no steps"
    time.sleep(0.1)


def losses(folder):
  return [row["loss"] for row in read_metrics(folder)]


@pytest.mark.slow
def test_two_processes_stop_together_and_one_goes_on(tmp_path):
  """A signal to the second; then all devices are in one process."""
  command = (*TOY, str(tmp_path / "run"))
  with started((*command, "--pause", "0.3"), 2, 4) as running:
    wait_for_step(tmp_path / "run", 3)
    running[1].send_signal(signal.SIGTERM)
    printed = outputs(running)
    assert [process.returncode for process in running] == [128 + signal.SIGTERM] * 2
  assert all("Stopped by SIGTERM after step" in text for text in printed)
  step = len(losses(tmp_path / "run"))
  assert 3 <= step < 12 and f"after step {step} of 12" in printed[1]
  with started(command, 1, 4) as running:
    (text,) = outputs(running)
  assert f"Resuming after step {step}" in text
  train(run_in(tmp_path / "whole", data=2, fsdp=2, log_every=1))
  assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "whole"), 1e-5)


def assert_ended_without_the_other(process, text):
  """With our message if the transport fails, with JAX's if it only goes silent."""
  assert process.returncode
  assert "another process is gone" in text or "another task died" in text
  assert "Traceback" not in text


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_other_in_words(tmp_path):
  with started((*TOY, str(tmp_path), "--pause", "0.3"), 2, 4, timeout=15) as running:
    wait_for_step(tmp_path, 2)
    running[1].send_signal(signal.SIGKILL)
    text = running[0].output(60)
  assert_ended_without_the_other(running[0], text)


@pytest.mark.slow
def test_a_process_that_fails_ends_the_other_in_words(tmp_path):
  others = {1: ("--fails-at", "6")}
  command = (*TOY, str(tmp_path))
  with started(command, 2, 4, timeout=15, others=others) as running:
    texts = outputs(running)
  assert running[1].returncode == 2
  assert texts[1].rstrip().endswith("A clip cannot be read.")
  assert_ended_without_the_other(running[0], texts[0])
  assert (tmp_path / "checkpoints" / "4").is_dir()


@pytest.mark.slow
def test_a_process_that_hangs_ends_the_other_in_words(tmp_path):
  options = "--pause", "0.3", "--distributed.hang-after", "5"
  with started((*TOY, str(tmp_path), *options), 2, 4) as running:
    wait_for_step(tmp_path, 2)
    running[1].send_signal(signal.SIGSTOP)
    text = running[0].output(60)
  assert running[0].returncode == 1
  assert "Process 0 has made no step for 5 s after step" in text
  assert "block_until_ready" in (tmp_path / "hung_0.txt").read_text()


@pytest.mark.slow
def test_a_missing_process_ends_the_other_in_words(tmp_path):
  with started((*TOY, str(tmp_path)), 2, 4, timeout=8) as running:
    running[1].send_signal(signal.SIGKILL)
    text = running[0].output(60)
  assert running[0].returncode == 2
  assert "Process 0 on" in text and "did not find the others at 127.0.0.1" in text
  assert "within 8 s" in text


SIX = "--distributed.devices", "6"


@pytest.mark.parametrize(
  ("others", "words"),
  [
    ({1: ("--seed", "1")}, "1 run(s) another recipe or other options than 0"),
    ({0: SIX, 1: SIX}, "--distributed.devices is 6, but there are 4: 2 of them in"),
  ],
)
def test_a_process_of_another_run_ends_all_in_words(tmp_path, others, words):
  with started((*TOY, str(tmp_path)), 2, 4, others=others) as running:
    texts = outputs(running)
  assert [process.returncode for process in running] == [2, 2]
  assert all(words in text for text in texts)
