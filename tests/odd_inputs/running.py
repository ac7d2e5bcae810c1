"""Runs cases one after the other, on a shelf that is made first."""

from __future__ import annotations

import dataclasses
import importlib
import multiprocessing
import os
import pkgutil
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.odd_inputs import child, judge, kinds
from tests.odd_inputs.case import Case

QUICK = (
  "--xla_backend_optimization_level=0",
  "--xla_cpu_opt_preset=FAST_COMPILE",
  "--xla_llvm_disable_expensive_passes=true",
  "--xla_cpu_parallel_codegen_split_count=1",
)
"""What XLA is told: it is not asked how fast the programs are that it makes."""


@dataclasses.dataclass(frozen=True)
class Result:
  """How a case ended.

  Attributes:
    name: Its kind, and its number there.
    case: The case.
    faults: What is wrong.
    seconds: How long it took.
    megabytes: Its peak of memory.
  """

  name: str
  case: Case
  faults: Sequence[str]
  seconds: float
  megabytes: float

  @property
  def kind(self) -> str:
    """The module that lists it."""
    return self.name.split("/")[0]


def all_cases() -> dict[str, Case]:
  """Returns all cases, by their names."""
  modules = sorted(module.name for module in pkgutil.iter_modules(kinds.__path__))
  found = {}
  for name in modules:
    cases = importlib.import_module(f"{kinds.__name__}.{name}").CASES
    found |= {f"{name}/{number}": case for number, case in enumerate(cases)}
  return found


def chosen(names: Sequence[str], few: bool = False) -> dict[str, Case]:
  """Returns the cases of some kinds or names; all, where there is none.

  Args:
    names: Kinds, or names of cases.
    few: Only those that a module of kinds names in FEW.
  """
  cases = all_cases()
  if names:
    cases = {
      name: case
      for name, case in cases.items()
      if name in names or name.split("/")[0] in names
    }
  if few:
    cases = {name: case for name, case in cases.items() if case.who in kinds.FEW}
  return cases


def set_environment(caches: Path) -> None:
  """What JAX reads when it is imported: one device, quick to compile, kept."""
  os.environ["JAX_PLATFORMS"] = "cpu"
  os.environ["XLA_FLAGS"] = " ".join(QUICK)
  os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(caches))
  os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")


def run(
  cases: Mapping[str, Case],
  shelf: Path | None = None,
  *,
  fill: bool = True,
  show: bool = False,
) -> list[Result]:
  """Runs cases, and says of each what is wrong.

  Args:
    cases: The cases.
    shelf: Where the shelf is kept; None: nowhere.
    fill: Whether there is a shelf; some cases need nothing of it.
    show: Whether to print what each case says.
  """
  root = Path(tempfile.mkdtemp(prefix="odd-shelf-"))
  try:
    set_environment(root / "compiled")
    if fill:
      child.prepare()
    else:
      child.prepare(sorted({case.program for case in cases.values()}))
    shelf = root / "shelf" if shelf is None else shelf.absolute()
    if fill and not shelf.exists():
      shelf.mkdir(parents=True)
      _apart(shelf)
    return list(_results(cases, shelf, show))
  finally:
    shutil.rmtree(root)


def _apart(shelf: Path) -> None:
  """Fills the shelf in another process, so that JAX has no device in this one."""
  from tests.odd_inputs import shelf as filling

  process = multiprocessing.get_context("fork").Process(
    target=filling.fill, args=(shelf,)
  )
  process.start()
  process.join()
  if process.exitcode:
    raise RuntimeError("the shelf could not be filled")


def _results(cases: Mapping[str, Case], shelf: Path, show: bool) -> Iterator[Result]:
  for name, case in cases.items():
    began = time.monotonic()
    with child.done(case, shelf) as outcome:
      found = judge.faults(case, outcome, shelf)
      result = Result(name, case, found, outcome.seconds, outcome.megabytes)
    yield result
    if found or show:
      _show(result, outcome, time.monotonic() - began)


def _show(result: Result, outcome: child.Outcome, seconds: float) -> None:
  case = result.case
  print(f"{result.name}: {case.who}: {' '.join(case.command)[:300]!r}", flush=True)
  print(
    f"  {outcome.seconds:.1f} s of {seconds:.0f}, {outcome.megabytes:.0f} MB,", end=""
  )
  print(f" code {outcome.code}")
  for text in (outcome.stdout[-600:], outcome.stderr[-1500:]):
    print("".join(f"  | {line}\n" for line in text.splitlines()), end="")
  for fault in result.faults:
    print(f"  FAULT {fault}", flush=True)
