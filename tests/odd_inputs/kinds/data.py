"""Records and training: data of something else, half copied, or without captions."""

from __future__ import annotations

from tests.odd_inputs.case import (
  accepted,
  cut,
  folder,
  locked,
  refused,
  shelved,
  with_file,
  without,
)
from tests.odd_inputs.kinds.manifests import CLIP, GOOD

MODEL = "--model", "{shelf}/vae.safetensors", "--text-encoder", "none"
TOKENS = "--tokenizer", "{shelf}/model/tokenizer", "--buckets", "5x32x32"
RECORDS = "out/", "out/*"


def precompute(manifest: str, *more: str) -> tuple[str, ...]:
  """Records of a manifest."""
  command = ("train.precompute", manifest, *MODEL, *TOKENS, "--output", "out")
  return (*command, *more)


PRECOMPUTE = (
  refused("encodes what is not there", precompute("clips"), "clips"),
  refused(
    "encodes clips without captions",
    precompute("list.jsonl"),
    "list.jsonl",
    "caption",
    files=CLIP | {"list.jsonl": '{"path": "cat.mp4"}\n'},
  ),
  refused(
    "encodes clips of some references",
    precompute("list.jsonl"),
    "reference",
    files=CLIP
    | {
      "list.jsonl": GOOD + '{"path": "cat.mp4", "caption": "b", '
      '"id": "b", "reference": "cat.mp4"}\n'
    },
  ),
  refused(
    "encodes clips that are too short for it",
    precompute("clips", "--buckets", "97x32x32"),
    "97x32x32",
    files={"clips": shelved("data")},
    leaves=RECORDS,
  ),
  refused(
    "encodes mostly broken clips",
    precompute("clips"),
    "faulty",
    files={"clips": with_file("data", "cat.mp4", cut("data/cat.mp4", 0.5))},
    leaves=RECORDS,
  ),
  refused(
    "encodes by a LoRA",
    (
      "train.precompute",
      "moving-shapes",
      "--buckets",
      "5x32x32",
      "--model",
      "{shelf}/loras/fits.safetensors",
    ),
    "fits.safetensors",
  ),
  refused(
    "encodes by a transformer",
    (
      "train.precompute",
      "moving-shapes",
      "--model",
      "{shelf}/checkpoints/transformer-only.safetensors",
      *TOKENS,
      "--text-encoder",
      "none",
    ),
    "transformer-only",
  ),
  refused(
    "encodes by a model without a tokenizer",
    (
      "train.precompute",
      "moving-shapes",
      "--buckets",
      "5x32x32",
      "--model",
      "{shelf}/vae.safetensors",
    ),
    "tokenizer",
  ),
  refused(
    "encodes by a tokenizer that is none",
    (
      "train.precompute",
      "moving-shapes",
      "--buckets",
      "5x32x32",
      *MODEL,
      "--tokenizer",
      "{shelf}/images",
    ),
    "images",
  ),
  refused(
    "encodes by a text encoder that is none",
    (
      "train.precompute",
      "moving-shapes",
      "--buckets",
      "5x32x32",
      "--model",
      "{shelf}/vae.safetensors",
      "--text-encoder",
      "{shelf}/images",
    ),
    "images",
  ),
  accepted(
    "encodes into a folder with other files",
    precompute("clips"),
    "out/index.safetensors",
    files={"clips": shelved("data"), "out/notes.txt": "mine"},
    leaves=RECORDS,
  ),
  accepted(
    "encodes a folder as it is",
    precompute("clips"),
    "out/index.safetensors",
    files={"clips": shelved("data")},
    leaves=RECORDS,
  ),
)

TRAIN = "train.transformer", "tiny", "--vae", "{shelf}/vae.safetensors"
INTO = "--output.folder", "run"


def train(*more: str) -> tuple[str, ...]:
  """Training on the folder `records`."""
  return (*TRAIN, "--data", "records", *INTO, *more)


INDEX = "index.safetensors"

