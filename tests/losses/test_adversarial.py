import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ltx_jax.losses import adversarial
from ltx_jax.losses.adversarial import FORMS, SEES

SWAPPED = np.array([False, True])


def clips(seed=0):
  return np.random.default_rng(seed).uniform(-1, 1, (2, 3, 4, 4, 3)).astype(np.float32)


def logits(seed=0, count=2):
  return jnp.asarray(np.random.default_rng(seed).normal(0, 1, (count, 3, 2, 2)))


def test_a_pair_is_shown_in_the_order_that_is_asked_for():
  original, made = clips(0), clips(1)
  video, target, judged = SEES["pair"](original, made, SWAPPED)
  np.testing.assert_array_equal(video[0], np.concatenate([original[0], made[0]], -1))
  np.testing.assert_array_equal(video[1], np.concatenate([made[1], original[1]], -1))
  np.testing.assert_array_equal(target, [1, -1])
  np.testing.assert_array_equal(judged, [1, 1])


def test_a_pair_is_shown_in_both_orders():
  original, made = clips(0), clips(1)
  video, target, judged = SEES["both-orders"](original, made, SWAPPED)
  one, other = (SEES["pair"](original, made, way) for way in (SWAPPED, ~SWAPPED))
  np.testing.assert_array_equal(video, np.concatenate([one.video, other.video]))
  np.testing.assert_array_equal(target, [1, -1, -1, 1])
  np.testing.assert_array_equal(judged, [1, 1, 1, 1])


def test_what_the_order_does_not_change_cancels_in_both_orders():
  """At its first step, where all margins are below 1, content alone teaches nothing."""

  def loss(weight):
    seen = SEES["both-orders"](clips(0), clips(1), SWAPPED)
    content = jnp.sum(seen.video, axis=-1)  # The same in either order.
    form = FORMS["hinge"]
    return adversarial.discriminator_loss(form, weight * content, seen.target)

  assert abs(jax.grad(loss)(1e-3)) < 1e-6


def test_an_ordinary_gan_sees_each_alone():
  original, made = clips(0), clips(1)
  video, target, judged = SEES["clip"](original, made, SWAPPED)
  np.testing.assert_array_equal(video, np.concatenate([original, made]))
  np.testing.assert_array_equal(target, [1, 1, -1, -1])
  np.testing.assert_array_equal(judged, [0, 0, 1, 1])


