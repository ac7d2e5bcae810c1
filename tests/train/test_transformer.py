"""The transformer's trainer on a tiny network: levels, captions, updates, the text."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ltx_jax
from configs import tiny
from ltx_jax.checkpoints.fingerprint import fingerprint
from ltx_jax.checkpoints.trees import path_name
from ltx_jax.data import video
from ltx_jax.data.buckets import tokens_of
from ltx_jax.data.loader import Loader
from ltx_jax.data.records import Records
from ltx_jax.data.token_dropping import as_tokens
from ltx_jax.parallel.mesh import make_mesh
from ltx_jax.planning import flops
from ltx_jax.text.prompts import load_tokenizer
from ltx_jax.typing import NoiseLevels
from tests.policies import QUICK
from tests.train import records_case
from tests.train import trainer_case as case
from tests.train.transformer_case import (
  ASSETS,
  CAPTIONS,
  INIT,
  RULES,
  RUN,
  after,
  clips,
  fit,
  folder,
  frozen_of,
  loader,
  make_loader,
  opened,
  source,
  update,
)
from train import tokenizer
from train.harness import data, evaluation, model, reporting, steps
from train.harness import start as begin
from train.trainers import transformer


def test_a_vae_that_is_not_there_is_refused_with_what_makes_it(tmp_path):
  absent = dataclasses.replace(RUN, vae=str(tmp_path / "vae.safetensors"))
  with pytest.raises(ValueError, match="There is no VAE at .* train.vae RECIPE"):
    begin.check_vae_is_there(absent)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """An uninterrupted run: its folder and last state."""
  folder = tmp_path_factory.mktemp("whole")
  return folder, fit(folder, show=True)


@pytest.fixture(scope="module")
def start():
  """A first state in which no parameter is zero."""
  return case.moved(jax.jit(INIT)(jax.random.key(0)))


def test_dropped_captions_become_those_of_no_text():
  batch, empty = clips(), source().empty
  texts = {n: np.repeat(batch[n], 50, axis=0) for n in ("tokens", "mask")}
  many = {n: jnp.asarray(rows) for n, rows in texts.items()}
  many["latents"] = jnp.zeros((len(texts["mask"]), 1))
  out = transformer.drop_captions(jax.random.key(0), many, empty, 0.25)
  dropped = (out["mask"] == empty["mask"]).all(1)
  assert 0.17 < dropped.mean() < 0.33
  for name, rows in texts.items():
    expected = np.where(dropped[:, None], empty[name], rows)
    np.testing.assert_array_equal(out[name], expected)
  assert empty["mask"].sum() == 1  # "" is the end of the sequence alone.
  assert out["latents"] is many["latents"]
  # Embeddings of a frozen encoder have one axis more.
  embedded = np.eye(5)[texts["tokens"] % 5]
  many = {"text": jnp.asarray(embedded), "mask": many["mask"]}
  empty = {"text": np.eye(5)[empty["tokens"] % 5], "mask": empty["mask"]}
  out = transformer.drop_captions(jax.random.key(0), many, empty, 0.25)
  expected = np.where(dropped[:, None, None], empty["text"], embedded)
  np.testing.assert_array_equal(out["text"], expected)


def test_batches_pair_latents_with_their_captions():
  batch, records = clips(), Records(folder())
  _, planned = loader().plan_at(
    next(s for s in range(loader().steps) if loader().bucket_at(s) == tiny.CLIP)
  )
  kept = Records(folder(), keep=lambda index: ~(index.scores["held_out"] > 0))
  tokenizer = load_tokenizer(ASSETS / "tokenizer")
  for row, sample in enumerate(planned.rows.ids):
    record = kept.record(int(sample))
    tokens = record.latents.reshape(-1, record.latents.shape[-1])
    np.testing.assert_array_equal(batch["latents"][row], tokens)
    words = batch["tokens"][row][batch["mask"][row]]
    assert tokenizer.decode(words, skip_special_tokens=True) == record.caption
  assert len(kept) < len(records)


def test_what_is_held_out_is_never_trained_on():
  trained = {
    caption
    for step in range(loader().steps)
    for caption in map(bytes, loader().batch(step)["tokens"])
  }
  for held_out in evaluation.held_out_batches(source().held_out, RUN.stages).values():
    assert len(held_out["tokens"]) == len(records_case.HELD_OUT)
    assert not trained & set(map(bytes, held_out["tokens"]))
  assert source().captions == [*records_case.HELD_OUT, ""]


def test_a_run_does_not_go_on_with_other_latents(tmp_path):
  other = make_loader(opened(records_case.write(tmp_path, case.frozen_vae(), seed=1)))
  assert other.fingerprint != loader().fingerprint
  assert make_loader(opened(folder())).fingerprint == loader().fingerprint


def test_records_of_another_vae_are_refused(tmp_path):
  nudged = jax.tree.map(lambda leaf: np.asarray(leaf) + 1e-3, case.frozen_vae().params)
  other = dataclasses.replace(case.frozen_vae(), params=nudged)
  path = records_case.write(tmp_path, other)
  with pytest.raises(ValueError, match="was encoded by another VAE"):
    opened(path)


def test_records_of_another_tokenizer_are_refused(tmp_path):
  words = [caption.replace("circle", "disc") for caption in CAPTIONS]
  spiece = tokenizer.train_spiece(words, 1000)
  tokenizer.write_tokenizer(spiece, tmp_path / "tokenizer", 32)
  vae = case.frozen_vae()
  path = records_case.write(tmp_path / "r", vae, tokenizer=tmp_path / "tokenizer")
  with pytest.raises(ValueError, match="was encoded by another text encoder"):
    opened(path)


def test_a_frozen_text_encoder_needs_texts():
  with pytest.raises(ValueError, match="holds tokens but no texts"):
    opened(folder(), dataclasses.replace(RUN, text_encoder="frozen", text_folder="no"))


def test_records_without_captions_are_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(records_case, "CAPTIONS", ["a circle", "", "a square"])
  path = records_case.write(tmp_path, case.frozen_vae())
  with pytest.raises(
    ValueError, match="2 of the 18 records in .* have no caption: 001"
  ):
    opened(path)


def test_records_are_mixed_by_weight(tmp_path):
  other = records_case.write(tmp_path, case.frozen_vae(), seed=1)
  run = dataclasses.replace(RUN, data=(str(folder()), str(other)))
  run = dataclasses.replace(run, data_weights=(1.0, 3.0))
  vae = case.frozen_vae()
  mixed = data.open_records(run, fingerprint(vae.config, vae.params)).trained
  assert mixed.weights == (1.0, 3.0)
  batch = Loader(mixed, RUN.stages, RUN.seed, tokens_of(tiny.VAE)).batch(0)
  assert batch["latents"].dtype == np.float32 and set(batch) == {
    *("latents", "places", "grid", "fps", "seed", "tokens", "mask")
  }


def test_positions_are_seconds_and_pixels_of_the_vaes_grid():
  fps = np.float32([24, 12])
  batch = as_tokens({"latents": np.ones((2, 2, 2, 2, 8), jnp.bfloat16), "fps": fps})
  found = transformer.clips_of(RUN, tiny.VAE, batch)
  assert found.coords.shape == (2, 8, 3) and found.tokens.dtype == jnp.float32
  # Causal: the second latent frame starts at frame 1. A position is 16 x 16 pixels.
  np.testing.assert_allclose(found.coords[:, 0], 0)
  np.testing.assert_allclose(found.coords[0, 7], [1 / 24, 16, 16], rtol=1e-6)
  np.testing.assert_allclose(found.coords[1, 7], [1 / 12, 16, 16], rtol=1e-6)


@pytest.mark.slow
def test_velocities_come_to_lead_to_the_clips_and_the_average_follows(start):
  steps = case.updates(update(), start, clips(), RULES, frozen=frozen_of(source()))
  (first, _), *others = [next(steps) for _ in range(30)]
  network = transformer.make_network(RUN, QUICK)
  found, sigma = transformer.clips_of(RUN, tiny.VAE, clips()), 0.8
  x0 = np.asarray(found.tokens)
  xt = (1 - sigma) * x0 + sigma * np.random.default_rng(0).standard_normal(x0.shape)
  levels = NoiseLevels(np.full((len(x0), 1), sigma), np.zeros(x0.shape[:2], int))

  @jax.jit
  def error(params):  # Of the clips that the velocities lead to, the loss left aside.
    v = network(params, clips())(jnp.float32(xt), found.coords, levels)
    return jnp.mean((xt - sigma * v - x0) ** 2)

  before, after = (error(state.params) for state in (start, others[-1][0]))
  assert after < 0.95 * before
  rate = 0.9  # 1 - min(0.9, (1 + 0) / (10 + 0))
  expected = jax.tree.map(
    lambda old, new: old + rate * (new - old), start.params, first.params
  )
  assert case.distance(first.ema, expected) < 1e-4 * case.distance(
    first.params, start.params
  )


@pytest.mark.slow
def test_eight_devices_equal_one(start):
  """With AdamW; the VAE's tests do the same with Muon."""
  assert RUN.optimizer.name == "adamw"
  (one, metrics), (eight, sharded_metrics) = (
    after(2, update(mesh=mesh), start, clips(), mesh)
    for mesh in (case.SINGLE, case.EIGHT)
  )
  step = case.distance(one.params, start.params)
  assert step > 0
  assert case.distance(one.params, eight.params) < 1e-3 * step
  assert case.distance(one.ema, eight.ema) < 1e-3 * step
  for name, value in metrics.items():
    np.testing.assert_allclose(sharded_metrics[name], value, rtol=1e-4, err_msg=name)


