"""The page as a browser reads it: its content, and that nothing is fetched."""

import datetime
import json
import os

import pytest

from tests.train.page.page_case import (
  lines,
  panels,
  parsed,
  picture,
  rows,
  run,
  tables,
  words,
)
from train.page import document

CONFIG = {
  "name": "small",
  "stages": [
    {
      "steps": 40,
      "buckets": [{"frames": 9, "height": 64, "width": 32}],
      "tokens": 128,
    }
  ],
  "optimizer": {"name": "adamw", "learning_rate": 1e-3, "schedule": "cosine"},
  "mesh": {"data": -1, "fsdp": 2},
  "output": {"folder": "runs/a", "log_every": 1},
  "data": ["runs/records"],
  "seed": 0,
}


def logged(count, scale=1.0):
  return [
    {
      "step": step,
      "loss": scale / step,
      "grad_norm": 2.0,
      "learning_rate": 1e-3,
      "clips_per_second": 4.0,
      "utilisation": 0.25,
      "data_wait": 0.01,
      "seconds": 60.0 * step,
      "of_its_own": 7.0,
    }
    for step in range(1, count + 1)
  ]


def evaluated(*steps):
  return [
    {
      "step": step,
      "loss": 1 / step,
      "9x64x32/loss": 1 / step,
      "9x64x32/loss_sigma_0.0_0.2": 2 / step,
      "1x64x32/loss": 3 / step,
      "1x64x32/loss_sigma_0.0_0.2": 4 / step,
    }
    for step in steps
  ]


def page_of(tmp_path, *folders):
  output = tmp_path / "new" / "page.html"
  document.write(folders, output)
  return parsed(output)


@pytest.fixture
def two(tmp_path):
  one = run(tmp_path / "one", logged(40), evaluation=evaluated(20, 40), config=CONFIG)
  other = CONFIG | {"seed": 3, "output": {"folder": "runs/b", "log_every": 1}}
  two = run(tmp_path / "two", logged(20, 2.0), config=other)
  return page_of(tmp_path, one, two)


def test_every_number_has_a_panel_under_what_a_reader_asks(two):
  sections = {
    section.find("h2").text: list(panels(section)) for section in two.iter("section")
  }
  sections.pop("The runs")
  sections.pop("Figures at the end")
  assert sections == {
    "Does it learn?": ["Loss"],
    "Held-out clips": [
      "Loss",
      "Loss, 9x64x32",
      "Loss, 1x64x32",
      "Loss, sigma 0.0 to 0.2",
      "Loss, sigma 0.0 to 0.2, 9x64x32",
      "Loss, sigma 0.0 to 0.2, 1x64x32",
    ],
    "Is it stable?": ["Norm of the gradients", "Learning rate"],
    "How fast is it?": [
      "Clips a second",
      "Utilisation of the devices",
      "Time spent waiting for data",
      "Seconds since the run began",
    ],
    "Others": ["of_its_own"],
  }


def test_runs_lie_over_one_another_in_the_colours_of_the_legend(two):
  (legend,) = [node for node in two.iter("ul") if node.get("class") == "legend"]
  colours = {words(entry): entry.get("class") for entry in legend}
  assert colours == {"one": "run0", "two": "run1"}
  drawn = panels(two)["Clips a second"]
  assert set(lines(drawn)) == {"one", "two"}
  shown = {g.find("title").text: g.get("class") for g in drawn.iter("g") if len(g) < 4}
  assert shown == colours
  # The second has logged half as many steps.
  ends = {name: points[-1][0] for name, points in lines(drawn).items()}
  assert ends["two"] < 0.6 * ends["one"]


def test_nothing_is_fetched_and_nothing_runs(two, tmp_path):
  tags = {node.tag for node in two.iter()}
  assert not tags & {"script", "link", "iframe", "object", "embed"}
  for node in two.iter():
    assert node.get("src", "data:").startswith("data:")
    assert not {"href", "srcset", "style"} & set(node.keys())
  assert "url(" not in words(two.find("head/style"))
  policy = [m.get("content") for m in two.iter("meta") if m.get("http-equiv")]
  assert policy[0].startswith("default-src 'none'")
  assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]


