"""How good a picture looks, learnt from pairs: one score a picture, in a fixed order.

    P(i > j) = sigmoid(s_i - s_j)
    loss     = cross-entropy with the votes (a tie is 0.5) + 0.001 mean(s)^2

s is one network's score of one picture, so swapping the two negates the logit. The
second term stops a drift that the first one does not see.

People compare two pictures that share a label (`aesthetic_pairs`), so that they compare
like with like and the network does not learn that dogs are better than cars. A clip has
the mean and the least of its stills' scores (`clip.aesthetics`).

Source: the paper's Siamese network and its pairs (arXiv:2501.00103, section 3.1); the
probability is that of Bradley and Terry (1952), as in RankNet (Burges 2005).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, UInt8

from ltx_jax.data import video
from ltx_jax.models import aesthetic
from ltx_jax.typing import AnyArray, Backbone, Params

SIDE = aesthetic.SIDE
"""Height and width of what a backbone sees."""

TIE = 0.5
"""Vote for neither."""

DRIFT = 1e-3
"""Weight of the term that keeps scores around zero."""

_SHARPEST = 100.0

Votes = Float[AnyArray, "p"]
"""1 for the first picture of a pair, 0 for the second, or anything between."""


class Described(NamedTuple):
  """What a backbone gives for pictures.

  Attributes:
    features: Features of the whole picture, and of its middle at native size.
    groups: Sizes of their groups, which sum up to d.
    labels: Logits of labels; None if the backbone has none.
  """

  features: Float[np.ndarray, "n d"]
  groups: tuple[int, ...]
  labels: Float[np.ndarray, "n k"] | None


class Calibration(NamedTuple):
  """How often what was said to be likely happened, in equal bins of probability.

  Attributes:
    predicted: Mean probability in each bin; 0 in an empty one.
    observed: Mean vote in each bin; 0 in an empty one.
    counts: Number of pairs in each bin.
    error: Mean distance of the two over all pairs.
  """

  predicted: Float[np.ndarray, "bins"]
  observed: Float[np.ndarray, "bins"]
  counts: Int[np.ndarray, "bins"]
  error: float


def views(
  picture: UInt8[np.ndarray, "H W 3"],
) -> UInt8[np.ndarray, "2 h w 3"]:
  """Returns two views of a picture: all of it, and its middle at native size.

  Shrinking hides damage, so the second is not shrunk. A picture that is smaller than a
  view is enlarged for it.
  """
  whole = video.resized(picture, SIDE, SIDE)
  height, width = picture.shape[:2]
  if min(height, width) < SIDE:
    return np.stack([whole, video.cover(picture[None], SIDE, SIDE)[0]])
  top, left = (height - SIDE) // 2, (width - SIDE) // 2
  return np.stack([whole, picture[top : top + SIDE, left : left + SIDE]])


def describe(
  backbone: Backbone,
  pictures: Iterable[UInt8[np.ndarray, "_ _ 3"]],
  batch: int = 16,
) -> Described:
  """Returns the features and the labels of pictures of any sizes.

  Args:
    backbone: The network.
    pictures: The pictures.
    batch: How many are seen together; the last ones are filled up, so that the backbone
      is compiled once.
  """
  features, labels = [], []
  for group in _batches(pictures, batch):
    seen = np.stack([views(picture) for picture in group])
    padded = np.concatenate([seen, np.zeros_like(seen[:1]).repeat(batch, 0)])[:batch]
    found, logits = backbone(padded.reshape(-1, SIDE, SIDE, 3))
    both = np.concatenate(found, 1, dtype=np.float32).reshape(batch, -1)
    features.append(both[: len(group)])
    if logits is not None:
      whole = np.asarray(logits, np.float32).reshape(batch, 2, -1)[: len(group), 0]
      labels.append(whole)
  if not features:
    raise ValueError("There are no pictures; give at least one.")
  groups = 2 * tuple(part.shape[1] for part in found)
  named = np.concatenate(labels) if labels else None
  return Described(np.concatenate(features), groups, named)


def _batches(items: Iterable, count: int) -> Iterator[list]:
  group = []
  for item in items:
    group.append(item)
    if len(group) == count:
      yield group
      group = []
  if group:
    yield group


def logits(
  params: Params, features: Float[AnyArray, "n d"], pairs: Int[AnyArray, "p 2"]
) -> Float[Array, "p"]:
  """Returns s_i - s_j for each pair of pictures.

  Args:
    params: A head (`models.aesthetic`).
    features: Features of the pictures.
    pairs: Numbers of i and j.
  """
  scores = aesthetic.scores(params, features)
  return scores[pairs[:, 0]] - scores[pairs[:, 1]]


def loss(
  first: Float[AnyArray, "p"], second: Float[AnyArray, "p"], votes: Votes
) -> Float[Array, ""]:
  """Returns the loss of the module docstring for the scores of pairs."""
  entropy = optax.sigmoid_binary_cross_entropy(first - second, votes)
  middle = jnp.mean(jnp.concatenate([first, second]))
  return jnp.mean(entropy) + DRIFT * middle**2


def accuracy(logits: Float[AnyArray, "p"], votes: Votes) -> float:
  """Returns the share of pairs whose order is that of the votes; ties do not count.

  Equal scores are right half the time. Votes between 0 and 1, means of several people,
  count by how far they are from a tie.
  """
  side = np.sign(np.asarray(logits, np.float64))
  votes = np.asarray(votes, np.float64) - TIE
  weight = np.abs(votes).sum()
  return float((np.abs(votes) * (1 + side * np.sign(votes)) / 2).sum() / weight)


def calibrate(
  probabilities: Float[AnyArray, "p"], votes: Votes, bins: int = 10
) -> Calibration:
  """Compares probabilities with votes, and returns the expected calibration error."""
  said, happened = (np.asarray(x, np.float64) for x in (probabilities, votes))
  place = np.clip((said * bins).astype(np.int64), 0, bins - 1)
  counts = np.bincount(place, minlength=bins)
  some = np.maximum(counts, 1)
  predicted = np.bincount(place, said, bins) / some
  observed = np.bincount(place, happened, bins) / some
  error = float((counts * np.abs(predicted - observed)).sum() / max(counts.sum(), 1))
  return Calibration(predicted, observed, counts, error)


def sharpness(logits: Float[AnyArray, "p"], votes: Votes) -> float:
  """Returns the factor of logits that makes their probabilities fit the votes best.

  A network that knows its pairs by heart is too sure of others. The factor is found on
  pairs that it has not seen; it changes no order.
  """
  x, y = (np.asarray(values, np.float64) for values in (logits, votes))

  def slope(factor: float) -> float:
    return float((x * (1 / (1 + np.exp(-np.clip(factor * x, -500, 500))) - y)).mean())

  # Cross-entropy is convex in the factor, so its slope grows.
  low, high = 0.0, 1.0
  while slope(high) < 0 and high < _SHARPEST:
    low, high = high, 2 * high
  for _ in range(50):
    middle = (low + high) / 2
    low, high = (middle, high) if slope(middle) < 0 else (low, middle)
  return (low + high) / 2


def kendall(
  first: Float[AnyArray, "n"], second: Float[AnyArray, "n"], at_once: int = 512
) -> float:
  """Returns Kendall's tau-b of two orders: 1 if they agree, -1 if they are reversed.

  Args:
    first: Values of one order.
    second: Values of the other.
    at_once: How many are compared with all others together.
  """
  a, b = (np.asarray(values, np.float64) for values in (first, second))
  agree = untied_a = untied_b = 0
  for start in range(0, len(a), at_once):
    part = slice(start, start + at_once)
    x = np.sign(a[part, None] - a).astype(np.int8)
    y = np.sign(b[part, None] - b).astype(np.int8)
    agree += int((x * y).sum(dtype=np.int64))
    untied_a += int(np.count_nonzero(x))
    untied_b += int(np.count_nonzero(y))
  return agree / max(np.sqrt(float(untied_a) * float(untied_b)), 1e-12)


def explained(
  values: Float[AnyArray, "n"], groups: Int[AnyArray, "n"] | Sequence[int]
) -> float:
  """Returns the share of the variance of values that their groups explain (R2).

  Among undamaged pictures it says how much a score depends on what is shown. It is
  corrected for the number of groups: random groups explain nothing.
  """
  values, groups = np.asarray(values, np.float64), np.asarray(groups)
  names, place = np.unique(groups, return_inverse=True)
  means = np.bincount(place, values) / np.bincount(place)
  inside = ((values - means[place]) ** 2).sum() / max(len(values) - len(names), 1)
  total = ((values - values.mean()) ** 2).sum() / max(len(values) - 1, 1)
  return float(1 - inside / total) if total > 0 else 0.0


def focus(picture: UInt8[np.ndarray, "H W 3"]) -> float:
  """Returns the logarithm of the variance of the Laplacian, a common rule for blur.

  It is what the network is compared with.
  """
  luma = picture.astype(np.float32) @ np.float32([0.299, 0.587, 0.114])
  middle = luma[1:-1, 1:-1]
  around = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
  return float(np.log(np.var(around - 4 * middle) + 1e-6))
