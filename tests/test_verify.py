"""The runner of the long checks: it resumes, reports misses, survives a crash."""

from __future__ import annotations

import dataclasses
import json
import textwrap

import pytest

from tests import flag_reset
from tests.verify import processors, runner, small_model

CHECK = """
NAME = "{name}"
COMMAND = "python -m long_checks {module}"

def run():
  open("runs.log", "a").write("{module}\\n")
  {body}
  return [dict(figure="f of {module}", value={value}, unit="s", target="< 2", ok={ok})]
"""


def add(place, module, body="pass", value=1.23456789, ok=True):
  folder = place.root / place.package
  folder.mkdir(exist_ok=True)
  name = f"Check {module}"
  text = CHECK.format(name=name, module=module, body=body, value=value, ok=ok)
  (folder / f"{module}.py").write_text(textwrap.dedent(text))


def run(place, kept=()):
  checks = runner.discover(place.root / place.package)
  return runner.verify(checks, [c for c in checks if c.module not in kept], place)


@pytest.fixture
def place(tmp_path):
  state, document = tmp_path / "docs" / "v.json", tmp_path / "docs" / "v.md"
  return runner.Place("long_checks", tmp_path, state, document)


def test_page_holds_figure_command_and_date(place):
  add(place, "a")
  assert run(place)
  page = place.document.read_text()
  date = json.loads(place.state.read_text())["a"]["date"]
  for text in ("Check a", "`python -m long_checks a`", date, "f of a | 1.235 s | < 2"):
    assert text in page


def test_a_figure_is_text_on_the_page(place):
  add(
    place,
    "a",
    body="""return [{
    "figure": "<img src=x>|", "value": 1, "unit": "", "target": "", "ok": True}]""",
  )
  assert run(place)
  assert "| &lt;img src=x>\\| | 1 |  | yes |" in place.document.read_text()


def test_kept_results_stay_on_the_page(place):
  add(place, "a")
  add(place, "b")
  assert run(place)
  assert run(place, kept=("a",))
  assert (place.root / "runs.log").read_text().split() == ["a", "b", "b"]
  assert "f of a" in place.document.read_text()


def test_what_another_run_finds_meanwhile_is_kept(place):
  other = {"date": "2020-01-01", "commit": "abc", "seconds": 1, "rows": []}
  body = f"""import json, pathlib
  pathlib.Path("docs").mkdir(exist_ok=True)
  pathlib.Path("docs/v.json").write_text(json.dumps({{"other": {other}}}))"""
  add(place, "a", body)
  assert run(place)
  assert json.loads(place.state.read_text()).keys() == {"other", "a"}


def test_missed_target_is_kept_and_fails_the_run(place, capsys):
  add(place, "a", ok=False)
  assert not run(place)
  assert "| **no** |" in place.document.read_text()
  assert "missed: f of a" in capsys.readouterr().out


@pytest.mark.parametrize(
  "body", ["raise KeyError", "import os; os._exit(9)", "return []", "return [{}]"]
)
def test_failing_check_keeps_no_result_and_others_run(place, body):
  add(place, "a", body=body)
  add(place, "b")
  assert not run(place)
  assert list(json.loads(place.state.read_text())) == ["b"]
  assert "Not run yet." in place.document.read_text()


def test_module_that_is_no_check_is_refused(place):
  add(place, "a")
  (place.root / place.package / "a.py").write_text("NAME = 'x'\n")
  with pytest.raises(ValueError, match=r"lacks COMMAND, run\(\)"):
    run(place)


def test_flags_are_found_and_taken_away():
  default = flag_reset.default_options()
  second = dataclasses.replace(default.second, steps=3)
  given = dataclasses.replace(default, prompts=("a",), fps=10.0, second=second)
  found = dict(flag_reset.flags(given, default))
  assert [path for path, is_given in found.items() if is_given] == [
    "fps",
    "second.steps",
  ]
  without = flag_reset.without(given, default, "second.steps")
  assert without.second.steps is None and without.fps == 10.0
  assert flag_reset.without(without, default, "fps").second == default.second
  fields = {field.name for field in dataclasses.fields(default)}
  assert fields - {path.split(".")[0] for path in found} == {"prompts"}


def test_counts_of_a_suite_that_broke_off_are_none():
  assert processors.counts("...\n3 failed, 40 passed, 1 error in 2.0s\n") == (40, 4)
  for printed in ("", "Killed", "no tests ran in 0.1s"):
    with pytest.raises(RuntimeError, match="ended without a count"):
      processors.counts(printed)


@pytest.mark.parametrize("vae", [None, "new.safetensors"])
def test_another_decoder_of_the_small_model_is_measured_and_named(monkeypatch, vae):
  calls = []
  right = dict.fromkeys([*small_model.WORDS, "all five"], 1.0)
  side = {"judged right": right, "seconds a clip, compilation included": 1.0}
  side |= {name: {"mean": 40.0} for name in ("psnr", "psnr inside the box")}
  side |= {"psnr of the first frame": {"mean": 20.0}}

  def evaluate(name, *options):
    calls.append((name, *options))
    subjects = "VAE", "linear code", "from text", "from a first frame"
    return dict.fromkeys((*subjects, "rendered clips"), side)

  monkeypatch.setattr(small_model, "evaluate", evaluate)
  monkeypatch.delenv("SMALL_VAE", raising=False)
  if vae:
    monkeypatch.setenv("SMALL_VAE", vae)
  rows = runner.validate(small_model.run())
  given = {call[0]: call[1:3] for call in calls if call[0] != "judge"}
  models = {"reconstruction": ("--model", vae), "generation": ("--vae", vae)}
  named = [row["figure"].startswith(f"decoder of {vae}, ") for row in rows]
  if vae:
    assert given == models
    assert all(named[:-6]) and not any(named[-6:])  # The judges' own stand at the end.
  else:
    assert not any(vae in call for call in calls) and not any(named)
  missed = [row["figure"] for row in rows if not row["ok"]]
  assert [name.split(": ")[-1] for name in missed] == [
    "above the best linear code",
    "PSNR of the first frame",
    "shape by its corners",  # All right where only circles may be.
  ]
