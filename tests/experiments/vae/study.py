"""A study for people on the clips of the VAE's experiments.

Their verdicts rest on distances, which are no judgement of people. Each recipe's VAE
of the first seed decodes the same held-out clips at the noise level of sampling, and
`train.evaluate.study` shows them in pairs, those of every two recipes and the originals
too. Recipes that were not trained yet are trained first.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ltx_jax.data import video
from tests.experiments.vae.measure import Coder, clips
from tests.experiments.vae.run import train
from tests.experiments.vae.variants import PLAN, SEEDS, VARIANTS, Plan, phases
from tests.program import program

SIGMA = 0.05
_FPS, _SIDE = 24.0, 256


def write_clips(runs: Path, output: Path, plan: Plan = PLAN) -> None:
  """Writes the clips of each recipe to a folder of its name, and the list of prompts.

  Args:
    runs: Folder of the experiments' runs.
    output: Folder for the clips.
    plan: Which clips, and how recipes are trained.
  """
  shown = clips(plan)
  for number, clip in enumerate(shown):
    _write(output / "original" / f"{number:02}.mp4", clip.video)
  for name in VARIANTS:
    both = phases(name, SEEDS[0], plan, runs)
    for run in both:
      train(run)
    coder = Coder.of(both.second)
    for number, clip in enumerate(shown):
      made = coder.decode(coder.encode(clip.video), SIGMA, number)
      _write(output / name / f"{number:02}.mp4", made)
  lines = (
    {"id": f"{number:02}", "prompt": clip.caption, "tags": [clip.pace]}
    for number, clip in enumerate(shown)
  )
  text = "".join(f"{json.dumps(line)}\n" for line in lines)
  (output / "prompts.jsonl").write_text(text)


def _write(path: Path, pixels: np.ndarray) -> None:
  """Writes a clip, enlarged by a whole number so that people see its pixels."""
  times = max(1, _SIDE // max(pixels.shape[1:3]))
  path.parent.mkdir(parents=True, exist_ok=True)
  video.write(path, pixels.repeat(times, 1).repeat(times, 2), _FPS)


def make(runs: Path, output: Path, plan: Plan = PLAN) -> None:
  """Makes the study in `output`, and prints its links."""
  folder = output / "clips"
  write_clips(runs, folder, plan)
  models = [folder / name for name in ("original", *VARIANTS)]
  options = "--prompts", folder / "prompts.jsonl", "--output", output / "study"
  program("train.evaluate.study", "make", "--models", *models, *options)
