"""What `train.aesthetics` does: pairs, votes, the head, and scores."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.progress import track

from ltx_jax.checkpoints.aesthetic import load_backbone, load_head, save_head
from ltx_jax.curation import aesthetic_pairs, aesthetics
from ltx_jax.data import partial
from ltx_jax.errors import check_number, check_seed
from ltx_jax.models.aesthetic import backbone_fn
from ltx_jax.platforms import policy_of
from ltx_jax.typing import Backbone
from train.aesthetics import Evaluate, Label, Pairs, Score, Train
from train.curation.folder import Folder
from train.harness import preferences, preferring
from train.harness.labelling import Labelling, Session
from train.harness.reporting import write_text

_AT_ONCE = 256


def backbone(weights: Path) -> tuple[Backbone, str]:
  """Returns the backbone of a file, and a hash of the file."""
  return backbone_fn(
    load_backbone(weights), policy_of(jax.devices()[0])
  ), preferences.digest(weights)


def draw_pairs(options: Pairs) -> None:
  """Looks at the pictures, and draws pairs of them."""
  if options.count is not None:
    check_number("--count", options.count, at_least=1, at_most=10**7, whole=True)
  check_seed(options.seed)
  pictures = preferences.find_pictures(options.pictures)
  net, made_by = backbone(options.weights)
  options.folder.mkdir(parents=True, exist_ok=True)
  table = preferences.describe(options.folder, pictures, net, made_by)
  count = options.count or 2 * len(table.names)
  labels = aesthetic_pairs.top_labels(table.labels)
  found = aesthetic_pairs.pairs(labels, table.sources, count, options.seed)
  rows = (
    {"first": table.names[a], "second": table.names[b], "label": label}
    for (a, b), label in zip(found.pairs.tolist(), found.labels.tolist(), strict=True)
  )
  preferences.write_rows(options.folder / preferences.PAIRS, rows)
  print(
    f"{len(found.pairs)} pairs of {len(table.names)} pictures in "
    f"{options.folder / preferences.PAIRS}. They connect the pictures in {found.parts} "
    f"parts; {found.alone} pictures are in no pair."
  )


def label(options: Label) -> None:
  """Serves the page until it is interrupted."""
  check_number("--port", options.port, at_least=0, at_most=65535, whole=True)
  pictures = preferences.find_pictures(options.pictures)
  paths = dict(zip(pictures.names, pictures.paths, strict=True))
  pairs = preferences.read_pairs(options.folder / preferences.PAIRS)
  missing = sorted({name for pair in pairs for name in pair} - set(paths))
  if missing:
    raise ValueError(
      f"{options.pictures} has no {missing[0]}, one of {len(missing)} pictures in the "
      "pairs that are missing; give the folder that they were drawn from."
    )
  session = Session(pairs, options.folder / preferences.VOTES, options.rater)
  with Labelling(session, paths, options.port) as server:
    print(f"Vote at {server.url} and end with Ctrl-C.", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
      server.serve_forever()
  state = session.state()
  print(f"{state['done']} of {state['count']} pairs have a vote.")


def train(options: Train) -> None:
  """Trains a head, and writes it with how well it does on held-out sources."""
  for name, most in (("folds", 100), ("epochs", 10**4), ("batch", 10**5)):
    least = 2 if name == "folds" else 1
    value = getattr(options, name)
    check_number(f"--{name}", value, at_least=least, at_most=most, whole=True)
  check_number("--learning-rate", options.learning_rate, above=0, at_most=1)
  check_number("--weight-decay", options.weight_decay, at_least=0, at_most=1000)
  check_seed(options.seed)
  table = preferences.read_table(options.folder / preferences.FEATURES)
  votes = preferences.read_votes(options.folder / preferences.VOTES)
  judged = preferences.judged(table.names, votes)
  how = preferring.Fitting(
    *(options.epochs, options.batch, options.learning_rate, options.weight_decay),
    *(options.seed, table.groups),
  )
  print(f"Training on {len(judged.votes)} pairs, {options.folds} folds.", flush=True)
  outcome = preferring.cross_fit(
    table.features, table.sources, judged.pairs, judged.votes, how, options.folds
  )
  path = options.folder / preferences.HEAD
  save_head(path, outcome.params, {"backbone": table.backbone})
  held = outcome.sharpness * outcome.logits
  results = preferring.measures(held, judged.votes[outcome.held])
  show(options.folder / preferences.EVALUATION, results, judged.agreement)
  print(f"{path} is the head.")


def evaluate(options: Evaluate) -> None:
  """Compares a head with votes."""
  params, made_of = load_head(options.head)
  table = preferences.read_table(options.folder / preferences.FEATURES)
  check_backbone(options.head, made_of, table.backbone)
  votes = preferences.read_votes(options.folder / preferences.VOTES)
  judged = preferences.judged(table.names, votes)
  logits = preferring.all_logits(params, table.features, judged.pairs)
  results = preferring.measures(logits, judged.votes)
  show(options.folder / preferences.EVALUATION, results, judged.agreement)


def check_backbone(head: Path, made_of: dict[str, str], backbone: str) -> None:
  """Refuses a head that was trained on the features of another backbone."""
  if made_of.get("backbone") != backbone:
    raise ValueError(
      f"{head} was trained on the features of another backbone; give the file that "
      "python -m train.aesthetics pairs was given."
    )


def show(path: Path, results: dict[str, Any], agreement: float) -> None:
  """Prints measures, and writes them."""
  if np.isfinite(agreement):
    results = {**results, "people agree": agreement}
  write_text(path, json.dumps(results, indent=2) + "\n")
  words = {
    "accuracy": "of the pairs are in the order of the votes",
    "people agree": "of the pairs that two people saw have the same vote",
  }
  for name, meaning in words.items():
    if name in results:
      print(f"{100 * results[name]:.1f} % {meaning}.")
  print(f"The calibration error is {results['calibration error']:.3f}; {path} has all.")


def score(options: Score) -> None:
  """Adds the scores of pictures that have none to a file."""
  pictures = preferences.find_pictures(options.pictures)
  head = options.head or options.folder / preferences.HEAD
  params, made_of = load_head(head)
  net, made_by = backbone(options.weights)
  check_backbone(head, made_of, made_by)
  path = options.output or Folder(options.pictures).scores
  known = {row.get("still") for row in partial.read_json_lines(path)}
  new = [k for k, name in enumerate(pictures.names) if name not in known]
  for start in track(range(0, len(new), _AT_ONCE), "Scoring pictures"):
    group = new[start : start + _AT_ONCE]
    rows = (preferences.read_picture(pictures.paths[k]) for k in group)
    values = preferring.score_all(params, aesthetics.describe(net, rows).features)
    names = [pictures.names[k] for k in group]
    preferences.append_rows(path, _scored(names, values))
  print(f"{len(new)} scores added to {path}, which has those of all pictures.")


def _scored(names: Sequence[str], values: np.ndarray) -> Iterator[dict[str, Any]]:
  for name, value in zip(names, values.tolist(), strict=True):
    yield {"still": name, "score": round(value, 6)}
