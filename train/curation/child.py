"""The child process that opens footage: `python -m train.curation.child`.

A damaged or hostile file may take all memory, never end, or crash the decoder. Here it
does so only in a process of its own. The child takes one piece of work a line on its
standard input, as JSON, and answers with one line each. It lives on between pieces.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import cv2
from PIL import Image

from configs import curation
from ltx_jax.curation import frames
from ltx_jax.curation.clip import Decision, Source, Span, from_json, to_json
from ltx_jax.curation.measure import measure
from ltx_jax.data import decoding
from ltx_jax.files import parse_json
from train.curation.folder import Folder, save_still
from train.curation.workers import OUT_OF_MEMORY, unwritten


def probe(work: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the source at a path, or why it is refused."""
  found = frames.probe(work["path"], work["id"])
  name = "decision" if isinstance(found, Decision) else "source"
  return {name: to_json(found)}


def measured(work: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the clips of a span, or why it cannot be used, and writes its stills.

  That they cannot be written is no fault of the file: it is said in words of its own.
  """
  folder = Folder(Path(work["folder"]))
  span = Span(from_json(Source, work["source"]), work["number"])
  found = frames.read(span)
  if isinstance(found, Decision):
    return {"decision": to_json(found)}
  clips = []
  for clip, stills in measure(span, found, curation.measures()):
    try:
      for name, content in stills.items():
        save_still(folder, name, content)
    except OSError as error:
      return {"unwritten": unwritten(error)}
    clips.append(to_json(clip))
  return {"clips": clips}


TASKS = {"probe": probe, "measure": measured}
"""What a piece of work may ask for, by name."""


def main() -> None:
  """Answers pieces of work until there are no more."""
  memory = int(sys.argv[1]) + _address_space()
  resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
  cv2.setNumThreads(1)
  decoding.THREADS = 1
  Image.MAX_IMAGE_PIXELS = None  # `frames.probe` has a limit of its own.
  # Libraries may print; only answers go to the parent.
  answers = os.fdopen(os.dup(1), "wb")
  os.dup2(2, 1)
  _answer(answers, {"ready": os.getpid()})
  for line in sys.stdin.buffer:
    work = parse_json(line)
    try:
      answer = TASKS[work["task"]](work)
    except MemoryError:
      sys.exit(OUT_OF_MEMORY)
    # The parent cannot tell a file from a mistake of ours, so the words are kept.
    except Exception as error:
      answer = {"failed": f"{type(error).__name__}: {error}"}
    _answer(answers, answer)


def _answer(answers: BinaryIO, answer: Mapping[str, Any]) -> None:
  answers.write(json.dumps(answer).encode() + b"\n")
  answers.flush()


def _address_space() -> int:
  """Returns the process's bytes so far: libraries reserve much that they never use."""
  pages = int(Path("/proc/self/statm").read_text().split()[0])
  return pages * resource.getpagesize()


if __name__ == "__main__":
  main()
