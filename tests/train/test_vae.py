"""The VAE's trainer on a tiny network: its losses, its statistics, its updates."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import ltx_jax
from configs import tiny
from ltx_jax.checkpoints.lightricks import load_checkpoint
from ltx_jax.checkpoints.trees import path_name
from ltx_jax.config.runs import VAELossConfig
from ltx_jax.data.buckets import tokens_of
from ltx_jax.data.loader import Loader
from ltx_jax.data.pixels import to_floats
from ltx_jax.diffusion import statistics
from ltx_jax.moving_shapes import world
from ltx_jax.moving_shapes.source import Shapes
from ltx_jax.parallel import sharding
from ltx_jax.parallel.mesh import make_mesh
from ltx_jax.parallel.sharding import VAE_TRAINING_RULES
from ltx_jax.training.state import TrainState
from tests.policies import QUICK
from tests.train import trainer_case as case
from train.harness import evaluation, loop, reporting, steps
from train.trainers import vae, vae_step

RUN = dataclasses.replace(tiny.vae(), mesh=case.SINGLE)
CHANNELS = tiny.VAE.latent_channels
# The same functions compile once for all tests.
INIT = functools.partial(vae_step.init_state, RUN)
UPDATE = vae_step.make_update(RUN, QUICK)
HELD_OUT = Shapes(tuple(world.held_out_captions()))
LOADER = Loader(Shapes(), RUN.stages, RUN.seed, tokens_of(RUN.vae))


@functools.cache
def pictures():
  shown = Loader(HELD_OUT, RUN.stages, RUN.seed, tokens_of(RUN.vae))
  return vae.make_pictures(RUN, QUICK, shown.batch(RUN.steps - 1)["video"][:4])


def fit(folder, loader=LOADER, init=INIT):
  return loop.fit(
    case.in_folder(RUN, folder),
    init=init,
    update=UPDATE,
    loader=loader,
    rules=VAE_TRAINING_RULES,
    hooks=loop.Hooks(pictures=pictures(), work=vae.work_of(RUN)),
  )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """An uninterrupted run: its folder and last state."""
  folder = tmp_path_factory.mktemp("whole")
  return folder, fit(folder)


@pytest.fixture(scope="module")
def start():
  """A first state in which no parameter is zero."""
  return case.moved(jax.jit(INIT)(jax.random.key(0)))


def clips():
  return case.first_batch(LOADER, tiny.CLIP)


def test_statistics_that_are_known_move_slowly_from_the_start():
  extra = {"mean": np.zeros(2, np.float32), "mean_square": np.ones(2, np.float32)}
  batch = {"mean": np.ones(2, np.float32), "mean_square": np.full(2, 3, np.float32)}
  state = TrainState(jnp.int32(0), {}, (), {}, extra)
  run = dataclasses.replace(tiny.vae(), init_from="a/b")
  moved = vae_step.moved_statistics(run, state, batch)
  np.testing.assert_allclose(moved["mean"], 0.01, rtol=1e-5)
  np.testing.assert_allclose(moved["mean_square"], 1.02, rtol=1e-5)
  moved = vae_step.moved_statistics(tiny.vae(), state, batch)
  np.testing.assert_allclose(moved["mean"], 0.9, rtol=1e-5)


def test_wavelet_weight_is_a_ramp():
  config = VAELossConfig(wavelet=0.4, wavelet_ramp=(10, 20))
  weights = [
    float(vae_step.wavelet_weight(config, step)) for step in (0, 10, 15, 20, 99)
  ]
  np.testing.assert_allclose(weights, [0, 0, 0.2, 0.4, 0.4], rtol=1e-6)
  assert float(vae_step.ramp(3, 3, 3)) == 1 and float(vae_step.ramp(2, 3, 3)) == 0
  at_once = VAELossConfig(wavelet=0.4)
  assert float(vae_step.wavelet_weight(at_once, 1)) == pytest.approx(0.4)


def test_the_decoder_is_told_one_noise_level_a_clip(monkeypatch):
  rng = np.random.default_rng(2)
  clips, seen = 256, {}
  mean = rng.standard_normal((clips, 2, 2, 2, CHANNELS), np.float32)
  video = rng.uniform(-1, 1, (clips, 2, 4, 4, 3)).astype(np.float32)

  def encode_moments(params, config, policy, video, remat):
    return mean, np.full_like(mean, -30)  # No noise of the posterior's own.

  def decode(params, config, policy, latents, sigma, key, *, remat):
    seen.update(latents=np.asarray(latents), sigma=np.asarray(sigma))
    return jnp.asarray(video + 0.5)

  monkeypatch.setattr(vae_step.vae_lib, "encode_moments", encode_moments)
  monkeypatch.setattr(vae_step.vae_lib, "decode", decode)
  m, s = np.linspace(-1, 1, CHANNELS), np.linspace(0.5, 2, CHANNELS)
  extra = {"mean": jnp.float32(m), "mean_square": jnp.float32(m**2 + s**2)}
  key = jax.random.key(0)
  made = vae_step.reconstruct({}, video, key, extra, RUN, QUICK)
  # Step 4 is half way up the ramp from 2 to 6.
  loss, metrics = vae_step.losses(made, video, jnp.int32(4), RUN.loss)

  sigma = seen["sigma"]
  assert sigma.shape == (clips,) and len(set(sigma.tolist())) > 250
  assert 0 <= sigma.min() < 0.01 and 0.19 < sigma.max() <= RUN.loss.max_sigma
  level = sigma[:, None, None, None, None]
  noise = (seen["latents"] - m - (1 - level) * (mean - m)) / (level * s)
  noise = noise[sigma > 0.01]
  np.testing.assert_allclose(noise.mean((0, 1, 2, 3)), 0, atol=0.1)
  np.testing.assert_allclose(noise.std((0, 1, 2, 3)), 1, atol=0.1)

  np.testing.assert_allclose(metrics["mse"], 0.25, rtol=1e-4)
  np.testing.assert_allclose(metrics["kl"], 0.5 * (mean**2).mean() + 14.5, rtol=1e-4)
  parts = 0.25 + 0.5 * RUN.loss.wavelet * metrics["wavelet"]
  np.testing.assert_allclose(loss, parts + RUN.loss.kl * metrics["kl"], rtol=1e-5)
  assert metrics["loss"] == loss


@pytest.mark.slow
def test_loss_falls_on_one_batch(start):
  steps = case.updates(UPDATE, start, clips(), VAE_TRAINING_RULES)
  metrics = [next(steps)[1] for _ in range(15)]
  assert all(np.isfinite(list(m.values())).all() for m in metrics)
  assert metrics[-1]["mse"] < 0.7 * metrics[0]["mse"]
  assert metrics[0]["latent_std_min"] < metrics[0]["latent_std_max"]


@pytest.mark.slow
def test_eight_devices_equal_one(start):
  """With Muon; the transformer's tests do the same with AdamW."""
  assert RUN.optimizer.name == "muon"
  (one, metrics), (eight, sharded_metrics) = (
    case.after(2, update, start, clips(), VAE_TRAINING_RULES, mesh)
    for update, mesh in (
      (UPDATE, case.SINGLE),
      (vae_step.make_update(RUN, case.policy_over(case.EIGHT)), case.EIGHT),
    )
  )
  step = case.distance(one.params, start.params)
  assert step > 0
  assert case.distance(one.params, eight.params) < 1e-3 * step
  assert case.distance(one.params, eight.params) < 1e-5 * case.distance(
    one.params, jax.tree.map(np.zeros_like, one.params)
  )
  for name, value in metrics.items():
    np.testing.assert_allclose(sharded_metrics[name], value, rtol=1e-4, err_msg=name)
  for name, value in one.extra.items():
    np.testing.assert_allclose(eight.extra[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_the_decoder_alone_leaves_the_latents_as_they_were(start):
  run = dataclasses.replace(RUN, trained="decoder")
  losses = []
  state = jax.tree.map(jnp.copy, start)
  update = jax.jit(vae_step.make_update(run, QUICK))
  for _ in range(6):
    state, metrics = update(state, {}, clips())
    losses.append(float(metrics["loss"]))
  assert losses[-1] < losses[0]
  case.assert_same_bits(state.params["encoder"], start.params["encoder"])
  case.assert_same_bits(state.extra, start.extra)
  moved = jax.tree.map(lambda a, b: bool((a != b).any()), state.params, start.params)
  assert all(jax.tree.leaves(moved["decoder"]))


@pytest.mark.slow
def test_micro_batches_have_the_moments_of_the_whole(start):
  batch = case.first_batch(LOADER, tiny.IMAGE)
  halves = vae_step.make_update(case.with_optimizer(RUN, accumulate=2), QUICK)
  (one, metrics), (two, halved) = (
    case.after(1, update, start, batch, VAE_TRAINING_RULES)
    for update in (UPDATE, halves)
  )
  # Noise changes neither the encoder's means nor the KL, but the other losses.
  for name, value in one.extra.items():
    np.testing.assert_allclose(two.extra[name], value, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(halved["kl"], metrics["kl"], rtol=1e-5)
  np.testing.assert_allclose(halved["mse"], metrics["mse"], rtol=0.2)
  assert case.distance(one.params, two.params) > 0


@pytest.mark.slow
def test_resumed_run_equals_uninterrupted(tmp_path, whole):
  with pytest.raises(steps.Stopped, match="after step 6 of 8"):
    fit(tmp_path, case.Interrupted(LOADER, 5))
  case.assert_same_bits(fit(tmp_path), whole[1])
  first, second = (reporting.read_metrics(folder) for folder in (whole[0], tmp_path))
  assert [record["step"] for record in first] == list(range(1, 9))
  timing = ("seconds", "data_wait") + tuple(
    f"{each}_per_second" for each in ("steps", "clips", "tokens")
  )
  for one, other in zip(first, second, strict=True):
    assert {k: v for k, v in one.items() if k not in timing} == {
      k: v for k, v in other.items() if k not in timing
    }


@pytest.mark.slow
def test_a_run_has_images_and_clips_and_shows_them(whole):
  sizes = [LOADER.bucket_at(step) for step in range(RUN.steps)]
  assert set(sizes[:4]) == {tiny.IMAGE} and set(sizes[4:]) == {tiny.IMAGE, tiny.CLIP}
  shown = sorted(path.name for path in (whole[0] / "samples").iterdir())
  assert shown == ["reconstruction_000004.png", "reconstruction_000008.png"]
  with Image.open(whole[0] / "samples" / shown[-1]) as image:
    # Four clips, each above its reconstruction and the error; five frames of each.
    assert image.size == (5 * 32, 3 * 4 * 32)
    rows = np.asarray(image).reshape(4, 3, 32, 5 * 32, 3)
  assert (rows[:, 0].std((1, 2, 3)) > 1).all()  # The clips are visible.
  assert np.abs(rows[:, 0].astype(int) - rows[:, 1]).max() > 10


@pytest.mark.slow
def test_not_a_number_stops_the_run_in_words(tmp_path, whole):
  state = jax.device_get(whole[1])
  broken = {**state.extra, "mean": np.full(CHANNELS, np.nan, np.float32)}
  bad = state._replace(step=np.int32(0), extra=broken)
  with pytest.raises(
    steps.NotFinite, match="loss is nan.* at step 1; training stopped"
  ):
    fit(tmp_path, init=lambda key: jax.tree.map(jnp.asarray, bad))
  assert (tmp_path / "not_finite" / "1").is_dir()
  assert not (tmp_path / "checkpoints" / "4").exists()


@pytest.mark.parametrize("low, high", [(0.2, 1.0), (0.5, 4.0)])
def test_a_drift_of_the_latents_is_remarked_on(low, high):
  assert vae.remark({"latent_std_min": 0.3, "latent_std_max": 3.0}) is None
  assert vae.remark({"skipped": 1.0}) is None
  said = vae.remark({"latent_std_min": low, "latent_std_max": high})
  assert f"the latents' std spans {low:.2f} to {high:.2f}, outside (0.3, 3.0)" in said


@pytest.mark.slow
def test_an_update_that_is_not_finite_can_be_skipped(start):
  run = case.with_optimizer(RUN, not_finite="skip")
  bad = start._replace(extra=start.extra | {"mean": np.full(CHANNELS, np.inf)})
  bad = jax.tree.map(lambda leaf, like: np.asarray(leaf, like.dtype), bad, start)
  update = vae_step.make_update(run, QUICK)
  state, metrics = case.after(1, update, bad, clips(), VAE_TRAINING_RULES)
  assert metrics["skipped"] == 1 and not np.isfinite(metrics["loss"])
  case.assert_same_bits(state, bad._replace(step=bad.step + 1))


@pytest.mark.slow
def test_export_is_read_back_and_decodes_the_same(tmp_path, whole, quick):
  state = whole[1]
  exported = vae.exported_params(RUN, QUICK, state, ())
  path = vae.export(case.in_folder(RUN, tmp_path), exported)
  config, params = load_checkpoint(path)
  assert config.vae == RUN.vae and config.transformer is None
  case.assert_same_bits(params["vae"], exported)
  found = params["vae"]["per_channel_statistics"]
  case.assert_same_bits(found, statistics.statistics(state.extra))
  assert not np.allclose(found["std"], 1)

  # Normalised and back: as the trainer, which does neither.
  model = ltx_jax.load(path)
  video = np.float32(clips()["video"][:1]) / 127.5 - 1
  latents = model.encode(video)
  mean, _ = vae.vae_lib.encode_moments(params["vae"], RUN.vae, QUICK, video)
  stats = found["mean"], found["std"]
  np.testing.assert_allclose(latents, (mean - stats[0]) / stats[1], atol=1e-4)
  out = vae.vae_lib.decode(params["vae"], RUN.vae, QUICK, mean, jnp.zeros(1))
  decoded = model.decode(latents, sigma=0.0, noise_scale=0.0)
  np.testing.assert_allclose(decoded, np.clip(out, -1, 1), atol=1e-4)


@pytest.mark.slow
def test_statistics_of_an_averaged_encoder_are_its_own(start):
  run = case.with_optimizer(RUN, ema_decay=0.9)
  ema = jax.tree.map(lambda leaf: 2 * leaf, start.params)
  state = start._replace(ema=ema)
  batches = [LOADER.batch(step) for step in (4, 5)]
  found = vae.exported_params(run, QUICK, state, batches)
  case.assert_same_bits(found["encoder"], ema["encoder"])
  means = [
    vae.vae_lib.encode_moments(ema, RUN.vae, QUICK, to_floats(batch["video"]))[0]
    for batch in batches
  ]
  rows = np.concatenate([np.reshape(mean, (-1, CHANNELS)) for mean in means])
  measured = found["per_channel_statistics"]
  np.testing.assert_allclose(measured["mean"], rows.mean(0), rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(measured["std"], rows.std(0), rtol=1e-4, atol=1e-5)
  # A transformer knows the latents of a decoder that is trained alone.
  alone = dataclasses.replace(run, trained="decoder")
  kept = vae.exported_params(alone, QUICK, state, batches)["per_channel_statistics"]
  case.assert_same_bits(kept, statistics.statistics(start.extra))


@pytest.mark.slow
def test_held_out_clips_are_evaluated_with_noise_that_stays(start):
  held_out = evaluation.held_out_batches(HELD_OUT, RUN.stages)
  assert set(held_out) == {"1x32x32", "5x32x32"}
  losses = functools.partial(vae_step.held_out_losses, run=RUN, policy=QUICK)
  mesh = make_mesh(**vars(case.SINGLE))
  evaluate = evaluation.make_evaluate(losses, held_out, mesh, {})
  one, again = (evaluate(start._replace(ema=start.params), {}) for _ in range(2))
  case.assert_same_bits(one, again)
  assert one["loss"] == pytest.approx(
    (float(one["1x32x32/loss"]) + float(one["5x32x32/loss"])) / 2
  )
  worse = start._replace(params=jax.tree.map(jnp.zeros_like, start.params))
  assert evaluate(worse, {})["loss"] != one["loss"]
  averaged = evaluate(worse._replace(ema=start.params), {})
  case.assert_same_bits(averaged, one)


def test_kernels_and_their_momentum_are_split():
  target = jax.eval_shape(INIT, jax.random.key(0))
  split = sharding.shardings(target, make_mesh(**vars(case.EIGHT)), VAE_TRAINING_RULES)
  paths = jax.tree.leaves_with_path(split)
  specs = [s.spec for path, s in paths if "conv1/kernel" in path_name(path)]
  # Of the encoder's and the decoder's residual block, output channels.
  assert len(specs) == 4
  assert all(spec[-1] == "fsdp" and len(spec) == 6 for spec in specs)
