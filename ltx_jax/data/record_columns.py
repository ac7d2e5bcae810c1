"""The columns of an index of records, as they lie in a file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Shaped

COLUMNS = {
  "shard": np.int32,
  "row": np.int32,
  "sizes": np.int32,
  "fps": np.float64,
  "tokens": np.int32,
  "bytes": np.int64,
}
"""Names and dtypes of the numbers; texts and scores lie beside them."""

_MOST_TOKENS = 100_000


def check_columns(arrays: Mapping[str, Shaped[np.ndarray, "..."]]) -> None:
  """Refuses columns of another dtype or length, or with impossible numbers.

  Args:
    arrays: Columns by name; other names are ignored.

  Raises:
    ValueError: If a column is wrong; the message continues a sentence.
  """
  count = len(arrays["row"]) if arrays.get("row", np.array(0)).ndim == 1 else 0
  shapes = dict.fromkeys(COLUMNS, (count,)) | {"sizes": (count, 3)}
  expected = {name: (np.dtype(COLUMNS[name]), shapes[name]) for name in COLUMNS}
  for name in ("ids", "keys"):
    letters = arrays.get(f"{name}.bytes", np.zeros(0)).size
    expected[f"{name}.bytes"] = np.dtype(np.uint8), (letters,)
    expected[f"{name}.ends"] = np.dtype(np.int64), (count,)
  scores = [name for name in arrays if name.startswith("score.")]
  expected |= dict.fromkeys(scores, (np.dtype(np.float32), (count,)))
  for name, kind in expected.items():
    if name not in arrays or (arrays[name].dtype, arrays[name].shape) != kind:
      raise ValueError(f"its column {name} is missing, or another than was written")
  tokens, fps = arrays["tokens"], arrays["fps"]
  numbers = np.all(arrays["sizes"] > 0) and np.all((fps > 0) & np.isfinite(fps))
  if not numbers or np.any((tokens < 0) | (tokens > _MOST_TOKENS)):
    raise ValueError("a size, a rate or a number of tokens cannot be")
