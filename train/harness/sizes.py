"""Sizes of clips as words of a command line, such as 25x128x128."""

from __future__ import annotations

from collections.abc import Sequence

from ltx_jax.config.runs import Bucket


def parse_buckets(texts: Sequence[str]) -> tuple[Bucket, ...]:
  """Reads sizes such as "25x128x128".

  Raises:
    ValueError: If one is not three numbers above 0.
  """
  buckets = []
  for text in texts:
    sides = text.split("x")
    if len(sides) != 3 or not all(side.isdecimal() and int(side) for side in sides):
      raise ValueError(
        f"--buckets has {text!r}; give FRAMESxHEIGHTxWIDTH, such as 25x128x128."
      )
    buckets.append(Bucket(*map(int, sides)))
  return tuple(buckets)


def size_of(bucket: Bucket) -> str:
  """Writes the size of a bucket as `parse_buckets` reads it."""
  return f"{bucket.frames}x{bucket.height}x{bucket.width}"
