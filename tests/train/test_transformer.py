"""The transformer's trainer on a tiny network: levels, captions, updates, the text."""

import dataclasses
import functools
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ltx_jax
from configs import tiny
from ltx_jax.checkpoints import t5
from ltx_jax.checkpoints.trees import path_name
from ltx_jax.config.runs import FlowConfig
from ltx_jax.data import video
from ltx_jax.diffusion import timesteps
from ltx_jax.models import text_encoder
from ltx_jax.moving_shapes import world
from ltx_jax.parallel.sharding import TEXT_RULES, TRANSFORMER_RULES
from ltx_jax.releases import presets
from ltx_jax.text.prompts import load_tokenizer
from ltx_jax.typing import NoiseLevels
from tests.policies import QUICK
from tests.train import trainer_case as case
from train import latents, tokenizer, transformer
from train.harness import loop, reporting

ASSETS = presets.ASSETS / "moving_shapes"
RUN = dataclasses.replace(tiny.transformer(), mesh=case.SINGLE, text_folder=str(ASSETS))
RULES = (*TRANSFORMER_RULES, *TEXT_RULES)
CAPTIONS = world.train_captions()
INIT = functools.partial(transformer.init_state, RUN)


@functools.cache
def cached():
  """Random numbers in place of latents."""
  rng = np.random.default_rng(0)
  c = tiny.VAE.latent_channels
  shapes = {
    latents.bucket_size(b): tiny.VAE.latent_shape(*latents.bucket_size(b))
    for b in (tiny.IMAGE, tiny.CLIP)
  }
  rows = {
    size: rng.standard_normal((len(CAPTIONS), 1, *shape, c), np.float32)
    for size, shape in shapes.items()
  }
  return latents.Cached(rows, "random")


@functools.cache
def captions():
  return transformer.caption_reader(RUN, QUICK)([*CAPTIONS, ""])


@functools.cache
def loader():
  return transformer.make_loader(RUN, cached(), captions())


@functools.cache
def update(run=RUN, mesh=case.SINGLE):
  policy = case.policy_over(mesh)
  return transformer.make_update(run, policy, case.frozen_vae(), captions())


@functools.cache
def pictures():
  shown = transformer.caption_reader(RUN, QUICK)(transformer.shown_captions())
  return transformer.make_pictures(RUN, case.frozen_vae(), shown, QUICK)


def fit(folder, batches=None, show=False):
  return loop.fit(
    case.in_folder(RUN, folder),
    init=INIT,
    update=update(),
    loader=batches or loader(),
    rules=RULES,
    pictures=pictures() if show else None,
  )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """An uninterrupted run: its folder and last state."""
  folder = tmp_path_factory.mktemp("whole")
  return folder, fit(folder, show=True)


@pytest.fixture(scope="module")
def start():
  """A first state none of whose parameters is zero."""
  return case.moved(jax.jit(INIT)(jax.random.key(0)))


def clips():
  return case.first_batch(loader(), tiny.CLIP)


def test_noise_levels_of_clips_and_given_first_frames():
  config = FlowConfig(first_frame_probability=0.3, first_frame_max_sigma=0.15)
  grid, count = (3, 2, 4), 2000
  levels, given = transformer.noise_levels(jax.random.key(1), count, grid, config)
  sigma, index = np.asarray(levels.sigma), np.asarray(levels.index)
  assert sigma.shape == (count, 2) and index.shape == given.shape == (count, 24)
  np.testing.assert_array_equal(index, given)
  # A clip's first frame is given whole, 8 tokens, or not at all.
  with_first = np.asarray(given)[:, 0]
  np.testing.assert_array_equal(given[:, :8], np.repeat(with_first[:, None], 8, 1))
  assert not np.asarray(given)[:, 8:].any()
  assert abs(with_first.mean() - 0.3) < 0.04
  assert (sigma[:, 1] <= sigma[:, 0]).all() and (sigma[:, 1] <= 0.15).all()
  assert sigma.min() >= 0 and sigma.max() <= 1
  high = sigma[:, 0] > 0.15
  assert abs(sigma[high, 1].mean() - 0.075) < 0.01  # U[0, 0.15] where it may be.
  # The levels of clips have the law of their number of tokens.
  mu = timesteps.token_shift(24)
  uniform = np.linspace(0.01, 0.99, 50, dtype=np.float32)
  quantiles = np.quantile(sigma[:, 0], uniform)
  np.testing.assert_allclose(
    quantiles, timesteps.inverse_cdf(uniform, mu, config.quantiles), atol=0.05
  )


