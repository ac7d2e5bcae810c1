"""The toy run of `loop_case` as a program, one of several processes or alone."""

from __future__ import annotations

import dataclasses
import functools
import time

import tyro

from ltx_jax.cli.command_line import errors_in_words
from ltx_jax.config.distributed import DistributedConfig
from ltx_jax.parallel.mesh import make_mesh, own_rows
from tests.train.harness import loop_case
from train.harness import processes


@dataclasses.dataclass
class Options:
  """Options of a test."""

  folder: str
  steps: int = 12
  data: int = 2
  fsdp: int = 2
  pause: float = 0.0
  seed: int = 0
  fails_at: int | None = None
  distributed: DistributedConfig = DistributedConfig()


class OwnRows(loop_case.Rows):
  """The rows of a batch that this process has."""

  def __init__(self, mesh, options):
    def at_step(step):
      time.sleep(options.pause)
      if step == options.fails_at:
        raise ValueError("A clip cannot be read.")

    super().__init__(at_step=at_step)
    self.own = functools.partial(own_rows, mesh)

  def iterate(self, start, stop):
    for batch in super().iterate(start, stop):
      own = self.own(len(batch["x"]))
      yield {name: rows[own] for name, rows in batch.items()}


def main():
  options = tyro.cli(Options)
  run = loop_case.run_in(options.folder, options.data, options.fsdp, log_every=1)
  run = dataclasses.replace(
    run, steps=options.steps, seed=options.seed, distributed=options.distributed
  )
  with processes.ends_at_once(), errors_in_words():
    processes.start(run)
    loop_case.train(run, OwnRows(make_mesh(**vars(run.mesh)), options))


if __name__ == "__main__":
  main()
