"""What `--dry-run` prints: all that is decided before a run, and nothing is started.

The config as it will be saved, the buckets with the clips that they take and the share
of the batches that they get, and the parameters of each network. The memory that a step
needs is said before (`fitting`).
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
    run: Its config, buckets resolved.
    loader: Its batches.
    params: Shapes of what is trained, by network.
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
  for name in ("frames", "height", "width", "tokens", "clips", "batch", "share"):
    table.add_column(name, justify="right")
  clips = loader.clips(stage)
  for sized, count in zip(loader.stages[stage], clips, strict=True):
    bucket = sized.bucket
    numbers = bucket.frames, bucket.height, bucket.width, loader.tokens(bucket)
    table.add_row(
      *map(str, (*numbers, count, sized.batch_size)), f"{100 * sized.share:.1f} %"
    )
  return table


def _leaves(tree: Any) -> list[Any]:
  if isinstance(tree, Mapping):
    return [leaf for value in tree.values() for leaf in _leaves(value)]
  return [tree]
