"""Statistics of a manifest, and its duplicates."""

from __future__ import annotations

import collections
import hashlib
import os
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ltx_jax.data.clips import Clips

_BLOCK = 2**20


class Survey(NamedTuple):
  """Columns over measured clips.

  Attributes:
    seconds: Duration of each clip; 0 for an image.
    sizes: (frames, height, width) of each clip, cropped.
    fps: Frames per second; 0 for an image.
    words: Number of words of each caption.
  """

  seconds: Float[np.ndarray, "n"]
  sizes: Int[np.ndarray, "n 3"]
  fps: Float[np.ndarray, "n"]
  words: Int[np.ndarray, "n"]


def survey(clips: Clips) -> Survey:
  """Returns the columns of measured clips."""
  sizes, fps = clips.sizes(), np.nan_to_num(clips.column("fps"))
  seconds = np.divide(sizes[:, 0], fps, out=np.zeros(len(clips)), where=fps > 0)
  words = np.fromiter((len(text.split()) for text in clips.captions), int, len(clips))
  return Survey(seconds, sizes, fps, words)


def common_sizes(sizes: Int[np.ndarray, "n 3"], most: int) -> list[tuple[str, int]]:
  """Returns the commonest sizes, such as "1280x720", and how many clips have each."""
  found, counts = np.unique(sizes[:, 1:], axis=0, return_counts=True)
  order = np.argsort(-counts, kind="stable")[:most]
  return [(f"{found[i, 1]}x{found[i, 0]}", int(counts[i])) for i in order]


def repeated_captions(clips: Clips, most: int) -> list[tuple[str, int]]:
  """Returns captions that several clips share, and how many do, commonest first."""
  # Hashes, to avoid a second copy of the words of a million captions.
  hashes = np.fromiter(map(hash, clips.captions), np.int64, len(clips))
  _, first, counts = np.unique(hashes, return_index=True, return_counts=True)
  order = np.argsort(-counts, kind="stable")
  rows = [(int(first[i]), int(counts[i])) for i in order[: most + 1] if counts[i] > 1]
  return [(clips.captions[i], n) for i, n in rows if clips.captions[i]][:most]


def copies(clips: Clips) -> list[tuple[str, str]]:
  """Returns pairs of ids (a clip, an earlier one) with the same file content and times.

  Only files that have the same size as another are read.
  """
  sizes: dict[str, int] = {}
  for row in range(len(clips)):
    path = clips[row].path
    if path not in sizes:
      sizes[path] = os.path.getsize(path)
  files = collections.Counter(sizes.values())
  hashes: dict[str, str] = {}
  seen: dict[tuple, str] = {}
  found = []
  for clip in clips:
    content = clip.path
    if files[sizes[clip.path]] > 1:
      content = hashes.get(clip.path) or _sha256(clip.path)
      hashes[clip.path] = content
    earlier = seen.setdefault((content, clip.start, clip.end, clip.crop), clip.id)
    if earlier != clip.id:
      found.append((clip.id, earlier))
  return found


def _sha256(path: str) -> str:
  digest = hashlib.sha256()
  with open(path, "rb") as file:
    while block := file.read(_BLOCK):
      digest.update(block)
  return digest.hexdigest()