def test_an_image_is_never_given():
  config = FlowConfig(first_frame_probability=1.0)
  levels, given = transformer.noise_levels(jax.random.key(1), 50, (1, 2, 2), config)
  assert not np.asarray(given).any() and not np.asarray(levels.index).any()
  _, given = transformer.noise_levels(jax.random.key(1), 50, (2, 2, 2), config)
  assert np.asarray(given)[:, :4].all()


def test_given_tokens_do_not_count():
  rng = np.random.default_rng(3)
  x0 = rng.standard_normal((64, 2, 2, 2, 8), np.float32)
  config = FlowConfig(first_frame_probability=0.5)
  tokens = x0.reshape(64, 8, 8)
  seen = []

  def network(params, batch, xt, coords, levels, *, on_given, elsewhere):
    """The true velocity, found from xt, and an error."""
    assert isinstance(levels, NoiseLevels)
    sigma = jnp.take_along_axis(levels.sigma, levels.index, axis=1)[..., None]
    noise = (xt - (1 - sigma) * tokens) / sigma
    given = levels.index[..., None] == 1
    seen.append(given)
    return noise - tokens + jnp.where(given, on_given, elsewhere)

  def loss(on_given, elsewhere):
    wrong = functools.partial(network, on_given=on_given, elsewhere=elsewhere)
    coords = np.zeros((1, 8, 3), np.float32)
    value, metrics = transformer.loss_fn(
      {}, {"latents": x0}, jax.random.key(0), coords, wrong, config
    )
    assert metrics == {"loss": value}
    return float(value)

  assert loss(1000.0, 0.0) < 1e-3
  assert 0.2 < np.asarray(seen[0])[:, 0].mean() < 0.8
  np.testing.assert_allclose(loss(1000.0, 2.0), 4.0, rtol=1e-2)


def test_dropped_captions_become_those_of_no_text():
  texts = captions()
  batch = {
    "text": jnp.asarray(texts.rows[:400]),
    "mask": jnp.asarray(texts.mask[:400]),
    "latents": jnp.zeros((400, 1)),
  }
  out = transformer.drop_captions(jax.random.key(0), batch, texts, 0.25)
  dropped = (out["mask"] == texts.mask[-1]).all(1)
  assert 0.17 < dropped.mean() < 0.33
  for name, rows in (("text", texts.rows), ("mask", texts.mask)):
    expected = np.where(dropped[:, None], rows[-1], rows[:400])
    np.testing.assert_array_equal(out[name], expected)
  assert texts.mask[-1].sum() == 1  # "" is the end of the sequence alone.
  assert out["latents"] is batch["latents"]
  # Embeddings of a frozen encoder have one axis more.
  embedded = dataclasses.replace(texts, rows=np.eye(5)[texts.rows % 5])
  batch["text"] = jnp.asarray(embedded.rows[:400])
  out = transformer.drop_captions(jax.random.key(0), batch, embedded, 0.25)
  expected = np.where(dropped[:, None, None], embedded.rows[-1], batch["text"])
  np.testing.assert_array_equal(out["text"], expected)


def test_batches_pair_latents_with_their_captions():
  batch, texts = clips(), captions()
  _, planned = loader().plan_at(
    next(s for s in range(loader().steps) if loader().bucket_at(s) == tiny.CLIP)
  )
  size = latents.bucket_size(tiny.CLIP)
  for row, sample in enumerate(planned[0].ids):
    np.testing.assert_array_equal(
      batch["latents"][row], cached().latents[size][sample, 0]
    )
    np.testing.assert_array_equal(batch["text"][row], texts.rows[sample])
  words = load_tokenizer(ASSETS / "tokenizer").decode(
    texts.rows[3], skip_special_tokens=True
  )
  assert words == CAPTIONS[3]


def test_a_run_does_not_go_on_with_other_latents():
  other = latents.Cached(cached().latents, "of another VAE")
  changed = transformer.make_loader(RUN, other, captions())
  assert changed.fingerprint != loader().fingerprint
  again = transformer.make_loader(RUN, cached(), captions())
  assert again.fingerprint == loader().fingerprint


def test_a_run_does_not_go_on_with_another_tokenizer(whole, tmp_path):
  words = [caption.replace("circle", "disc") for caption in CAPTIONS]
  spiece = tokenizer.train_spiece(words, 1000)
  tokenizer.write_tokenizer(spiece, tmp_path / "tokenizer", 32)
  run = dataclasses.replace(RUN, text_folder=str(tmp_path))
  other = transformer.caption_reader(run, QUICK)([*CAPTIONS, ""])
  assert not np.array_equal(other.rows, captions().rows)
  with pytest.raises(ValueError, match="other data or another order of data"):
    fit(whole[0], transformer.make_loader(RUN, cached(), other))


