"""Makes a study of folders with clips: what is compared, checks, raters and links.

A folder has the clips of one model, `ITEM.mp4` each, and is named after it; it may hold
`model.json` with what is to be remembered of the model, such as the hash of its
checkpoint. `prompts.jsonl` has a line for each item (`data.prompt_list`). The study
appears under its name when all of it is written.
"""

from __future__ import annotations

import dataclasses
import math
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.progress import track

from ltx_jax.data import video
from ltx_jax.data.prompt_list import Prompt, read_prompts
from ltx_jax.data.suffixes import VIDEOS
from ltx_jax.errors import shown
from ltx_jax.files import NotJSON, parse_json, read_text
from train.evaluate.study import clips, design, raters
from train.evaluate.study.clips import Facts
from train.evaluate.study.design import Damaged, Item, Rules, Study
from train.evaluate.study.trials import drawn

_NOTES = "model.json"
_TOO_SHORT = 0.8  # Of the longest clip of an item; a shorter one needs --cut.
_SHARE_DAMAGED, _SHARE_REPEATED, _SHARE_SAME = 0.06, 0.03, 0.03


@dataclasses.dataclass(frozen=True)
class Wanted:
  """What the owner of a study asks for.

  Attributes:
    models: Folders with clips, named after their models.
    prompts: File of prompts.
    output: Folder of the study.
    raters: Number of raters.
    votes: Number of raters that each pair of clips needs.
    comparisons: Number of pairs that each rater sees; None shares all of them equally.
    question: Question that raters read.
    seed: Seed of orders and sides.
    fps: Largest frame rate; None keeps each clip's own.
    drop: Whether items that a model lacks are left out.
    cut: Whether a clip may be much shorter than others of its item.
  """

  models: Sequence[Path]
  prompts: Path
  output: Path
  raters: int
  votes: int
  comparisons: int | None
  question: str
  seed: int
  fps: float | None
  drop: bool
  cut: bool


def find_clips(folders: Sequence[Path]) -> dict[str, dict[str, Path]]:
  """Returns the clips of each model, by the names of items.

  Raises:
    ValueError: If there are fewer than two models, two have one name, or a folder holds
      something else.
  """
  names = [folder.resolve().name for folder in folders]
  if len(folders) < 2 or len(set(names)) < len(names):
    raise ValueError(
      f"--models names {', '.join(names) or 'nothing'}; give two folders or more, each "
      "with the name of another model."
    )
  found = {}
  for name, folder in zip(names, folders, strict=True):
    if not folder.is_dir():
      raise ValueError(f"There is no folder {folder}; give one with a model's clips.")
    paths = [path for path in sorted(folder.iterdir()) if path.name[0] != "."]
    stray = [p.name for p in paths if p.suffix.lower() not in VIDEOS or p.is_dir()]
    stray = [each for each in stray if each != _NOTES]
    if stray:
      raise ValueError(
        f"{folder} also holds {_some(stray)}; it may hold videos ({' '.join(VIDEOS)}) "
        f"and {_NOTES} only."
      )
    clips_of = {path.stem: path for path in paths if path.name != _NOTES}
    if len(clips_of) < len([path for path in paths if path.name != _NOTES]):
      raise ValueError(f"{folder} has two clips of one item; keep one of them.")
    found[name] = clips_of
  return found


def matched(
  prompts: Sequence[Prompt], found: dict[str, dict[str, Path]], drop: bool
) -> tuple[list[Prompt], list[str]]:
  """Returns the items that all models have, and what is left out.

  Raises:
    ValueError: If something is missing and may not be left out, or nothing is left.
  """
  known = {prompt.id for prompt in prompts}
  unknown = [f"{m}/{i}" for m, of in found.items() for i in sorted(set(of) - known)]
  if unknown:
    raise ValueError(
      f"{len(unknown)} clips have no prompt: {_some(unknown)}; add lines for them, or "
      "take them away."
    )
  missing = [
    f"{m}/{p.id}" for p in prompts for m, of in found.items() if p.id not in of
  ]
  if missing and not drop:
    raise ValueError(
      f"{len(missing)} clips are missing: {_some(missing)}; make them, or leave their "
      "items out for all models with --drop."
    )
  kept = [p for p in prompts if all(p.id in of for of in found.values())]
  if not kept:
    raise ValueError("No item has a clip by every model; nothing can be compared.")
  return kept, missing


def check_lengths(item: str, known: dict[str, Facts], cut: bool) -> None:
  """Refuses an item whose clips differ much in length, unless they may be cut.

  Raises:
    ValueError: With the lengths.
  """
  longest = max(known, key=lambda model: known[model].seconds)
  shortest = min(known, key=lambda model: known[model].seconds)
  if known[shortest].seconds < _TOO_SHORT * known[longest].seconds and not cut:
    raise ValueError(
      f"The clip {item} has {known[shortest].seconds:.2f} seconds by {shortest} and "
      f"{known[longest].seconds:.2f} by {longest}; --cut shows that much of both."
    )


def rules_for(wanted: Wanted, items: int, models: int) -> Rules:
  """Returns how much each rater sees.

  Raises:
    ValueError: If there are fewer raters than votes for a pair.
  """
  if wanted.raters < wanted.votes:
    raise ValueError(
      f"--votes is {wanted.votes}, but there are {wanted.raters} raters, who vote once "
      "on each pair of clips; invite more, or ask for fewer votes."
    )
  subjects = items * math.comb(models, 2)
  each = wanted.comparisons or math.ceil(subjects * wanted.votes / wanted.raters)
  each = min(each, subjects)
  rest = 1 - _SHARE_DAMAGED - _SHARE_REPEATED - _SHARE_SAME
  damaged, repeats, same = (
    round(share * each / rest)
    for share in (_SHARE_DAMAGED, _SHARE_REPEATED, _SHARE_SAME)
  )
  return Rules(wanted.votes, each, damaged, repeats, same)


