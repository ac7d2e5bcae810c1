"""Videos in the making: progress, cancelling, and clients that leave."""

import threading
import time

import jax
import pytest

from sample.app import jobs
from sample.app.jobs import Cancelled, Job


def finished(job):
  deadline = time.monotonic() + 300
  while not job.wait(0.05):
    assert time.monotonic() < deadline
  return job


def test_a_job_tells_its_stage_its_steps_and_its_result():
  seen = []

  def make(job):
    with job.on_stage("denoise") as ready:
      for i in range(4):
        job.on_step(i, 4)
        seen.append((job.stage, job.step, job.steps, job.seconds_left))
      return ready("video")

  job = finished(Job(make).start())
  assert job.result == "video" and job.error is None
  assert [each[:3] for each in seen] == [("denoise", i + 1, 4) for i in range(4)]
  assert [left is None for *_, left in seen] == [True, True, False, False]
  assert seen[-1][3] == 0


def test_a_cancelled_job_ends_after_its_step():
  reached, go = threading.Event(), threading.Event()
  made = []

  def make(job):
    for i in range(9):
      job.on_step(i, 9)
      made.append(i)
      reached.set()
      go.wait(20)

  job = Job(make).start()
  assert reached.wait(20)
  job.cancel()
  go.set()
  assert isinstance(finished(job).error, Cancelled) and made == [0]


def test_a_job_that_nobody_watches_ends(monkeypatch):
  monkeypatch.setattr(jobs, "_PATIENCE", 0.05)
  left = threading.Event()

  def make(job):
    left.wait(20)
    time.sleep(0.1)
    job.on_step(0, 2)

  job = Job(make).start()
  left.set()
  job._done.wait(20)  # Not `wait`, which counts as a look.
  assert isinstance(job.error, Cancelled)


def test_jobs_compute_one_after_another():
  busy, most = [], []

  def make(job):
    busy.append(job)
    most.append(len(busy))
    time.sleep(0.02)
    busy.remove(job)

  for job in [Job(make).start() for _ in range(5)]:
    assert finished(job).error is None
  assert most == [1] * 5


def test_what_nobody_foresaw_is_in_the_log_of_who_runs_the_page(caplog):
  def broken(job):
    raise KeyError("secret")

  assert isinstance(finished(Job(broken).start()).error, KeyError)
  assert "A video could not be made." in caplog.text and "Traceback" in caplog.text


def test_memory_that_runs_out_is_said_in_words_and_the_next_job_runs():
  def exhausted(job):
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

  job = finished(Job(exhausted).start())
  with pytest.raises(ValueError, match="not enough memory for this video; make it sma"):
    raise job.error
  assert finished(Job(lambda job: 3).start()).result == 3
