"""Trains a tokenizer on the captions of clips, for a text encoder trained with a model.

    python -m train.tokenizer --data MANIFEST --output FOLDER

Without --data it uses the captions of the moving shapes. It never replaces another
tokenizer.

The result is a SentencePiece unigram model in the layout of Hugging Face (files
spiece.model, tokenizer_config.json and special_tokens_map.json). The class that reads
the tokenizer of T5-XXL in `transformers` reads it too. Its pieces are the most common
words of the captions, then single characters, so that words in no caption can still be
spelt. The model itself folds case: "A Red circle" and "a red circle" are the same
tokens. The ids are T5's: 0 for padding, 1 for end of sequence, 2 for unknown. There is
no beginning-of-sequence token.

The same captions give the same bytes.
"""

from __future__ import annotations

import collections
import dataclasses
import io
import json
import pathlib
import re
import string
import tempfile
import unicodedata
from collections.abc import Sequence

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from ltx_jax.cli.command_line import cli, errors_in_words
from ltx_jax.cli.program import run as run_program
from ltx_jax.data.manifest import read_manifest
from ltx_jax.errors import check_number
from ltx_jax.files import atomic_file
from ltx_jax.moving_shapes import world

CHARACTERS = string.ascii_lowercase + string.digits + string.punctuation
SPACE = "\u2581"  # SentencePiece's mark for the space before a word.
SPECIAL = {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"}  # In the order of their ids.


@dataclasses.dataclass(frozen=True)
class Options:
  """What is read, and where the tokenizer is written.

  Attributes:
    output: Folder for `spiece.model` and the two JSON files.
    data: Manifest or folder with the captions; default: the captions of the moving
      shapes.
    pieces: Largest number of pieces; the rarest words are spelt in characters. At most
      the `vocab_size` of the text encoder that is trained with it.
    max_tokens: Largest number of tokens in a text; longer texts are cut.
  """

  output: pathlib.Path
  data: pathlib.Path | None = None
  pieces: int = 1000
  max_tokens: int = 32  # A caption of the moving shapes has 11.


def folded(caption: str) -> str:
  """Folds a caption as the model does: compatibility forms and case."""
  return unicodedata.normalize("NFKC", caption).casefold()


def train_spiece(captions: Sequence[str], pieces: int) -> bytes:
  """Returns a SentencePiece model whose pieces are `captions`' words, and characters.

  Args:
    captions: Captions, at least one of which is not empty.
    pieces: Largest number of pieces.

  Raises:
    ValueError: If there is no caption, or `pieces` is too small for the characters.
  """
  captions = [folded(caption) for caption in captions]
  others = {*"".join(captions)} - {*CHARACTERS, " ", SPACE}
  characters = CHARACTERS + "".join(sorted(others))
  words = collections.Counter(
    word for caption in captions for word in re.findall(r"\w+", caption)
  )
  if not words:
    raise ValueError("There are no captions to train a tokenizer on.")
  # A word of one letter is a piece only with its space, like longer words.
  room = pieces - len(SPECIAL) - len(SPACE + characters)
  if room < 1:
    raise ValueError(
      f"--pieces is {pieces}; these captions have {len(characters)} characters, so at "
      f"least {pieces - room + 1} are needed."
    )
  common = sorted(words.items(), key=lambda item: (-item[1], item[0]))[:room]
  longer = {SPACE + word: count for word, count in common}
  model = io.BytesIO()
  with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as seeds:
    # By default the trainer collects candidates from the distinct words, not from the
    # text, so whole words, which occur once each, would not be among them.
    seeds.writelines(f"{piece}\t{longer[piece]}\n" for piece in sorted(longer))
    seeds.flush()
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(captions),
      model_writer=model,
      model_type="unigram",
      vocab_size=len(SPECIAL) + len(longer) + len(SPACE + characters),
      # Of few captions the trainer keeps fewer pieces; unless told so, it refuses them.
      hard_vocab_limit=False,
      seed_sentencepieces_file=seeds.name,
      required_chars=characters,
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


def write_tokenizer(spiece: bytes, folder: pathlib.Path, max_tokens: int) -> None:
  """Writes the Hugging Face layout; each file appears only once it is complete.

  Raises:
    ValueError: If the folder has another tokenizer; the same one is left as it is.
  """
  special = {f"{name}_token": token for name, token in SPECIAL.items()}
  config = special | {
    "extra_ids": 0,
    "legacy": True,
    "model_max_length": max_tokens,
    "tokenizer_class": "T5Tokenizer",
  }
  files = {
    "special_tokens_map.json": json.dumps(special, indent=2).encode() + b"\n",
    "tokenizer_config.json": json.dumps(config, indent=2).encode() + b"\n",
    "spiece.model": spiece,
  }
  folder.mkdir(parents=True, exist_ok=True)
  there = [name for name in files if (folder / name).exists()]
  if any((folder / name).read_bytes() != files[name] for name in there):
    raise ValueError(
      f"--output {folder} has another tokenizer, and models may have been made with "
      "it; give another --output, or remove it."
    )
  for name, content in files.items():
    with atomic_file(folder / name) as file:
      file.write(content)


def captions_of(data: pathlib.Path | None) -> list[str]:
  """Returns the captions of a manifest, or of the moving shapes."""
  if data is None:
    return world.train_captions()
  return [clip.caption for clip in read_manifest(data) if clip.caption]


def main(argv: Sequence[str] | None = None) -> None:
  """Trains the tokenizer on captions and writes it."""
  options = cli(Options, argv, program="python -m train.tokenizer", about=__doc__)
  with errors_in_words():
    check_number("--max-tokens", options.max_tokens, at_least=1)
    captions = captions_of(options.data)
    spiece = train_spiece(captions, options.pieces)
    write_tokenizer(spiece, options.output, options.max_tokens)
  processor = sentencepiece.SentencePieceProcessor(model_proto=spiece)
  longest = max(len(processor.encode(caption)) + 1 for caption in captions)
  print(f"{processor.get_piece_size()} pieces written to {options.output}")
  print(f"{captions[0]!r} -> {processor.encode(captions[0], out_type=str)}")
  print(f"The longest of {len(captions)} captions has {longest} tokens.")
  if longest > options.max_tokens:
    print(f"Longer ones are cut to {options.max_tokens}; --max-tokens changes that.")


if __name__ == "__main__":
  run_program(main)
