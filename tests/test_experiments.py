"""The experiments' page about results; each control differs in one thing."""

import dataclasses
import json

import pytest

from tests.experiments import page, variants


def result(name, seed, loss, right=0.5):
  size = {
    "loss": {"loss": loss},
    "from text": {"judged right": dict.fromkeys(page.ALL, right)},
    "from a first frame": {"psnr of all frames": {"mean": 20.0}},
  }
  return {
    "name": name,
    "seed": seed,
    "steps": 10,
    "commit": "abc",
    "seconds": 60.0,
    "curve": [[step, 1 / step] for step in range(1, 21)],
    "measured": {"trained size": size, "unseen size": size},
  }


def write(folder, *results):
  folder.mkdir(parents=True)
  for each in results:
    path = folder / f"{each['name']}-{each['seed']}.json"
    path.write_text(json.dumps(each))


def test_a_difference_counts_only_beyond_the_noise_between_seeds(tmp_path):
  folder = tmp_path / "experiments"
  write(
    folder,
    *(result("baseline", seed, 0.30 + 0.01 * seed) for seed in (1, 2)),
    *(result("uniform", seed, 0.31 + 0.01 * seed) for seed in (1, 2)),
    *(result("no-images", seed, 0.50 + 0.01 * seed, 0.9) for seed in (1, 2)),
  )
  page.write_page(folder)
  text = (tmp_path / "experiments.md").read_text()
  sections = {part.splitlines()[2]: part for part in text.split("\n## ")[1:]}
  uniform = sections["`python -m tests.experiments uniform`"]
  assert "| loss, trained size | 0.315 | 0.325 | +0.01 | 0.014 | within noise |" in (
    uniform
  )
  images = sections["`python -m tests.experiments no-images`"]
  assert "| 0.315 | 0.515 | +0.2 | 0.014 | baseline better |" in images
  assert "| 50 | 90 | +40 | 0 | control better |" in images
  assert "Not run yet." in sections["`python -m tests.experiments one-size`"]
  assert (tmp_path / "images" / "experiments.png").stat().st_size > 1000


def test_one_seed_alone_decides_nothing(tmp_path):
  folder = tmp_path / "experiments"
  write(folder, result("baseline", 1, 0.3), result("uniform", 1, 0.9))
  page.write_page(folder)
  text = (tmp_path / "experiments.md").read_text()
  assert "within noise" in text and "better |" not in text


@pytest.mark.parametrize(
  ("name", "changed"),
  [
    ("inverse-rope", {"transformer"}),
    ("uniform", {"flow"}),
    ("no-dropping", {"token_dropping"}),
    ("one-size", {"stages"}),
    ("no-images", {"stages"}),
    ("text-only", {"conditions"}),
    ("no-clamp", {"flow"}),
  ],
)
def test_a_control_differs_from_the_baseline_in_one_thing(name, changed):
  baseline = variants.baseline(1, "records", "folder")
  control = variants.VARIANTS[name].change(baseline)
  differing = {
    field.name
    for field in dataclasses.fields(baseline)
    if getattr(baseline, field.name) != getattr(control, field.name)
  }
  assert differing == changed


def test_every_claim_has_a_control():
  assert len(variants.VARIANTS) == 8
  controls = set(variants.VARIANTS) - {variants.BASELINE}
  assert all(variants.VARIANTS[name].claim for name in controls)
