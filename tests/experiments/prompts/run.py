"""Measures the shipped small model on other captions, wordings, sizes and lengths."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

from rich.progress import track

from tests.experiments.prompts import measure, page
from tests.program import ROOT
from tests.verify.runner import commit, write

RESULTS = ROOT / "docs" / "experiments" / "prompts"
NOTED = "noted.json"


def run(folder: Path = RESULTS) -> None:
  """Measures the conditions without results, and notes when and how.

  Finished conditions are kept, so it may be stopped.
  """
  began = time.monotonic()
  # The model would say of each prompt that it never saw such words.
  logging.getLogger("ltx_jax").setLevel(logging.ERROR)
  measure.measured(folder)
  judged = page.judged_elsewhere()
  conditions = measure.conditions()
  noted = folder / NOTED
  before = json.loads(noted.read_text()) if noted.is_file() else {"minutes": 0.0}
  ceilings = before.get("ceilings") or {
    name: measure.ceiling(conditions[name]) for name in track(judged, "Rendering")
  }
  minutes = before["minutes"] + (time.monotonic() - began) / 60
  content = {"commit": commit(ROOT), "minutes": minutes, "ceilings": ceilings}
  write(noted, json.dumps(content, indent=1) + "\n")
