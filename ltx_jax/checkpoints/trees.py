"""Nested dicts of arrays as flat ones: paths are like `blocks/attn1/to_q/kernel`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from ltx_jax.typing import Params


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Returns the leaves of `tree` by path, in the tree's order."""
  flat = {}
  for name, value in tree.items():
    nested = isinstance(value, Mapping)
    flat |= flatten(value, f"{prefix}{name}/") if nested else {prefix + name: value}
  return flat


def nest(flat: Mapping[str, Any]) -> Params:
  """Inverts `flatten`; a mapping of leaves by name replaces a single leaf."""
  tree: Params = {}
  for path, value in flat.items():
    *parents, name = path.split("/")
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node |= value if isinstance(value, Mapping) else {name: value}
  return tree


def path_name(path: tuple[Any, ...]) -> str:
  """Joins a pytree's key path with slashes: `blocks/attn1/to_q/kernel`."""
  return jax.tree_util.keystr(path, simple=True, separator="/")
