import pathlib

import pytest
import sentencepiece

import ltx_jax
from ltx_jax.moving_shapes import world
from train import tokenizer
from train.tokenizer import train_spiece, write_tokenizer

SHIPPED = pathlib.Path(ltx_jax.__file__).parent / "assets/moving_shapes/tokenizer"


def _pieces(path):
  processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
  ids = range(processor.get_piece_size())
  return [processor.id_to_piece(i) for i in ids], [processor.get_score(i) for i in ids]


def test_training_gives_the_shipped_tokenizer(tmp_path):
  spiece = train_spiece(world.train_captions())
  assert spiece == train_spiece(world.train_captions())
  write_tokenizer(spiece, tmp_path / "new")
  names = sorted(path.name for path in (tmp_path / "new").iterdir())
  assert names == sorted(path.name for path in SHIPPED.iterdir())
  for name in ("special_tokens_map.json", "tokenizer_config.json"):
    assert (tmp_path / "new" / name).read_text() == (SHIPPED / name).read_text(), name
  # Another version of SentencePiece may write other bytes, not other tokens.
  pieces, scores = _pieces(tmp_path / "new" / "spiece.model")
  shipped_pieces, shipped_scores = _pieces(SHIPPED / "spiece.model")
  assert pieces == shipped_pieces
  assert scores == pytest.approx(shipped_scores, abs=1e-3)


def test_command_refuses_a_place_it_cannot_write(tmp_path, capsys):
  (tmp_path / "file").touch()
  for argv, said in (
    (["--output", str(tmp_path / "file")], f"{tmp_path}/file: File exists."),
    (["--outptu", "x"], "Unknown option --outptu; did you mean --output?"),
  ):
    with pytest.raises(SystemExit) as end:
      tokenizer.main(argv)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
