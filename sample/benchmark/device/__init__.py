"""What an accelerator does: every figure that it can give in eight minutes."""

from sample.benchmark.device.driver import main

__all__ = ["main"]
