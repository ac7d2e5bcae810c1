import pathlib
import subprocess
import sys

import ltx_jax
from ltx_jax.data import moving_shapes
from train.tokenizer import train_spiece, write_tokenizer

SHIPPED = pathlib.Path(ltx_jax.__file__).parent / "assets/moving_shapes/tokenizer"


def test_training_gives_the_shipped_tokenizer(tmp_path):
  write_tokenizer(train_spiece(moving_shapes.train_captions()), tmp_path / "new")
  names = sorted(path.name for path in (tmp_path / "new").iterdir())
  assert names == sorted(path.name for path in SHIPPED.iterdir())
  for name in names:
    assert (tmp_path / "new" / name).read_bytes() == (SHIPPED / name).read_bytes(), name


def test_command_refuses_a_place_it_cannot_write(tmp_path):
  (tmp_path / "file").touch()
  done = subprocess.run(
    [sys.executable, "-m", "train.tokenizer", "--output", tmp_path / "file"],
    cwd=pathlib.Path(ltx_jax.__file__).parent.parent,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2
  assert done.stderr.startswith(f"The tokenizer cannot be written to {tmp_path}/file:")
  assert "Traceback" not in done.stderr
