"""The people who vote: each has a personal link, of which only a hash is kept.

A link holds a token of 128 bits. Whoever has it votes as that rater, on any device; it
is printed once, when the study is made.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
from collections.abc import Sequence
from pathlib import Path

from ltx_jax.data import partial
from ltx_jax.files import NotJSON, parse_json, read_text

ACTIVE, CLOSED = "active", "closed"


@dataclasses.dataclass(frozen=True)
class Rater:
  """A person who votes.

  Attributes:
    id: Name in the file of votes.
    token: SHA-256 of the token in the personal link.
    label: Note of the study's owner.
    state: `active`, or `closed` for a link that no longer opens.
  """

  id: str
  token: str
  label: str = ""
  state: str = ACTIVE


def hashed(token: str) -> str:
  """Returns what is kept of a token."""
  return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def invite(count: int, first: int = 1) -> tuple[list[Rater], list[str]]:
  """Returns new raters and their tokens.

  Args:
    count: Number of raters.
    first: Number in the name of the first one.
  """
  tokens = [secrets.token_urlsafe(16) for _ in range(count)]
  names = [f"r{number:03}" for number in range(first, first + count)]
  raters = [Rater(name, hashed(t)) for name, t in zip(names, tokens, strict=True)]
  return raters, tokens


def write(path: Path, raters: Sequence[Rater]) -> None:
  """Writes raters, whole or not at all."""
  rows = [dataclasses.asdict(rater) for rater in raters]
  partial.write_bytes(path, json.dumps(rows, indent=1).encode() + b"\n")


def read(path: Path) -> list[Rater]:
  """Reads raters.

  Raises:
    ValueError: If the file holds something else.
  """
  try:
    raters = [Rater(**row) for row in parse_json(read_text(path))]
    strings = [x for rater in raters for x in dataclasses.astuple(rater)]
    good = all(isinstance(x, str) for x in strings)
    good &= {rater.state for rater in raters} <= {ACTIVE, CLOSED}
    good &= len({rater.id for rater in raters}) == len(raters)
  except (NotJSON, TypeError):
    good = False
  if not good:
    raise ValueError(
      f"{path} is no list of raters, each with another id, a token's hash, a label and "
      f"the state {ACTIVE} or {CLOSED}; restore the file that make wrote."
    )
  return raters
