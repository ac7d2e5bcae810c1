"""Files that users write and name: reads text of any editor, and protects inputs.

Editors save text with or without a byte order mark, and with any of three line ends. A
path may be a link, or contain a `~` that no shell has expanded.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterable
from pathlib import Path

AnyPath = str | os.PathLike[str]

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(path: AnyPath) -> str:
  """Reads text in UTF-8, or in UTF-16 if a byte order mark says so.

  Returns:
    The text without the mark, with line feeds as line ends.

  Raises:
    ValueError: If the file cannot be read or is not such text; the message names it.
  """
  try:
    data = Path(path).read_bytes()
    encoding = "utf-16" if data.startswith(_UTF16) else "utf-8-sig"
    text = data.decode(encoding)
  except UnicodeDecodeError as error:
    line = data.count(b"\n", 0, error.start) + 1
    raise ValueError(
      f"{path} is not text in UTF-8: line {line} holds the byte "
      f"0x{data[error.start]:02x}; save it as UTF-8."
    ) from None
  except OSError as error:
    raise ValueError(f"{path} cannot be read: {error.strerror or error}.") from None
  return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: AnyPath) -> list[str]:
  """Reads the lines of a text, without their ends.

  Only line ends separate lines: a JSON string may contain other Unicode separators.

  Raises:
    ValueError: If `read_text` refuses the file.
  """
  lines = read_text(path).split("\n")
  return lines[:-1] if lines[-1] == "" else lines


def refuse_overwriting(
  outputs: Iterable[AnyPath], inputs: Iterable[tuple[str, AnyPath | None]]
) -> None:
  """Refuses outputs that would replace an input, whatever the path or link.

  Args:
    outputs: Files and folders that will be written.
    inputs: (the option that names it, what is read); None and names that are not paths
      are ignored.

  Raises:
    ValueError: If an output would replace an input; the message names both.
  """
  given = [(option, Path(path)) for option, path in inputs if path is not None]
  for output in map(Path, outputs):
    for option, path in given:
      if _same(output, path):
        raise ValueError(
          f"The output {output} would replace what {option} reads ({path}); give the "
          "output another name."
        )


def _same(one: Path, other: Path) -> bool:
  if not other.exists():
    return False
  return one.resolve() == other.resolve() or (one.exists() and one.samefile(other))