TRAINING = (
  refused("trains on nothing", train(), "records"),
  refused("trains on an empty folder", train(), "records", files={"records": folder}),
  refused(
    "loses the index", train(), "records", files={"records": without("records", INDEX)}
  ),
  refused(
    "stops copying the index",
    train(),
    INDEX,
    files={"records": with_file("records", INDEX, cut(f"records/{INDEX}", 0.5))},
  ),
  refused(
    "copies an empty index",
    train(),
    INDEX,
    files={"records": with_file("records", INDEX, b"")},
  ),
  refused(
    "loses a shard",
    train(),
    "5x32x32.arrayrecord",
    files={"records": without("records", "5x32x32.arrayrecord")},
  ),
  refused(
    "stops copying a shard",
    train(),
    "5x32x32.arrayrecord",
    files={
      "records": with_file(
        "records", "5x32x32.arrayrecord", cut("records/5x32x32.arrayrecord", 0.3)
      )
    },
    leaves=("run*",),
  ),
  refused(
    "may not read the records", train(), "records", files={"records": locked(folder)}
  ),
  refused(
    "takes records of another VAE",
    (
      "train.transformer",
      "tiny",
      "--vae",
      "{shelf}/other-vae.safetensors",
      "--data",
      "{shelf}/records",
      *INTO,
    ),
    "VAE",
  ),
  refused(
    "takes the VAE of the whole model",
    (
      "train.transformer",
      "tiny",
      "--vae",
      "{shelf}/model/model.safetensors",
      "--data",
      "{shelf}/records",
      *INTO,
    ),
    "model",
  ),
  refused(
    "takes no VAE",
    ("train.transformer", "tiny", "--vae", "nowhere.safetensors", *INTO),
    "nowhere.safetensors",
  ),
  refused(
    "takes half a VAE",
    ("train.transformer", "tiny", "--vae", "a.safetensors", *INTO),
    "a.safetensors",
    files={"a.safetensors": cut("vae.safetensors", 0.5)},
  ),
  refused(
    "freezes a text encoder that made no texts",
    (
      "train.transformer",
      "tiny",
      "--vae",
      "{shelf}/vae.safetensors",
      "--data",
      "{shelf}/records",
      "--text-encoder",
      "frozen",
      "--text-folder",
      "nowhere",
      *INTO,
    ),
    "texts",
  ),
  refused(
    "names a text folder that is none",
    (
      "train.transformer",
      "tiny",
      "--vae",
      "{shelf}/vae.safetensors",
      "--data",
      "{shelf}/records",
      "--text-folder",
      "{shelf}/images",
      *INTO,
    ),
    "images",
  ),
  refused(
    "scores by what no record has",
    (
      "train.transformer",
      "tiny",
      "--vae",
      "{shelf}/vae.safetensors",
      "--data",
      "{shelf}/records",
      "--score.at-least",
      "5",
      *INTO,
    ),
    "score",
  ),
  refused(
    "conditions on what no record has",
    (
      "train.transformer",
      "tiny",
      "--vae",
      "{shelf}/vae.safetensors",
      "--data",
      "{shelf}/records",
      "--conditions.last-frame",
      "0.5",
      *INTO,
    ),
    "last",
  ),
  refused(
    "holds out more than there is",
    ("train.vae", "tiny", "--data", "{shelf}/data", "--held-out", "50", *INTO),
    "--held-out",
    "3",
  ),
  refused(
    "trains a VAE on what is not there",
    ("train.vae", "tiny", "--data", "clips", *INTO),
    "clips",
  ),
  refused(
    "starts from another network",
    ("train.vae", "tiny", "--init-from", "{shelf}/model/model.safetensors", *INTO),
    "model.safetensors",
  ),
  refused(
    "starts from nothing",
    ("train.vae", "tiny", "--init-from", "a.safetensors", *INTO),
    "a.safetensors",
  ),
  refused(
    "mistypes a record",
    ("train.records", "{shelf}/records", "000#1x32x23"),
    "000#1x32x23",
    "000#1x32x32",
  ),
  refused(
    "decodes by another VAE",
    (
      "train.records",
      "{shelf}/records",
      "000#1x32x32",
      "--model",
      "{shelf}/other-vae.safetensors",
      "--output",
      "a.png",
    ),
    "VAE",
  ),
  refused("lists records that are not there", ("train.records", "nowhere"), "nowhere"),
  refused(
    "lists records of a file",
    ("train.records", "{shelf}/vae.safetensors"),
    "vae.safetensors",
  ),
  accepted("lists records", ("train.records", "{shelf}/records"), says=("records",)),
  accepted(
    "decodes an image",
    (
      "train.records",
      "{shelf}/records",
      "000#1x32x32",
      "--model",
      "{shelf}/vae.safetensors",
      "--output",
      "a.png",
    ),
    "a.png",
  ),
  refused(
    "trains a tokenizer on nothing",
    ("train.tokenizer", "--data", "nowhere", "--output", "out"),
    "nowhere",
  ),
  refused(
    "trains a tokenizer on clips without captions",
    ("train.tokenizer", "--data", "list.jsonl", "--output", "out"),
    "caption",
    files=CLIP | {"list.jsonl": '{"path": "cat.mp4"}\n'},
  ),
)

CASES = (*PRECOMPUTE, *TRAINING)
