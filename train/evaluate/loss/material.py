"""Clips for the loss: of a small world, of videos with captions, or of records."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ltx_jax import programs
from ltx_jax.config.runs import Bucket
from ltx_jax.data.manifest import read_manifest
from ltx_jax.data.pixels import to_floats
from ltx_jax.data.record_index import INDEX
from ltx_jax.data.records import Records
from ltx_jax.data.source import Batch
from ltx_jax.data.token_dropping import as_tokens
from ltx_jax.data.videos import Videos
from ltx_jax.moving_shapes import world
from ltx_jax.moving_shapes.source import WORLDS, shapes
from ltx_jax.pipeline.networks import Networks
from ltx_jax.typing import EncodedText


class Source(NamedTuple):
  """A source of clips, and what their ids stand for.

  Attributes:
    about: What it is, for a recipe.
    source: Where batches come from.
    names: Name of each clip.
    videos: Video that each was cut from; clips of one are no independent witnesses.
    captions: Caption of each; empty for records, which hold encoded ones.
  """

  about: str
  source: Any
  names: Sequence[str]
  videos: Sequence[str]
  captions: Sequence[str]


def open_source(path: str) -> Source:
  """Opens a small world's held-out captions, a folder of records, or a manifest.

  Raises:
    ValueError: If it is none of these, or videos lack captions.
  """
  if path in WORLDS:
    source = shapes(path, world.held_out_captions())
    return Source(path, source, *[source.captions] * 3)
  if (Path(path) / INDEX).is_file():
    records = Records(path)
    ids = list(records.index.ids)
    # A clip's id begins with its video's, and `#` parts them.
    return Source(path, records, ids, [name.partition("#")[0] for name in ids], ())
  videos = Videos(read_manifest(path))
  clips = list(videos.clips)
  if bare := [clip.id for clip in clips if not clip.caption]:
    raise ValueError(
      f"{len(bare)} clips of {path} have no caption, such as {bare[0]}; the loss is "
      "under a text, give each one."
    )
  names, paths, captions = zip(*[(c.id, c.path, c.caption) for c in clips], strict=True)
  return Source(path, videos, names, paths, captions)


class Sample(NamedTuple):
  """A clip as tokens, with its text.

  Attributes:
    name: Name of the clip.
    video: Video that it was cut from.
    batch: Arrays of a batch of this one: `latents`, `places`, `grid` and `fps`; of
      records also the caption, as tokens or encoded.
    caption: Caption in words; None of records.
  """

  name: str
  video: str
  batch: Batch
  caption: str | None

  @property
  def number(self) -> int:
    """A number for random draws that depends on the name alone."""
    return zlib.crc32(self.name.encode())


def samples(
  opened: Source, model: Networks, bucket: Bucket, count: int
) -> Iterator[Sample]:
  """Yields clips of a size, spread evenly over those that it takes.

  Args:
    opened: The source.
    model: Model whose VAE encodes clips that are not encoded.
    bucket: Size of the clips.
    count: Largest number of clips.

  Raises:
    ValueError: If no clip has that size.
  """
  ids = opened.source.assign([bucket])[0]
  if not len(ids):
    raise ValueError(
      f"{opened.about} has no clip of {bucket.frames}x{bucket.height}x{bucket.width}; "
      "name another size with --buckets."
    )
  chosen = np.unique(np.linspace(0, len(ids) - 1, min(count, len(ids))).astype(int))
  for number in chosen.tolist():
    row = ids[number : number + 1]
    batch = opened.source.read(bucket, row, np.array([number], np.uint32))
    if "video" in batch:
      latents = model.encode(to_floats(batch["video"]))
      batch = batch | {"latents": np.asarray(latents, np.float32)}
    place = int(row[0])
    caption = opened.captions[place] if opened.captions else None
    yield Sample(opened.names[place], opened.videos[place], as_tokens(batch), caption)


def text_of(sample: Sample, model: Networks) -> EncodedText:
  """Returns the text input of the transformer.

  Args:
    sample: The clip.
    model: Model whose text encoder makes it, unless the clip has it already.

  Raises:
    ValueError: If there is no text encoder.
  """
  batch = sample.batch
  if sample.caption is not None:
    return model.encode_text([sample.caption])
  if "text" in batch:
    return batch["text"], batch["mask"]
  if model.config.text_encoder is None:
    raise ValueError("These records hold tokens; give a model with its text encoder.")
  encode = programs.encode_text(model.config.text_encoder, model.policy)
  params = model.params["text_encoder"]
  return encode(params, batch["tokens"], batch["mask"]), batch["mask"]
