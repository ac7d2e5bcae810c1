"""Lists of prompts: a JSON line for each item, which several programs share.

    {"id": "0017", "prompt": "a fox in the snow", "image": "fox.png", "tags": ["snow"]}

`sample.generate` makes the clip ID.mp4 of each line, and those who compare clips find
them by that name. Start image, tags and seed may be left out.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ltx_jax.errors import shown
from ltx_jax.files import NotJSON, parse_json, read_lines

_FIELDS = {"id", "prompt", "image", "tags", "seed"}
_MOST_SEED = 2**32 - 1


@dataclasses.dataclass(frozen=True)
class Prompt:
  """A line of the list.

  Attributes:
    id: Name of the clip's file.
    prompt: Text.
    image: Start image, if there is one.
    tags: Groups.
    seed: Random seed of the clip; None leaves it to the program.
  """

  id: str
  prompt: str
  image: Path | None = None
  tags: tuple[str, ...] = ()
  seed: int | None = None

  def as_line(self) -> str:
    """Returns the line, without what is not given."""
    row = {"id": self.id, "prompt": self.prompt}
    row |= {"image": str(self.image)} if self.image else {}
    row |= {"tags": list(self.tags)} if self.tags else {}
    row |= {} if self.seed is None else {"seed": self.seed}
    return json.dumps(row, ensure_ascii=False)


def read_prompts(path: Path) -> list[Prompt]:
  """Reads a list of prompts.

  Raises:
    ValueError: If a line is something else, or two have one id.
  """
  prompts: dict[str, Prompt] = {}
  for number, line in enumerate(read_lines(path), start=1):
    if not line.strip():
      continue
    try:
      row = parse_json(line)
    except NotJSON:
      row = None
    prompt = _prompt(row, path.parent)
    if prompt is None or prompt.id in prompts:
      why = "names an item again" if prompt else f"is {shown(row or line)}"
      raise ValueError(
        f'Line {number} of {path} {why}; each has an item of its own: {{"id": "0017", '
        '"prompt": "a fox in the snow"}, with "image", "tags" and "seed" if there are '
        "any."
      )
    prompts[prompt.id] = prompt
  if not prompts:
    raise ValueError(f"{path} has no prompts; give a line for each item.")
  return list(prompts.values())


def _prompt(row: Any, folder: Path) -> Prompt | None:
  if not isinstance(row, dict) or set(row) - _FIELDS:
    return None
  name, text, image = row.get("id"), row.get("prompt"), row.get("image")
  tags, seed = row.get("tags", []), row.get("seed")
  good = all(isinstance(x, str) and x for x in (name, text))
  good &= image is None or isinstance(image, str)
  good &= isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)
  good &= seed is None or (type(seed) is int and 0 <= seed <= _MOST_SEED)
  if not good:
    return None
  return Prompt(name, text, folder / image if image else None, tuple(tags), seed)


def lines(prompts: Iterable[Prompt]) -> str:
  """Returns the content of a list."""
  return "".join(f"{prompt.as_line()}\n" for prompt in prompts)
