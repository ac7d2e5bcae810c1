"""The measuring process of the device benchmark, the only one that uses the device.

It reads a line of JSON, {"row": name, "size": name, "compiling": bool}, and answers it
with one: the result of `job.measure` and the device's peak of memory, or {"failed":
sentence}. The first answer, to an empty line, describes the device.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import jax

from ltx_jax.cli.command_line import one_line
from ltx_jax.platforms import policy_of
from sample.benchmark.device.job import measure
from sample.benchmark.device.rows import BY_NAME
from sample.benchmark.device.sizes import SIZES
from sample.benchmark.worker import answer_on_stdout

_LONGEST = 300  # Characters of an error message; XLA's can fill pages.


def device() -> dict[str, Any]:
  """Describes the device that the rows run on."""
  first = jax.devices()[0]
  stats = first.memory_stats() or {}
  return {
    "device": first.device_kind,
    "platform": first.platform,
    "runtime": one_line(first.client.platform_version),
    "memory_bytes": stats.get("bytes_limit"),
    "counts_peak": "peak_bytes_in_use" in stats,
    "jax": jax.__version__,
  }


def answer(request: dict[str, Any]) -> dict[str, Any]:
  """Measures a row; any error becomes a sentence, so that other rows can run."""
  first = jax.devices()[0]
  try:
    job = BY_NAME[request["row"]].make(SIZES[request["size"]], policy_of(first))
    found = measure(job, compiling=request["compiling"])
  except Exception as error:  # A device has many ways to refuse.
    said = one_line(f"{type(error).__name__}: {error}")
    return {"failed": said if len(said) <= _LONGEST else said[:_LONGEST] + " ..."}
  stats = first.memory_stats() or {}
  return found | {"peak_bytes": stats.get("peak_bytes_in_use")}


def main() -> None:
  """Answers line by line until the input ends."""
  send = answer_on_stdout()
  for line in sys.stdin:
    send(answer(json.loads(line)) if line.strip() else device())


if __name__ == "__main__":
  main()
