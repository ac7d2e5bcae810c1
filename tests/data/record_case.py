"""Small records and folders of them."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np

from ltx_jax.data import records
from ltx_jax.data.records import Record, SetInfo

INFO = SetInfo("vae-1", channels=4, factors=(8, 32), text_encoder="t5-1")
EMPTY = {
  "text": np.full((1, 3), 0.5, ml_dtypes.bfloat16),
  "tokens": np.array([1], np.int32),
}


def record(number: int, f: int = 2, h: int = 2, w: int = 3, m: int = 4) -> Record:
  draw = np.random.default_rng(number)
  return Record(
    f"clip {number}",
    f"caption ü {number}",
    draw.normal(size=(f, h, w, 4)).astype(ml_dtypes.bfloat16),
    fps=24.0 + number,
    frames=8 * (f - 1) + 1,
    height=32 * h,
    width=32 * w,
    vae=INFO.vae,
    text_encoder=INFO.text_encoder,
    logvar=draw.normal(size=(f, h, w, 1)).astype(np.float32),
    text=draw.normal(size=(m, 3)).astype(ml_dtypes.bfloat16),
    tokens=np.arange(1, m + 1, dtype=np.int32),
    start=0.5,
    crop=(0, 0, 64, 96),
    source_sha256="ab" * 32,
    key=f"key {number}",
    scores={"aesthetic": number / 2},
  )


def write_folder(
  folder: Path, shards: tuple[tuple[Record, ...], ...], info: SetInfo = INFO
) -> Path:
  for number, content in enumerate(shards):
    with records.Writer(folder / f"shard-{number:05}.arrayrecord") as writer:
      for each in content:
        writer.write(each)
  records.write_index(folder, info, EMPTY)
  return folder