def make(wanted: Wanted, say: Callable[[str], None]) -> list[str]:
  """Writes a study and returns the tokens of its raters.

  Args:
    wanted: What is asked for.
    say: Function that tells the owner what was done to the clips.

  Raises:
    ValueError: If clips cannot be compared.
  """
  if wanted.output.exists():
    raise ValueError(
      f"{wanted.output} is there already; a study is made once, give another name."
    )
  prompts = read_prompts(wanted.prompts)
  found = find_clips(wanted.models)
  prompts, missing = matched(prompts, found, wanted.drop)
  if missing:
    say(f"Items are left out, since clips are missing: {_some(missing)}.")
  known = {
    p.id: {model: clips.facts(found[model][p.id]) for model in found}
    for p in track(prompts, "Reading clips")
  }
  for item, of in known.items():
    check_lengths(item, of, wanted.cut)
  rate = max(clip.fps for of in known.values() for clip in of.values())
  rate = min(rate, wanted.fps or rate)
  for line in _told(known, rate):
    say(line)
  hidden = wanted.output.with_name(f".{wanted.output.name}-{secrets.token_hex(4)}")
  try:
    study = _written(wanted, hidden, prompts, found, known, rate)
    wished = rules_for(wanted, len(prompts), len(found)).damaged
    if study.rules.damaged < wished:
      say(
        f"Raters are checked {study.rules.damaged} times instead of {wished}: no more "
        "clips could be damaged so that everybody sees it."
      )
    people, tokens = raters.invite(wanted.raters)
    raters.write(hidden / design.RATERS, people)
    design.write(hidden / design.STUDY, study)
    hidden.rename(wanted.output)
  finally:
    shutil.rmtree(hidden, ignore_errors=True)
  return tokens


def _written(
  wanted: Wanted,
  folder: Path,
  prompts: Sequence[Prompt],
  found: dict[str, dict[str, Path]],
  known: dict[str, dict[str, Facts]],
  rate: float,
) -> Study:
  """Writes the clips, and returns what they belong to."""
  media = folder / design.MEDIA
  media.mkdir(parents=True)
  rules = rules_for(wanted, len(prompts), len(found))
  order = sorted(prompts, key=lambda p: drawn(wanted.seed, "check", p.id))
  models, items, copies = list(found), {}, []
  for place, prompt in enumerate(track(order, "Writing clips")):
    shape = clips.common(known[prompt.id], rate)
    made = {}
    for model in models:
      frames = clips.shaped(*video.read(found[model][prompt.id]), shape)
      made[model] = clips.keep(media, frames, rate)
      # Twice as many as a rater sees, so that raters who talk know different ones.
      if len(copies) < 2 * rules.damaged and model == models[place % len(models)]:
        for how in ("blurred", "frozen")[:: 1 if len(copies) % 2 else -1]:
          if (copy := clips.damaged(frames, how)) is not None:
            kept = clips.keep(media, copy, rate)
            copies.append(Damaged(prompt.id, model, how, kept))
            break
    image = prompt.image and clips.keep_image(media, prompt.image)
    items[prompt.id] = Item(prompt.id, prompt.prompt, image, prompt.tags, made)
  return Study(
    id=secrets.token_hex(8),
    seed=wanted.seed,
    question=wanted.question,
    models={folder.resolve().name: _notes(folder) for folder in wanted.models},
    items=tuple(items[prompt.id] for prompt in prompts),
    pairs=design.all_pairs(found),
    damaged=tuple(copies),
    rules=dataclasses.replace(rules, damaged=min(rules.damaged, len(copies))),
    rate=rate,
  )


def _notes(folder: Path) -> dict[str, Any]:
  """Returns what a folder says about its model."""
  path = folder / _NOTES
  if not path.is_file():
    return {}
  try:
    row = parse_json(read_text(path))
  except NotJSON as error:
    raise ValueError(f"{path} is not JSON: {error}.") from None
  if not isinstance(row, dict):
    raise ValueError(f"{path} is {shown(row)}; give an object.")
  return row


def _told(known: dict[str, dict[str, Facts]], rate: float) -> list[str]:
  """Says what is done to the clips of each model."""
  lines = []
  for model in next(iter(known.values())):
    pairs = [(of[model], clips.common(of, rate)) for of in known.values()]
    cut = [fact.frames - shape.seconds * fact.fps for fact, shape in pairs]
    small = sum(fact.height * fact.width > shape.area for fact, shape in pairs)
    rates = sorted({fact.fps for fact, _ in pairs})
    parts = [f"{', '.join(f'{fps:g}' for fps in rates[:5])} frames a second"]
    if max(cut) >= 0.5:
      parts.append(f"up to {round(max(cut))} frames cut off the end")
    if small:
      parts.append(f"{small} clips scaled down")
    if still := sum(not fact.moves for fact, _ in pairs):
      parts.append(f"{still} clips do not move")
    if plain := sum(fact.plain for fact, _ in pairs):
      parts.append(f"{plain} of one colour")
    lines.append(f"{model}: {'; '.join(parts)}.")
  return lines


def _some(names: Sequence[str]) -> str:
  more = f" and {len(names) - 10} more" if len(names) > 10 else ""
  return ", ".join(names[:10]) + more