@pytest.mark.slow
def test_micro_batches_draw_noise_of_their_own(start):
  half = {name: rows[:4] for name, rows in clips().items()}
  # Every row twice, side by side: each of two micro-batches has all of the half.
  twice = {name: np.repeat(rows, 2, axis=0) for name, rows in half.items()}
  other = twice["seed"].copy()
  other[1::2] += 1  # Of the second micro-batch, whose latents are already chosen.
  halves = update(case.with_optimizer(RUN, accumulate=2))
  alone, same, apart = (
    float(after(1, program, start, batch)[1]["loss"])
    for program, batch in (
      (update(), half),
      (halves, twice),
      (halves, twice | {"seed": other}),
    )
  )
  np.testing.assert_allclose(same, alone, rtol=1e-5)
  assert abs(apart - alone) > 1e-2 * alone


@pytest.mark.slow
def test_an_update_that_is_not_finite_can_be_skipped(start):
  skip = update(case.with_optimizer(RUN, not_finite="skip"))
  batch = clips()
  bad = batch | {"latents": np.full_like(batch["latents"], np.nan)}
  state, metrics = after(1, skip, start, bad)
  assert metrics["skipped"] == 1 and np.isnan(metrics["loss"])
  case.assert_same_bits(state, start._replace(step=start.step + 1))
  taken, metrics = after(1, skip, start, batch)
  expected, _ = after(1, update(), start, batch)
  assert metrics["skipped"] == 0
  moved = case.distance(expected.params, start.params)
  assert case.distance(taken.params, expected.params) < 1e-4 * moved


