"""Programs that train, and what they need."""

from ltx_jax.cli import packages

packages.prepare()
