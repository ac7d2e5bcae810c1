"""The notebook is committed clean, and says what is true.

`tests/notebook` executes it.
"""

import re
import shlex

import pytest

import train.curves
import train.precompute
from ltx_jax.cli.command_line import cli
from ltx_jax.config.runs import TransformerRun, VAERun
from ltx_jax.releases.presets import PRESETS
from sample.app.studio import download_gb
from tests import notebook_case as case
from train.harness import recipe

NOTEBOOK = case.read()
CELLS = dict(case.code_cells(NOTEBOOK))
RELEASED = case.settings(CELLS["released-settings"])
TEXT = "\n".join(
  case.source(cell) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "markdown"
)
PARSERS = {
  "train.vae": lambda argv: recipe.parse(VAERun, "vae", "", argv),
  "train.transformer": lambda argv: recipe.parse(
    TransformerRun, "transformer", "", argv
  ),
  "train.precompute": lambda argv: cli(
    train.precompute.Options, argv, program="train.precompute", about=""
  ),
  "train.curves": lambda argv: cli(
    train.curves.Options, argv, program="train.curves", about=""
  ),
}


def programs():
  """Yields (module, arguments) of every `python -m` in a cell."""
  for text in CELLS.values():
    for line in case.commands(text):
      words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
      if words[:2] == ["python", "-m"]:
        yield words[2], words[3:]


def test_it_is_committed_clean():
  assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
  identities = [cell["id"] for cell in NOTEBOOK["cells"]]
  assert len(set(identities)) == len(identities)
  for cell in NOTEBOOK["cells"]:
    assert re.fullmatch(r"[a-z][a-z-]{1,63}", cell["id"]), cell["id"]
    if cell["cell_type"] == "code":
      assert cell["outputs"] == [] and cell["execution_count"] is None
      assert set(cell) == {
        *("cell_type", "execution_count", "id", "metadata", "outputs", "source")
      }
      assert cell["metadata"] == {}
    else:
      assert set(cell) == {"cell_type", "id", "metadata", "source"}


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_compiles_and_begins_with_its_settings(name):
  text = CELLS[name]
  compile(case.as_python(text), name, "exec")
  lines = text.splitlines()
  fields = [i for i, line in enumerate(lines) if "@param" in line]
  assert fields == list(range(len(fields)))
  assert len(case.settings(text)) == len(fields)


def test_the_text_before_each_cell_says_what_it_does():
  cells = NOTEBOOK["cells"]
  for before, cell in zip(cells, cells[1:], strict=False):
    if cell["cell_type"] == "code" and cell["id"] != "released-settings":
      assert before["cell_type"] == "markdown", cell["id"]


def test_its_commands_are_those_of_the_programs():
  found = list(programs())
  assert {module for module, _ in found} == PARSERS.keys()
  for module, argv in found:
    PARSERS[module](argv)
  with pytest.raises(SystemExit):
    PARSERS["train.transformer"](["tiny", "--stepz", "3"])


def test_licence_and_download_are_those_of_the_preset():
  preset = PRESETS[RELEASED["MODEL"]]
  assert RELEASED["LICENCE_READ"] is False
  name, address = preset.files.licence.split(",")[0], preset.files.licence
  assert f"[{name}]({re.search(r'https://[^)]+', address)[0]})" in TEXT.replace(
    "\n  [", "["
  )
  assert f"{download_gb(preset):.0f} GB for the model and 19 GB" in TEXT


def test_nothing_is_done_before_the_licence_is_read():
  with pytest.raises(ValueError, match="tick LICENCE_READ"):
    exec(CELLS["released-settings"], {})


def test_the_memory_it_names_is_that_of_its_settings():
  command = " ".join(re.search(r"`(python -m sample\.compile[^`]+)`", TEXT)[1].split())
  size = f"{RELEASED['WIDTH']}x{RELEASED['HEIGHT']}"
  assert command == (
    f"python -m sample.compile --device t4 --preset {RELEASED['MODEL']} "
    f"--size {size} --frames {RELEASED['FRAMES']}"
  )
  assert f"a video of {size} and {RELEASED['FRAMES']} frames" in TEXT


def test_settings_are_replaced_by_name_only():
  changed = case.with_settings(NOTEBOOK, {"lora": {"LORA": "a.safetensors"}})
  text = dict(case.code_cells(changed))["lora"]
  assert case.settings(text) == {"LORA": "a.safetensors", "STRENGTH": 1.0}
  with pytest.raises(ValueError, match="'lora' has no settings.*LORAS"):
    case.with_settings(NOTEBOOK, {"lora": {"LORAS": "a"}})
  with pytest.raises(ValueError, match="'laura' has no settings"):
    case.with_settings(NOTEBOOK, {"laura": {"LORA": "a"}})