def test_resumed_run_equals_uninterrupted(tmp_path, whole):
  with pytest.raises(steps.Stopped, match="after step 6 of 8"):
    fit(tmp_path, case.Interrupted(loader(), 5))
  case.assert_same_bits(fit(tmp_path), whole[1])
  first, second = (reporting.read_metrics(folder) for folder in (whole[0], tmp_path))
  for name in ("step", "loss", "grad_norm"):
    values = [record[name] for record in first]
    assert len(values) == 8 and values == [record[name] for record in second]


def test_a_run_has_images_and_clips_and_shows_captions_never_seen(whole):
  sizes = {loader().bucket_at(step) for step in range(RUN.steps)}
  assert sizes == {tiny.IMAGE, tiny.CLIP}
  (shown,) = (whole[0] / "samples").iterdir()
  assert shown.name == "samples_000008.png"
  image = video.read(shown)[0][0]
  assert image.shape == (6 * 32, 5 * 32, 3) and image.std() > 1


def test_pictures_are_those_of_the_averaged_parameters(whole):
  vae = case.frozen_vae()
  made = model.model_of(RUN, whole[1].ema, vae, QUICK)
  assert set(made.params) == {"transformer", "text_encoder", "vae"}
  case.assert_same_bits(made.params["transformer"], whole[1].ema["transformer"])
  assert made.config.vae is vae.config and made.config.name == "tiny"


