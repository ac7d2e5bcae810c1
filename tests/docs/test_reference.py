"""The reference leaves nothing out: names, packages, recipes, programs, pages."""

from __future__ import annotations

import pkgutil
import re

import ltx_jax
from ltx_jax.files import read_text
from tests.docs.pages import PAGES, ROOT

REFERENCE = ROOT / "docs" / "reference"


def test_every_public_name_is_described():
  described = re.findall(
    r"^\.\. auto\w+:: (\S+)", read_text(REFERENCE / "api.rst"), re.M
  )
  public = [getattr(ltx_jax, name) for name in ltx_jax.__all__]
  assert sorted(described) == sorted(f"{x.__module__}.{x.__qualname__}" for x in public)


def test_every_package_is_described():
  text = read_text(REFERENCE / "packages.rst")
  described = re.findall(r"^   (ltx_jax\.\w+)$", text, re.M)
  parts = [module.name for module in pkgutil.iter_modules(ltx_jax.__path__)]
  assert sorted(described) == sorted(f"ltx_jax.{part}" for part in parts)


def test_every_recipe_is_described():
  text = read_text(REFERENCE / "recipes.rst")
  described = re.findall(r"^\.\. automodule:: configs\.(\w+)$", text, re.M)
  recipes = [path.stem for path in (ROOT / "configs").glob("*.py")]
  assert sorted(described) == sorted(set(recipes) - {"__init__"})


def test_every_program_is_described():
  text = read_text(REFERENCE / "programs.rst")
  described = re.findall(r"^\.\. program-help:: (\S+)", text, re.M)
  programs = {"sample"}
  for path in [*(ROOT / "train").rglob("*.py"), *(ROOT / "sample").rglob("*.py")]:
    source = read_text(path)
    # Others are started by these, and read no command line of a user's.
    reads = re.search(r"\b(cli|recipe\.parse|read_options)\(", source)
    if "__main__" in source and reads:
      module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
      programs.add(module.removesuffix(".__main__"))
  assert sorted(set(described)) == sorted(programs)


def test_every_page_is_in_the_index():
  index = read_text(ROOT / "docs" / "index.rst")
  for path in PAGES:
    name = path.relative_to(ROOT).with_suffix("")
    entry = name.name if name.parts[0] == "docs" else f"/{name}"
    assert re.search(rf"^   (.*<)?{re.escape(entry)}>?$", index, re.M), path
