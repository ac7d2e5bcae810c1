"""The commands that a program prints for what follows: each runs as it is printed."""

import dataclasses
import shlex
from pathlib import Path

import numpy as np
import pytest

from configs import own_clips
from ltx_jax.checkpoints import lightricks
from ltx_jax.config.output import OutputConfig
from ltx_jax.config.runs import Bucket, TransformerRun
from ltx_jax.releases.presets import ASSETS, PRESETS
from tests.docs.test_commands import read
from train.harness import following, recipe

SHIPPED = ASSETS / "moving_shapes"


def command(line, monkeypatch):
  """Returns the program and the arguments of a line, which the program must read."""
  python, _, program, *arguments = shlex.split(line.partition(": ")[2])
  assert python == "python"
  read(program, arguments, monkeypatch)
  return program, arguments


def vae_run(folder, *data):
  return dataclasses.replace(own_clips.vae(), data=data, output=OutputConfig(folder))


def test_a_manifest_is_trained_on_or_encoded(monkeypatch):
  manifest = "my clips/manifest.jsonl"
  square = np.array([[40, 240, 240]])
  train, encode = following.after_manifest(Path(manifest), square)
  arguments = ["own_clips", "--data", manifest]
  assert command(train, monkeypatch) == ("train.vae", arguments)
  assert command(encode, monkeypatch)[1][:2] == [manifest, "--model"]
  for (frames, height, width), expected in (
    ((24, 240, 240), "17x128x128"),
    ((3, 240, 240), "1x128x128"),
    ((40, 180, 320), "25x96x160"),
    ((9, 320, 180), "9x160x96"),
  ):
    sizes = np.array([[frames, height, width], [1, height, width]])
    train, _ = following.after_manifest(Path(manifest), sizes)
    size = ["--buckets", expected]
    assert command(train, monkeypatch) == ("train.vae", [*arguments, *size])


def test_a_vae_is_followed_by_a_tokenizer_and_by_records_of_its_largest_size(
  tmp_path, monkeypatch
):
  path, tokenizer = tmp_path / "vae" / "vae.safetensors", str(tmp_path / "tokenizer")
  run = vae_run(str(tmp_path / "vae"), "a.jsonl", "b.jsonl")
  make, first, second = following.after_vae(run, path)
  program, arguments = command(make, monkeypatch)
  assert program == "train.tokenizer"
  assert arguments == ["--data", "a.jsonl", "--output", tokenizer]
  text = ["--text-encoder", "none", "--tokenizer", tokenizer]
  size = ["--buckets", "25x128x128", "--output"]
  for line, data, records in ((first, "a.jsonl", ""), (second, "b.jsonl", "-2")):
    where = str(tmp_path / f"records{records}")
    expected = [data, "--model", str(path), *text, *size, where]
    assert command(line, monkeypatch) == ("train.precompute", expected)


def test_a_tokenizer_or_a_text_encoder_that_is_there_is_taken(tmp_path):
  path = tmp_path / "vae" / "vae.safetensors"
  run = vae_run(str(tmp_path / "vae"), "a.jsonl")
  (tmp_path / "tokenizer").mkdir()
  (tmp_path / "tokenizer" / "spiece.model").touch()
  (encode,) = following.after_vae(run, path)
  assert "--tokenizer" in encode
  (path.parent / "text_encoder").mkdir(parents=True)
  (path.parent / "text_encoder" / "config.json").touch()
  (encode,) = following.after_vae(run, path)
  assert "--text-encoder" not in encode and "--tokenizer" not in encode
  (shapes,) = following.after_vae(vae_run("runs/vae", "moving-shapes"), path)
  assert "precompute moving-shapes" in shapes


def trained(line, monkeypatch):
  """Returns the run that a line's command asks for."""
  program, arguments = command(line, monkeypatch)
  assert program == "train.transformer"
  return recipe.parse(TransformerRun, "transformer", "", arguments)[0]


def test_no_records_are_made_of_the_textured_world():
  run = dataclasses.replace(own_clips.vae(), data=("moving-shapes-textured",))
  assert following.after_vae(run, Path("vae.safetensors")) == []


def test_records_are_trained_on_with_their_own_vae_and_tokenizer(tmp_path, monkeypatch):
  records, vae = tmp_path / "records", SHIPPED / "model.safetensors"
  how = {"encoded": False, "sizes": [own_clips.CLIP]}
  (line,) = following.after_records(records, vae, SHIPPED / "tokenizer", **how)
  run = trained(line, monkeypatch)
  assert run.stages == own_clips.transformer().stages
  assert run.data == (str(tmp_path / "records"),) and run.vae == str(vae)
  assert run.text_folder == str(SHIPPED) and run.text_encoder == "trained"
  words = tmp_path / "words"
  rename, _ = following.after_records(tmp_path, vae, words, **how)
  assert rename == f"First rename {tmp_path / 'words'} to {tmp_path / 'tokenizer'}."


def test_records_of_other_sizes_are_trained_on_at_these(tmp_path, monkeypatch):
  sizes = [Bucket(17, 96, 160), Bucket(1, 128, 128)]
  names = tmp_path, SHIPPED / "model.safetensors", SHIPPED / "tokenizer"
  (line,) = following.after_records(*names, encoded=False, sizes=sizes)
  run = trained(line, monkeypatch)
  assert [stage.buckets for stage in run.stages] == [tuple(sizes)]


@pytest.mark.parametrize(
  ("preset", "asked"), [("moving-shapes", "own_clips"), ("ltxv-2b-0.9.6-dev", "lora")]
)
def test_records_with_texts_are_trained_on_with_a_frozen_text_encoder(
  tmp_path, monkeypatch, preset, asked
):
  config = PRESETS[preset].config or lightricks.read_config(
    SHIPPED / "model.safetensors"
  )
  monkeypatch.setattr(lightricks, "read_config", lambda path: config)
  vae, tokenizer = tmp_path / "m.safetensors", SHIPPED / "tokenizer"
  how = {"encoded": True, "sizes": [own_clips.CLIP]}
  (line,) = following.after_records(tmp_path, vae, tokenizer, **how)
  run = trained(line, monkeypatch)
  assert run.text_encoder == "frozen" and f"train.transformer {asked} " in line
  assert bool(run.init_from) == (asked == "lora")