@pytest.mark.parametrize(
  ("form", "own", "of_vae"),
  [
    ("hinge", lambda m: np.maximum(0, 1 - m), lambda m: m),
    ("logistic", lambda m: np.log1p(np.exp(-m)), lambda m: np.log1p(np.exp(m))),
  ],
)
def test_losses_are_those_of_the_table(form, own, of_vae):
  given, target = logits(count=4), np.array([1.0, 1.0, -1.0, -1.0])
  judged = np.array([0.0, 0.0, 1.0, 1.0])
  margin = np.asarray(given) * target[:, None, None, None]
  found = adversarial.discriminator_loss(FORMS[form], given, target)
  np.testing.assert_allclose(found, own(margin).mean(), rtol=1e-5)
  found = adversarial.generator_loss(FORMS[form], given, target, judged)
  np.testing.assert_allclose(found, of_vae(margin[2:]).mean(), rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_those_of_finite_differences(form):
  given, target = logits(seed=3), np.array([1.0, -1.0], np.float32)
  ones = np.ones(2, np.float32)

  def own(x):
    return adversarial.discriminator_loss(FORMS[form], x, target)

  def of_vae(x):
    return adversarial.generator_loss(FORMS[form], x, target, ones)

  for loss in (own, of_vae):
    check_grads(loss, (given,), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)


def test_a_discriminator_that_cannot_know_is_at_chance():
  target = np.array([1.0, -1.0, 1.0, -1.0])
  same = jnp.broadcast_to(logits(count=1), (4, 3, 2, 2))  # Identical inputs.
  assert adversarial.accuracy(same, target) == 0.5
  assert adversarial.accuracy(jnp.zeros((4, 3, 2, 2)), target) == 0.5
  for form, least in ("hinge", 1.0), ("logistic", np.log(2)):
    assert adversarial.discriminator_loss(FORMS[form], same, target) >= least - 1e-6
  right = target[:, None, None, None] * jnp.ones((4, 3, 2, 2))
  assert adversarial.accuracy(right, target) == 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sees", SEES)
def test_the_vae_moves_towards_the_original_that_the_discriminator_prefers(form, sees):
  """A fixed judge: the brighter clip is the original, and that is so."""

  def judge(video):
    brightness = jnp.mean(video[..., :3], axis=-1)
    of_pair = brightness - jnp.mean(video[..., 3:], axis=-1)
    return brightness if sees == "clip" else of_pair

  original, made = jnp.full((2, 1, 2, 2, 3), 0.8), jnp.full((2, 1, 2, 2, 3), 0.2)

  def loss(made):
    seen = SEES[sees](original, made, SWAPPED)
    return adversarial.generator_loss(
      FORMS[form], judge(seen.video), seen.target, seen.made
    )

  seen = SEES[sees](original, made, SWAPPED)
  if sees != "clip":
    assert adversarial.accuracy(judge(seen.video), seen.target) == 1
  assert (jax.grad(loss)(made) < 0).all()  # A step down makes it brighter.


@pytest.mark.parametrize("form", FORMS)
def test_in_turns_with_r1_the_pair_becomes_indistinguishable(form):
  """One number each: a reconstruction too bright by `off`, a judge of slope `slope`.

  Without the penalty the two numbers circle around their goal (0, 0), and are still far
  from it in the end; with it they reach it (Mescheder et al. 2018, the Dirac-GAN).
  """
  original = clips()

  def judge(slope, video):
    return slope * jnp.mean(video[..., :3] - video[..., 3:], axis=-1)

  def of_judge(slope, off, penalty):
    seen = adversarial.pairs(original, original + off, SWAPPED)
    logits = judge(slope, seen.video)
    slopes = adversarial.r1(functools.partial(judge, slope), seen.video)
    # The slope of a mean over pixels; the factor counts it for all of them together.
    slopes *= original[0].size
    told = adversarial.discriminator_loss(FORMS[form], logits, seen.target)
    return told + penalty * slopes

  def of_vae(off, slope):
    seen = adversarial.pairs(original, original + off, SWAPPED)
    logits = judge(slope, seen.video)
    return adversarial.generator_loss(FORMS[form], logits, seen.target, seen.made)

  @jax.jit
  def train(penalty):
    def turn(numbers, _):
      slope, off = numbers
      slope -= 0.1 * jax.grad(of_judge)(slope, off, penalty)
      off -= 0.1 * jax.grad(of_vae)(off, slope)
      return (slope, off), None

    return jax.lax.scan(turn, (0.0, 0.5), length=2000)[0]

  slope, off = train(1.0)
  assert abs(off) < 1e-3 and abs(slope) < 1e-3
  assert np.hypot(*train(0.0)) > 0.1


def test_r1_is_half_the_squared_slope():
  weights = np.random.default_rng(2).normal(0, 1, (3, 4, 4, 3)).astype(np.float32)

  def judge(video):  # Linear: its slope is its weights, averaged over the patches.
    return jnp.sum(video * weights, axis=-1)

  slope = weights / (3 * 4 * 4)
  found = adversarial.r1(judge, clips())
  np.testing.assert_allclose(found, 0.5 * np.sum(slope**2), rtol=1e-5)


def test_the_adaptive_weight_gives_both_gradients_one_norm():
  a, b = np.full((3, 3), 2.0), np.full((3, 3), 0.5)
  np.testing.assert_allclose(adversarial.adaptive_weight(a, b), 4, rtol=1e-5)
  assert adversarial.adaptive_weight(a, 0 * b) == adversarial.MOST_ADAPTIVE
  assert adversarial.adaptive_weight(0 * a, b) == 0
