"""The VAE's trainer with a discriminator: two networks, two optimisers, one step."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import tiny
from ltx_jax.checkpoints.discriminator import FILE, load_discriminator
from ltx_jax.checkpoints.lightricks import load_checkpoint
from ltx_jax.config.adversarial import AdversarialConfig
from ltx_jax.config.runs import MeshConfig
from ltx_jax.data.buckets import tokens_of
from ltx_jax.data.loader import Loader
from ltx_jax.data.pixels import to_floats
from ltx_jax.losses import adversarial
from ltx_jax.models.discriminator import discriminate
from ltx_jax.moving_shapes.source import Shapes
from ltx_jax.parallel.mesh import make_mesh
from ltx_jax.parallel.sharding import VAE_TRAINING_RULES
from ltx_jax.training.optim import warmup_of
from ltx_jax.training.state import advance
from tests.policies import QUICK
from tests.train import trainer_case as case
from train.harness import evaluation, loop, start, steps
from train.trainers import vae, vae_step

GAN = AdversarialConfig(weight=0.5, ramp=0, channels=8, layers=1)
RUN = dataclasses.replace(tiny.vae(), mesh=case.SINGLE, adversarial=GAN)
LOADER = Loader(Shapes(), RUN.stages, RUN.seed, tokens_of(RUN.vae))


def with_gan(run=RUN, **changes):
  changed = dataclasses.replace(run.adversarial, **changes)
  return dataclasses.replace(run, adversarial=changed)


@functools.cache
def update_of(run):
  return vae_step.make_update(run, QUICK)


@pytest.fixture(scope="module")
def first():
  return started(RUN)


def started(run):
  """A state of step 3 in which no parameter is zero, past all ramps that begin at 0."""
  state = jax.jit(functools.partial(vae_step.init_state, run))(key())
  return case.moved(state)._replace(step=np.int32(3))


def key():
  return jax.random.key(0)


def clips():
  return case.first_batch(LOADER, tiny.CLIP)


def gradients(run, state):
  found = vae_step.make_gradients(run, QUICK)
  video = to_floats(clips()["video"])
  return jax.jit(found)(state.params, {}, video, key(), state)


def reference(run, state, factor):
  """Gradients of both networks' losses, each written as one function."""
  video = to_floats(clips()["video"])
  config, order = run.adversarial, jax.random.fold_in(key(), 4)
  form = adversarial.FORMS[config.form]
  swapped = jax.random.bernoulli(order, shape=(len(video),))

  def both(params):
    made = vae_step.reconstruct(params, video, key(), state.extra, run, QUICK)
    seen = adversarial.SEES[config.sees](video, made.video, swapped)
    logits = discriminate(params["discriminator"], config, QUICK, seen.video)
    loss, _ = vae_step.losses(made, video, state.step, run.loss)
    of_vae = adversarial.generator_loss(form, logits, seen.target, seen.made)
    own = adversarial.discriminator_loss(form, logits, seen.target)
    penalty = adversarial.r1(
      lambda x: discriminate(params["discriminator"], config, QUICK, x),
      jax.lax.stop_gradient(seen.video),
    )
    return loss + factor * of_vae, own + config.r1 * penalty

  grads = jax.jit(jax.grad(lambda params: both(params)[0]))(state.params)
  own = jax.jit(jax.grad(lambda params: both(params)[1]))(state.params)
  return grads | {"discriminator": own["discriminator"]}


@pytest.mark.slow
@pytest.mark.parametrize(
  "changes",
  [
    {"adaptive": False, "r1": 3.0},
    {"adaptive": False, "sees": "clip", "form": "logistic"},
    {"sees": "both-orders", "form": "logistic", "spectral_norm": True},
  ],
)
def test_one_pass_gives_the_gradients_of_both_losses(first, changes):
  run = with_gan(**changes)
  state = first
  if changes.get("sees") == "clip":
    state = started(run)
  grads, (metrics, _) = gradients(run, state)
  assert metrics["adversarial_weight"] > 0.1
  expected = reference(run, state, metrics["adversarial_weight"])
  for part in expected:
    size = case.distance(expected[part], jax.tree.map(jnp.zeros_like, expected[part]))
    assert case.distance(grads[part], expected[part]) < 1e-4 * size, part
  parts = metrics["mse"] + run.loss.kl * metrics["kl"]
  parts += vae_step.wavelet_weight(run.loss, 3) * metrics["wavelet"]
  np.testing.assert_allclose(metrics["loss"], parts, rtol=1e-5)


@pytest.mark.slow
def test_the_adaptive_weight_is_the_ratio_of_norms_at_the_last_layer(first):
  _, (metrics, _) = gradients(RUN, first)

  def last(factor):
    return reference(RUN, first, factor)["decoder"]["conv_out"]["kernel"]

  without = last(0.0)
  alone = last(1.0) - without
  ratio = np.linalg.norm(without) / np.linalg.norm(alone)
  np.testing.assert_allclose(
    metrics["adversarial_weight"], GAN.weight * ratio, rtol=1e-3
  )


