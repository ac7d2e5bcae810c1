"""A pytest plugin that takes a flag of `sample.generate` away from the tests.

    LTX_JAX_FLAG=sampling.rescale python -m pytest -p tests.flag_reset tests/sample

Whatever a test gives, the program then sees the flag's default, as if the flag did
nothing. A test that fails is one that the flag is proved by. Without the variable,
nothing is reset; with LTX_JAX_FLAGS_SEEN, a file, a line is added to it for every flag
that a test gives: the flag's path, a tab and the test.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
from collections.abc import Callable, Iterator
from typing import Any

RESET, SEEN = "LTX_JAX_FLAG", "LTX_JAX_FLAGS_SEEN"

_now = {"test": ""}


def flags(options: Any, default: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
  """Yields the path of every flag, and whether it is given: is not its default."""
  for field in dataclasses.fields(default):
    value, usual = getattr(options, field.name), getattr(default, field.name)
    if dataclasses.is_dataclass(usual):
      yield from flags(value, usual, f"{prefix}{field.name}.")
    elif field.name != "prompts":  # Given without a flag.
      yield prefix + field.name, value != usual


def default_options() -> Any:
  """The options when nothing but a prompt is given."""
  return _program().Options(prompts=("",))


def without(options: Any, default: Any, path: str) -> Any:
  """Returns options with the flag at `path` as it is by default."""
  name, _, rest = path.partition(".")
  usual = getattr(default, name)
  value = without(getattr(options, name), usual, rest) if rest else usual
  return dataclasses.replace(options, **{name: value})


def _watched(cli: Callable[..., Any]) -> Callable[..., Any]:
  @functools.wraps(cli)
  def read(*arguments: Any, **how: Any) -> Any:
    options = cli(*arguments, **how)
    if os.environ.get(SEEN):
      with open(os.environ[SEEN], "a") as file:
        for path, given in flags(options, default_options()):
          if given:
            file.write(f"{path}\t{_now['test']}\n")
    if os.environ.get(RESET):
      options = without(options, default_options(), os.environ[RESET])
    return options

  return read


def _program() -> Any:
  """The module `sample.generate`, imported after pytest has hooked its annotations."""
  return importlib.import_module("sample.generate")


def pytest_configure() -> None:
  program = _program()
  program.cli = _watched(program.cli)


def pytest_runtest_setup(item: Any) -> None:
  _now["test"] = item.nodeid
