"""Captions from a network in a folder, in the layout of Hugging Face.

Any network that `transformers` lists for images and text to text will do, for example
Qwen-VL. It runs in PyTorch, which nothing else here needs, so both are imported only
when such a network is loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ltx_jax.curation.replies import Question, Reply, Settings
from ltx_jax.errors import check_number, said
from ltx_jax.files import AnyPath


class LocalCaptioner:
  """A captioner in this process (`replies.Captioner`)."""

  at_once = 1

  def __init__(
    self,
    folder: AnyPath,
    *,
    batch: int = 4,
    most_tokens: int = 400,
    device: str = "cpu",
  ):
    """Loads a network and its processor; nothing is fetched.

    Args:
      folder: Folder with `config.json`, weights, processor and tokenizer.
      batch: Number of clips that are captioned together.
      most_tokens: Largest number of tokens of a caption.
      device: Name that PyTorch has for the device, such as "cuda".

    Raises:
      ValueError: If PyTorch is missing, or the folder holds no such network.
    """
    check_number("batch", batch, at_least=1, whole=True)
    check_number("most_tokens", most_tokens, at_least=1, whole=True)
    self.batch = batch
    self._folder, self._most_tokens = Path(folder), most_tokens
    if not (self._folder / "config.json").is_file():
      raise ValueError(
        f"{folder} has no config.json; name the folder of a network that describes "
        "images, in the layout of Hugging Face."
      )
    if importlib.util.find_spec("torch") is None:
      raise ValueError(
        f"The network in {folder} needs PyTorch, which is not installed; run `pip "
        "install torch`, or have captions written by an endpoint."
      )
    self._processor, self._model = _loaded(self._folder, device)
    self._contents = _fingerprint(self._folder)

  @property
  def settings(self) -> Settings:
    """All that replies depend on."""
    return {"contents": self._contents, "most_tokens": self._most_tokens}

  def __call__(self, questions: Sequence[Question]) -> list[Reply]:
    """Returns the replies to questions, made together, by the likeliest tokens."""
    inputs = self._processor.apply_chat_template(
      [_conversation(question) for question in questions],
      add_generation_prompt=True,
      tokenize=True,
      return_dict=True,
      return_tensors="pt",
      processor_kwargs={"padding": True},
    ).to(self._model.device, self._model.dtype)
    made = self._model.generate(
      **inputs, max_new_tokens=self._most_tokens, do_sample=False
    )
    rows = made[:, inputs["input_ids"].shape[1] :].tolist()
    return [self._reply(row) for row in rows]

  def _reply(self, tokens: list[int]) -> Reply:
    ends = self._model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    count = next((k for k, token in enumerate(tokens) if token in ends), len(tokens))
    text = self._processor.decode(tokens[:count], skip_special_tokens=True)
    finish = "stop" if count < len(tokens) else "length"
    return Reply(text, finish, count, self._folder.name)


def _loaded(folder: Path, device: str) -> tuple[Any, Any]:
  """Returns the processor and the network of a folder."""
  import transformers

  try:
    processor = transformers.AutoProcessor.from_pretrained(
      folder, local_files_only=True
    )
    model = transformers.AutoModelForImageTextToText.from_pretrained(
      folder, local_files_only=True, dtype="auto"
    )
    model = model.to(device).eval()
  except Exception as error:  # What is missing or odd makes it raise almost anything.
    raise ValueError(
      f"{folder} holds no network that describes images here ({said(error)}); name a "
      "folder with its config, weights, processor and tokenizer, and a device that "
      "PyTorch has."
    ) from error
  # Captions are written on from the end of each prompt.
  processor.tokenizer.padding_side = "left"
  return processor, model


def _conversation(question: Question) -> list[dict[str, Any]]:
  images = [
    {"type": "image", "image": Image.open(io.BytesIO(image)).convert("RGB")}
    for image in question.stills.images
  ]
  text = {"type": "text", "text": question.prompt}
  return [{"role": "user", "content": [*images, text]}]


def _fingerprint(folder: Path) -> str:
  """Returns a hash of the small files, and of the names and sizes of the others."""
  digest = hashlib.sha256()
  for path in sorted(path for path in folder.rglob("*") if path.is_file()):
    name = path.relative_to(folder).as_posix()
    digest.update(f"{name}\0{path.stat().st_size}\0".encode())
    if path.suffix in (".json", ".jinja", ".txt"):
      digest.update(path.read_bytes())
  return digest.hexdigest()[:16]
