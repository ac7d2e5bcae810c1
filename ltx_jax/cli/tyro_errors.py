"""What tyro finds wrong with a command line, in a sentence like all others.

tyro prints a box for terminals, with its own types in it. Here it becomes the option,
what was given, and what it may be. What a later version says in other words is passed
on as it is.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence

_KINDS = (
  (r"\bINT\b|int\(\)|\bint\b", "whole number"),
  (r"\bFLOAT\b|to float|\bfloat\b", "number"),
)


def in_words(box: str) -> str:
  """Returns a sentence for what tyro prints; the last word is on `--help`.

  Args:
    box: All of it, with its frame.
  """
  said = one_line(_inside(box))
  # Before errors that a config's own checks raise it puts the name of the group.
  said = re.sub(r"^Error parsing [\w.]+: (?!\w+ literal|could not|no type)", "", said)
  for pattern, words in _PATTERNS:
    if found := re.match(pattern, said):
      return words(found)
  return said


def one_line(text: str) -> str:
  """Joins what is on several lines."""
  return " ".join(text.split())


def _inside(box: str) -> str:
  """The first paragraph within the frame, without the frame.

  The frame's title is in its upper edge, or, of plain letters, above a ruler.
  """
  parts: list[list[str]] = [[]]
  for line in box.splitlines():
    bare = re.sub(r"[│╭╮╰╯]", " ", line).strip()
    if re.fullmatch(r"[-─]{5,}", bare):
      parts.append([])
    elif not re.fullmatch(r"─.*─", bare):
      parts[-1].append(bare)
  plain = "╭" not in box and len(parts) > 1
  return "\n".join(parts[1 if plain else 0])


def _listed(text: str) -> list[str]:
  """The texts of a list as Python shows it."""
  return [one or other for one, other in re.findall(r"'([^']*)'|\"([^\"]*)\"", text)]


def _wrong_value(found: re.Match[str]) -> str:
  name, said = found["name"], found["said"]
  shown = re.search(r"\[(?P<all>['\"].*?['\"])\]", said)
  one = re.search(r"(?:base 10|to float): (?P<all>'.*?'|\".*?\")$", said)
  values = _listed((shown or one)["all"]) if shown or one else []
  given = " ".join(values) or repr("".join(values))
  kind = next((words for what, words in _KINDS if re.search(what, said)), None)
  if kind is None and len(values) > 1:
    return (
      f"{name} is {given}; it takes all words up to the next option, each as --help "
      "shows. Put a prompt or a path before it."
    )
  if kind is None:
    return f"{name} is {given}; it must be as --help shows."
  several = len(values) > 1 or "..." in said or "uple" in said
  return f"{name} is {given}; it must be {f'{kind}s' if several else f'a {kind}'}."


def _wrong_choice(found: re.Match[str]) -> str:
  choices = sorted(set(_listed(found["choices"])) - {"None"})
  given = found["given"]
  near = difflib.get_close_matches(given, choices, n=1)
  guess = f" Did you mean {near[0]}?" if near else ""
  return f"{found['name']} is {given}; it may be {_either(choices)}.{guess}"


def _either(words: Sequence[str]) -> str:
  return " or ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def _unknown(found: re.Match[str]) -> str:
  return f"Nothing takes {found['words']}; remove it, or see --help for what is taken."


def _no_value(found: re.Match[str]) -> str:
  count = int(found["count"])
  return f"{found['name']} needs {'a value' if count == 1 else f'{count} values'}."


def _missing(found: re.Match[str]) -> str:
  parts = [part.strip() for part in found["rest"].split("(required)")]
  names = " and ".join(part.split()[0] for part in parts if part)
  verb = "are" if " and " in names else "is"
  choices = re.search(r"\{(.*?)\}", parts[0])
  if choices is None:
    return f"{names} {verb} missing; --help shows what must be given."
  return f"{names} {verb} missing; it may be {_either(re.split(', ?', choices[1]))}."


_PATTERNS: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
  (r"Error parsing (?P<name>-\S+): (?P<said>.*)", _wrong_value),
  (
    r"invalid choice '(?P<given>.*)' for argument '(?P<name>.*?)'\. Expected one of "
    r"\((?P<choices>.*)\)",
    _wrong_choice,
  ),
  (r"Unrecognized options: (?P<words>.*)", _unknown),
  (r"Missing value for argument '(?P<name>.*?)'\. Expected (?P<count>\d+)", _no_value),
  (r"Missing from .*?: (?P<rest>[A-Z\[-].*\(required\))", _missing),
)
