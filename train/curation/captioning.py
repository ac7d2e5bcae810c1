"""Captions of a selection: who writes them, and what they see."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import tyro

from ltx_jax.curation import captions
from ltx_jax.curation.captions import Progress
from ltx_jax.curation.clip import Clip, to_json
from ltx_jax.curation.endpoint import Endpoint
from ltx_jax.curation.local_captioner import LocalCaptioner
from ltx_jax.curation.replies import Cache, Captioner, Stills
from train.curation import selecting
from train.curation.folder import Folder, write_rows

_NONE = tyro.conf.arg(help_behavior_hint="(default: none)")


@dataclasses.dataclass(frozen=True)
class Writer:
  """Who writes captions."""

  endpoint: Annotated[str | None, _NONE] = None
  """Address of a server with OpenAI's interface, such as http://localhost:8000/v1."""

  model: str = ""
  """Name of the network on that server."""

  key: str = ""
  """Name of the environment variable that holds the server's key."""

  network: Annotated[Path | None, _NONE] = None
  """Folder of a network of `transformers` that describes images; no server then."""

  device: str = "cpu"
  """Device of that network, as PyTorch calls it, such as cuda."""

  at_once: int = 32
  """Number of requests in flight."""

  most_tokens: int = 400
  """Largest number of tokens of a reply."""

  @property
  def asked_for(self) -> bool:
    """Whether captions are to be written."""
    return self.endpoint is not None or self.network is not None

  def captioner(self) -> Captioner:
    """Returns the captioner.

    Raises:
      ValueError: If there is none, or two, or it cannot be used.
    """
    if (self.endpoint is None) == (self.network is None):
      raise ValueError(
        "Captions need a writer: give --writer.endpoint and --writer.model, or "
        "--writer.network."
      )
    if self.network is not None:
      return LocalCaptioner(
        self.network, most_tokens=self.most_tokens, device=self.device
      )
    if not self.model:
      raise ValueError("--writer.endpoint is given without --writer.model; add it.")
    return Endpoint(
      self.endpoint,
      self.model,
      self.key,
      most_tokens=self.most_tokens,
      at_once=self.at_once,
    )


def caption(
  folder: Folder,
  into: Path,
  captioner: Captioner,
  progress: Callable[[Progress, int], None],
) -> Progress:
  """Writes the captions of a selection, and keeps every reply.

  Args:
    folder: The curation.
    into: Folder of the selection.
    captioner: Writes captions.
    progress: Is told how far captions are, of how many clips.
  """
  clips = selecting.read_selected(into)
  last = Progress()

  def on_progress(done: Progress) -> None:
    nonlocal last
    last = done
    progress(done, len(clips))

  def stills_of(clip: Clip) -> Stills:
    images = tuple(folder.still(name).read_bytes() for name in clip.stills)
    return Stills(images, captions.evenly(clip, len(images)))

  cache = Cache(folder.root / "replies.jsonl")
  told = captions.caption(clips, stills_of, captioner, cache, progress=on_progress)
  write_rows(into / selecting.CAPTIONED, map(to_json, told))
  return last
