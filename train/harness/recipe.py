"""Recipes on the command line: a module in `configs/`, and options that override it.

    python -m train.vae CONFIG --steps 100 --optimizer.learning-rate 1e-3

CONFIG is a module in `configs/` that defines the program's function, e.g. `vae()`. The
function returns a frozen dataclass. Every field in it that is a number, a word or a
short tuple of those is an option, under its path. Lists of blocks and of stages are not
options; write them in Python, in a config of your own. `--buckets` gives all stages
other sizes of clips. `--steps N` cuts the stages to N
steps in all, or extends the last one; the learning rate's cosine ends at N. A run may
be resumed with another N that leaves it the same stages; from there on it follows the
cosine that ends at the new N.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
import sys
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

import configs
from ltx_jax.cli.command_line import (
  BAD_INPUT,
  errors_in_words,
  nearest,
  one_line,
  refuse_unknown,
  run_tyro,
  with_home,
)
from ltx_jax.config.runs import Bucket
from train.harness.sizes import parse_buckets

RunT = TypeVar("RunT")

_INPUTS = ("vae", "text_folder", "init_from")
DRY_RUN = "--dry-run"


def parse(
  run_type: type[RunT], function: str, doc: str, argv: Sequence[str] | None = None
) -> tuple[RunT, bool]:
  """Returns the run that the command line asks for, and whether it is a dry run.

  Exits with a message on errors.

  Args:
    run_type: Type that the configs' function returns.
    function: Name of that function and of the program: `vae` for `python -m train.vae`.
    doc: The program's module docstring, shown by `--help`.
    argv: Arguments that replace the process's own.
  """
  argv = with_home(sys.argv[1:] if argv is None else argv)
  program = f"python -m train.{function}"
  with errors_in_words():
    if not argv or argv[0] in ("-h", "--help"):
      print(_overview(program, function, doc))
      raise SystemExit(0 if argv else BAD_INPUT)
    run, about = load_config(argv[0], function)
    if not isinstance(run, run_type):
      raise ValueError(
        f"configs/{argv[0]}.py: {function}() returns {type(run).__name__}, not "
        f"{run_type.__name__}."
      )
    options = [option for option in argv[1:] if option != DRY_RUN]
    run = override(run, options, program=f"{program} {argv[0]}", about=about)
    return with_repository(run), DRY_RUN in argv


def with_repository(run: RunT) -> RunT:
  """Returns a run whose inputs are found from any folder.

  Recipes name files of this repository by their path in it. A file at that path from
  the current folder takes precedence.
  """
  root = Path(configs.__path__[0]).parent
  found = {}
  for name in _INPUTS:
    given = getattr(run, name, None)
    if isinstance(given, str) and given and not Path(given).exists():
      if (root / given).exists():
        found[name] = str(root / given)
  return dataclasses.replace(run, **found) if found else run


def load_config(name: str, function: str) -> tuple[Any, str]:
  """Returns the result of `function` in the config module, and the module's docstring.

  Raises:
    ValueError: If there is no such module, or it has no such function.
  """
  names = config_names(function)
  if name not in names:
    # A path names the file, not the recipe.
    stem = re.split(r"[/\\]", name)[-1].removesuffix(".py")
    raise ValueError(
      f"No recipe {name} defines {function}() in configs/; {nearest(stem, names)} "
      f"There are: {', '.join(names) or 'none'}."
    )
  module = importlib.import_module(f"configs.{name}")
  return getattr(module, function)(), module.__doc__ or ""


def override(run: RunT, argv: Sequence[str], *, program: str, about: str) -> RunT:
  """Returns `run` with the options in `argv`, e.g. ["--optimizer.b2", "0.95"].

  Raises:
    ValueError: If an option is unknown (the message suggests the nearest), or a value
      has another type.
  """
  refuse_unknown(argv, option_names(run), program)
  registry = tyro.constructors.ConstructorRegistry()
  registry.struct_rule(_struct_rule)
  how = {"default": run, "prog": program, "description": about, "registry": registry}
  return run_tyro(lambda: tyro.cli(type(run), args=list(argv), **how))


def option_names(config: Any) -> list[str]:
  """Returns the paths of fields that are options: ["optimizer.learning_rate", ...]."""
  names = ["steps", "buckets"] if hasattr(config, "stages") else []
  for name, value in _options(config).items():
    if dataclasses.is_dataclass(value):
      names += [f"{name}.{inner}" for inner in option_names(value)]
    else:
      names.append(name)
  return names


def with_steps(run: RunT, steps: int) -> RunT:
  """Cuts the stages to `steps` steps in all, or extends the last one.

  Raises:
    ValueError: If `steps` is not positive.
  """
  if steps < 1:
    raise ValueError(f"--steps is {steps}; a run has at least 1.")
  if steps == run.steps:
    return run
  stages, left = [], steps
  for stage in run.stages:
    if left > 0:
      stages.append(dataclasses.replace(stage, steps=min(stage.steps, left)))
    left -= stage.steps
  if left > 0:
    stages[-1] = dataclasses.replace(stages[-1], steps=stages[-1].steps + left)
  return dataclasses.replace(run, stages=tuple(stages))


def with_buckets(run: RunT, buckets: tuple[Bucket, ...]) -> RunT:
  """Returns a run all of whose stages train on these sizes."""
  stages = tuple(dataclasses.replace(stage, buckets=buckets) for stage in run.stages)
  return dataclasses.replace(run, stages=stages)


def _options(config: Any) -> dict[str, Any]:
  """Returns the fields of a dataclass that can be options, with their values."""
  values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
  return {name: value for name, value in values.items() if _is_option(value)}


def _is_option(value: Any) -> bool:
  if isinstance(value, tuple):
    return bool(value) and all(isinstance(v, int | float | str) for v in value)
  scalar = value is None or isinstance(value, bool | int | float | str)
  return scalar or dataclasses.is_dataclass(value)


def _struct_rule(
  info: tyro.constructors.StructTypeInfo,
) -> tyro.constructors.StructConstructorSpec | None:
  """Tells tyro which fields of a config are options, and keeps the others."""
  default = info.default
  if not dataclasses.is_dataclass(default) or isinstance(default, type):
    return None
  types = typing.get_type_hints(type(default))
  docs = _field_docs(type(default))
  fields = [
    tyro.constructors.StructFieldSpec(name, types[name], value, docs.get(name))
    for name, value in _options(default).items()
  ]
  if hasattr(default, "stages"):
    text = (
      "Number of steps of the whole run. Stages are cut to fit, or the last one is "
      "extended. The learning rate's cosine ends there; a run resumed with more steps "
      "follows a longer cosine. A run with stages cut off cannot resume with them."
    )
    steps = tyro.constructors.StructFieldSpec("steps", int, default.steps, text)
    text = (
      "Sizes of clips that all stages train on in place of the recipe's, as "
      "FRAMESxHEIGHTxWIDTH; for a transformer, those of its records."
    )
    kind = Annotated[tuple[str, ...], tyro.conf.arg(help_behavior_hint="")]
    sizes = tyro.constructors.StructFieldSpec("buckets", kind, (), text)
    fields[:0] = steps, sizes

  def instantiate(
    steps: int | None = None, buckets: tuple[str, ...] = (), **values: Any
  ) -> Any:
    changed = dataclasses.replace(default, **values)
    changed = with_buckets(changed, parse_buckets(buckets)) if buckets else changed
    return changed if steps is None else with_steps(changed, steps)

  return tyro.constructors.StructConstructorSpec(instantiate, tuple(fields))


def _field_docs(cls: type) -> dict[str, str]:
  """Reads the `Attributes:` section of a docstring."""
  section = (inspect.getdoc(cls) or "").partition("Attributes:\n")[2]
  entries = re.findall(r"^  (\w+): (.*(?:\n {3,}.*)*)", section, re.MULTILINE)
  return {name: one_line(text) for name, text in entries}


def config_names(function: str) -> list[str]:
  """Returns the modules in `configs/` that define `function`."""
  modules = sorted(module.name for module in pkgutil.iter_modules(configs.__path__))
  return [
    name
    for name in modules
    if callable(getattr(importlib.import_module(f"configs.{name}"), function, None))
  ]


def _overview(program: str, function: str, doc: str) -> str:
  lines = [inspect.cleandoc(doc), "", f"usage: {program} CONFIG [OPTIONS]", ""]
  lines.append("CONFIG is one of")
  for name in config_names(function):
    about = (importlib.import_module(f"configs.{name}").__doc__ or "").splitlines()
    lines.append(f"  {name:20} {about[0] if about else ''}")
  lines += ["", f"`{program} CONFIG --help` lists its options with their values, e.g."]
  lines.append("  --steps 100 --output.folder runs/try --seed 1")
  lines += ["", f"`{DRY_RUN}` shows config, buckets, parameters and memory, and stops."]
  return "\n".join(lines)
