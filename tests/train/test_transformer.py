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
from ltx_jax.data import video
from ltx_jax.data.loader import Loader
from ltx_jax.models import text_encoder
from ltx_jax.moving_shapes import world
from ltx_jax.parallel.mesh import make_mesh
from ltx_jax.planning import flops
from ltx_jax.releases import presets
from ltx_jax.text.prompts import load_tokenizer
from tests.policies import QUICK
from tests.train import trainer_case as case
from train import encoded, latents, tokenizer, transformer
from train.captions import caption_reader
from train.harness import evaluation, loop, model, reporting, steps

ASSETS = presets.ASSETS / "moving_shapes"
RUN = dataclasses.replace(tiny.transformer(), mesh=case.SINGLE, text_folder=str(ASSETS))
RULES = transformer.RULES
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
  return caption_reader(RUN, QUICK)([*CAPTIONS, ""])


def source_of(cached, captions, run=RUN):
  return encoded.Encoded(run=run, cached=cached, read_as=captions)


def make_loader(source):
  return Loader(source, RUN.stages, RUN.seed, latents.tokens_of(tiny.VAE))


@functools.cache
def source():
  return source_of(cached(), captions())


@functools.cache
def loader():
  return make_loader(source())


@functools.cache
def update(run=RUN, mesh=case.SINGLE):
  return transformer.make_update(run, case.policy_over(mesh), tiny.VAE)


def frozen_of(source):
  return {"empty": source.empty}


@functools.cache
def pictures():
  shown = caption_reader(RUN, QUICK)(encoded.shown_captions())
  shown = encoded.text_arrays(RUN, shown)
  text_fn = transformer.TEXT["trained"](RUN, QUICK)
  return model.make_pictures(RUN, case.frozen_vae(), shown, QUICK, text_fn)


