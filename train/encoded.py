"""The small world's captions and clips, encoded once, as the transformer reads them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ltx_jax.config.runs import Bucket, TransformerRun
from ltx_jax.data.source import Batch
from ltx_jax.moving_shapes import world
from ltx_jax.moving_shapes.source import Shapes
from ltx_jax.platforms import Policy
from train import latents
from train.captions import Captions, caption_reader

_HELD_OUT = 16


def text_arrays(run: TransformerRun, captions: Captions) -> Batch:
  """Returns what a batch has of captions: tokens, or their embeddings."""
  name = "tokens" if run.text_encoder == "trained" else "text"
  return {name: captions.rows, "mask": captions.mask}


@dataclasses.dataclass(frozen=True)
class Encoded(Shapes):
  """Latents and texts of captions.

  Attributes:
    run: Whose variants and frame rate they have.
    cached: Their latents.
    read_as: Their texts, the last row being that of "".
  """

  run: TransformerRun = None
  cached: latents.Cached = None
  read_as: Captions = None

  @property
  def fingerprint(self) -> str:
    """Hash of what made latents and texts."""
    return f"{self.cached.fingerprint} {self.read_as.fingerprint}"

  @property
  def empty(self) -> Batch:
    """What a batch has of the caption ""."""
    arrays = text_arrays(self.run, self.read_as)
    return {name: rows[-1] for name, rows in arrays.items()}

  def read(self, bucket: Bucket, ids: np.ndarray, seeds: np.ndarray) -> Batch:
    """Takes one of the renderings of each caption."""
    rows = self.cached.latents[latents.bucket_size(bucket)]
    texts = text_arrays(self.run, self.read_as)
    return {
      "latents": rows[ids, seeds % self.run.variants],
      "fps": np.full(len(ids), self.run.fps, np.float32),
      "seed": seeds,
      **{name: rows[ids] for name, rows in texts.items()},
    }


class Sources(NamedTuple):
  """What is trained on, what is held out, and the captions that are shown."""

  trained: Encoded
  held_out: Encoded
  shown: Batch


def shown_captions() -> list[str]:
  """Six captions never trained on, for the sample pictures, and "" for guidance."""
  captions = world.held_out_captions()
  return [*captions[:: len(captions) // 6][:6], ""]


def sources(run: TransformerRun, vae: latents.FrozenVAE, policy: Policy) -> Sources:
  """Encodes what the run's folder does not have yet."""
  read = caption_reader(run, policy)
  buckets = [bucket for stage in run.stages for bucket in stage.buckets]

  def encoded(captions: Sequence[str]) -> Encoded:
    folder = Path(run.output.folder) / "latents"
    cached = latents.load_or_encode(vae, buckets, captions, run.variants, folder)
    texts = read([*captions, ""])
    return Encoded(tuple(captions), run=run, cached=cached, read_as=texts)

  return Sources(
    encoded(world.train_captions()),
    encoded(world.held_out_captions()[:_HELD_OUT]),
    text_arrays(run, read(shown_captions())),
  )
