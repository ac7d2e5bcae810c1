"""The wheel alone, in an environment of its own and an empty folder.

It is built and installed with the pins of constraints.txt. Then, without a network,
README's ten lines and `ltx-jax generate` make their videos, and each program of the
command is compared with `python -m sample.NAME`: the same help, the same exit codes.
The environment has PyPI only to install from. Where the system can take the network
away (`unshare --net`), it is taken; otherwise the hub is switched off.

Extras are resolved together with the pins, and not installed. Gradio takes Pillow below
13, which is pinned above: `app` is resolved without that one pin, as users without
constraints.txt have it.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

from ltx_jax.data import video
from ltx_jax.moving_shapes.judge import judge
from sample.__main__ import PROGRAMS

NAME = "The wheel alone: ten lines, the command, the extras"
COMMAND = "python -m tests.verify wheel"

ROOT = Path(__file__).resolve().parent.parent.parent
PINS = ROOT / "constraints.txt"
UNPINNED = {"app": ("pillow",)}
NO_NETWORK = ["unshare", "--map-root-user", "--net"]
BAD = {
  "generate": [[], ["a", "--frames", "0"], ["a", "--stepz", "3"]],
  "app": [["--port", "none"], ["--bogus"]],
  "reconstruct": [[], ["none.mp4"], ["none.mp4", "--sigma", "2"]],
  "convert": [[], ["none.safetensors", "out"]],
  "plan": [[], ["none"], ["h100", "--sizes", "none"]],
  "compile": [["--device", "none"], ["--device", "t4", "--preset", "none"]],
  "doctor": [["--bogus"]],
}
"""Arguments that each program refuses."""


def pip(python: Path | str, *arguments: str) -> None:
  """Runs pip.

  Raises:
    RuntimeError: with its last lines, where it fails.
  """
  command = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
  done = subprocess.run([*command, *arguments], capture_output=True, text=True)
  if done.returncode:
    raise RuntimeError("\n".join(done.stderr.strip().splitlines()[-8:]))


def has_namespaces() -> bool:
  """Whether a process can be started without a network."""
  try:
    return subprocess.run([*NO_NETWORK, "true"], capture_output=True).returncode == 0
  except FileNotFoundError:
    return False


def offline(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
  """Runs a command of the environment in a folder, without network and checkout."""
  prefix = NO_NETWORK if has_namespaces() else []
  left_out = "PYTHONPATH", "XLA_FLAGS"
  environment = {k: v for k, v in os.environ.items() if k not in left_out}
  environment |= {"HF_HUB_OFFLINE": "1", "JAX_PLATFORMS": "cpu", "COLUMNS": "88"}
  return subprocess.run(
    [*prefix, *map(str, command)],
    cwd=folder,
    env=environment | {"XDG_CACHE_HOME": str(folder.parent / "cache")},
    capture_output=True,
    text=True,
    check=False,
  )


def row(figure: str, value: Any, target: str, ok: bool, unit: str = "") -> dict:
  """A row of the page."""
  found = {"figure": figure, "value": value, "unit": unit}
  return found | {"target": target, "ok": bool(ok)}


def contents(wheel: Path) -> dict:
  """The row of what is in the wheel."""
  names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
  packages = sorted(name for name in names if not name.endswith(".dist-info"))
  size = wheel.stat().st_size / 1e6
  is_right = packages == ["ltx_jax", "sample"]
  figure = f"the wheel, {size:.0f} MB, on Python {platform.python_version()}"
  return row(figure, ", ".join(packages), "ltx_jax, sample", is_right)


def shows(path: Path, prompt: str) -> bool:
  """Whether a video was written, and shows what its prompt says."""
  if not path.is_file():
    return False
  return all(judge(video.read(path)[0]).agreement(prompt).values())


def videos(bin_folder: Path, folder: Path) -> list[dict]:
  """Rows of the two ways to a video."""
  (lines, *_) = re.findall(
    r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
  )
  done = offline(folder, bin_folder / "python", "-c", lines)
  turned = re.search(r'turned = "(.*)"', lines)[1]
  cut = "without a network" if has_namespaces() else "with the hub switched off"
  ok = done.returncode == 0 and shows(folder / "circle.mp4", turned)
  made = [row(f"README's ten lines, {cut}", ok, "the video they are told", ok)]
  prompt = "a small cyan square moving down on a gray background"
  command = bin_folder / "ltx-jax", "generate", prompt, "--output", "square.mp4"
  done = offline(folder, *command, "--seed", "3")
  ok = done.returncode == 0 and shows(folder / "square.mp4", prompt)
  return [*made, row(f"ltx-jax generate, {cut}", ok, "the video it is told", ok)]


def programs(bin_folder: Path, folder: Path) -> list[dict]:
  """Rows of each program, by the command and as a module."""
  rows = []
  for name in PROGRAMS:
    given = [["--help"], *BAD[name]]
    ways = (
      [bin_folder / "ltx-jax", name],
      [bin_folder / "python", "-m", f"sample.{name}"],
    )
    ours, theirs = (
      [offline(folder, *way, *arguments) for arguments in given] for way in ways
    )
    same = [(a.returncode, a.stdout, a.stderr) for a in ours] == [
      (b.returncode, b.stdout, b.stderr) for b in theirs
    ]
    codes = [done.returncode for done in ours]
    expected = [0] + [2] * len(BAD[name])
    text = "help, refusals and exit codes"
    ok = same and codes == expected
    rows.append(row(f"ltx-jax {name}: {text}", codes, f"{expected}, as by -m", ok))
  done = offline(folder, bin_folder / "ltx-jax", "doctor")
  code = offline(folder, bin_folder / "python", "-m", "sample.doctor").returncode
  ok = done.returncode == code and code in (0, 1) and "ltx-jax" in done.stdout
  return [*rows, row("ltx-jax doctor: its exit code", done.returncode, f"{code}", ok)]


def resolved(python: Path, wheel: Path, extra: str, folder: Path) -> dict:
  """The row of an extra: whether pip finds versions that agree with the pins."""
  left_out = UNPINNED.get(extra, ())
  pins = folder / f"{extra}.txt"
  lines = PINS.read_text().splitlines(keepends=True)
  pins.write_text("".join(x for x in lines if x.split("==")[0].lower() not in left_out))
  report = folder / f"{extra}.json"
  how = "install", "--dry-run", "--ignore-installed", "--report", str(report)
  without = f" without the pin of {', '.join(left_out)}" if left_out else ""
  figure = f"[{extra}] together with constraints.txt{without}"
  try:
    pip(python, *how, f"{wheel}[{extra}]", "-c", str(pins))
  except RuntimeError as error:
    return row(figure, str(error).splitlines()[-1], "resolves", False)
  found = {
    each["metadata"]["name"].lower(): each["metadata"]["version"]
    for each in json.loads(report.read_text())["install"]
  }
  versions = "".join(f", {name} {found[name]}" for name in left_out)
  return row(figure, f"{len(found)} packages{versions}", "resolves", True)


def run() -> list[dict[str, Any]]:
  """Rows: the wheel, what it makes alone, its programs, its extras."""
  extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  with tempfile.TemporaryDirectory() as name:
    work = Path(name)
    subprocess.run([sys.executable, "-m", "venv", work / "env"], check=True)
    python = work / "env" / "bin" / "python"
    pip(python, "install", "--upgrade", "pip")  # Old ones download what they resolve.
    pip(python, "wheel", "--no-deps", "--wheel-dir", str(work), str(ROOT))
    (wheel,) = work.glob("*.whl")
    pip(python, "install", str(wheel), "-c", str(PINS))
    folder = work / "empty"
    folder.mkdir()
    rows = [contents(wheel), *videos(python.parent, folder)]
    rows += programs(python.parent, folder)
    for extra in extras["optional-dependencies"]:
      rows.append(resolved(python, wheel, extra, work))
      print(rows[-1], flush=True)
  return rows