@pytest.fixture(scope="module")
def exported(whole, tmp_path_factory):
  run = case.in_folder(RUN, tmp_path_factory.mktemp("exported"))
  made = model.model_of(RUN, whole[1].ema, case.frozen_vae(), QUICK)
  return model.export(run, made)


def test_export_is_a_model_that_generates(exported, whole, quick):
  made = ltx_jax.load(exported, dtype="float32")
  assert made.config.transformer == RUN.transformer
  assert made.config.scheduler == RUN.scheduler and made.config.name == "tiny"
  expected = dict(whole[1].ema) | {"vae": case.frozen_vae().params}

  def check(path, found, leaf):
    name = path_name(path)
    exact = "per_channel_statistics" in name
    half = leaf if exact else np.asarray(leaf).astype(jnp.bfloat16)
    np.testing.assert_array_equal(found, np.asarray(half, np.float32), err_msg=name)

  jax.tree.map_with_path(check, made.params, expected)
  out = made.generate(
    CAPTIONS[0], width=32, height=32, frames=5, fps=24.0, steps=2, guidance=3.0
  )
  assert out.shape == (1, 5, 32, 32, 3) and out.dtype == np.uint8
  assert out.std() > 1


def test_held_out_losses_are_told_apart_by_noise_level(start):
  held_out = evaluation.held_out_batches(source().held_out, RUN.stages)
  losses = transformer.make_held_out_losses(RUN, QUICK, tiny.VAE)
  mesh = make_mesh(**vars(case.SINGLE))
  evaluate = evaluation.make_evaluate(losses, held_out, mesh, {})
  frozen = frozen_of(source())
  one, again = (evaluate(start._replace(ema=start.params), frozen) for _ in range(2))
  case.assert_same_bits(one, again)
  bands = [f"loss_sigma_{k / 5:.1f}_{(k + 1) / 5:.1f}" for k in range(5)]
  names = {f"{b}/{n}" for b in ("1x32x32", "5x32x32") for n in ("loss", *bands)}
  assert set(one) == names | {"loss"}
  clip = [float(one[f"5x32x32/{band}"]) for band in bands]
  assert float(one["5x32x32/loss"]) == pytest.approx(np.mean(clip), rel=1e-5)
  # A network of zeros errs by noise - x0, whose size no noise level changes.
  nothing = jax.tree.map(jnp.zeros_like, start.params)
  zero = evaluate(start._replace(params=nothing, ema={}), frozen)
  np.testing.assert_allclose([zero[f"5x32x32/{b}"] for b in bands], 2, rtol=0.3)


def test_the_work_of_a_step_is_counted():
  run, batch = RUN, {"latents": np.ones((8, 8, 8)), "mask": np.ones((8, 11))}
  work = transformer.work_of(run)(batch)
  assert (work.clips, work.tokens) == (8, 64)
  frozen = dataclasses.replace(run, text_encoder="frozen")
  alone = transformer.work_of(frozen)(batch)
  assert alone.flops == 3 * 8 * flops.velocity(run.transformer, 8, 11)
  assert work.flops - alone.flops == 3 * 8 * flops.text_encoder(run.text, 11)
