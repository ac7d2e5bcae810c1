"""Small studies without files, and votes on them."""

from __future__ import annotations

import itertools

from train.evaluate.study.design import Clip, Damaged, Item, Rules, Study, all_pairs


def clip(number):
  return Clip(f"{number:016x}", "0" * 64)


def study(models=3, items=12, *, seed=1, damaged=4, rules=None):
  """A study whose media are numbered, three to a model and item."""
  names = [f"secret{k}" for k in range(models)]
  numbers = itertools.count()
  prompts = tuple(
    Item(
      f"item{k}",
      f"a prompt, number {k}",
      None,
      (("odd", "even")[k % 2 == 0],),
      {name: clip(next(numbers)) for name in names},
    )
    for k in range(items)
  )
  copies = tuple(
    Damaged(f"item{k}", names[k % models], "blurred", clip(next(numbers)))
    for k in range(damaged)
  )
  rules = rules or Rules(votes_per_pair=2, comparisons=20, damaged=2, repeats=2, same=1)
  pairs = all_pairs(names)
  known = {name: {} for name in names}
  return Study("test", seed, "Which?", known, prompts, pairs, copies, rules, 24.0)