def test_tables_tell_what_was_run_and_what_differs(two):
  found = tables(two)
  facts = {name: cells for name, *cells in rows(found["What was run"])}
  assert facts["Steps"] == ["40 of 40", "20 of 40"]
  assert facts["Time"] == ["0 h 40 min", "0 h 20 min"]
  assert facts["Buckets"] == ["9x64x32", "9x64x32"]
  assert facts["Optimiser"] == ["adamw, cosine"] * 2
  assert facts["Mesh"] == ["data -1, fsdp 2"] * 2
  assert "Begun from" not in facts
  different = rows(found["What differs between the configs"])
  assert different == [["", "one", "two"], ["seed", "0", "3"]]
  figures = {
    name: cells
    for name, *cells in rows(found["The last value, and the best one with its step"])
  }
  assert figures["Utilisation of the devices"][:2] == ["25 %", "25 % at step 1"]
  assert figures["Loss, 9x64x32"] == ["0.025", "0.025 at step 40", "", ""]
  assert figures["Norm of the gradients"] == ["2", "", "2", ""]


def test_when_a_run_logged_last(tmp_path):
  folder = run(tmp_path / "one", logged(2))
  moment = datetime.datetime(2026, 11, 28, 9, 5, tzinfo=datetime.UTC).timestamp()
  os.utime(folder / "metrics.jsonl", (moment, moment))
  facts = rows(tables(page_of(tmp_path, folder))["What was run"])
  assert ["Last logged", "2026-11-28 09:05 UTC"] in facts


def test_many_differences_are_folded_and_none_are_said(tmp_path):
  configs = [{f"field{n}": n * k for n in range(1, 15)} for k in (1, 2, 2)]
  folders = [run(tmp_path / f"{k}", logged(2), config=c) for k, c in enumerate(configs)]
  root = page_of(tmp_path, *folders[:2])
  (details,) = root.iter("details")
  assert words(details.find("summary")) == "What differs: 14 fields"
  root = page_of(tmp_path, *folders[1:])
  assert "The configs do not differ." in words(root)


def test_names_and_texts_are_shown_as_they_are(tmp_path):
  wild = "<script>alert('&amp;')</script>"
  folder = run(
    tmp_path / "<b>one",
    [{"step": 1, "loss": 1.0, wild: 2.0}],
    config={"name": wild, "seed": "\ud800"},
  )
  picture(folder, "<i>_000001")
  (folder / "samples" / "captions.txt").write_text(wild + "\n")
  root = page_of(tmp_path, folder)
  assert not {"script", "b", "i"} & {node.tag for node in root.iter()}
  assert wild in panels(root)
  assert root.find("head/title").text == "Training: <b>one"
  assert [words(item) for item in root.find(".//ol")] == [wild]
  assert root.find(".//img").get("alt") == "<i> of <b>one at step 1"


def test_pictures_of_a_step_stand_side_by_side_the_newest_first(tmp_path):
  folders = [run(tmp_path / name, logged(2)) for name in ("one", "two")]
  for folder in folders:
    picture(folder, "samples_000500")
    (folder / "samples" / "captions.txt").write_text("a cat\na dog\n")
  picture(folders[0], "samples_001000")
  root = page_of(tmp_path, *folders)
  (section,) = [s for s in root.iter("section") if "Pictures" in words(s.find("h2"))]
  assert words(section.find("h2")) == "Pictures: samples"
  assert [words(title) for title in section.iter("h3")] == ["Step 1000", "Step 500"]
  alts = [
    [i.get("alt") for i in row.iter("img")]
    for row in section
    if row.get("class") == "pictures"
  ]
  assert alts == [
    ["samples of one at step 1000"],
    ["samples of one at step 500", "samples of two at step 500"],
  ]
  # Both runs have the same captions.
  (captions,) = section.iter("ol")
  assert [words(item) for item in captions] == ["a cat", "a dog"]


def test_captions_are_told_with_the_pictures_they_are_of(tmp_path):
  folders = [run(tmp_path / name, logged(2)) for name in ("one", "two")]
  for folder, name in zip(folders, ("samples", "reconstruction"), strict=True):
    picture(folder, f"{name}_000001")
    (folder / "samples" / "captions.txt").write_text(f"a row of {name}\n")
  told = {
    words(section.find("h2")): [words(item) for item in section.iter("li")]
    for section in page_of(tmp_path, *folders).iter("section")
  }
  assert told["Pictures: samples"] == ["a row of samples"]
  assert told["Pictures: reconstruction"] == ["a row of reconstruction"]


def test_a_config_that_is_none_is_refused(tmp_path):
  folder = run(tmp_path / "one", logged(2))
  (folder / "config.json").write_text(json.dumps(CONFIG)[:-5])
  with pytest.raises(ValueError, match=r"config.json is not JSON .*; remove it, or"):
    page_of(tmp_path, folder)
  assert not (tmp_path / "new").exists()