@pytest.mark.slow
def test_the_discriminator_starts_when_it_is_told_to_and_the_vae_hears_of_it_slowly(
  first,
):
  run = with_gan(start=4, head_start=1, ramp=2, adaptive=False)
  update = case.updates(update_of(run), first, clips(), VAE_TRAINING_RULES)
  states, metrics = zip(*[next(update) for _ in range(5)], strict=True)
  case.assert_same_bits(
    states[0].params["discriminator"], first.params["discriminator"]
  )
  # Its optimiser counts from its own start: the first step of the warm-up, and of Adam.
  change = jax.tree.map(
    lambda a, b: float(np.abs(a - b).max()),
    *(states[k].params["discriminator"] for k in (1, 0)),
  )
  config = GAN.optimizer
  rate = config.learning_rate / warmup_of(config, run.steps - 4)
  np.testing.assert_allclose(change["conv_in"]["kernel"], rate, rtol=0.02)
  assert case.distance(*(s.params["discriminator"] for s in states[:2])) > 0
  weights = [float(m["adversarial_weight"]) for m in metrics]
  np.testing.assert_allclose(weights, [0, 0, 0, 0.25, 0.5], atol=1e-6)
  assert all(m["discriminator_grad_norm"] > 0 for m in metrics[1:])


@pytest.mark.slow
def test_each_network_has_its_optimiser_and_only_the_vae_an_average(first):
  run = case.with_optimizer(with_gan(), ema_decay=0.9)
  faster = dataclasses.replace(GAN.optimizer, learning_rate=1e-2)
  state = jax.jit(functools.partial(vae_step.init_state, run))(key())
  assert set(state.ema) == {"encoder", "decoder"}
  one, two = (
    case.after(1, update_of(each), state, clips(), VAE_TRAINING_RULES)[0]
    for each in (run, with_gan(run, optimizer=faster))
  )
  case.assert_same_bits(one.params["decoder"], two.params["decoder"])
  assert case.distance(one.params["discriminator"], two.params["discriminator"]) > 0
  assert set(one.ema) == {"encoder", "decoder"}


@pytest.mark.slow
def test_the_penalty_changes_the_discriminator_alone(first):
  one, two = (
    case.after(1, update_of(run), first, clips(), VAE_TRAINING_RULES)
    for run in (RUN, with_gan(r1=10.0))
  )
  assert two[1]["r1"] > 0
  case.assert_same_bits(one[0].params["decoder"], two[0].params["decoder"])
  assert (
    case.distance(one[0].params["discriminator"], two[0].params["discriminator"]) > 0
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  "mesh", [case.EIGHT, MeshConfig(data=1, fsdp=2, context=4)], ids=["rows", "pixels"]
)
def test_eight_devices_equal_one_with_a_discriminator(first, mesh):
  """Rows of clips over all devices; or rows of pixels, whose edges are exchanged, with
  kernels that are sharded as well."""
  rng = np.random.default_rng(0)
  batch = {
    "video": rng.integers(0, 255, (8, 5, 64, 32, 3), dtype=np.uint8),
    "fps": np.full(8, 24, np.float32),
    "seed": np.arange(8, dtype=np.uint32),
  }
  sharded = vae_step.make_update(RUN, case.policy_over(mesh))
  one = case.after(2, update_of(RUN), first, batch, VAE_TRAINING_RULES)
  eight = case.after(2, sharded, first, batch, VAE_TRAINING_RULES, mesh)
  for part in ("encoder", "decoder", "discriminator"):
    step = case.distance(one[0].params[part], first.params[part])
    apart = case.distance(one[0].params[part], eight[0].params[part])
    assert 0 < step and apart < 2e-3 * step, part
  for name, value in one[1].items():
    np.testing.assert_allclose(eight[1][name], value, rtol=1e-4, err_msg=name)


@pytest.mark.slow
def test_a_discriminator_that_waits_cannot_harm_the_vae(first):
  broken = jax.tree.map(
    lambda x: np.full_like(x, np.inf), first.params["discriminator"]
  )
  state = first._replace(params=first.params | {"discriminator": broken})
  run = with_gan(start=4, ramp=2, adaptive=False)
  after, _ = case.after(1, update_of(run), state, clips(), VAE_TRAINING_RULES)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(after.params["decoder"]))
  case.assert_same_bits(after.params["discriminator"], broken)


@pytest.mark.slow
def test_an_infinite_gradient_of_the_discriminator_alone_is_skipped_too(first):
  grads = jax.tree.map(jnp.zeros_like, first.params)
  grads["discriminator"]["conv_in"]["bias"] += jnp.inf
  config = dataclasses.replace(RUN.optimizer, not_finite="skip")
  rivals = vae_step.rivals_of(RUN)
  state = jax.tree.map(jnp.asarray, first)
  state, metrics = advance(
    config, RUN.steps, state, grads, {"loss": jnp.ones(())}, rivals=rivals
  )
  assert metrics["skipped"] == 1 and np.isfinite(metrics["grad_norm"])
  case.assert_same_bits(state.params, first.params)


