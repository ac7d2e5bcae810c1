"""How a run reads its data, and which data it uses."""

from __future__ import annotations

import dataclasses

from ltx_jax.errors import check_fields


@dataclasses.dataclass(frozen=True)
class VideoConfig:
  """Reading of clips from videos.

  Attributes:
    flip: Left-to-right mirroring of half of the clips.
    max_faulty: Largest share of clips that may be unreadable.
  """

  flip: bool = False
  max_faulty: float = 0.05

  def __post_init__(self):
    check_fields(self, {"max_faulty": {"at_least": 0, "at_most": 1}}, "video.{}")


@dataclasses.dataclass(frozen=True)
class ScoreConfig:
  """Filter on records by one of their scores, which the manifest gives them.

  Attributes:
    name: Name of the score.
    at_least: Lowest score of records that are trained on; records without the score are
      left out. Default: all records, whatever their scores.
  """

  name: str = "aesthetic"
  at_least: float | None = None

  def __post_init__(self):
    check_fields(self, {"at_least": {}}, "score.{}")
