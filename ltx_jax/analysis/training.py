"""The resources of a compiled training step on each device, and its minimum time.

All figures are those of one device and one step. The arguments of a step are

    state     parameters, optimiser moments, averaged parameters: their memory is reused
    frozen    parameters that are not trained: kept
    batch     the clips of a device

The peak is arguments + temporaries + results that reuse no argument's memory. A step
fits if its peak is at most `FILLED` of the device's memory; the runtime and the gaps
between buffers need the rest. The seconds are the roofline's (`analysis.compiled`) and
include what attention kernels compute again; the utilisation counts only the
mathematics.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable
from typing import Any

import jax

from ltx_jax.analysis import hlo, hlo_flops, hlo_traffic
from ltx_jax.analysis.devices import Target
from ltx_jax.planning.training import FILLED, device_bytes


@dataclasses.dataclass(frozen=True)
class Attention:
  """Sizes by which N x N arrays are recognised.

  Attributes:
    tokens: Number of video tokens of a clip.
    queries: Number of video tokens that a device holds itself.
    heads: Number of attention heads that a device holds itself.
    width: Width of the layers.
  """

  tokens: int
  queries: int
  heads: int
  width: int


@dataclasses.dataclass(frozen=True)
class Step:
  """A training step to compile.

  Attributes:
    program: The jitted update.
    arguments: Shapes on the devices: the state, the frozen parameters, the batch.
    minimum: Floating-point operations of the mathematics, the share of one device.
    attention: Sizes of attention; None if the network does not attend to video tokens.
  """

  program: Callable
  arguments: tuple[Any, ...]
  minimum: int
  attention: Attention | None = None


@dataclasses.dataclass(frozen=True)
class StepReport:
  """A compiled step; all figures are those of one device and one step.

  Attributes:
    state_bytes: Bytes of its share of the state.
    argument_bytes: Bytes of the state, the frozen parameters and the batch.
    temporaries_bytes: Bytes that are needed besides arguments and results.
    peak_bytes: Arguments, temporaries, and results that reuse no argument's memory.
    flops: Floating-point operations of the program, as `hlo_flops` counts them.
    recomputed_flops: Part of `flops` that is computed a second time.
    kernel_flops: Operations of attention kernels beyond the formula, not in `flops`.
    minimum_flops: Three times the forward pass, by formula.
    moved_bytes: Bytes moved through memory.
    sent_bytes: Bytes sent to other devices.
    collectives: Number of collectives that run and their bytes, by kind: {"count",
      "bytes"}.
    largest_sent: Bytes of the largest array that a collective reads or makes.
    crossed_bytes: Bytes sent to other slices.
    crossings: Number of times that something is sent to other slices.
    largest_crossed: Bytes of the largest array that is sent to other slices.
    squares: Arrays in memory with n x n numbers.
    instructions: Number of instructions of the optimised program.
    unknown_trips: Number of loops that are counted once, because their length is
      unknown.
    compile_seconds: Seconds of lowering and compiling.
    estimate_seconds: Seconds of a step by the roofline.
    utilisation: Share of the device's rate that the mathematics uses, by the roofline.
  """

  state_bytes: int
  argument_bytes: int
  temporaries_bytes: int
  peak_bytes: int
  flops: int
  recomputed_flops: int
  kernel_flops: int
  minimum_flops: int
  moved_bytes: int
  sent_bytes: int
  collectives: dict[str, dict[str, int]]
  largest_sent: int
  crossed_bytes: int
  crossings: int
  largest_crossed: int
  squares: tuple[str, ...]
  instructions: int
  unknown_trips: int
  compile_seconds: float
  estimate_seconds: float
  utilisation: float

  @property
  def ratio(self) -> float:
    """Operations of the program divided by those of the mathematics."""
    return self.flops / self.minimum_flops

  def fits(self, target: Target) -> bool:
    """Whether the peak leaves a device enough memory for itself."""
    return self.peak_bytes <= FILLED * target.memory


class DoesNotFit(ValueError):
  """The compiler found no room for a step's buffers.

  Attributes:
    wanted: Bytes that it needed, if it says so.
  """

  def __init__(self, message: str, wanted: int | None):
    super().__init__(message)
    self.wanted = wanted


def compile_step(step: Step, target: Target) -> StepReport:
  """Compiles a step for the devices of its arguments, and reads the program.

  Raises:
    DoesNotFit: If the compiler refuses it because memory is too small.
  """
  start = time.perf_counter()
  lowered = step.program.lower(*step.arguments)
  try:
    compiled = lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    wanted = _wanted(str(error))
    said = "more" if wanted is None else f"{wanted / 1e9:.1f} GB"
    raise DoesNotFit(f"The step needs {said} of each device.", wanted) from None
  return read(step, compiled, target, time.perf_counter() - start)


def read(step: Step, compiled: Any, target: Target, seconds: float) -> StepReport:
  """Reads a compiled step (`jax.stages.Compiled`)."""
  program = hlo.parse(compiled.as_text())
  memory = compiled.memory_analysis()
  results = memory.output_size_in_bytes - memory.alias_size_in_bytes
  arguments, temporaries = memory.argument_size_in_bytes, memory.temp_size_in_bytes
  flops, again = hlo_flops.flops(program), hlo_flops.inside_kernels(program)
  moved, sent = hlo_traffic.bytes_moved(program), hlo_traffic.collectives(program)
  wire = sum(each.wire_bytes for each in sent)
  crossed = hlo_traffic.between_slices(program)
  crossed_bytes = sum(times * size for times, size in crossed)
  estimate = max(
    (flops + again) / target.flops,
    moved / target.bandwidth,
    wire / target.wire,
    crossed_bytes / target.network,
  )
  return StepReport(
    state_bytes=device_bytes(step.arguments[0]),
    argument_bytes=arguments,
    temporaries_bytes=temporaries,
    peak_bytes=arguments + temporaries + results,
    flops=flops,
    recomputed_flops=hlo_flops.recomputed(program),
    kernel_flops=again,
    minimum_flops=step.minimum,
    moved_bytes=moved,
    sent_bytes=round(wire),
    collectives=by_kind(sent),
    largest_sent=hlo_traffic.largest_sent(program),
    crossed_bytes=crossed_bytes,
    crossings=sum(times for times, _ in crossed),
    largest_crossed=max((size for _, size in crossed), default=0),
    squares=_squares(step.attention, program),
    instructions=program.instructions,
    unknown_trips=program.unknown_trips,
    compile_seconds=seconds,
    estimate_seconds=estimate,
    utilisation=step.minimum / (estimate * target.flops),
  )


def by_kind(sent: list[hlo_traffic.Collective]) -> dict[str, dict[str, int]]:
  """Sums communication by kind: runs per step, and bytes that a device sends."""
  found: dict[str, dict[str, int]] = {}
  for each in sent:
    entry = found.setdefault(each.kind, {"count": 0, "bytes": 0})
    entry["count"] += each.count * each.times
    entry["bytes"] += round(each.wire_bytes)
  return found


def _squares(sizes: Attention | None, program: hlo.Program) -> tuple[str, ...]:
  if sizes is None:
    return ()
  found = hlo_traffic.squares(
    program, sizes.tokens, sizes.queries, heads=sizes.heads, width=sizes.width
  )
  return tuple(f"{shape.dtype}{list(shape.dims)}" for shape in found)


def _wanted(message: str) -> int | None:
  """Reads the bytes that a TPU's compiler needed: "Used 246.1G of 95.74G hbm"."""
  found = re.search(r"[Uu]sed ([\d.]+)([KMGT])i?B? of", message)
  if found is None:
    return None
  return round(float(found[1]) * 1024 ** (1 + "KMGT".index(found[2])))