def fit(folder, batches=None, show=False):
  return loop.fit(
    case.in_folder(RUN, folder),
    init=INIT,
    update=update(),
    loader=batches or loader(),
    rules=RULES,
    frozen=frozen_of(source()),
    hooks=loop.Hooks(
      pictures=pictures() if show else None, work=transformer.work_of(RUN)
    ),
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


def after(count, update, start, batch, mesh=case.SINGLE):
  frozen = frozen_of(source())
  return case.after(count, update, start, batch, RULES, mesh, frozen=frozen)


def clips():
  return case.first_batch(loader(), tiny.CLIP)


def test_dropped_captions_become_those_of_no_text():
  texts = captions()
  batch = {
    "tokens": jnp.asarray(texts.rows[:400]),
    "mask": jnp.asarray(texts.mask[:400]),
    "latents": jnp.zeros((400, 1)),
  }
  out = transformer.drop_captions(jax.random.key(0), batch, source().empty, 0.25)
  dropped = (out["mask"] == texts.mask[-1]).all(1)
  assert 0.17 < dropped.mean() < 0.33
  for name, rows in (("tokens", texts.rows), ("mask", texts.mask)):
    expected = np.where(dropped[:, None], rows[-1], rows[:400])
    np.testing.assert_array_equal(out[name], expected)
  assert texts.mask[-1].sum() == 1  # "" is the end of the sequence alone.
  assert out["latents"] is batch["latents"]
  # Embeddings of a frozen encoder have one axis more.
  embedded = np.eye(5)[texts.rows % 5]
  batch = {"text": jnp.asarray(embedded[:400]), "mask": batch["mask"]}
  empty = {"text": embedded[-1], "mask": texts.mask[-1]}
  out = transformer.drop_captions(jax.random.key(0), batch, empty, 0.25)
  expected = np.where(dropped[:, None, None], embedded[-1], batch["text"])
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
    np.testing.assert_array_equal(batch["tokens"][row], texts.rows[sample])
  words = load_tokenizer(ASSETS / "tokenizer").decode(
    texts.rows[3], skip_special_tokens=True
  )
  assert words == CAPTIONS[3]


def test_a_run_does_not_go_on_with_other_latents():
  other = latents.Cached(cached().latents, "of another VAE")
  changed = make_loader(source_of(other, captions()))
  assert changed.fingerprint != loader().fingerprint
  again = make_loader(source_of(cached(), captions()))
  assert again.fingerprint == loader().fingerprint


def test_a_run_does_not_go_on_with_another_tokenizer(whole, tmp_path):
  words = [caption.replace("circle", "disc") for caption in CAPTIONS]
  spiece = tokenizer.train_spiece(words, 1000)
  tokenizer.write_tokenizer(spiece, tmp_path / "tokenizer", 32)
  run = dataclasses.replace(RUN, text_folder=str(tmp_path))
  other = caption_reader(run, QUICK)([*CAPTIONS, ""])
  assert not np.array_equal(other.rows, captions().rows)
  with pytest.raises(ValueError, match="other data or another order of data"):
    fit(whole[0], make_loader(source_of(cached(), other)))


def test_positions_are_seconds_and_pixels_of_the_vaes_grid():
  fps = np.float32([24, 12])
  batch = {"latents": np.ones((2, 2, 2, 2, 8), jnp.bfloat16), "fps": fps}
  layout = transformer.layout_of(RUN, tiny.VAE, batch)
  assert layout.coords.shape == (2, 8, 3) and layout.tokens.dtype == jnp.float32
  # Causal: the second latent frame starts at frame 1. A position is 16 x 16 pixels.
  np.testing.assert_allclose(layout.coords[:, 0], 0)
  np.testing.assert_allclose(layout.coords[0, 7], [1 / 24, 16, 16], rtol=1e-6)
  np.testing.assert_allclose(layout.coords[1, 7], [1 / 12, 16, 16], rtol=1e-6)


def test_loss_falls_on_one_batch_and_the_average_follows(start):
  steps = case.updates(update(), start, clips(), RULES, frozen=frozen_of(source()))
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
    after(2, update(mesh=mesh), start, clips(), mesh)
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
    float(after(1, program, start, batch)[1]["loss"])
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
  state, metrics = after(1, skip, start, bad)
  assert metrics["skipped"] == 1 and np.isnan(metrics["loss"])
  case.assert_same_bits(state, start._replace(step=start.step + 1))
  taken, metrics = after(1, skip, start, batch)
  expected, _ = after(1, update(), start, batch)
  assert metrics["skipped"] == 0
  case.assert_same_bits(taken, expected)


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
  *prompts, empty = encoded.shown_captions()
  assert empty == "" and len(set(prompts)) == 6
  assert not set(prompts) & set(CAPTIONS)


def test_pictures_are_those_of_the_averaged_parameters(whole):
  vae = case.frozen_vae()
  made = model.model_of(RUN, whole[1], vae, QUICK)
  assert set(made.params) == {"transformer", "text_encoder", "vae"}
  case.assert_same_bits(made.params["transformer"], whole[1].ema["transformer"])
  assert made.config.vae is vae.config and made.config.name == "tiny"


@pytest.fixture(scope="module")
def exported(whole, tmp_path_factory):
  run = case.in_folder(RUN, tmp_path_factory.mktemp("exported"))
  made = model.model_of(RUN, whole[1], case.frozen_vae(), QUICK)
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
  tokens = caption_reader(RUN, QUICK)(prompts)
  texts = caption_reader(run, QUICK)(prompts)
  encode = transformer.TEXT["trained"](RUN, QUICK)
  batch = {"tokens": tokens.rows, "mask": tokens.mask}
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
  read = caption_reader(run, QUICK)(CAPTIONS[:2])
  assert caption_reader(run, QUICK)(CAPTIONS[:2]).fingerprint == (read.fingerprint)
  # One number of one word that no caption has: the embeddings stay the same.
  bent = jax.tree.map(np.array, params)
  bent["shared"]["embedding"][2, 0] += 1e-3
  t5.save_t5(tmp_path / "text_encoder", RUN.text, bent)
  other = caption_reader(run, QUICK)(CAPTIONS[:2])
  np.testing.assert_array_equal(other.rows, read.rows)
  trained = caption_reader(RUN, QUICK)(CAPTIONS[:2])
  assert len({text.fingerprint for text in (read, other, trained)}) == 3
  loaders = (make_loader(source_of(cached(), text)) for text in (read, other))
  assert len({each.fingerprint for each in loaders}) == 2


def test_a_frozen_encoder_is_copied_as_it_is(frozen, tmp_path, start):
  run, _ = frozen
  state = start._replace(ema={"transformer": start.params["transformer"]})
  run = case.in_folder(run, tmp_path / "out")
  folder = model.export(run, model.model_of(run, state, case.frozen_vae(), QUICK))
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
      caption_reader(other, QUICK)
  few = dataclasses.replace(RUN.text, vocab_size=50)
  with pytest.raises(ValueError, match="has 97 tokens.* only vocab_size = 50"):
    caption_reader(dataclasses.replace(RUN, text=few), QUICK)


def test_held_out_losses_are_told_apart_by_noise_level(start):
  held_out = evaluation.held_out_batches(source(), RUN.stages)
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
  run, batch = RUN, {"latents": np.ones((8, 2, 2, 2, 8)), "mask": np.ones((8, 11))}
  work = transformer.work_of(run)(batch)
  assert (work.clips, work.tokens) == (8, 64)
  frozen = dataclasses.replace(run, text_encoder="frozen")
  alone = transformer.work_of(frozen)(batch)
  assert alone.flops == 3 * 8 * flops.velocity(run.transformer, 8, 11)
  assert work.flops - alone.flops == 3 * 8 * flops.text_encoder(run.text, 11)
