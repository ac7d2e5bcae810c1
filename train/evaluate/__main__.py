"""Runs `python -m train.evaluate`."""

from ltx_jax.cli.program import run as run_program
from train.evaluate.shapes import cli, main

__all__ = ["cli", "main"]

if __name__ == "__main__":
  run_program(main)
