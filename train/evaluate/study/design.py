"""What a study compares and by which rules: `study.json`, written once.

    study.json      models, items, pairs, checks and rules, with their own hash
    media/          clips and start images, under names drawn by chance
    raters.json     hashes of the raters' tokens
    votes.jsonl     votes, a line each, chained by hashes (`ledger`)
    shown.jsonl     which pair was opened for whom, and when
    results/        what `results` makes of them

Names of models stand in study.json and votes.jsonl, which are never served.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ltx_jax.data import partial
from ltx_jax.files import NotJSON, parse_json, read_text

SCHEMA = 1
STUDY, MEDIA, RATERS = "study.json", "media", "raters.json"
VOTES, SHOWN, TORN, RESULTS = "votes.jsonl", "shown.jsonl", "votes.torn", "results"
QUESTION = (
  "Which clip is better overall: does it look good, move well and show what the text "
  "says?"
)


@dataclasses.dataclass(frozen=True)
class Clip:
  """A file of `media/`.

  Attributes:
    media: Its name without the suffix.
    sha256: Hash of its content.
  """

  media: str
  sha256: str


@dataclasses.dataclass(frozen=True)
class Item:
  """A prompt with a clip by each model.

  Attributes:
    id: Name of the clips' files in the models' folders.
    prompt: Text that raters read.
    image: Start image, if there is one.
    tags: Groups that results are also given for.
    clips: The clip of each model, by the model's name.
  """

  id: str
  prompt: str
  image: Clip | None
  tags: tuple[str, ...]
  clips: Mapping[str, Clip]


@dataclasses.dataclass(frozen=True)
class Damaged:
  """A damaged copy of a clip, which a rater who looks calls worse.

  Attributes:
    item: Item of the clip.
    model: Its model.
    how: `blurred` or `frozen`.
    clip: The copy.
  """

  item: str
  model: str
  how: str
  clip: Clip


@dataclasses.dataclass(frozen=True)
class Rules:
  """What raters get, and when they are flagged; fixed before the first vote.

  Attributes:
    votes_per_pair: Number of raters that each pair of clips needs.
    comparisons: Number of pairs that each rater sees, without checks.
    damaged: Number of checks against a damaged copy, per rater.
    repeats: Number of pairs that a rater sees again with sides swapped.
    same: Number of pairs of a clip and itself.
    most_wrong: Share of wrong answers to checks above which a rater is flagged.
    quick: Seconds below which an answer counts as quick.
    most_quick: Share of quick answers above which a rater is flagged.
    least_side_p: Probability of a rater's share of left answers, if sides were equal,
      below which the rater is flagged.
  """

  votes_per_pair: int
  comparisons: int
  damaged: int
  repeats: int
  same: int
  most_wrong: float = 0.2
  quick: float = 3.0
  most_quick: float = 0.2
  least_side_p: float = 1e-3

  @property
  def trials(self) -> int:
    """Number of all that a rater sees."""
    return self.comparisons + self.damaged + self.repeats + self.same


@dataclasses.dataclass(frozen=True)
class Study:
  """All that is fixed before the first vote.

  Attributes:
    id: Name of the study, drawn by chance.
    seed: Seed of orders and sides.
    question: Question that raters read.
    models: What is known of each model, by its name.
    items: The prompts.
    pairs: The pairs of models that are compared.
    damaged: Damaged copies for checks.
    rules: Numbers of trials, and rules for flags.
    rate: Frames per second of all clips.
  """

  id: str
  seed: int
  question: str
  models: Mapping[str, Mapping[str, Any]]
  items: tuple[Item, ...]
  pairs: tuple[tuple[str, str], ...]
  damaged: tuple[Damaged, ...]
  rules: Rules
  rate: float

  @functools.cached_property
  def sha256(self) -> str:
    """Hash of all that is fixed."""
    return hashlib.sha256(_canonical(_plain(self))).hexdigest()

  def clips(self) -> dict[str, str]:
    """Returns the hash of each file of `media/`, by its name."""
    each = [clip for item in self.items for clip in item.clips.values()]
    each += [damaged.clip for damaged in self.damaged]
    images = [item.image for item in self.items if item.image]
    names = {f"{clip.media}.mp4": clip.sha256 for clip in each}
    return names | {f"{image.media}.jpg": image.sha256 for image in images}


def all_pairs(models: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
  """Returns every pair of models."""
  return tuple(itertools.combinations(models, 2))


def _plain(study: Study) -> dict[str, Any]:
  return {"schema": SCHEMA, **dataclasses.asdict(study)}


def _canonical(row: Mapping[str, Any]) -> bytes:
  """Returns the same bytes for the same content, also after it was read back."""
  return json.dumps(row, sort_keys=True, separators=(",", ":")).encode()


def write(path: Path, study: Study) -> None:
  """Writes a study, whole or not at all."""
  row = _plain(study) | {"sha256": study.sha256}
  partial.write_bytes(path, json.dumps(row, indent=1).encode() + b"\n")


def read(folder: Path) -> Study:
  """Reads a study.

  Raises:
    ValueError: If there is none, or it is not as `write` left it.
  """
  path = folder / STUDY
  if not path.is_file():
    raise ValueError(
      f"{folder} holds no study; make one with python -m train.evaluate.study make."
    )
  try:
    row = parse_json(read_text(path))
    if row.pop("schema") != SCHEMA:
      raise KeyError("schema")
    said = row.pop("sha256")
    study = _study(row)
  except (NotJSON, AttributeError, KeyError, TypeError):
    raise ValueError(
      f"{path} is no study of schema {SCHEMA}; restore the file that make wrote."
    ) from None
  if study.sha256 != said:
    raise ValueError(
      f"{path} was changed after make wrote it: its content has the hash "
      f"{study.sha256[:12]}, it says {str(said)[:12]}; restore the file."
    )
  return study


def _study(row: dict[str, Any]) -> Study:
  items = [
    item
    | {
      "image": item["image"] and Clip(**item["image"]),
      "tags": tuple(item["tags"]),
      "clips": {model: Clip(**clip) for model, clip in item["clips"].items()},
    }
    for item in row["items"]
  ]
  damaged = [each | {"clip": Clip(**each["clip"])} for each in row["damaged"]]
  return Study(
    **row
    | {
      "items": tuple(Item(**item) for item in items),
      "pairs": tuple((a, b) for a, b in row["pairs"]),
      "damaged": tuple(Damaged(**each) for each in damaged),
      "rules": Rules(**row["rules"]),
    }
  )
