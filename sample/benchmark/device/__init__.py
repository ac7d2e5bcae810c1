"""A benchmark of an accelerator: as many figures as fit into eight minutes."""

from sample.benchmark.device.driver import main

__all__ = ["main"]
