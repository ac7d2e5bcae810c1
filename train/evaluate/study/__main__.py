"""Asks people which of two clips is better, blind, and says what their votes mean.

    pip install -e ".[evaluate]"
    python -m train.evaluate.study make --models clips/ours clips/theirs \\
        --prompts prompts.jsonl --output runs/study
    python -m train.evaluate.study serve runs/study
    python -m train.evaluate.study results runs/study

`make` takes a folder of clips for each model, ITEM.mp4 for each item, and a file with a
line for each item, such as {"id": "0017", "prompt": "a fox in the snow"}. It gives all
clips of an item one length, size and encoder, hides whose they are, adds checks of the
raters' attention, and prints a personal link for each rater, once.

`serve` shows the clips in pairs, and keeps every vote on disk before it acknowledges
it. It can be ended and started again at any time; everybody goes on where they were.

`results` gives win rates as in the paper on LTX-Video, scores, tests and intervals that
hold for other people and prompts.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from ltx_jax.cli.command_line import as_typed, cli, errors_in_words
from ltx_jax.cli.program import run as run_program
from ltx_jax.errors import check_fps, check_number, check_seed
from train.evaluate.study import design

_PROGRAM = "python -m train.evaluate.study"
_IN_WORDS = tyro.conf.arg(help_behavior_hint="")  # Its text says what the default is.
_Folder = tyro.conf.Positional[Path]


@dataclasses.dataclass(frozen=True)
class Make:
  """A study from folders of clips.

  Attributes:
    models: Folders with clips, each named after its model.
    prompts: File with a line for each item: its id, its prompt, and, if there are any,
      a start image and tags.
    output: Folder of the study; it must not exist.
    raters: Number of raters, who get a link each.
    votes: Number of raters who vote on each pair of clips.
    comparisons: Number of pairs that each rater sees; default: an equal share of all.
    question: Question that raters read.
    seed: Seed of orders, sides and checks.
    fps: Largest frame rate, for all clips; default: each keeps its own motion rate.
    drop: Leave out items that a model has no clip for.
    cut: Cut clips to the shortest one of their item, also where it is much shorter.
  """

  models: tuple[Path, ...]
  prompts: Path
  output: Path = Path("runs/study")
  raters: int = 20
  votes: int = 1
  comparisons: Annotated[int | None, _IN_WORDS] = None
  question: str = design.QUESTION
  seed: int = 0
  fps: Annotated[float | None, _IN_WORDS] = None
  drop: bool = False
  cut: bool = False


@dataclasses.dataclass(frozen=True)
class Serve:
  """The page on which raters vote.

  Attributes:
    study: Folder that `make` wrote.
    host: Address to listen on; 0.0.0.0 lets others in, and needs TLS in front.
    port: Port to listen on; 0 takes a free one.
  """

  study: _Folder
  host: str = "127.0.0.1"
  port: int = 8000


@dataclasses.dataclass(frozen=True)
class Results:
  """Win rates, scores and intervals.

  Attributes:
    study: Folder that `make` wrote.
    output: Folder of the results; default: `results` in that of the study.
    head: Hash of the last vote that `serve` printed; default: none, and then votes cut
      off the end are not noticed.
    resamples: Number of resamples of prompts, raters and votes.
    as_is: Show results although the file of votes was changed.
  """

  study: _Folder
  output: Annotated[Path | None, _IN_WORDS] = None
  head: Annotated[str | None, _IN_WORDS] = None
  resamples: int = 1000
  as_is: bool = False


def make(options: Make, console: Console) -> None:
  """Writes a study and prints the links."""
  from train.evaluate.study import making, raters

  for name, most in (("raters", 10_000), ("votes", 10_000), ("comparisons", 10**6)):
    value = getattr(options, name)
    if value is not None:
      check_number(f"--{name}", value, at_least=1, at_most=most, whole=True)
  check_seed(options.seed)
  if options.fps is not None:
    check_fps(options.fps)
  wanted = making.Wanted(**dataclasses.asdict(options))
  tokens = making.make(wanted, lambda words: _say(console, words))
  people = raters.read(options.output / design.RATERS)
  _say(console, "Links; each is one rater's, and they are not shown again:")
  for rater, token in zip(people, tokens, strict=True):
    _say(console, f"  {rater.id}  /r/{token}")
  _say(console, f"Go on: python -m train.evaluate.study serve {options.output}")


def serve(options: Serve, console: Console) -> None:
  """Serves a study until it is interrupted."""
  for package in ("starlette", "uvicorn"):
    if importlib.util.find_spec(package) is None:
      raise ValueError(f'The page needs {package}; run `pip install -e ".[evaluate]"`.')
  from train.evaluate.study import serving

  check_number("--port", options.port, at_least=0, at_most=65535, whole=True)
  serving.serve(
    options.study, options.host, options.port, lambda words: _say(console, words)
  )


def results(options: Results, console: Console, command: str) -> None:
  """Writes the results and prints the most important ones.

  Args:
    options: Which study.
    console: Where results are printed.
    command: The command that makes them.
  """
  from train.evaluate.header import made_by
  from train.evaluate.study import reporting, tally
  from train.evaluate.study import results as figures
  from train.page.study import markdown

  check_number("--resamples", options.resamples, at_least=2, at_most=10**5, whole=True)
  cast = tally.read(options.study, options.head, options.as_is)
  if cast.fault:
    _say(console, f"THE FILE OF VOTES WAS CHANGED: {cast.fault}.")
  found = figures.results(cast, options.resamples)
  folder = options.output or options.study / design.RESULTS
  paths = reporting.write(folder, cast, made_by(command) | found)
  _say(console, markdown(found))
  _say(console, f"Look at {paths[1]}.")


def _say(console: Console, words: str) -> None:
  console.print(words, markup=False, highlight=False, soft_wrap=True)


def main(argv: Sequence[str] | None = None) -> None:
  """Does what the command says."""
  options = cli(
    Make | Serve | Results,
    argv,
    program=_PROGRAM,
    about=__doc__,
  )
  told = functools.partial(results, command=as_typed(_PROGRAM, argv))
  run = {Make: make, Serve: serve, Results: told}[type(options)]
  with errors_in_words():
    run(options, Console())


if __name__ == "__main__":
  run_program(main)
