"""A study from end to end: the small model against itself, with simulated raters.

The shipped model makes a clip for each of 20 held-out captions three times: as its
recipe says, with 4 steps, and with a decoder that takes no denoising step of its own.
`train.evaluate.study` pairs the clips. The raters are simulated: each prefers the clip
of which the judge reads more words right, most of the time. So the page shows what a
study says, and nothing about what people like.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from ltx_jax.data import video
from ltx_jax.moving_shapes import world
from tests.program import ROOT, program
from tests.train.evaluate.study.simulated import Crowd, World, votes_of
from train.evaluate.study import design, ledger, raters
from train.harness.figures import spread
from train.harness.judging import verdict

ITEMS, RATERS, VOTES = 20, 6, 2
MODELS = {
  "as-shipped": (),
  "four-steps": ("--steps", 4),
  "plain-decoder": ("--decode-sigma", 0, "--decode-noise", 0),
}
TRUTH = World(strengths=(0.0,) * len(MODELS), rater_taste=0.3)
"""Raters' own tastes, ties and slips; what else they like is in the clips."""

_LIKING = 8.0
"""Logits that all words right are worth."""


def make(folder: Path) -> None:
  """Makes the clips and the study.

  Raises:
    RuntimeError: If a program fails.
  """
  captions = spread(world.held_out_captions(), ITEMS)
  prompts = folder / "prompts.jsonl"
  folder.mkdir(parents=True, exist_ok=True)
  prompts.write_text(
    "".join(
      f"{json.dumps({'id': f'{k:02}', 'prompt': caption, 'seed': k})}\n"
      for k, caption in enumerate(captions)
    )
  )
  for name, options in MODELS.items():
    where = "--prompts", prompts, "--output", folder / name, "--batch", 4
    program("sample.generate", *where, *options)
  clips = "--models", *(folder / name for name in MODELS)
  size = "--raters", RATERS, "--votes", VOTES
  output = "--output", folder / "study"
  program("train.evaluate.study", "make", *clips, "--prompts", prompts, *size, *output)


def liked(folder: Path, study: design.Study) -> dict[str, np.ndarray]:
  """Returns what raters like about the clips of each item, model by model."""
  found = {}
  for item in study.items:
    shown = (video.read(folder / name / f"{item.id}.mp4")[0] for name in study.models)
    right = [verdict(clip, item.prompt)["right"].values() for clip in shown]
    found[item.id] = _LIKING * np.array([np.mean(list(each)) for each in right])
  return found


def vote(folder: Path) -> None:
  """Lets simulated raters vote, through the file that the server writes."""
  study = design.read(folder / "study")
  people = [rater.id for rater in raters.read(folder / "study" / design.RATERS)]
  crowd = Crowd(study, people, TRUTH, seed=0)
  crowd.of_item = liked(folder, study)
  rows = votes_of(study, people, crowd)
  file = ledger.Ledger(folder / "study" / design.VOTES, study.sha256)
  try:
    for row in rows:
      file.append(row).result()
  finally:
    file.close()


def run(folder: Path, docs: Path = ROOT / "docs") -> None:
  """Does all of it, and puts the drawing of the results into the docs."""
  if not (folder / "study" / design.STUDY).is_file():
    make(folder)
    vote(folder)
  program("train.evaluate.study", "results", folder / "study")
  drawing = next((folder / "study" / design.RESULTS).glob("*.svg"))
  shutil.copy(drawing, docs / "images" / "study-results.svg")
