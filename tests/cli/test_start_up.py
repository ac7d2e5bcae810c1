"""Help is quick because programs import their networks only when they run."""

import json
import subprocess
import sys

from tests.program import ROOT
from tests.verify.start_up import programs

HEAVY = {"flax", "optax", "grain", "orbax", "transformers", "matplotlib", "gradio"}
CODE = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
  importlib.import_module(name)
  found[name] = sorted({module.split(".")[0] for module in sys.modules})
print(json.dumps(found))
"""


def name_of_module(program):
  """Returns the module that `python -m` runs: a package's `__main__`."""
  file = (ROOT / program.replace(".", "/")).with_suffix(".py")
  return program if file.is_file() else f"{program}.__main__"


def test_programs_and_recipes_import_no_network_until_they_run():
  recipes = [f"configs.{path.stem}" for path in sorted((ROOT / "configs").glob("*.py"))]
  names = [name_of_module(name) for name in programs()]
  command = [sys.executable, "-c", CODE, *names, *recipes]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
  found = json.loads(done.stdout)
  # One process imports all in turn, so only the first that has one is at fault.
  early = {name: HEAVY & set(modules) for name, modules in found.items()}
  assert next(((name, e) for name, e in early.items() if e), None) is None
  assert {"sample.generate", "train.transformer", "configs.tiny"} <= set(found)
