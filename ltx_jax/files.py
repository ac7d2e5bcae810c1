"""Files that users write and name: reads text and JSON, and protects inputs.

Editors save text with or without a byte order mark, and with any of three line ends. A
path may be a link, or contain a `~` that no shell has expanded.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

AnyPath = str | os.PathLike[str]

_MOST_LEVELS = 100
_DEEP = "its brackets are nested too deep"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@contextlib.contextmanager
def named_in_errors(path: AnyPath) -> Iterator[None]:
  """Has errors of the system name the file that is written, not a temporary one.

  Where a disk is full they often name none.
  """
  try:
    yield
  except OSError as error:
    if error.errno is None:
      raise
    reason = error.strerror or os.strerror(error.errno)
    raise OSError(error.errno, reason, os.fspath(path)) from error


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
  """Opens a file for writing that takes the name `path` only if all went well."""
  # By chance: processes on several hosts, or in containers, have the same numbers.
  temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
  try:
    with named_in_errors(path):
      with open(temporary, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
      os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: AnyPath) -> Iterator[Path]:
  """Yields a temporary path next to `path`; renames it to `path` if nothing fails."""
  path = Path(path)
  temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
  try:
    with named_in_errors(path):
      path.parent.mkdir(parents=True, exist_ok=True)
      yield temporary
      temporary.replace(path)
  finally:
    if temporary.is_dir():
      shutil.rmtree(temporary)
    temporary.unlink(missing_ok=True)


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


def readable(text: str) -> str:
  """Puts a question mark for each byte of a text that was no UTF-8.

  Shells pass such bytes on, and Python keeps them as halves of surrogate pairs.
  """
  return text.encode("utf-8", "replace").decode("utf-8")


def read_lines(path: AnyPath) -> list[str]:
  """Reads the lines of a text, without their ends.

  Only line ends separate lines: a JSON string may contain other Unicode separators.

  Raises:
    ValueError: If `read_text` refuses the file.
  """
  lines = read_text(path).split("\n")
  return lines[:-1] if lines[-1] == "" else lines


class NotJSON(ValueError):
  """Text that is not JSON; the message is the reason, for a longer sentence."""


def parse_json(
  text: str | bytes, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
  """Reads JSON that another program or a user may have written.

  Args:
    text: The JSON.
    pairs: Function that makes an object of its names and values; None makes a dict.

  Raises:
    NotJSON: If it is not JSON, is nested too deep, or has a number of too many digits.
  """
  try:
    value = json.loads(text, object_pairs_hook=pairs)
  except RecursionError:
    raise NotJSON(_DEEP) from None
  except (json.JSONDecodeError, UnicodeDecodeError) as error:
    raise NotJSON(str(error)) from None
  except ValueError as error:  # Python's own limit; those of `pairs` say what is wrong.
    many = "integer string conversion" in str(error)
    raise NotJSON("a number has too many digits" if many else str(error)) from None
  brackets = "[{" if isinstance(text, str) else (b"[", b"{")
  if sum(map(text.count, brackets)) <= _MOST_LEVELS:  # So it cannot be nested deeper.
    return value
  level = [value] if isinstance(value, dict | list) else []
  for _ in range(_MOST_LEVELS):
    inner = (x.values() if isinstance(x, dict) else x for x in level)
    level = [x for each in inner for x in each if isinstance(x, dict | list)]
    if not level:
      return value
  raise NotJSON(_DEEP)


def json_bytes(value: Any, separators: tuple[str, str] | None = None) -> bytes:
  """Returns JSON in UTF-8, letters as they are.

  If a text is not Unicode, such as a file name in another encoding, all but ASCII is
  escaped. It reads back as it was.
  """
  try:
    return json.dumps(value, ensure_ascii=False, separators=separators).encode()
  except UnicodeEncodeError:
    return json.dumps(value, separators=separators).encode()


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
