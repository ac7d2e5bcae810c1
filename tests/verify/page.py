"""The page under load: fifty requests at once, three times, and clients that leave.

Needs an interpreter that has Gradio: PAGE_PYTHON names it (`make verify` makes one).
"""

from __future__ import annotations

import concurrent.futures
import os
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.page_client import Answer, Page, served
from tests.verify.runner import COLUMNS

NAME = "The page: fifty requests at once"
COMMAND = "make verify CHECKS=page"

REQUESTS = 50
QUEUE = 20
LEAVERS = 10
GROWTH = 100.0
"""Megabytes by which the server may grow between the first and the third fifty."""


def python() -> str:
  """Returns the Python interpreter that serves the page."""
  return os.environ.get("PAGE_PYTHON", sys.executable)


def request(page: Page, steps: int) -> list[Any]:
  """Returns the values of a request; with two steps it takes a second."""
  prompt = "a large red circle moving right on a navy background"
  asked = {"Prompt": prompt, "Seconds": 0.3, "Steps (0: the model's own)": steps}
  return page.values(**asked)


def at_once(page: Page, values: list[Any], count: int = REQUESTS) -> list[Answer]:
  """Returns the answers to `count` requests, all sent at the same time."""
  with concurrent.futures.ThreadPoolExecutor(count) as pool:
    return list(pool.map(page.ask, [values] * count))


def leave(page: Page, values: list[Any], count: int) -> None:
  """Asks for videos like clients that leave before their turn."""
  for _ in range(count):
    session = secrets.token_hex(6)
    if page.join(values, session) is None:
      for _ in page.events(session, 60):
        break


def made(page: Page) -> int:
  """Counts the videos that the server has made."""
  return len(list((page.folder / "files").glob("video-*.mp4")))


def judged(answers: list[Answer]) -> tuple[int, int, int]:
  """Counts videos, refusals with a sentence, and everything else."""
  videos = sum(answer.video is not None for answer in answers)
  refused = sum("full" in (answer.refused or "").lower() for answer in answers)
  return videos, refused, len(answers) - videos - refused


def of_load(page: Page) -> list[tuple[str, float, str, str, bool]]:
  """Figures of fifty requests at once, three times over."""
  rows, memory, values = [], [], request(page, steps=2)
  page.ask(values)  # Loads the model, and compiles.
  for turn in range(1, 4):
    before = made(page)
    videos, refused, other = judged(at_once(page, values))
    memory.append(page.memory / 1e6)
    # One is being made, and may be ready before the last request comes.
    good = QUEUE <= videos <= QUEUE + 2 and made(page) - before == videos
    text = f"turn {turn}: of {REQUESTS} requests"
    rows.append((f"{text}, videos", videos, "", f"{QUEUE} to {QUEUE + 2}", good))
    rows.append((f"{text}, refused in a sentence", refused, "", "the rest", not other))
  growth = memory[-1] - memory[0]
  limit = f"at most {GROWTH:g}"
  figure = "growth of the server from turn 1 to turn 3"
  return [*rows, (figure, round(growth, 1), "MB", limit, growth <= GROWTH)]


def of_leavers(page: Page) -> list[tuple[str, float, str, str, bool]]:
  """Figures of clients that leave, and of the next one that stays."""
  before = made(page)
  leave(page, request(page, steps=100), LEAVERS)
  answer = page.ask(request(page, steps=2))
  extra, lives = made(page) - before - 1, answer.video is not None
  return [
    (f"videos made for {LEAVERS} clients that left", extra, "", "0", extra == 0),
    ("video for the next client", int(lives), "", "1", lives),
  ]


def run() -> list[dict[str, Any]]:
  """Rows: the results of the requests, the memory, and whether the page still runs."""
  with (
    tempfile.TemporaryDirectory() as name,
    served(python(), Path(name) / "page", "--queue", str(QUEUE)) as page,
  ):
    rows = [*of_load(page), *of_leavers(page)]
    log = (page.folder / "log.txt").read_text()
  wrong = log.count("Traceback")
  rows.append(("tracebacks in the server's log", wrong, "", "0", not wrong))
  return [dict(zip(COLUMNS, row, strict=True)) for row in rows]