def test_positions_are_seconds_and_pixels_of_the_vaes_grid():
  coords = transformer.token_coordinates(RUN, case.frozen_vae(), (2, 2, 2))
  assert coords.shape == (1, 8, 3)
  # Causal: the second latent frame starts at frame 1. A position is 16 x 16 pixels.
  np.testing.assert_allclose(coords[0, 0], [0, 0, 0])
  np.testing.assert_allclose(coords[0, 7], [1 / 24, 16, 16], rtol=1e-6)


def test_loss_falls_on_one_batch_and_the_average_follows(start):
  steps = case.updates(update(), start, clips(), RULES)
  (first, metrics), *others = [next(steps) for _ in range(40)]
  losses = [float(m["loss"]) for _, m in others]
  assert np.isfinite(losses).all()
  assert np.mean(losses[-10:]) < 0.95 * np.mean([metrics["loss"], *losses[:9]])
  rate = 0.9  # 1 - min(0.9, (1 + 0) / (10 + 0))
  expected = jax.tree.map(
    lambda old, new: old + rate * (new - old), start.params, first.params
  )
  assert case.distance(first.ema, expected) < 1e-4 * case.distance(
    first.params, start.params
  )


def test_eight_devices_equal_one(start):
  """With AdamW; the VAE's tests do the same with Muon."""
  assert RUN.optimizer.name == "adamw"
  (one, metrics), (eight, sharded_metrics) = (
    case.after(2, update(mesh=mesh), start, clips(), RULES, mesh)
    for mesh in (case.SINGLE, case.EIGHT)
  )
  step = case.distance(one.params, start.params)
  assert step > 0
  assert case.distance(one.params, eight.params) < 1e-3 * step
  assert case.distance(one.ema, eight.ema) < 1e-3 * step
  for name, value in metrics.items():
    np.testing.assert_allclose(sharded_metrics[name], value, rtol=1e-4, err_msg=name)


def test_micro_batches_draw_noise_of_their_own(start):
  half = {name: rows[:4] for name, rows in clips().items()}
  # Every row twice, side by side: each of two micro-batches has all of the half.
  twice = {name: np.repeat(rows, 2, axis=0) for name, rows in half.items()}
  other = twice["seed"].copy()
  other[1::2] += 1  # Of the second micro-batch, whose latents are already chosen.
  halves = update(case.with_optimizer(RUN, accumulate=2))
  alone, same, apart = (
    float(case.after(1, program, start, batch, RULES)[1]["loss"])
    for program, batch in (
      (update(), half),
      (halves, twice),
      (halves, twice | {"seed": other}),
    )
  )
  np.testing.assert_allclose(same, alone, rtol=1e-5)
  assert abs(apart - alone) > 1e-2 * alone


def test_an_update_that_is_not_finite_can_be_skipped(start):
  skip = update(case.with_optimizer(RUN, not_finite="skip"))
  batch = clips()
  bad = batch | {"latents": np.full_like(batch["latents"], np.nan)}
  state, metrics = case.after(1, skip, start, bad, RULES)
  assert metrics["skipped"] == 1 and np.isnan(metrics["loss"])
  case.assert_same_bits(state, start._replace(step=start.step + 1))
  taken, metrics = case.after(1, skip, start, batch, RULES)
  expected, _ = case.after(1, update(), start, batch, RULES)
  assert metrics["skipped"] == 0
  case.assert_same_bits(taken, expected)


def test_resumed_run_equals_uninterrupted(tmp_path, whole):
  with pytest.raises(loop.Stopped, match="after step 6 of 8"):
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
  *prompts, empty = transformer.shown_captions()
  assert empty == "" and len(set(prompts)) == 6
  assert not set(prompts) & set(CAPTIONS)


def test_pictures_are_those_of_the_averaged_parameters(whole):
  vae = case.frozen_vae()
  model = transformer.model_of(RUN, whole[1], vae, QUICK)
  assert set(model.params) == {"transformer", "text_encoder", "vae"}
  case.assert_same_bits(model.params["transformer"], whole[1].ema["transformer"])
  assert model.config.vae is vae.config and model.config.name == "tiny"


@pytest.fixture(scope="module")
def exported(whole, tmp_path_factory):
  run = case.in_folder(RUN, tmp_path_factory.mktemp("exported"))
  model = transformer.model_of(RUN, whole[1], case.frozen_vae(), QUICK)
  return transformer.export(run, model)


