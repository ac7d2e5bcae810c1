"""Trains the small model's tokenizer on the captions of the moving shapes.

    python -m train.tokenizer --output FOLDER

The result is a SentencePiece unigram model in the Hugging Face layout (`spiece.model`,
`tokenizer_config.json`, `special_tokens_map.json`), which `transformers` reads with the
very class that reads T5-XXL's. Its pieces are the captions' whole words, then single
characters, so that a word that no caption has can still be spelt. The model folds case
by itself: "A Red circle" and "a red circle" are the same tokens. Ids are T5's: 0 for
padding, 1 end of sequence, 2 unknown; there is no beginning-of-sequence token.

The same captions give the same bytes.
"""

from __future__ import annotations

import collections
import dataclasses
import io
import json
import pathlib
import string
import tempfile
from collections.abc import Sequence

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from ltx_jax.cli.command_line import cli, errors_in_words
from ltx_jax.moving_shapes import world

CHARACTERS = string.ascii_lowercase + string.digits + string.punctuation
MAX_TOKENS = 32  # A caption has 11.
SPACE = "\u2581"  # SentencePiece's mark for the space before a word.
SPECIAL = {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"}  # In the order of their ids.


@dataclasses.dataclass(frozen=True)
class Options:
  """Where it is written.

  Attributes:
    output: Folder for `spiece.model` and the two JSON files.
  """

  output: pathlib.Path = pathlib.Path("ltx_jax/assets/moving_shapes/tokenizer")


def train_spiece(captions: Sequence[str]) -> bytes:
  """Returns a SentencePiece model whose pieces are `captions`' words, and characters.

  Captions must be lower case, ASCII, their words separated by spaces.
  """
  words = collections.Counter(word for caption in captions for word in caption.split())
  longer = {SPACE + word: count for word, count in words.items()}
  model = io.BytesIO()
  with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as seeds:
    # Left to itself the trainer collects its candidates from the distinct words, not
    # from the text: whole words, each there once, would not be among them.
    seeds.writelines(f"{piece}\t{longer[piece]}\n" for piece in sorted(longer))
    seeds.flush()
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(captions),
      model_writer=model,
      model_type="unigram",
      vocab_size=len(SPECIAL) + len(longer) + len(SPACE + CHARACTERS),
      seed_sentencepieces_file=seeds.name,
      required_chars=CHARACTERS,
      character_coverage=1.0,
      normalization_rule_name="nmt_nfkc_cf",
      num_threads=1,
      pad_id=0,
      eos_id=1,
      unk_id=2,
      bos_id=-1,
      minloglevel=2,
    )
  proto = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
  proto.trainer_spec.ClearField("seed_sentencepieces_file")  # A path of this machine.
  return proto.SerializeToString(deterministic=True)


def write_tokenizer(spiece: bytes, folder: pathlib.Path) -> None:
  """Writes the Hugging Face layout; each file appears only once it is complete."""
  special = {f"{name}_token": token for name, token in SPECIAL.items()}
  config = special | {
    "extra_ids": 0,
    "legacy": True,
    "model_max_length": MAX_TOKENS,
    "tokenizer_class": "T5Tokenizer",
  }
  files = {
    "special_tokens_map.json": json.dumps(special, indent=2).encode() + b"\n",
    "tokenizer_config.json": json.dumps(config, indent=2).encode() + b"\n",
    "spiece.model": spiece,
  }
  folder.mkdir(parents=True, exist_ok=True)
  for name, content in files.items():
    temporary = folder / f".{name}.partial"
    temporary.write_bytes(content)
    temporary.replace(folder / name)


def main(argv: Sequence[str] | None = None) -> None:
  """Trains the tokenizer on the captions of the moving shapes and writes it."""
  options = cli(Options, argv, program="python -m train.tokenizer", about=__doc__)
  captions = world.train_captions()
  spiece = train_spiece(captions)
  with errors_in_words():
    write_tokenizer(spiece, options.output)
  processor = sentencepiece.SentencePieceProcessor(model_proto=spiece)
  print(f"{processor.get_piece_size()} pieces written to {options.output}")
  print(f"{captions[0]!r} -> {processor.encode(captions[0], out_type=str)}")


if __name__ == "__main__":
  main()
