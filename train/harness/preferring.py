"""Trains the head of the aesthetic network on cached features, and tests it fairly.

The backbone is frozen, so its features are computed once and a head takes seconds.
Sources are dealt into folds: a head that is trained without the pictures of a fold
predicts the votes for its pairs. All folds together test every source, and their logits
say how sure a head may be (`aesthetics.sharpness`). The head that is kept learns from
all votes; that factor is part of its last layer.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import Float, Int

from ltx_jax.curation import aesthetics
from ltx_jax.models import aesthetic
from ltx_jax.typing import Key, Params


@dataclasses.dataclass(frozen=True)
class Fitting:
  """How a head is trained.

  Attributes:
    epochs: Number of times that every pair is seen.
    batch: Number of pairs in a step.
    learning_rate: Learning rate at the start; it falls to zero along a cosine.
    weight_decay: Weight decay of AdamW. It is large: with few sources, a head that may
      learn them by heart does so.
    seed: Random seed of the head, of dropout, and of the order of pairs.
    groups: Sizes of the groups of features, which count alike; () is a single one.
  """

  epochs: int = 30
  batch: int = 256
  learning_rate: float = 1e-3
  weight_decay: float = 10.0
  seed: int = 0
  groups: tuple[int, ...] = ()


class Outcome(NamedTuple):
  """A head, and what its folds say of it.

  Attributes:
    params: The head that was trained on all votes.
    logits: Logits of the pairs that were held out in some fold.
    held: Numbers of those pairs.
    sharpness: Factor that is part of the head.
  """

  params: Params
  logits: Float[np.ndarray, "q"]
  held: Int[np.ndarray, "q"]
  sharpness: float


def folds(sources: Sequence[str], count: int, seed: int) -> Int[np.ndarray, "n"]:
  """Deals sources into folds, and returns the fold of each picture."""
  names = sorted(set(sources))
  order = np.random.default_rng(seed).permutation(len(names))
  fold = {names[k]: place % count for place, k in enumerate(order.tolist())}
  return np.array([fold[source] for source in sources])


def batches(count: int, size: int, epochs: int, seed: int) -> Iterator[np.ndarray]:
  """Yields numbers of pairs, all batches of one size: the last of an epoch is filled
  from its beginning."""
  rng = np.random.default_rng(seed)
  size = min(size, count)
  for _ in range(epochs):
    order = rng.permutation(count)
    order = np.concatenate([order, order[: -count % size]])
    yield from order.reshape(-1, size)


def fit(
  features: Float[np.ndarray, "n d"],
  pairs: Int[np.ndarray, "p 2"],
  votes: Float[np.ndarray, "p"],
  how: Fitting,
) -> Params:
  """Trains a head on pairs, and returns it.

  Args:
    features: Features of pictures; those in no pair are not looked at.
    pairs: Numbers of the pictures of each pair.
    votes: 1 for the first picture of a pair, 0 for the second.
    how: Settings.
  """
  used = np.unique(pairs)
  key = jax.random.key(how.seed)
  params = aesthetic.init_head(
    jax.random.fold_in(key, 0),
    *(features[used].mean(0), features[used].std(0)),
    how.groups or features.shape[1:],
  )
  layers, statistics = params["layers"], params["statistics"]
  state = _optimizer(how.weight_decay).init(layers)
  steps = how.epochs * -(-len(pairs) // min(how.batch, len(pairs)))
  rate = optax.cosine_decay_schedule(how.learning_rate, steps)
  chosen = batches(len(pairs), how.batch, how.epochs, how.seed)
  for number, rows in enumerate(chosen):
    first, second = features[pairs[rows, 0]], features[pairs[rows, 1]]
    batch = first, second, np.float32(votes[rows])
    keys = jax.random.split(jax.random.fold_in(key, number + 1))
    now = rate(number), how.weight_decay
    layers, state = _step((layers, state), statistics, batch, keys, *now)
  return {"layers": layers, "statistics": statistics}


def _optimizer(weight_decay: float) -> optax.GradientTransformation:
  return optax.adamw(1.0, weight_decay=weight_decay)


# The rate is an argument, so runs of any length share one program.
@functools.partial(jax.jit, static_argnums=5)
def _step(
  trained: tuple[Params, Any],
  statistics: Params,
  batch: tuple[jax.Array, jax.Array, jax.Array],
  keys: Key,
  rate: jax.Array,
  weight_decay: float,
) -> tuple[Params, Any]:
  """Returns layers and the optimiser's state after one batch."""
  layers, state = trained
  first, second, votes = batch

  def objective(layers: Params) -> jax.Array:
    head = {"layers": layers, "statistics": statistics}
    scores = aesthetic.scores(head, first, keys[0])
    return aesthetics.loss(scores, aesthetic.scores(head, second, keys[1]), votes)

  updates, state = _optimizer(weight_decay).update(
    jax.grad(objective)(layers), state, layers
  )
  updates = jax.tree.map(lambda update: rate * update, updates)
  return optax.apply_updates(layers, updates), state


