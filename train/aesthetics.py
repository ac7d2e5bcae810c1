"""Learns from people which pictures look better, and scores pictures.

    python -m train.aesthetics pairs PICTURES --weights efficientnet-lite0.safetensors
    python -m train.aesthetics label PICTURES --rater ada
    python -m train.aesthetics train
    python -m train.aesthetics score PICTURES --weights efficientnet-lite0.safetensors

`pairs` looks at pictures with the backbone (`train.aesthetic_weights` makes its file),
and draws pairs that share a label. `label` shows them in a browser on this machine.
`train` trains the head on all votes, and says how well it predicts the votes for
sources that it has not seen. `evaluate` does so for votes that it was not trained on.
`score` writes the score of every picture.

PICTURES is a folder of pictures, or one that train.curate made; its scores are then
those that the filters read. All else lies in one folder, --folder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from ltx_jax.cli.command_line import cli, errors_in_words
from ltx_jax.cli.program import run as run_program

_Pictures = Annotated[
  Path, tyro.conf.Positional, tyro.conf.arg(metavar="PICTURES", help_behavior_hint="")
]
_IN_WORDS = tyro.conf.arg(help_behavior_hint="")  # Its text says what the default is.
_FOLDER = Path("runs/aesthetics")


@dataclasses.dataclass(frozen=True)
class Pairs:
  """Pairs of pictures to compare.

  Attributes:
    pictures: Folder of pictures, or one that train.curate made.
    weights: File of the backbone, made by train.aesthetic_weights.
    folder: Folder for pairs, votes and the trained head.
    count: Number of pairs; default: two for each picture, which puts it in four.
    seed: Random seed.
  """

  pictures: _Pictures
  weights: Path
  folder: Path = _FOLDER
  count: Annotated[int | None, _IN_WORDS] = None
  seed: int = 0


@dataclasses.dataclass(frozen=True)
class Label:
  """A page in the browser on which a person votes, pair after pair.

  Attributes:
    pictures: Folder of pictures that the pairs were drawn from.
    folder: Folder with the pairs, to which votes are added.
    rater: Name of the person, written with each vote.
    port: Port of this machine; 0 for any that is free.
  """

  pictures: _Pictures
  folder: Path = _FOLDER
  rater: str = ""
  port: int = 7870


@dataclasses.dataclass(frozen=True)
class Train:
  """The head that predicts the votes.

  Attributes:
    folder: Folder with features and votes, in which the head is written.
    folds: Number of parts into which sources are dealt; each is held out once.
    epochs: Number of times that every vote is seen.
    batch: Number of pairs in a step.
    learning_rate: Learning rate at the start; it falls to zero along a cosine.
    weight_decay: Weight decay of AdamW.
    seed: Random seed.
  """

  folder: Path = _FOLDER
  folds: int = 5
  epochs: int = 30
  batch: int = 256
  learning_rate: float = 1e-3
  weight_decay: float = 10.0
  seed: int = 0


@dataclasses.dataclass(frozen=True)
class Evaluate:
  """Quality of a head on votes that it was not trained on.

  Attributes:
    head: File of the head.
    folder: Folder with features and votes.
  """

  head: Annotated[
    Path, tyro.conf.Positional, tyro.conf.arg(metavar="HEAD", help_behavior_hint="")
  ]
  folder: Path = _FOLDER


@dataclasses.dataclass(frozen=True)
class Score:
  """The score of every picture.

  Attributes:
    pictures: Folder of pictures, or one that train.curate made.
    weights: File of the backbone.
    head: File of the head; default: the one in --folder.
    folder: Folder with the trained head.
    output: File of scores, to which missing ones are added; default: scores.jsonl in
      PICTURES.
  """

  pictures: _Pictures
  weights: Path
  head: Annotated[Path | None, _IN_WORDS] = None
  folder: Path = _FOLDER
  output: Annotated[Path | None, _IN_WORDS] = None


def main(argv: Sequence[str] | None = None) -> None:
  """Does what the command line says."""
  program = "python -m train.aesthetics"
  commands = Pairs | Label | Train | Evaluate | Score
  options = cli(commands, argv, program=program, about=__doc__)
  from train.harness import scoring  # --help need not wait for Flax and Optax.

  programs = {
    Pairs: scoring.draw_pairs,
    Label: scoring.label,
    Train: scoring.train,
    Evaluate: scoring.evaluate,
    Score: scoring.score,
  }
  with errors_in_words():
    programs[type(options)](options)


if __name__ == "__main__":
  run_program(main)
