"""From raw footage to a training set: scenes, borders, motion, duplicates, captions.

    pip install -e ".[curate]"
    python -m train.curate run footage/ --output runs/curated
    python -m train.precompute runs/curated/manifest.jsonl

`run` does all of these, each of which can be done alone and again:

    plan      looks at every file, and lists those that can be read
    measure   decodes each file once, and leaves the numbers of its clips, and stills
    select    applies the rules to those numbers, in seconds, without opening a video
    caption   asks a network for a caption of each clip that is kept
    write     writes the manifest that trainers read, and a report to look at

A killed run continues where it stopped, and its result does not depend on the number of
workers. Nothing vanishes: decisions.jsonl says of each file that is refused and each
clip that is dropped which rule did so, by which number.

On one machine nothing needs to be set up. `--workers.address auto` joins the Ray
cluster that this machine belongs to; footage, this folder and --output must be at the
same paths on all of its machines. Several clusters share the work by `--shard 0/4` and
so on, each with an --output of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from configs import curation
from ltx_jax.cli import console as shared
from ltx_jax.cli.command_line import cli, errors_in_words, nearest
from ltx_jax.cli.program import run as run_program
from ltx_jax.curation.filters import Filter, Selection, funnel
from train.curation import captioning, planning, selecting, writing
from train.curation import folder as folders
from train.curation.captioning import Writer
from train.curation.folder import Folder
from train.curation.planning import Pool
from train.curation.workers import Limits, perform

_RULES = ("training", "paper", "fine_tuning")
_MANY = 10_000  # Pieces of work, above which a block of Ray has several.


Selected = Annotated[
  Path | None, tyro.conf.arg(help_behavior_hint="(default: --output)")
]


@dataclasses.dataclass(frozen=True)
class Workers:
  """Who does the work."""

  address: Annotated[
    str | None, tyro.conf.arg(help_behavior_hint="(default: this machine alone)")
  ] = None
  """Address of a Ray cluster, or `auto` for the one that this machine belongs to."""

  count: Annotated[
    int | None, tyro.conf.arg(help_behavior_hint="(default: one for each core)")
  ] = None
  """Number of workers on this machine."""

  limits: Limits = Limits()


@dataclasses.dataclass(frozen=True)
class Rules:
  """Which clips are kept."""

  rules: str = "training"
  """Function in configs/curation.py that lists the rules: training, paper or
  fine_tuning."""

  threshold: tuple[str, ...] = ()
  """Rules with other numbers, such as static=0.01, or with the share of the clips that
  is kept, such as aesthetic=30%."""

  selection: Selected = None
  """Folder for what is selected, so that one curation may have several selections."""


OUTPUT = Path("runs/curated")
Footage = Annotated[
  Path,
  tyro.conf.Positional,
  tyro.conf.arg(metavar="FOOTAGE", help_behavior_hint=""),
]


@dataclasses.dataclass(frozen=True)
class Plan:
  """Looks at every file of a folder, or of a list in JSON Lines with path and id."""

  footage: Footage
  """Folder of videos and images, or a list of them in JSON Lines with path and id."""

  output: Path = OUTPUT
  """Folder for all results."""

  shard: str = "0/1"
  """Which part of the files, of how many: 0/4 to 3/4 for four clusters."""

  workers: Workers = Workers()


@dataclasses.dataclass(frozen=True)
class Measure:
  """Decodes each file once, and leaves the numbers of its clips, and stills."""

  output: Path = OUTPUT
  """Folder with the results of `plan`."""

  workers: Workers = Workers()


@dataclasses.dataclass(frozen=True)
class Select:
  """Applies the rules to what was measured."""

  output: Path = OUTPUT
  """Folder with the results of `measure`."""

  which: tyro.conf.OmitArgPrefixes[Rules] = Rules()


@dataclasses.dataclass(frozen=True)
class Caption:
  """Asks a network for a caption of each clip that is kept."""

  output: Path = OUTPUT
  """Folder with the results of `measure`."""

  selection: Selected = None
  """Folder with the results of `select`."""

  writer: Writer = Writer()


@dataclasses.dataclass(frozen=True)
class Write:
  """Writes the manifest that trainers read, and the report."""

  output: Path = OUTPUT
  """Folder with the results of `measure`."""

  selection: Selected = None
  """Folder with the results of `select`."""


@dataclasses.dataclass(frozen=True)
class Run:
  """Does everything, from footage to the manifest."""

  footage: Footage
  """Folder of videos and images, or a list of them in JSON Lines with path and id."""

  output: Path = OUTPUT
  """Folder for all results."""

  shard: str = "0/1"
  """Which part of the files, of how many: 0/4 to 3/4 for four clusters."""

  workers: Workers = Workers()

  which: tyro.conf.OmitArgPrefixes[Rules] = Rules()

  writer: Writer = Writer()


Options = Run | Plan | Measure | Select | Caption | Write


def main(argv: Sequence[str] | None = None) -> None:
  """Does what the command says."""
  options = cli(Options, argv, program="python -m train.curate", about=__doc__)
  with errors_in_words():
    curated(options, Console(soft_wrap=True))


def curated(options: Options, console: Console) -> None:
  """Does what the command says, under a lock of its folder."""
  folder = Folder(options.output.absolute())
  if isinstance(options, Run | Plan):
    found = planning.shard_of(planning.footage(options.footage), options.shard)
  which = getattr(options, "which", None)
  filters = which and rules_of(which)
  chosen = which.selection if which else getattr(options, "selection", None)
  into = (chosen or folder.root).absolute()
  with folders.locked(folder):
    if isinstance(options, Run | Plan | Measure):
      # Before anything is read, since it may refuse.
      folders.check_fingerprint(folder, folders.fingerprint(_measures()))
      with ray_pool(options.workers, console) as pool:
        if isinstance(options, Run | Plan):
          plan(folder, found, pool, options.workers.limits, console)
        if isinstance(options, Run | Measure):
          measure(folder, pool, options.workers.limits, console)
    if isinstance(options, Run | Select):
      _show(console, selecting.decide(folder, into, filters))
      selecting.note_rules(into, which.rules, which.threshold)
    if isinstance(options, Caption) or (
      isinstance(options, Run) and options.writer.asked_for
    ):
      caption(folder, into, options.writer, console)
    if isinstance(options, Run | Write):
      write(folder, into, console)


def rules_of(which: Rules) -> list[Filter]:
  """Returns the rules that are asked for, with their numbers.

  Raises:
    ValueError: If there are no such rules.
  """
  if which.rules not in _RULES:
    raise ValueError(f"--rules is {which.rules!r}; {nearest(which.rules, _RULES)}")
  return selecting.with_thresholds(getattr(curation, which.rules)(), which.threshold)


def plan(
  folder: Folder,
  found: Sequence[planning.Footage],
  pool: Pool,
  limits: Limits,
  console: Console,
) -> None:
  """Looks at the files, and says what was found."""
  sources = planning.plan(folder, found, pool, limits)
  hours = sum(source.seconds for source in sources) / 3600
  refused = len(found) - len(sources)
  console.print(
    f"{shared.counted(len(sources), 'file')} can be read, {hours:.2f} hours; "
    f"{refused} refused"
  )


def measure(folder: Folder, pool: Pool, limits: Limits, console: Console) -> None:
  """Measures the spans that no part has, and merges all parts."""
  sources = folders.read_sources(folder)
  missing = planning.remaining(folder, sources)
  for _ in pool(planning.work_of(folder, missing, limits), "measuring"):
    pass
  clips, refused = selecting.merge(folder, sources)
  console.print(
    f"{shared.counted(clips, 'clip')} measured; "
    f"{refused} refused, of files and their spans"
  )


def caption(folder: Folder, into: Path, writer: Writer, console: Console) -> None:
  """Writes captions under a progress bar."""
  captioner = writer.captioner()
  with shared.work_bar(console) as on_work:
    done = captioning.caption(
      folder,
      into,
      captioner,
      lambda done, clips: on_work("captions", done.clips, clips),
    )
  console.print(
    f"{done.clips} captions: {done.asked} questions asked, {done.again} of them again, "
    f"{done.cached} answered before; {done.dropped} clips dropped"
  )


def write(folder: Folder, into: Path, console: Console) -> None:
  """Writes manifest and report, and says how to go on."""
  given = Rules(*selecting.noted_rules(into))
  selection = writing.write(folder, into, rules_of(given))
  kept = shared.counted(len(selection.kept), "clip")
  for line in (
    f"wrote {into / 'manifest.jsonl'}: {kept}; look at {into / 'report.html'}",
    f"Encode it: python -m train.precompute {into / 'manifest.jsonl'}",
  ):
    console.print(line, markup=False, highlight=False)


def _show(console: Console, selection: Selection) -> None:
  """Prints what each rule leaves."""
  table = Table(box=None, header_style="none")
  for name in ("rule", "clips left", "hours", "it alone drops"):
    table.add_column(name, justify="left" if name == "rule" else "right")
  alone = ["", *(f"{step.alone:,}" for step in selection.steps)]
  for (rule, clips, hours), drops in zip(funnel(selection), alone, strict=True):
    table.add_row(rule, f"{clips:,}", f"{hours:.2f}", drops)
  console.print(table)
  for rule, why in selection.off.items():
    console.print(f"The rule {rule} is {why}.", highlight=False)


def _measures():
  """Returns the numbers of the measurement; what it needs is an extra."""
  for module, package in (("cv2", "opencv-python-headless"), ("ray", "ray[data]")):
    if importlib.util.find_spec(module) is None:
      raise ValueError(f'Curation needs {package}; run `pip install -e ".[curate]"`.')
  return curation.measures()


@contextlib.contextmanager
def ray_pool(workers: Workers, console: Console) -> Iterator[Pool]:
  """Starts Ray on this machine, or joins a cluster, and yields its pool."""
  os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
  import ray

  shown = {"log_to_driver": False, "logging_level": "error"}
  if workers.address is None:
    shown |= {"num_cpus": workers.count, "include_dashboard": False}
  # Without an address Ray would look for a cluster that runs here.
  ray.init(workers.address or "local", **shown)
  try:
    yield lambda work, doing: _on_ray(work, doing, workers.limits, console)
  finally:
    ray.shutdown()


def _on_ray(
  work: Sequence[bytes], doing: str, limits: Limits, console: Console
) -> Iterator[bytes]:
  """Yields the results of pieces of work, in any order, under a progress bar."""
  if not work:
    return
  import ray.data
  from ray.util.annotations import RayDeprecationWarning

  # Its lines would tear the bar; what goes wrong is raised.
  logging.getLogger("ray.data").setLevel(logging.ERROR)
  context = ray.data.DataContext.get_current()
  context.enable_progress_bars = False
  context.print_on_execution_start = False
  blocks = min(len(work), _MANY)
  rows = ray.data.from_items([{"work": w} for w in work], override_num_blocks=blocks)
  with warnings.catch_warnings():
    # Ray 2.64, which is not taken, has no `max_retries` here.
    warnings.simplefilter("ignore", RayDeprecationWarning)
    done = rows.map(
      _performed,
      num_cpus=1,
      memory=limits.memory * 1e9,  # Reserved; the child holds to it.
      # A worker that dies twice ends the run, instead of being started for ever.
      max_retries=1,
    )
  with shared.work_bar(console) as on_work:
    on_work(doing, 0, len(work))
    for count, row in enumerate(done.iter_rows(), 1):
      if row["unwritten"]:
        raise OSError(row["unwritten"])
      yield row["done"]
      on_work(doing, count, len(work))


def _performed(row: dict[str, bytes]) -> dict[str, bytes | str]:
  """Does work; an exception would come back as Ray's report of many lines."""
  try:
    return {"done": perform(row["work"]), "unwritten": ""}
  except OSError as error:
    return {"done": b"", "unwritten": str(error)}


if __name__ == "__main__":
  run_program(main)
