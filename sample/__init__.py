"""Programs that make videos, and what they need."""

from ltx_jax.cli import packages

packages.prepare()
