"""The project's files agree on requirements, pinned versions and packaged files."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent


def read(name: str) -> list[Requirement]:
  lines = [
    line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()
  ]
  return [Requirement(line) for line in lines if line]


def project() -> dict:
  return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pinned(python: str) -> dict[str, str]:
  """Returns the exact version of each package for a Python version."""
  versions = {}
  for line in read("constraints.txt"):
    if line.marker is None or line.marker.evaluate({"python_version": python}):
      name = canonicalize_name(line.name)
      assert name not in versions, f"{name} is pinned twice for Python {python}"
      (clause,) = line.specifier
      assert clause.operator == "==", f"{line} is not an exact version"
      versions[name] = clause.version
  return versions


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_pins_satisfy_the_requirements(python):
  versions = pinned(python)
  for requirement in read("requirements.txt"):
    version = versions.get(canonicalize_name(requirement.name))
    assert version, f"constraints.txt does not pin {requirement.name} for {python}"
    assert requirement.specifier.contains(version), f"{requirement} but {version}"


def test_library_requires_what_requirements_say():
  needed = {str(requirement) for requirement in read("requirements.txt")}
  missing = {str(Requirement(line)) for line in project()["dependencies"]} - needed
  assert not missing, f"in pyproject.toml, otherwise in requirements.txt: {missing}"


def test_make_installs_what_the_site_is_built_with():
  makefile = (ROOT / "Makefile").read_text()
  missing = [
    line for line in project()["optional-dependencies"]["docs"] if line not in makefile
  ]
  assert not missing, f"in pyproject.toml, otherwise in the Makefile: {missing}"
