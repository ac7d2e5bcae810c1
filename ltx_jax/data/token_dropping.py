"""Token dropping: trims clips of several sizes to the same number of tokens.

    a clip [f h w c]  ->  its tokens [n c], and the place (frame, row, column) of each
    a batch of a group of buckets: as many tokens per clip as the smallest bucket has

The tokens to keep are drawn uniformly from the clip's seed. They keep their places,
which determine positions and given frames. Nothing is padded or packed; a bucket that
is alone in its group drops nothing.

Source: the LTX-Video paper, section on multi-resolution training: 0 to 20 % of the
tokens are dropped, so that every step trains on the same number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from ltx_jax.data.source import Batch
from ltx_jax.typing import AnyArray

REFERENCE = ("reference",)
LAST = ("last", "last_places")
"""Names of the arrays of clips' references, and of their last frames."""

_DROPPING = 0x64726F70  # Keeps these draws apart from others of the same seed.


def as_tokens(batch: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
  """Returns a batch with its latents as tokens.

  Args:
    batch: Batch with `latents` [b f h w c], and optionally `reference` of the same
      size and `last` [b 1 h w c].

  Returns:
    The batch with `latents` [b n c], their `places` [b n 3] in the clip, and the clip's
    `grid` [b 3]: frames, rows and columns of latents; optionally with `reference`
    [b n c], whose places are the same, and with `last` [b m c] and its rows and columns
    `last_places` [b m 2].
  """
  clips, *grid, channels = batch["latents"].shape
  places = np.indices(grid, np.int32).reshape(3, -1).T  # n 3
  tokens = {
    name: batch[name].reshape(clips, -1, channels)
    for name in ("latents", "reference", "last")
    if name in batch
  }
  tokens["places"] = np.broadcast_to(places, (clips, *places.shape))
  tokens["grid"] = np.broadcast_to(np.int32(grid), (clips, 3))
  if "last" in batch:
    tokens["last_places"] = tokens["places"][:, : grid[1] * grid[2], 1:]
  return {**batch} | tokens


def kept(tokens: int, count: int, seed: int) -> Int[np.ndarray, "{count}"]:
  """Returns which `count` of a clip's tokens are kept, in their order."""
  draws = np.random.PCG64(np.random.SeedSequence((_DROPPING, seed))).random_raw(tokens)
  return np.sort(np.argpartition(draws, count - 1)[:count])


def drop(batch: Batch, count: int, of_frame: int) -> Batch:
  """Keeps some of the tokens of every clip in a batch.

  A clip and its reference keep the tokens at the same places.

  Args:
    batch: Batch that `as_tokens` made.
    count: Number of tokens to keep per clip.
    of_frame: Number of tokens to keep of its last frame, if that is shown.
  """
  of_clip = _kept(batch, ("latents", "places", *REFERENCE), count)
  return batch | of_clip | _kept(batch, LAST, of_frame)


def _kept(batch: Batch, names: Sequence[str], count: int) -> Batch:
  """Returns a batch's arrays of these names, with `count` tokens per clip."""
  there = [name for name in names if name in batch]
  if not there or batch[there[0]].shape[1] == count:
    return {}
  tokens = batch[there[0]].shape[1]
  chosen = np.stack([kept(tokens, count, int(seed)) for seed in batch["seed"]])
  return {
    name: np.take_along_axis(batch[name], chosen[..., None], axis=1) for name in there
  }
