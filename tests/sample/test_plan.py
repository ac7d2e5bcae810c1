"""The table of what fits a device: its cells, and what is refused."""

import pytest

from ltx_jax.cli import console
from sample import plan as program
from sample import planning


def cells(*words, capsys):
  program.main(words)
  printed = capsys.readouterr().out
  rows = [line.strip("│ ").split("│") for line in printed.splitlines() if "│" in line]
  return [[cell.strip() for cell in row] for row in rows], printed


def test_the_released_model_fits_a_4090_and_13b_only_in_8_bits(capsys):
  names = "--presets", "ltxv-2b-0.9.6-dev", "ltxv-13b-0.9.8-dev", "--sizes", "768x512"
  rows, printed = cells("rtx4090", *names, capsys=capsys)
  assert rows[0] == ["ltxv-2b-0.9.6-dev", "16bit (bfloat16)", "6.3", "257"]
  assert rows[2] == ["ltxv-13b-0.9.8-dev", "16bit (bfloat16)", "28.6", "-"]
  assert rows[3] == ["ltxv-13b-0.9.8-dev", "int8", "15.7", "129*"]
  assert "18.0 of 24 GB" in printed and "estimate by formula" in printed
  for said in (
    "- fits at no length",
    "257 is the most that was tried",
    "--weights int8",
  ):
    assert said in printed


def test_more_memory_makes_longer_videos(capsys):
  asked = "rtx4090", "--presets", "ltxv-13b-0.9.8-dev", "--sizes", "1216x704"
  asked = *asked, "--weights", "int8"
  (little,), _ = cells(*asked, capsys=capsys)
  (more,), printed = cells(*asked, "--memory-fraction", "0.95", capsys=capsys)
  assert int(little[3].strip("*")) < int(more[3].strip("*"))
  assert "XLA_PYTHON_CLIENT_MEM_FRACTION=0.95" in printed


def test_every_released_model_is_planned_for_by_default():
  names = planning.names_of(program.Options("t4"))
  assert "ltxv-2b-0.9.0" in names and "moving-shapes" not in names


@pytest.mark.parametrize(
  ("asked", "words"),
  [
    (["t4", "--presets", "ltxv"], "No preset is called 'ltxv'"),
    (["t4", "--sizes", "1280*720"], "--sizes is 1280*720; give width and height"),
    (["t4", "--memory-fraction", "2"], "--memory-fraction"),
  ],
)
def test_what_cannot_be_planned_is_refused(asked, words, capsys):
  with pytest.raises(SystemExit):
    console.run(lambda: program.main(asked))
  assert words in capsys.readouterr().err


def test_a_device_may_be_written_as_its_maker_does(capsys):
  sizes = "--presets", "ltxv-2b-0.9.6-dev", "--sizes", "768x512"
  assert cells("RTX 4090", *sizes, capsys=capsys)[0][0][3] == "257"