def test_export_is_a_model_that_generates(exported, whole, quick):
  model = ltx_jax.load(exported, dtype="float32")
  assert model.config.transformer == RUN.transformer
  assert model.config.scheduler == RUN.scheduler and model.config.name == "tiny"
  expected = dict(whole[1].ema) | {"vae": case.frozen_vae().params}

  def check(path, found, leaf):
    name = path_name(path)
    exact = "per_channel_statistics" in name
    half = leaf if exact else np.asarray(leaf).astype(jnp.bfloat16)
    np.testing.assert_array_equal(found, np.asarray(half, np.float32), err_msg=name)

  jax.tree.map_with_path(check, model.params, expected)
  out = model.generate(
    CAPTIONS[0], width=32, height=32, frames=5, fps=24.0, steps=2, guidance=3.0
  )
  assert out.shape == (1, 5, 32, 32, 3) and out.dtype == np.uint8
  assert out.std() > 1


@pytest.fixture
def frozen(tmp_path):
  """A run with a frozen text encoder, and its parameters."""
  params = jax.jit(lambda key: text_encoder.init(RUN.text, key))(jax.random.key(7))
  t5.save_t5(tmp_path / "text_encoder", RUN.text, jax.device_get(params))
  shutil.copytree(ASSETS / "tokenizer", tmp_path / "tokenizer")
  run = dataclasses.replace(RUN, text_encoder="frozen", text_folder=str(tmp_path))
  return run, params


def test_a_frozen_encoder_gives_the_text_of_a_trained_one(frozen):
  run, params = frozen
  prompts = [*CAPTIONS[:6], ""]
  tokens = transformer.caption_reader(RUN, QUICK)(prompts)
  texts = transformer.caption_reader(run, QUICK)(prompts)
  encode = transformer.TEXT["trained"](RUN, QUICK)
  batch = {"text": tokens.rows, "mask": tokens.mask}
  expected, mask = jax.jit(encode)({"text_encoder": params}, batch)
  np.testing.assert_array_equal(texts.mask, mask)
  assert texts.rows.shape == expected.shape == (7, tokens.rows.shape[1], 16)
  np.testing.assert_allclose(
    texts.rows[texts.mask], np.asarray(expected)[texts.mask], atol=1e-5
  )
  keep = transformer.TEXT["frozen"](run, QUICK)
  kept, _ = keep({}, {"text": texts.rows, "mask": mask})
  assert kept is texts.rows
  state = jax.eval_shape(
    functools.partial(transformer.init_state, run), jax.random.key(0)
  )
  assert set(state.params) == set(state.ema) == {"transformer"}


def test_a_frozen_encoder_is_known_by_its_weights(frozen, tmp_path):
  run, params = frozen
  read = transformer.caption_reader(run, QUICK)(CAPTIONS[:2])
  assert transformer.caption_reader(run, QUICK)(CAPTIONS[:2]).fingerprint == (
    read.fingerprint
  )
  # One number of one word that no caption has: the embeddings stay the same.
  bent = jax.tree.map(np.array, params)
  bent["shared"]["embedding"][2, 0] += 1e-3
  t5.save_t5(tmp_path / "text_encoder", RUN.text, bent)
  other = transformer.caption_reader(run, QUICK)(CAPTIONS[:2])
  np.testing.assert_array_equal(other.rows, read.rows)
  trained = transformer.caption_reader(RUN, QUICK)(CAPTIONS[:2])
  assert len({text.fingerprint for text in (read, other, trained)}) == 3
  loaders = (transformer.make_loader(RUN, cached(), text) for text in (read, other))
  assert len({each.fingerprint for each in loaders}) == 2


def test_a_frozen_encoder_is_copied_as_it_is(frozen, tmp_path, start):
  run, _ = frozen
  state = start._replace(ema={"transformer": start.params["transformer"]})
  run = case.in_folder(run, tmp_path / "out")
  folder = transformer.export(
    run, transformer.model_of(run, state, case.frozen_vae(), QUICK)
  )
  for name in ("model.safetensors", "config.json"):
    one, other = (f / "text_encoder" / name for f in (tmp_path, folder))
    assert one.read_bytes() == other.read_bytes()
  assert load_tokenizer(folder / "tokenizer")


def test_networks_that_do_not_go_together_are_refused(frozen):
  run, _ = frozen
  wide = dataclasses.replace(RUN.transformer, caption_channels=32)
  for text in ("trained", "frozen"):
    other = dataclasses.replace(run, transformer=wide, text_encoder=text)
    message = f"caption_channels = 32, the {text} text encoder makes d_model = 16"
    with pytest.raises(ValueError, match=message):
      transformer.caption_reader(other, QUICK)
  few = dataclasses.replace(RUN.text, vocab_size=50)
  with pytest.raises(ValueError, match="has 97 tokens.* only vocab_size = 50"):
    transformer.caption_reader(dataclasses.replace(RUN, text=few), QUICK)
