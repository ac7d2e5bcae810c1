"""Finds the files on this machine for the name that a user gives a model.

A source is the name of a preset, a single-file checkpoint, a folder with
`model.safetensors`, a folder in the layout of diffusers, or a file on the hub as
`organisation/repository/file`. The text encoder is never part of a checkpoint. It is
next to a file, or inside a folder, as the folders `text_encoder` and `tokenizer`, or
wherever the user says.
"""

from __future__ import annotations

import os
import pathlib
from typing import Any, Literal, NamedTuple

from ltx_jax.checkpoints import diffusers
from ltx_jax.errors import check_kind, shown
from ltx_jax.releases import hub
from ltx_jax.releases.presets import (
  PRESETS,
  TEXT_ENCODER,
  TEXT_ENCODER_LICENCE,
  UPSCALERS,
  HubFile,
  named_like,
  suggestion,
)

CHECKPOINT = "model.safetensors"
_TOKENIZER_FILES = ("spiece.model", "tokenizer.json")

_A_MODEL = "the name of a preset, such as moving-shapes, a checkpoint, or a folder"

PathLike = str | os.PathLike[str]
TextEncoderSource = PathLike | Literal[False] | None


class Files(NamedTuple):
  """The places of a model's files; None without a text encoder.

  The checkpoint is the official single file, or a folder in the layout of diffusers.
  `preset` names the release, if the checkpoint's name shows it.
  """

  checkpoint: pathlib.Path
  text_encoder: pathlib.Path | None
  tokenizer: pathlib.Path | None
  preset: str | None = None


def resolve(source: PathLike, text_encoder: TextEncoderSource = None) -> Files:
  """Finds the files of a model.

  Args:
    source: A preset's name, a checkpoint, a folder, or a file on the hub.
    text_encoder: A folder. None looks next to the checkpoint and, for a release by its
      preset or on the hub, fetches the one that all releases share; False uses none.

  Raises:
    ValueError: If files are missing; the message says what was found and what to do.
  """
  check_source("The model", source, _A_MODEL)
  if text_encoder is not None and text_encoder is not False:
    check_source("text_encoder", text_encoder, "its folder, None, or False for none")
  name, checkpoint = os.fspath(source), _checkpoint(source)
  preset = name if name in PRESETS else named_like(checkpoint.name)
  beside = checkpoint if checkpoint.is_dir() else checkpoint.parent
  if text_encoder is None and (beside / "text_encoder" / "config.json").is_file():
    text_encoder = beside
  elif text_encoder is None and _is_of_a_release(name, preset):
    folders = ("text_encoder", "tokenizer")
    text_encoder = hub.fetch_folders(TEXT_ENCODER, folders, TEXT_ENCODER_LICENCE)
  if text_encoder is None or text_encoder is False:
    return Files(checkpoint, None, None, preset)
  found = _with_text_encoder(checkpoint, pathlib.Path(text_encoder))
  return found._replace(preset=preset)


def check_source(name: str, source: Any, what: str) -> None:
  """Refuses what names no file.

  Args:
    name: What it is.
    source: What was given.
    what: What to give.

  Raises:
    ValueError: where it is neither a text nor a path, is empty, or holds a zero.
  """
  check_kind(name, source, (str, os.PathLike), what)
  text = os.fspath(source)
  if not isinstance(text, str) or not text.strip() or "\0" in text:
    raise ValueError(f"{name} is {shown(text)}; give {what}.")


def _is_of_a_release(name: str, preset: str | None) -> bool:
  """Whether this is a release, named by its preset or as its file on the hub."""
  known = preset or "" if _is_on_the_hub(name) else name
  return isinstance(_preset_files(known), HubFile)


