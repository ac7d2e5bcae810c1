"""The table of a LoRA's memory: its rows, what fits, and what is refused."""

import pytest

from ltx_jax.cli import console
from train import plan as program
from train.harness import lora_plan

LINES = {"buckets": ("768x512x49",), "base_weights": ("bfloat16",)}


def table(configs=("lora",), **options):
  rows = lora_plan.lines(program.Options(configs=configs, **LINES | options))
  return [[cell.strip() for cell in line.strip("|").split("|")] for line in rows]


def test_a_row_holds_what_the_trainer_plans_with():
  head, _, row = table(devices=("rtx4090", "v5e-8"), ranks=(32,))
  assert head[-2:] == ["rtx4090, 24 GB", "v5e-8, 16 GB"]
  assert row[:4] == ["lora", "bfloat16", "32", "768x512x49"]
  # Compiled with 8.93 GB; eight chips share the model.
  assert row[4] == "9.5, dots+attention" and row[5] == "6.8, dots+attention"


def test_what_does_not_fit_stands_in_brackets():
  *_, whole = table(("lora_13b",), devices=("rtx4090",), ranks=(32,))
  assert whole[4] == "(31.2)"
  *_, eight = table(
    ("lora_13b",), devices=("rtx4090",), ranks=(32,), base_weights=("int8",)
  )
  assert eight[4] == "20.5, attention"


@pytest.mark.parametrize(
  ("asked", "words"),
  [
    (["finetune_2b"], "configs/finetune_2b.py trains no LoRA; take lora or lora_13b"),
    (["lora", "--buckets", "768"], "768; give width, height and frames"),
    (["lora", "--ranks", "0"], "--ranks is 0; it must be at least 1"),
    (["lores"], "No recipe lores defines transformer"),
  ],
)
def test_what_cannot_be_planned_is_refused(asked, words, monkeypatch, capsys):
  monkeypatch.setattr(program.devices, "use_host_only", lambda: None)
  with pytest.raises(SystemExit):
    console.run(lambda: program.main(asked))
  assert words in capsys.readouterr().err