@pytest.mark.slow
def test_held_out_clips_are_judged_too_with_the_averaged_vae(first):
  losses = functools.partial(vae_step.held_out_losses, run=RUN, policy=QUICK)
  mesh = make_mesh(**vars(case.SINGLE))
  evaluate = evaluation.make_evaluate(losses, {"5x32x32": clips()}, mesh, {})
  own = {part: first.params[part] for part in ("encoder", "decoder")}
  zeros = {part: jax.tree.map(jnp.zeros_like, net) for part, net in own.items()}
  one = evaluate(first._replace(ema={}), {})
  other = first._replace(params=first.params | zeros, ema=own)
  case.assert_same_bits(evaluate(other, {}), one)
  assert 0 < one["5x32x32/discriminator_accuracy"] < 1
  assert one["5x32x32/discriminator"] > 0 and one["loss"] == one["5x32x32/loss"]


@pytest.mark.slow
def test_the_encoder_stays_if_the_decoder_alone_is_trained_against_it(first):
  run = dataclasses.replace(RUN, trained="decoder")
  state, _ = case.after(2, update_of(run), first, clips(), VAE_TRAINING_RULES)
  case.assert_same_bits(state.params["encoder"], first.params["encoder"])
  assert case.distance(state.params["decoder"], first.params["decoder"]) > 0


def fit(folder, loader=LOADER):
  return loop.fit(
    case.in_folder(RUN, folder),
    init=functools.partial(vae_step.init_state, RUN),
    update=update_of(RUN),
    loader=loader,
    rules=VAE_TRAINING_RULES,
  )


@pytest.mark.slow
def test_both_networks_resume_and_are_written_and_read_again(tmp_path):
  whole = fit(tmp_path / "whole")
  with pytest.raises(steps.Stopped, match="after step 6 of 8"):
    fit(tmp_path / "part", case.Interrupted(LOADER, 5))
  case.assert_same_bits(fit(tmp_path / "part"), whole)

  written = vae.exported_params(RUN, QUICK, whole, ())
  assert "discriminator" not in written
  run = case.in_folder(RUN, tmp_path / "part")
  path = vae.export(run, written, whole.params["discriminator"])
  case.assert_same_bits(load_checkpoint(path)[1]["vae"], written)
  rival = load_discriminator(path.with_name(FILE), GAN)
  case.assert_same_bits(rival, whole.params["discriminator"])

  later = dataclasses.replace(RUN, init_from=str(path))
  later = case.in_folder(later, tmp_path / "later")
  state = jax.jit(functools.partial(vae_step.init_state, later))(jax.random.key(9))
  begun = start.vae_start(later)(state)
  case.assert_same_bits(begun.params["discriminator"], rival)
  # Another discriminator does not fit, even if it has the same tensors.
  with pytest.raises(
    ValueError, match="has spectral_norm = False, but adversarial.spec"
  ):
    start.vae_start(with_gan(later, spectral_norm=True))
  with pytest.raises(ValueError, match=r"discriminator.safetensors.*conv_in.weight"):
    start.vae_start(with_gan(later, channels=4))
  path.with_name(FILE).unlink()
  begun = start.vae_start(later)(state)
  case.assert_same_bits(begun.params["discriminator"], state.params["discriminator"])
  # A checkpoint of a run knows which discriminator it has.
  wide = with_gan(case.in_folder(RUN, tmp_path / "part"), channels=16)
  with pytest.raises(ValueError, match="discriminator"):
    loop.fit(
      wide,
      init=functools.partial(vae_step.init_state, wide),
      update=update_of(wide),
      loader=LOADER,
      rules=VAE_TRAINING_RULES,
    )


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"weight": -1.0}, "adversarial.weight is -1"),
    ({"layers": 0}, "adversarial.layers is 0"),
  ],
)
def test_options_that_cannot_be_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    AdversarialConfig(**changes)
  with pytest.raises(ValueError, match="patch_size is 3; it must divide 16, because"):
    with_gan(patch_size=3)


def test_a_run_that_ends_before_its_discriminator_matters_says_so():
  assert vae.left_out(with_gan()) == []
  (late,) = vae.left_out(with_gan(start=RUN.steps))
  assert "The discriminator is not trained: --adversarial.start" in late
  (short,) = vae.left_out(with_gan(start=1, ramp=RUN.steps))
  assert f"at step {RUN.steps + 1} of {RUN.steps}." in short
  (deaf,) = vae.left_out(with_gan(head_start=RUN.steps))
  assert f"it begins to at step {RUN.steps}, beyond the run's {RUN.steps}" in deaf
  assert vae.left_out(with_gan(weight=0.0, start=RUN.steps)) == []
