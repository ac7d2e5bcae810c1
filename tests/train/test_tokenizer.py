import json
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
  spiece = train_spiece(world.train_captions(), 1000)
  assert spiece == train_spiece(world.train_captions(), 1000)
  write_tokenizer(spiece, tmp_path / "new", 32)
  names = sorted(path.name for path in (tmp_path / "new").iterdir())
  assert names == sorted(path.name for path in SHIPPED.iterdir())
  for name in ("special_tokens_map.json", "tokenizer_config.json"):
    assert (tmp_path / "new" / name).read_text() == (SHIPPED / name).read_text(), name
  # Another version of SentencePiece may write other bytes, not other tokens.
  pieces, scores = _pieces(tmp_path / "new" / "spiece.model")
  shipped_pieces, shipped_scores = _pieces(SHIPPED / "spiece.model")
  assert pieces == shipped_pieces
  assert scores == pytest.approx(shipped_scores, abs=1e-3)


CAPTIONS = ["A man talks in a car, seen from nearby.", "A Bär läuft — a man runs!"]


def _encoded(spiece, text):
  processor = sentencepiece.SentencePieceProcessor(model_proto=spiece)
  return processor.encode(text, out_type=str)


def test_common_words_are_pieces_and_rare_ones_are_spelt():
  all_words = _encoded(train_spiece(CAPTIONS, 1000), "a Man läuft, nearby —")
  assert all_words == ["▁a", "▁man", "▁läuft", ",", "▁nearby", "▁", "—"]
  few = train_spiece(CAPTIONS, 80)
  assert sentencepiece.SentencePieceProcessor(model_proto=few).get_piece_size() == 80
  assert _encoded(few, "a man") == ["▁a", "▁man"]
  assert "▁nearby" not in _encoded(few, "nearby")
  unknown = sentencepiece.SentencePieceProcessor(model_proto=few).unk_id()
  processor = sentencepiece.SentencePieceProcessor(model_proto=few)
  assert unknown not in processor.encode("nearby zebras")


def test_captions_that_are_few_have_fewer_pieces_than_asked_for():
  same = [f"A woman walks along a street, number {k:04x}." for k in range(0, 9999, 999)]
  spiece = train_spiece(same, 1000)
  count = sentencepiece.SentencePieceProcessor(model_proto=spiece).get_piece_size()
  assert 60 < count < 200
  assert _encoded(spiece, "a street") == ["▁a", "▁street"]


@pytest.mark.parametrize(
  ("captions", "pieces", "said"),
  [((), 100, "no captions"), (CAPTIONS, 60, "--pieces is 60; .* are needed")],
)
def test_captions_or_pieces_that_are_too_few_are_refused(captions, pieces, said):
  with pytest.raises(ValueError, match=said):
    train_spiece(captions, pieces)


def test_the_captions_of_a_manifest_are_read(tmp_path, capsys):
  rows = [{"id": str(i), "path": "x.mp4", "caption": c} for i, c in enumerate(CAPTIONS)]
  manifest = tmp_path / "manifest.jsonl"
  manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
  tokenizer.main(["--data", str(manifest), "--output", str(tmp_path / "tokenizer")])
  assert "The longest of 2 captions has 12 tokens." in capsys.readouterr().out
  spiece = (tmp_path / "tokenizer" / "spiece.model").read_bytes()
  assert spiece == train_spiece(CAPTIONS, 1000)


def test_command_refuses_a_place_it_cannot_write(tmp_path, capsys):
  (tmp_path / "file").touch()
  for argv, said in (
    (["--output", str(tmp_path / "file")], f"{tmp_path}/file: File exists; choose"),
    (["--output", "x", "--max-tokens", "0"], "--max-tokens is 0; it must be at leas"),
    ([], "--output is missing"),
    (["--outptu", "x"], "Unknown option --outptu; did you mean --output?"),
  ):
    with pytest.raises(SystemExit) as end:
      tokenizer.main(argv)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_tokenizer_is_never_replaced_by_another(tmp_path):
  spiece = train_spiece(CAPTIONS, 1000)
  write_tokenizer(spiece, tmp_path, 32)
  write_tokenizer(spiece, tmp_path, 32)  # The same one again changes nothing.
  with pytest.raises(ValueError, match="has another tokenizer.*give another --output"):
    write_tokenizer(train_spiece(CAPTIONS, 80), tmp_path, 32)
  assert (tmp_path / "spiece.model").read_bytes() == spiece
