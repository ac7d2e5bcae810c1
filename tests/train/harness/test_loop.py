"""The loop on a toy problem: resumes bit for bit, stops with a message, is sharded."""

import dataclasses
import functools
import json
import signal
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ltx_jax.cli import ending
from ltx_jax.training import optim
from tests.train.harness.loop_case import (
  FROZEN,
  OPTIMIZER,
  RULES,
  Crash,
  Net,
  Rows,
  assert_equal,
  crash_at,
  exhausted,
  interrupt_at,
  programs,
  run_in,
  train,
)
from train.harness import loop, reporting, steps
from train.harness.meter import Work


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """An uninterrupted run: its folder and last state."""
  folder = tmp_path_factory.mktemp("whole")
  return folder, train(run_in(folder))


@pytest.mark.usefixtures("heeded_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, *ending.SIGNALS])
def test_resumed_run_equals_uninterrupted(tmp_path, whole, number):
  run = run_in(tmp_path / "parts")
  message = rf"by {number.name} after step 6 of 12.*resumes from there"
  with pytest.raises(steps.Stopped, match=message) as stopped:
    train(run, Rows(at_step=interrupt_at(5, number)))
  assert stopped.value.exit_code == 128 + number
  assert_equal(train(run), whole[1])
  first, second = (reporting.read_metrics(n) for n in (whole[0], tmp_path / "parts"))
  assert [r["step"] for r in first] == [2, 4, 6, 8, 10, 12]
  for name in ("step", "loss", "grad_norm", "learning_rate"):
    assert [r[name] for r in first] == [r[name] for r in second]
  assert second[-1]["seconds"] > second[0]["seconds"]


def test_resumes_from_last_save_and_drops_later_metrics(tmp_path, whole):
  run = run_in(tmp_path / "parts")
  with pytest.raises(Crash):
    train(run, Rows(at_step=crash_at(7)))
  assert [r["step"] for r in reporting.read_metrics(run.output.folder)] == [2, 4, 6]
  with (tmp_path / "parts" / "metrics.jsonl").open("a") as file:
    file.write('{"step": 8, "lo')  # As a kill leaves it.
  starts = []
  resumed = train(run, Rows(at_step=starts.append))
  assert starts[0] == 4
  assert_equal(resumed, whole[1])
  logged = [r["step"] for r in reporting.read_metrics(run.output.folder)]
  assert logged == [2, 4, 6, 8, 10, 12]


def test_curves_of_a_resumed_run_are_the_same_where_saves_are_between_logs(tmp_path):
  train(run_in(tmp_path / "whole", log_every=3))
  run = run_in(tmp_path / "parts", log_every=3)
  with pytest.raises(Crash):
    train(run, Rows(at_step=crash_at(7)))
  train(run)
  first, second = (reporting.read_metrics(tmp_path / n) for n in ("whole", "parts"))
  assert [r["step"] for r in first] == [3, 4, 6, 8, 9, 12]
  for name in ("step", "loss", "grad_norm", "learning_rate"):
    assert [r[name] for r in first] == [r[name] for r in second]


def test_a_picture_that_fails_loses_no_state(tmp_path, whole):
  def pictures(state, step):
    if step == 12:
      raise Crash
    return {}

  with pytest.raises(Crash):
    train(run_in(tmp_path), pictures=pictures)
  assert (tmp_path / "checkpoints" / "12").is_dir()
  assert_equal(train(run_in(tmp_path)), whole[1])


def test_checkpoints_that_are_to_stay_do(tmp_path):
  run = run_in(tmp_path)
  output = dataclasses.replace(run.output, save_every=2, keep=1, keep_every=4)
  train(dataclasses.replace(run, output=output))
  saved = {p.name for p in (tmp_path / "checkpoints").iterdir() if p.is_dir()}
  assert saved == {"4", "8", "12"}


def test_a_warm_start_is_for_the_first_state_alone(tmp_path):
  started = []

  def warm_start(state):
    started.append(int(state.step))
    return state._replace(params=jax.tree.map(np.zeros_like, state.params))

  run = run_in(tmp_path, steps=4)
  with pytest.raises(steps.Stopped, match="after step 2 of 4"):
    train(run, Rows(at_step=interrupt_at(1)), warm_start=warm_start)
  state = train(run, warm_start=warm_start)
  assert started == [0]
  # Of a network of zeros, the last layer has no gradient before the first has.
  assert float(jnp.abs(state.params["second"]["kernel"]).max()) < 1e-3


def test_finished_run_returns_its_state(whole):
  pulled = []
  run = run_in(whole[0])
  assert_equal(train(run, Rows(at_step=pulled.append)), whole[1])
  assert pulled == []


def assert_close(a, b):
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("data, fsdp", [(8, 1), (2, 4)])
def test_sharded_equals_single_device(tmp_path, whole, data, fsdp):
  state = train(run_in(tmp_path, data, fsdp))
  kernel = state.params["first"]["kernel"]
  assert kernel.sharding.shard_shape(kernel.shape) == (8 // fsdp, 16)
  mu = state.opt_state[1][0].mu["first"]["kernel"]
  assert mu.sharding == kernel.sharding == state.ema["first"]["kernel"].sharding
  assert_close(state, whole[1])


def test_resumes_on_another_mesh(tmp_path, whole):
  with pytest.raises(steps.Stopped):
    train(run_in(tmp_path, 2, 4), Rows(at_step=interrupt_at(5)))
  assert_close(train(run_in(tmp_path)), whole[1])


def test_nan_stops_and_leaves_good_checkpoints(tmp_path, whole):
  run = run_in(tmp_path)
  (tmp_path / "not_finite" / "6").mkdir(parents=True)  # From before.
  with pytest.raises(steps.NotFinite, match="loss is nan.* at step 7;.*from step 4"):
    train(run, Rows(bad_step=6))
  assert [p.name for p in (tmp_path / "not_finite").iterdir() if p.is_dir()] == ["8"]
  saved = {p.name for p in (tmp_path / "checkpoints").iterdir() if p.is_dir()}
  assert saved == {"4"}
  assert_equal(train(run), whole[1])


def test_nan_before_a_save_is_seen_although_no_step_was_logged(tmp_path):
  run = run_in(tmp_path, log_every=100)
  with pytest.raises(steps.NotFinite, match="at step 3;.*from the beginning"):
    train(run, Rows(bad_step=2))
  assert not (tmp_path / "checkpoints" / "4").exists()


def test_nan_is_skipped_where_that_is_asked_for(tmp_path):
  skip = dataclasses.replace(OPTIMIZER, not_finite="skip")
  each, fours = (
    train(run_in(tmp_path / str(n), log_every=n, optimizer=skip), Rows(bad_step=6))
    for n in (1, 4)
  )
  assert_equal(each, fours)
  assert int(each.step) == 12
  taken = [n for n in range(12) if n != 6]
  order = functools.reduce(lambda o, n: o * 31 + n, taken, 0)
  assert (int(each.extra["order"]) - order) % 2**32 == 0
  each, fours = (reporting.read_metrics(tmp_path / str(n)) for n in (1, 4))
  assert [r["skipped"] for r in each] == [float(n == 6) for n in range(12)]
  assert [r["skipped"] for r in fours] == [0, 0.25, 0]
  assert "loss" not in each[6]
  others = np.mean([each[n]["loss"] for n in (4, 5, 7)])
  np.testing.assert_allclose(fours[1]["loss"], others, rtol=1e-6)
  assert not (tmp_path / "1" / "not_finite").exists()


def test_the_learning_rate_is_that_of_the_update(tmp_path):
  skip = dataclasses.replace(OPTIMIZER, not_finite="skip")
  run = run_in(tmp_path, log_every=1, optimizer=skip)
  train(run, Rows(bad_step=2))
  rates = [record["learning_rate"] for record in reporting.read_metrics(tmp_path)]
  schedule = optim.learning_rate(OPTIMIZER, 12)
  # The third update is that of the fourth step.
  taken = [0, 1, 2, *range(2, 11)]
  np.testing.assert_allclose(rates, [schedule(n) for n in taken], rtol=1e-6)


def test_too_many_skipped_in_a_row_stop_the_run(tmp_path):
  skip = dataclasses.replace(OPTIMIZER, not_finite="skip", max_skipped=3)

  class Bad(Rows):
    def iterate(self, start, stop):
      for step, batch in enumerate(super().iterate(start, stop), start):
        yield batch | {"x": batch["x"] * np.float32(np.nan if step in bad else 1)}

  bad = {2, 3, 5, 6, 7}
  with pytest.raises(steps.NotFinite, match="3 updates in a row .* up to step 8: th"):
    train(run_in(tmp_path / "three", optimizer=skip), Bad())
  assert (tmp_path / "three" / "checkpoints" / "8").is_dir()
  bad = {2, 3, 5, 6}
  assert int(train(run_in(tmp_path / "two", optimizer=skip), Bad()).step) == 12


def test_what_is_frozen_is_split_passed_and_not_saved(tmp_path, whole):
  seen = []

  def update(state, frozen, batch):
    seen.append(frozen["kernel"])
    return programs(OPTIMIZER, 12)["update"](state, frozen, batch)

  run = run_in(tmp_path, fsdp=4)
  assert_close(train(run, update=update), whole[1])
  assert isinstance(seen[0], jax.core.Tracer)  # No constant of the program.
  placed = loop.place_frozen(FROZEN, loop.make_mesh(**vars(run.mesh)), RULES)
  assert placed["kernel"].sharding.shard_shape((8, 2)) == (2, 2)
  other = {"scale": np.float32(0.1)}
  assert_close(train(run, frozen=other), whole[1])  # Restored without it.


def test_held_out_clips_are_evaluated_and_kept_apart(tmp_path, capsys):
  calls = []

  def evaluate(state, frozen):
    calls.append(int(state.step))
    return {"loss": frozen["scale"] + state.step, "a/loss": frozen["scale"]}

  run = run_in(tmp_path)
  output = dataclasses.replace(run.output, evaluate_every=5)
  train(dataclasses.replace(run, output=output), evaluate=evaluate)
  assert calls == [5, 10, 12]
  records = reporting.read_metrics(tmp_path, reporting.EVALUATION_FILE)
  assert [record["step"] for record in records] == [5, 10, 12]
  np.testing.assert_allclose([r["loss"] for r in records], [5.1, 10.1, 12.1])
  assert "step 10  loss of held-out clips 10.1\n" in capsys.readouterr().out
  calls.clear()
  train(run_in(tmp_path / "never"), evaluate=evaluate)
  assert calls == []
  every = run_in(tmp_path).output.evaluate_every
  assert (
    f"Held-out clips are not measured: --output.evaluate-every {every} is beyond the "
    "run's 12 steps."
  ) in capsys.readouterr().out


def test_nothing_is_read_back_between_logs(tmp_path, monkeypatch):
  read, device_get = [], jax.device_get
  monkeypatch.setattr(
    jax, "device_get", lambda tree: read.append(1) or device_get(tree)
  )
  output = dataclasses.replace(run_in(tmp_path).output, log_every=100, save_every=100)
  run = dataclasses.replace(run_in(tmp_path), output=output)
  train(run, pictures=lambda state, step: {})
  # The first step's number; the last log, and its evaluations; those at the end.
  assert len(read) == 4


def test_clips_tokens_and_operations_are_counted(tmp_path):
  train(run_in(tmp_path), work=lambda batch: Work(len(batch["x"]), 80, 1000))
  record = reporting.read_metrics(tmp_path)[-1]
  each = record["steps_per_second"]
  assert record["clips_per_second"] == pytest.approx(8 * each)
  assert record["tokens_per_second"] == pytest.approx(80 * each)
  assert "utilisation" not in record  # Of a processor that no table has.


def test_a_remark_is_said_when_it_comes_up_and_not_again(tmp_path, capsys):
  remarks = iter(["one", "two", None, "three", None, None])
  means = []
  train(run_in(tmp_path), remark=lambda row: means.append(row) or next(remarks))
  said = [n for n in capsys.readouterr().out.splitlines() if n.startswith("Step ")]
  assert said == ["Step 2: one", "Step 8: three"]
  assert [r["loss"] for r in means] == [
    r["loss"] for r in reporting.read_metrics(tmp_path)
  ]


def test_news_are_said_at_logged_steps(tmp_path, capsys):
  news = iter([["one", "two"], [], ["three"], [], [], []])
  train(run_in(tmp_path), news=lambda: next(news))
  said = [n for n in capsys.readouterr().out.splitlines() if n.startswith("Step ")]
  assert said == ["Step 2: one", "Step 2: two", "Step 6: three"]


@pytest.mark.parametrize(
  "changed, message",
  [
    (
      {"update": exhausted},
      r"step 1 of number \[8\], x \[8, 8\]; lower the stage's tokens, "
      r"raise --optimizer.accumulate or --mesh.fsdp\.$",
    ),
    ({"warm_start": exhausted}, r"the state of 0\.0 M parameters; raise --mesh.fsdp"),
    (
      {"pictures": exhausted},
      "the sample images of step 6; to disable them, raise --output.sample",
    ),
  ],
)
def test_too_little_memory_is_said_in_words(tmp_path, changed, message):
  with pytest.raises(ValueError, match=f"There was not enough memory for .*{message}"):
    train(run_in(tmp_path), **changed)


def test_a_disk_without_space_for_a_checkpoint_is_refused_first(tmp_path, monkeypatch):
  usage = lambda folder: types.SimpleNamespace(free=1_000_000)  # noqa: E731
  monkeypatch.setattr(loop.shutil, "disk_usage", usage)
  with pytest.raises(
    ValueError, match="has 1.0 MB of free space, and a checkpoint take"
  ):
    train(run_in(tmp_path), Rows(at_step=crash_at(0)))


def test_too_little_memory_while_waiting_names_the_step(tmp_path, monkeypatch):
  ready, waited = jax.block_until_ready, []

  def block_until_ready(value):
    waited.append(value)
    return exhausted() if len(waited) == 5 else ready(value)

  monkeypatch.setattr(steps.jax, "block_until_ready", block_until_ready)
  # The first wait is for the state.
  with pytest.raises(
    ValueError, match=r"not enough memory for step 4 of .*x \[16, 8\]"
  ):
    train(run_in(tmp_path, log_every=100), Rows(sizes=(8, 16)))


def test_refuses_other_data(whole):
  other = Rows()
  other.fingerprint = "rows-2"
  with pytest.raises(ValueError, match="another order of data.*rows-1.*rows-2"):
    train(run_in(whole[0]), other)


def test_refuses_another_network_and_another_optimizer(whole):
  with pytest.raises(ValueError, match="network: vae.width is 8 there and 16 here"):
    train(run_in(whole[0], vae=Net(16)))
  with pytest.raises(ValueError, match="text_encoder is trained there and frozen here"):
    train(run_in(whole[0], text_encoder="frozen"))
  muon = dataclasses.replace(OPTIMIZER, name="muon")
  with pytest.raises(ValueError, match="optimizer.name is adamw there and muon here"):
    train(run_in(whole[0], optimizer=muon))


def test_refuses_a_checkpoint_of_a_longer_run(whole):
  with pytest.raises(ValueError, match="is at step 12, beyond this run's 4 steps"):
    train(run_in(whole[0], steps=4))


def test_writes_config_pictures_and_curves(tmp_path, capsys):
  train(run_in(tmp_path), Rows(sizes=(8, 16)))
  config = json.loads((tmp_path / "config.json").read_text())
  assert config["optimizer"]["learning_rate"] == 1e-2
  names = sorted(p.name for p in (tmp_path / "samples").iterdir())
  assert names == ["kernel_000006.png", "kernel_000012.png"]
  with Image.open(tmp_path / "samples" / names[0]) as image:
    assert image.size == (16, 8)
  assert list((tmp_path / "tensorboard").iterdir())
  records = reporting.read_metrics(tmp_path)
  assert records[-1]["loss"] < records[0]["loss"]
  assert 0 <= records[-1]["data_wait"] <= 1
  printed = capsys.readouterr().out.splitlines()
  assert sum(line.startswith("step ") for line in printed) == 6
  said = [
    line for line in printed if line.startswith(("Compiling a step", "Compiled for"))
  ]
  assert [line.split()[0] for line in said] == ["Compiling", "Compiled"] * 2


def test_averaged_parameters_follow_and_muon_trains(tmp_path):
  muon = dataclasses.replace(OPTIMIZER, name="muon", muon_learning_rate=1e-2)
  state = train(run_in(tmp_path, optimizer=muon))
  difference = jax.tree.map(lambda a, b: a - b, state.params, state.ema)
  assert 0 < float(optim.global_norm(difference)) < 0.5
  records = reporting.read_metrics(tmp_path)
  assert records[-1]["loss"] < records[0]["loss"]
