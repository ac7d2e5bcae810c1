"""The style budget: sizes, signatures, who may import whom, what an import costs.

Everything is read from the source with `ast`; only the cost of `import ltx_jax` is
measured, in a process of its own. A failure lists every offender with its line.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("ltx_jax", "train", "sample", "configs", "tests", "docs")

FILE_LINES = 400
FUNCTION_LINES = 60
LONGEST_FUNCTION = 100
SHARE_OF_LONG_FUNCTIONS = 0.01
POSITIONAL_PARAMETERS = 6

# Every part of the library may use these; they use nothing but each other.
FOUNDATION = {"config", "platforms", "typing", "sizes", "errors", "files"}
# One concept a folder: each sees the foundation and itself.
CONCEPTS = {"models", "diffusion", "losses", "data"}
# Import names of required packages, if they differ from the packages' names; the last
# is of the extra [curate].
IMPORT_NAMES = ("PIL", "orbax", "cv2")
HEAVY = ("av", "grain", "orbax", "transformers", "torch", "matplotlib")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def sources() -> dict[Path, ast.Module]:
  """Returns the syntax tree of every Python file, by its path below the root."""
  paths = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))
  return {path.relative_to(ROOT): ast.parse(path.read_text()) for path in paths}


def library() -> dict[Path, ast.Module]:
  return {path: tree for path, tree in sources().items() if path.parts[0] == "ltx_jax"}


def functions() -> Iterator[tuple[str, Function]]:
  """Yields ("file:line name", function) for every function and method."""
  for path, tree in sources().items():
    for node in ast.walk(tree):
      if isinstance(node, Function):
        yield f"{path}:{node.lineno} {node.name}", node


def length(function: Function) -> int:
  return function.end_lineno - function.lineno + 1


def is_method(function: Function) -> bool:
  first = [*function.args.posonlyargs, *function.args.args][:1]
  return bool(first) and first[0].arg in ("self", "cls")


def imports(path: Path, tree: ast.AST) -> Iterator[tuple[int, str]]:
  """Yields (line, absolute dotted name) for every import, also inside functions.

  `from package import name` gives "package.name", since name may be a module.
  """
  package = path.with_suffix("").parts[:-1]
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from ((node.lineno, alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      above = package[: len(package) - node.level + 1] if node.level else ()
      base = ".".join([*above, *([node.module] if node.module else [])])
      yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def part(path: Path) -> str:
  """The part of the library a file belongs to: a folder's name, or the module's."""
  return path.with_suffix("").parts[1]


def parts_used(path: Path, tree: ast.AST) -> Iterator[tuple[int, str]]:
  """Yields (line, part of the library) for every import of another part."""
  for line, name in imports(path, tree):
    pieces = name.split(".")
    if pieces[0] == "ltx_jax" and len(pieces) > 1 and pieces[1] != part(path):
      yield line, pieces[1]


def report(offenders: list[str], rule: str) -> None:
  assert not offenders, "\n  ".join([rule, *offenders])


def test_files_are_short():
  lines = {path: len((ROOT / path).read_text().splitlines()) for path in sources()}
  long = [
    f"{path}: {count} lines" for path, count in lines.items() if count > FILE_LINES
  ]
  report(long, f"A file has at most {FILE_LINES} lines; split by subject:")


def test_functions_are_short():
  lengths = {name: length(function) for name, function in functions()}
  long = [f"{name}: {n} lines" for name, n in lengths.items() if n > FUNCTION_LINES]
  allowed = int(SHARE_OF_LONG_FUNCTIONS * len(lengths))
  if len(long) > allowed:
    rule = (
      f"At most {allowed} of {len(lengths)} functions exceed {FUNCTION_LINES} lines:"
    )
    report(long, rule)
  longest = [
    f"{name}: {n} lines" for name, n in lengths.items() if n > LONGEST_FUNCTION
  ]
  report(longest, f"No function exceeds {LONGEST_FUNCTION} lines:")


def test_signatures_are_small():
  crowded = []
  for name, function in functions():
    count = len(function.args.posonlyargs) + len(function.args.args)
    count -= is_method(function)
    if count > POSITIONAL_PARAMETERS:
      crowded.append(f"{name}: {count} positional parameters")
  rule = f"At most {POSITIONAL_PARAMETERS}; group them, or make them keyword-only:"
  report(crowded, rule)


def test_public_functions_of_the_library_are_annotated():
  bare = []
  for path, tree in library().items():
    public = [f for f in tree.body if isinstance(f, Function) and f.name[0] != "_"]
    for function in public:
      arguments = function.args
      named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
      missing = [a.arg for a in named if a.annotation is None]
      missing += ["its result"] if function.returns is None else []
      if missing:
        bare.append(f"{path}:{function.lineno} {function.name}: {', '.join(missing)}")
  report(bare, "A public function annotates every argument and its result:")


def test_nothing_is_passed_through_unnamed():
  passing = [
    f"{name} takes **{function.args.kwarg.arg}"
    for name, function in functions()
    if name.startswith("ltx_jax")
    and function.args.kwarg
    and function.args.kwarg.arg != "_"
  ]
  report(passing, "The library names its arguments; no **kwargs:")


def test_flax_stays_in_models():
  outside = [
    f"{path}:{line} {name}"
    for path, tree in sources().items()
    if path.parts[:2] != ("ltx_jax", "models") and path.parts[0] != "tests"
    for line, name in imports(path, tree)
    if name.split(".")[0] == "flax"
  ]
  report(outside, "Flax is imported in ltx_jax/models only:")


def test_the_library_imports_only_what_it_requires():
  requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  names = {re.match(r"[\w-]+", line)[0] for line in requires["dependencies"]}
  allowed = sys.stdlib_module_names | names | {"ltx_jax", *IMPORT_NAMES}
  unnamed = [
    f"{path}:{line} {name}"
    for path, tree in library().items()
    for line, name in imports(path, tree)
    if name.split(".")[0] not in allowed
  ]
  report(unnamed, "pyproject.toml does not list these among its dependencies:")


def test_the_library_does_not_import_the_programs():
  upwards = [
    f"{path}:{line} {name}"
    for path, tree in library().items()
    for line, name in imports(path, tree)
    if name.split(".")[0] in ("train", "sample", "configs", "tests")
  ]
  report(upwards, "train, sample and configs import ltx_jax, never the reverse:")


def test_concepts_do_not_import_one_another():
  crossing = []
  for path, tree in library().items():
    limited = part(path) in CONCEPTS | FOUNDATION
    crossing += [
      f"{path}:{line} imports ltx_jax.{other}"
      for line, other in parts_used(path, tree)
      if limited and other not in FOUNDATION
    ]
  rule = f"{sorted(CONCEPTS)} see only themselves and {sorted(FOUNDATION)}:"
  report(crossing, rule)


def test_parts_do_not_import_in_a_circle():
  uses = {}
  for path, tree in library().items():
    if part(path) != "__init__":
      uses.setdefault(part(path), set()).update(o for _, o in parts_used(path, tree))
  while leaves := {name for name, others in uses.items() if not others & uses.keys()}:
    uses = {name: others for name, others in uses.items() if name not in leaves}
  # The rest cannot be ordered: it is a circle, or leads into one.
  circle = [f"{name} -> {', '.join(sorted(uses[name] & uses.keys()))}" for name in uses]
  report(circle, "Dependencies inside ltx_jax point one way:")


def test_text_is_read_in_one_place():
  """Users' editors write marks and line ends that only `files.read_text` takes away."""
  elsewhere = [
    f"{path}:{node.lineno}"
    for path, tree in sources().items()
    if path.parts[0] not in ("tests", "configs") and path.name != "files.py"
    for node in ast.walk(tree)
    if isinstance(node, ast.Call)
    and isinstance(node.func, ast.Attribute)
    and node.func.attr == "read_text"
    and not ast.unparse(node.func.value).startswith("Path('/proc/")
  ]
  report(elsewhere, "Text is read by ltx_jax.files.read_text or read_lines:")


def test_json_of_others_is_read_in_one_place():
  """Python's own reader raises what no caller expects: `files.parse_json` does not."""
  own = ("clips.py", "files.py", "processes.py", "worker.py", "decode.py")
  elsewhere = [
    f"{path}:{node.lineno}"
    for path, tree in sources().items()
    if path.parts[0] not in ("tests", "configs") and path.name not in own
    for node in ast.walk(tree)
    if isinstance(node, ast.Call)
    and ast.unparse(node.func) in ("json.load", "json.loads")
    and "json.dumps(" not in ast.unparse(node.args[0])
  ]
  report(elsewhere, "JSON that others wrote is read by ltx_jax.files.parse_json:")


def test_import_is_light():
  code = "import sys, ltx_jax; print(*sorted({n.split('.')[0] for n in sys.modules}))"
  done = subprocess.run(
    [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, f"import ltx_jax failed:\n{done.stderr}"
  loaded = sorted(set(HEAVY) & set(done.stdout.split()))
  report(loaded, "`import ltx_jax` loads packages that it should load only on use:")
