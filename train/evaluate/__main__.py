"""Measures a model on the moving shapes, with captions that were never trained on.

    python -m train.evaluate reconstruction --model moving-shapes
    python -m train.evaluate generation --model moving-shapes
    python -m train.evaluate judge --blur 2 --noise 20
    python -m train.evaluate judge --rounded 0.7

`reconstruction` sends clips through the VAE (the posterior's mode, decoded at noise
level 0) and, for comparison, through the best linear code of the same size.
`generation` makes videos from captions, and from captions with a rendered first frame;
the judge reads the five words back from the pixels, and a second one reads the shape
from its corners. `judge` tests the judges themselves, on rendered clips with or without
round corners, blur and noise.

Each command prints a table and writes NAME.json; the first two draw contact sheets.
"""

from __future__ import annotations

from collections.abc import Sequence

from ltx_jax.cli.command_line import as_typed, cli, errors_in_words
from ltx_jax.cli.program import run as run_program
from train.evaluate.shapes import Generation, Judge, Reconstruction, run

_PROGRAM = "python -m train.evaluate"


def main(argv: Sequence[str] | None = None) -> None:
  """Runs what the command line says, prints a table and writes the files."""
  options = cli(
    Reconstruction | Generation | Judge,
    argv,
    program=_PROGRAM,
    about=__doc__,
  )
  with errors_in_words():
    run(options, as_typed(_PROGRAM, argv))


if __name__ == "__main__":
  run_program(main)
