"""A program that does all that a program must not, for the tests of the judge."""

from __future__ import annotations

import pathlib
import sys
import tempfile
import time


def main() -> None:
  """Does what its only argument names."""
  what = sys.argv[1]
  if what == "traceback":
    raise KeyError("depths")
  if what == "hangs":
    time.sleep(600)
  if what == "works for ever":
    while True:
      pass
  if what == "leaves":
    pathlib.Path("video.mp4.partial").write_bytes(b"half")
  if what == "changes":
    pathlib.Path("mine.txt").write_text("yours")
  if what == "forgets":
    tempfile.mkdtemp()
  if what == "eats":
    bytearray(300_000_000)
  if what == "is fine":
    sys.exit(0)
  sentences = {
    "rambles": "The value is 7; give 3. " * 60,
    "stammers": "The value is 7.\nGive 3.",
    "is vague": "That is wrong; give another.",
    "is helpless": "The value is 7.",
    "names a class": "ValueError: the value is 7; give 3.",
  }
  print(sentences.get(what, "The value is 7; give 3."), file=sys.stderr)
  sys.exit(2)


if __name__ == "__main__":
  main()