def resolve_upscaler(source: PathLike) -> pathlib.Path:
  """Finds the file of a latent upsampler.

  Args:
    source: A name of `presets.UPSCALERS`, a file, or a file on the hub.

  Raises:
    ValueError: If there is none.
  """
  check_source("The upscaler", source, f"one of {', '.join(UPSCALERS)}, or a file")
  name, path = os.fspath(source), pathlib.Path(source)
  if name in UPSCALERS:
    return hub.fetch(*UPSCALERS[name])
  if path.is_file():
    return path
  if _is_on_the_hub(name):
    repository, _, file = name.rpartition("/")
    return hub.fetch(repository, file)
  raise ValueError(
    f"There is no upscaler {name!r}; give one of {', '.join(UPSCALERS)}, or a file "
    "(*.safetensors)."
  )


def _is_on_the_hub(name: str) -> bool:
  """Whether a name has the form organisation/repository/file."""
  return name.endswith(".safetensors") and name.count("/") == 2 and name[0] != "/"


def _preset_files(name: str) -> pathlib.Path | HubFile | None:
  return PRESETS[name].files if name in PRESETS else None


def _checkpoint(source: PathLike) -> pathlib.Path:
  name, path = os.fspath(source), pathlib.Path(source)
  files = _preset_files(name)
  if isinstance(files, HubFile):
    return hub.fetch(*files)
  if files is not None:
    checkpoint = files / CHECKPOINT
    if not checkpoint.is_file():
      raise ValueError(
        f"The preset {name!r} should be at {checkpoint}, but is not there; install "
        "ltx-jax again, or give the path of a checkpoint."
      )
    return checkpoint
  if path.is_file():
    return path
  if (path / CHECKPOINT).is_file():
    return path / CHECKPOINT
  if diffusers.is_folder(path):
    return path
  if path.is_dir():
    raise _folder_refused(path)
  if _is_on_the_hub(name):
    repository, _, file = name.rpartition("/")
    released = _preset_files(named_like(file) or "")
    same = isinstance(released, HubFile) and released.repository == repository
    return hub.fetch(repository, file, released.licence if same else None)
  if path.suffix == ".safetensors" or path.is_absolute() or name.startswith("."):
    raise ValueError(
      f"There is no file {name}; give a preset (such as moving-shapes), a checkpoint "
      "(*.safetensors), or a file on the hub as organisation/repository/file."
    )
  if name.count("/") == 1:
    raise ValueError(
      f"{name!r} names a repository on the hub, which may hold several checkpoints; "
      f"name the file as well, as {name}/FILE.safetensors, or download it and give its "
      "path."
    )
  raise ValueError(f"There is no preset or file called {name!r}; {suggestion(name)}")


def _folder_refused(path: pathlib.Path) -> ValueError:
  if (path / "model_index.json").is_file():
    return ValueError(
      f"{path} has a model_index.json but neither transformer/config.json nor "
      "vae/config.json; finish its download."
    )
  single = sorted(path.glob("*.safetensors"))
  what = f"one of its files, such as {single[0]}" if single else "a checkpoint"
  return ValueError(f"{path} is a folder without {CHECKPOINT}; give {what}.")


def _with_text_encoder(checkpoint: pathlib.Path, folder: pathlib.Path) -> Files:
  """Finds encoder and tokenizer in a folder, or in the two folders inside it."""
  nested = (folder / "text_encoder" / "config.json").is_file()
  encoder = folder / "text_encoder" if nested else folder
  if not (encoder / "config.json").is_file():
    raise ValueError(
      f"{folder} holds no text encoder: neither config.json nor text_encoder/ is "
      "there; give the folder of a T5 v1.1 encoder in the Hugging Face layout, such as "
      "a download of PixArt-alpha/PixArt-XL-2-1024-MS, or False for none."
    )
  for tokenizer in (folder / "tokenizer", encoder, encoder.parent / "tokenizer"):
    if any((tokenizer / name).is_file() for name in _TOKENIZER_FILES):
      return Files(checkpoint, encoder, tokenizer)
  raise ValueError(
    f"{folder} holds a text encoder but no tokenizer; put its spiece.model into "
    f"{folder / 'tokenizer'}."
  )
