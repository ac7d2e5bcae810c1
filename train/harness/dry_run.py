"""What `--dry-run` prints: all decisions before a run; nothing is started.

It prints the config as it will be saved, the buckets with their clips and their share
of the batches, and the parameters of each network. `fitting` prints the memory of a
step before.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from ltx_jax.data.loader import Loader
from ltx_jax.typing import Params


def show(
  run: Any,
  loader: Loader,
  params: Params,
  console: Console | None = None,
) -> None:
  """Prints what a run would do.

  Args:
    run: The run, with buckets resolved.
    loader: Its batches.
    params: Shapes of the trained parameters, by network.
    console: Console to print to.
  """
  console = console or Console(soft_wrap=True)
  console.print_json(json.dumps(dataclasses.asdict(run), default=str))
  for number, stage in enumerate(run.stages):
    console.print(_buckets(f"Stage {number + 1}: {stage.steps} steps", loader, number))
  for name, network in params.items():
    count = sum(math.prod(leaf.shape) for leaf in _leaves(network))
    console.print(f"{name}: {count:,} parameters", highlight=False)
  console.print("A dry run: nothing was started.")


def _buckets(title: str, loader: Loader, stage: int) -> Table:
  table = Table(title=title, title_justify="left")
  names = "frames", "height", "width", "tokens", "dropped", "clips", "batch", "share"
  for name in names:
    table.add_column(name, justify="right")
  clips = loader.clips(stage)
  for group in loader.stages[stage]:
    kept, weight = loader.tokens(group.smallest), sum(b.weight for b in group.buckets)
    for bucket, member in zip(group.buckets, group.members, strict=True):
      tokens, share = loader.tokens(bucket), group.share * bucket.weight / weight
      table.add_row(
        *map(str, (bucket.frames, bucket.height, bucket.width, tokens)),
        f"{100 * (1 - kept / tokens):.1f} %",
        *map(str, (clips[member], group.batch_size)),
        f"{100 * share:.1f} %",
        end_section=bucket is group.buckets[-1],
      )
  return table


def _leaves(tree: Any) -> list[Any]:
  if isinstance(tree, Mapping):
    return [leaf for value in tree.values() for leaf in _leaves(value)]
  return [tree]
