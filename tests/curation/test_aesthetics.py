"""The loss of pairs, the scores of clips, and the measures of both."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltx_jax.curation import aesthetics
from ltx_jax.models import aesthetic


@pytest.fixture(scope="module")
def head():
  return aesthetic.init_head(jax.random.key(0), np.zeros(12), np.ones(12), (12,))


@pytest.fixture(scope="module")
def features():
  return np.random.default_rng(0).normal(size=(74, 12)).astype(np.float32)


def test_swapping_the_pictures_negates_the_logit_exactly(head, features):
  pairs = np.arange(74).reshape(-1, 2)
  for found in (aesthetics.logits, jax.jit(aesthetics.logits)):
    forth, back = found(head, features, pairs), found(head, features, pairs[:, ::-1])
    assert np.abs(forth).min() > 0
    np.testing.assert_array_equal(forth, -back)


def test_a_pair_has_the_same_logit_whichever_pairs_are_next_to_it(head, features):
  pairs = np.array([[3, 70], [8, 8], [70, 5]])
  found = aesthetics.logits(head, features, pairs)
  assert found[1] == 0
  alone = [aesthetics.logits(head, features, pairs[k : k + 1])[0] for k in range(3)]
  np.testing.assert_array_equal(found, alone)


def test_the_loss_is_cross_entropy_and_a_pull_towards_zero():
  first, second = jnp.array([2.0, -1.0, 0.5]), jnp.array([0.0, 1.0, 0.5])
  votes = jnp.array([1.0, 0.25, 0.5])
  p = 1 / (1 + np.exp([-2.0, 2.0, 0.0]))
  entropy = -(votes * np.log(p) + (1 - votes) * np.log(1 - p))
  expected = float(entropy.mean()) + 1e-3 * (3 / 6) ** 2
  found = float(aesthetics.loss(first, second, votes))
  assert found == pytest.approx(expected, rel=1e-5)


def test_the_loss_is_the_same_for_swapped_pairs_and_least_at_the_vote():
  first, second = jnp.array([0.3, -2.0]), jnp.array([1.0, 0.0])
  votes = jnp.array([0.7, 0.2])
  swapped = float(aesthetics.loss(second, first, 1 - votes))
  assert float(aesthetics.loss(first, second, votes)) == pytest.approx(swapped)
  # A tie pulls two scores together; a clear vote pulls them apart.
  slope = jax.grad(aesthetics.loss)
  assert slope(jnp.array([1.0]), jnp.array([-1.0]), jnp.array([0.5])) > 0
  assert slope(jnp.array([1.0]), jnp.array([-1.0]), jnp.array([1.0])) < 0


def test_views_are_all_of_a_picture_and_its_middle_at_native_size():
  picture = np.random.default_rng(0).integers(0, 256, (300, 401, 3), np.uint8)
  whole, middle = aesthetics.views(picture)
  np.testing.assert_array_equal(middle, picture[38:262, 88:312])
  assert whole.shape == middle.shape
  assert abs(float(whole.mean()) - float(picture.mean())) < 1
  small = aesthetics.views(picture[:50, :70])
  assert small.shape == (2, 224, 224, 3)


def test_pictures_are_described_in_batches_of_one_size():
  pictures = [np.full((230, 240, 3), k, np.uint8) for k in range(5)]
  sizes = []

  def backbone(seen):
    sizes.append(seen.shape)
    mean = np.float32(seen.mean((1, 2, 3)))
    return [np.stack([mean, -mean], 1), mean[:, None]], mean[:, None]

  found = aesthetics.describe(backbone, pictures, batch=2)
  assert set(sizes) == {(4, 224, 224, 3)} and len(sizes) == 3
  np.testing.assert_array_equal(found.features[:, 0], range(5))
  np.testing.assert_array_equal(found.features[:, 4], -np.arange(5.0))
  assert found.groups == (2, 1, 2, 1) and found.features.shape == (5, 6)
  np.testing.assert_array_equal(found.labels[:, 0], range(5))
  unnamed = aesthetics.describe(lambda seen: (backbone(seen)[0], None), pictures)
  assert unnamed.labels is None
  with pytest.raises(ValueError, match="There are no pictures"):
    aesthetics.describe(backbone, [])


def test_accuracy_counts_votes_by_how_clear_they_are():
  logits = np.array([1.0, 2.0, -1.0, 0.0])
  assert aesthetics.accuracy(logits, np.array([1.0, 0.0, 0.0, 1.0])) == 2.5 / 4
  # A tie counts nothing, and two people of three count a third of three.
  assert aesthetics.accuracy(logits[:3], np.array([1.0, 0.5, 2 / 3])) == 0.75


def test_calibration_compares_what_was_said_with_what_happened():
  said = np.array([0.05, 0.05, 0.95, 0.95, 1.0, 0.0])
  votes = np.array([0.0, 0.0, 1.0, 0.0, 1.0, 0.0])
  found = aesthetics.calibrate(said, votes)
  assert found.counts.tolist() == [3, 0, 0, 0, 0, 0, 0, 0, 0, 3]
  assert found.observed[-1] == pytest.approx(2 / 3)
  expected = (3 * 0.1 / 3 + 3 * abs(2.9 / 3 - 2 / 3)) / 6
  assert found.error == pytest.approx(expected)


def test_sharpness_makes_probabilities_true():
  rng = np.random.default_rng(0)
  logits = rng.normal(0, 2, 20_000)
  votes = (rng.random(20_000) < 1 / (1 + np.exp(-logits))).astype(float)
  assert aesthetics.sharpness(4 * logits, votes) == pytest.approx(0.25, rel=0.03)
  assert aesthetics.sharpness(logits / 8, votes) == pytest.approx(8, rel=0.03)
  assert aesthetics.sharpness(-logits, votes) < 1e-6  # No factor mends a wrong order.
  before = aesthetics.calibrate(1 / (1 + np.exp(-4 * logits)), votes).error
  after = aesthetics.calibrate(1 / (1 + np.exp(-logits)), votes).error
  assert after < 0.01 < 0.05 < before


def test_kendall_counts_agreeing_and_disagreeing_pairs():
  def tau(first, second):
    return aesthetics.kendall(np.float64(first), np.float64(second), at_once=3)

  assert tau([1, 2, 3, 4], [10, 20, 30, 40]) == 1
  assert tau([1, 2, 3, 4], [4, 3, 2, 1]) == -1
  assert tau([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(4 / 6)
  # Ties in one order: 5 of 6 pairs differ there.
  assert tau([1, 2, 3, 3], [1, 2, 3, 4]) == pytest.approx(5 / np.sqrt(5 * 6))
  rng = np.random.default_rng(0)
  assert abs(tau(rng.random(500), rng.random(500))) < 0.1


def test_groups_explain_what_differs_between_them():
  groups = np.repeat([0, 1, 2], 100)
  noise = np.random.default_rng(0).normal(size=300)
  assert aesthetics.explained(groups.astype(float), groups) == 1
  assert abs(aesthetics.explained(noise, groups)) < 0.03
  # Chance explains much if there are many groups; it is taken off.
  assert abs(aesthetics.explained(noise, np.arange(300) // 2)) < 0.25
  between = aesthetics.explained(groups * np.sqrt(1.5) + noise, groups)
  assert between == pytest.approx(0.5, abs=0.1)


def test_focus_falls_with_blur():
  sharp = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
  soft = (sharp[:-1] // 2 + sharp[1:] // 2).astype(np.uint8)
  assert aesthetics.focus(sharp) > aesthetics.focus(soft) > aesthetics.focus(soft * 0)