def score_all(
  params: Params, features: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "n"]:
  """Returns the score of every picture."""
  return np.asarray(jax.jit(aesthetic.scores)(params, features), np.float64)


def all_logits(
  params: Params, features: Float[np.ndarray, "n d"], pairs: Int[np.ndarray, "p 2"]
) -> Float[np.ndarray, "p"]:
  """Returns the logit of every pair."""
  return np.asarray(jax.jit(aesthetics.logits)(params, features, pairs), np.float64)


def sharpened(params: Params, factor: float) -> Params:
  """Returns a head all of whose scores are multiplied by a factor."""
  last = jax.tree.map(lambda x: x * factor, params["layers"]["dense2"])
  return {**params, "layers": {**params["layers"], "dense2": last}}


def cross_fit(
  features: Float[np.ndarray, "n d"],
  sources: Sequence[str],
  pairs: Int[np.ndarray, "p 2"],
  votes: Float[np.ndarray, "p"],
  how: Fitting,
  parts: int = 5,
) -> Outcome:
  """Trains one head for each fold, and one on all votes.

  Args:
    features: Features of pictures.
    sources: Source of each.
    pairs: Numbers of the pictures of each pair.
    votes: Vote for each pair.
    how: Settings.
    parts: Number of folds.

  Raises:
    ValueError: If no fold has pairs both to learn from and to be tested on.
  """
  fold = folds(sources, parts, how.seed)[pairs]
  logits, held = [], []
  for number in range(parts):
    inside = np.flatnonzero((fold == number).all(1))
    outside = np.flatnonzero((fold != number).all(1))
    if len(inside) and len(outside):
      head = fit(features, pairs[outside], votes[outside], how)
      logits.append(all_logits(head, features, pairs[inside]))
      held.append(inside)
  if not held:
    raise ValueError(
      f"The {len(pairs)} pairs are of {len(set(sources))} sources, too few to hold "
      "some of them out; vote for more pairs."
    )
  unseen, rows = np.concatenate(logits), np.concatenate(held)
  factor = aesthetics.sharpness(unseen, votes[rows])
  head = sharpened(fit(features, pairs, votes, how), factor)
  return Outcome(head, unseen, rows, factor)


def measures(
  logits: Float[np.ndarray, "q"], votes: Float[np.ndarray, "q"]
) -> dict[str, Any]:
  """Returns how well logits predict votes, by the names of the measures."""
  said = 1 / (1 + np.exp(-logits))
  found = aesthetics.calibrate(said, votes)
  return {
    "pairs": len(votes),
    "accuracy": aesthetics.accuracy(logits, votes),
    "calibration error": found.error,
    "calibration": {
      name: np.round(getattr(found, name), 4).tolist()
      for name in ("predicted", "observed", "counts")
    },
  }
