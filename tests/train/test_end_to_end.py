"""Both trainers from their command lines, one after the other, on eight devices."""

import subprocess
import sys
from pathlib import Path

import pytest

import ltx_jax
from ltx_jax.checkpoints.lightricks import save_checkpoint
from ltx_jax.config import ModelConfig, SchedulerConfig
from ltx_jax.moving_shapes import world
from ltx_jax.releases.presets import ASSETS
from tests.train import trainer_case as case
from train import precompute, transformer, vae
from train.harness import reporting
from train.trainers import transformer as trainer
from train.trainers import vae as vae_trainer

ROOT = Path(ltx_jax.__file__).parent.parent
TOKENIZER = ASSETS / "moving_shapes" / "tokenizer"


def train(trainer, folder, *options):
  """Runs `python -m train.<trainer> tiny` to its end and returns its output."""
  done = subprocess.run(
    [
      *(sys.executable, "-m", f"train.{trainer}", "tiny", "--steps", "1"),
      *("--output.folder", str(folder), *options),
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


@pytest.mark.slow
def test_from_nothing_to_a_model_that_generates(tmp_path, quick, monkeypatch):
  said = train("vae", tmp_path / "vae")
  assert "Starting" in said and "8 cpu device(s)" in said
  checkpoint = tmp_path / "vae" / "vae.safetensors"
  wrote, curves, then = said.splitlines()[-3:]
  assert wrote == f"Wrote {checkpoint}" and f"--model {checkpoint}" in then
  assert curves.endswith(f"python -m train.curves {tmp_path / 'vae'}")
  samples = tmp_path / "vae" / "samples"
  assert (samples / "reconstruction_000001.png").is_file()
  lines = (samples / "captions.txt").read_text().splitlines()
  assert lines == vae_trainer.CAPTIONS * 4

  folder = tmp_path / "transformer"
  records = precomputed(tmp_path / "records", checkpoint, monkeypatch)
  options = ["--vae", str(checkpoint), "--data", str(records)]
  said = train("transformer", folder, *options)
  wrote, curves, then = said.splitlines()[-3:]
  assert wrote == f"Wrote {folder / 'model'}"
  assert curves.endswith(f"python -m train.curves {folder}")
  assert then.endswith(f"--model {folder / 'model'}")
  assert (folder / "samples" / "samples_000001.png").is_file()
  lines = (folder / "samples" / "captions.txt").read_text().splitlines()
  assert 0 < len(lines) <= 6 and all(world.parse(line) for line in lines)
  assert [record["step"] for record in reporting.read_metrics(folder)] == [1]
  model = ltx_jax.load(folder / "model")
  # Of the size that it was trained on.
  video = model.generate("a small red circle moving up on a black background", steps=2)
  assert video.shape == (1, 5, 32, 32, 3)


def precomputed(folder, vae, monkeypatch):
  """Encodes a few of the small world's captions."""
  captions = world.train_captions()[::40]
  monkeypatch.setattr(world, "train_captions", lambda: captions)
  options = "--text-encoder", "none", "--tokenizer", TOKENIZER
  sizes = "--buckets", "5x32x32", "1x32x32", "--variants", "1", "--samples", "1"
  arguments = ["moving-shapes", "--model", vae, "--output", folder, *options, *sizes]
  precompute.main(list(map(str, arguments)))
  return folder


def refused(monkeypatch, capsys, program, *argv):
  """Returns the one line that a program says of bad input."""
  monkeypatch.setattr(sys, "argv", ["program", *map(str, argv)])
  with pytest.raises(SystemExit) as end:
    program.main()
  assert end.value.code == 2
  (line,) = capsys.readouterr().err.splitlines()
  return line


def test_bad_input_is_answered_in_words(tmp_path, monkeypatch, capsys):
  output = ("--output.folder", tmp_path / "out")
  missing = tmp_path / "vae.safetensors"
  line = refused(monkeypatch, capsys, transformer, "tiny", "--vae", missing, *output)
  assert str(missing) in line
  line = refused(monkeypatch, capsys, vae, "tiny", "--mesh.fsdp", "3", *output)
  assert "data = -1, fsdp = 3 cannot be laid over 8 device(s)" in line
  line = refused(monkeypatch, capsys, vae, "tinny")
  assert "did you mean tiny?" in line
  line = refused(monkeypatch, capsys, vae, "tiny", "--optimizer.accumulate", 3, *output)
  assert "accumulate is 3, but a batch of 1x32x32 has 16 clips" in line
  assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
  "option, value, said",
  [
    ("--mesh.fsdp", 3, "data = -1, fsdp = 3 cannot be laid over 8 device(s)"),
    ("--output.log-every", 0, "output.log_every is 0"),
    ("--optimizer.accumulate", 16, "accumulate is 16, but a batch of 5x32x32 has 8"),
    ("--init-from", "nowhere", "nowhere/model.safetensors"),
  ],
)
def test_what_can_be_refused_is_before_records_are_opened(
  tmp_path, monkeypatch, capsys, option, value, said
):
  path, frozen = tmp_path / "vae.safetensors", case.frozen_vae()
  config = ModelConfig(None, frozen.config, SchedulerConfig())
  save_checkpoint(path, config, {"vae": frozen.params})
  monkeypatch.setattr(trainer.data, "open_records", None)
  options = "--output.folder", tmp_path / "out", "--vae", path, option, value
  assert said in refused(monkeypatch, capsys, transformer, "tiny", *options)
  assert not (tmp_path / "out").exists()
