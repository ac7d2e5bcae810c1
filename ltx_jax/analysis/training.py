"""What a compiled training step takes of each device, and the least time it needs.

All figures are of one device and one step, whose arguments are

    state     parameters, moments of the optimiser, averaged parameters: taken over
    frozen    what is not trained: kept
    batch     a device's clips

Peak is arguments + temporaries + results that take over no argument. A step fits where
that is at most `FILLED` of the device's memory: the rest is the runtime's, and what
lies between buffers. The seconds are the roofline's (`analysis.compiled`), with what
kernels of attention compute again; the utilisation is that of the mathematics alone.
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
  """Sizes by which N x N arrays are told from others.

  Attributes:
    tokens: Video tokens of a clip.
    queries: Video tokens that are a device's own.
    heads: Heads of attention that are a device's own.
    width: Width of the layers.
  """

  tokens: int
  queries: int
  heads: int
  width: int


@dataclasses.dataclass(frozen=True)
class Step:
  """A training step that is to be compiled.

  Attributes:
    program: The jitted update.
    arguments: Shapes on the devices: the state, what is frozen, the batch.
    minimum: Floating-point operations of the mathematics, one device's share.
    attention: None where the network does not attend to tokens of video.
  """

  program: Callable
  arguments: tuple[Any, ...]
  minimum: int
  attention: Attention | None = None


@dataclasses.dataclass(frozen=True)
class StepReport:
  """A compiled step; everything is of one device and one step.

  Attributes:
    state_bytes: Bytes of its share of the state.
    argument_bytes: Bytes of the state, of what is frozen, and of the batch.
    temporaries_bytes: Bytes that are needed beside arguments and results.
    peak_bytes: Arguments, temporaries, and results that take over no argument.
    flops: Floating-point operations of the program, as `hlo_flops` counts them.
    recomputed_flops: Part of `flops` that is computed a second time, not having been
      kept.
    kernel_flops: What kernels of attention compute beyond the formula, not in `flops`.
    minimum_flops: Three times the forward pass, by formula.
    moved_bytes: Bytes moved through memory.
    sent_bytes: Bytes sent to other devices.
    collectives: Number of collectives that run and what they send, by kind: {"count",
      "bytes"}.
    largest_sent: Bytes of the largest array that a collective reads or makes.
    crossed_bytes: Bytes sent to other slices.
    crossings: Number of times that something is sent to other slices.
    largest_crossed: Bytes of the largest array that is.
    squares: Arrays in memory with n x n numbers.
    instructions: Number of instructions of the optimised program.
    unknown_trips: Loops that are counted once for want of a better number.
    compile_seconds: Lowering and compiling.
    estimate_seconds: The roofline's.
    utilisation: Share of the device's rate that the mathematics has, by the roofline.
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
    """Operations of the program over those of the mathematics."""
    return self.flops / self.minimum_flops

  def fits(self, target: Target) -> bool:
    """Whether the peak leaves a device of the target what it needs for itself."""
    return self.peak_bytes <= FILLED * target.memory


class DoesNotFit(ValueError):
  """The compiler found no place for a step's buffers.

  Attributes:
    wanted: Bytes that it wanted, where it says so.
  """

  def __init__(self, message: str, wanted: int | None):
    super().__init__(message)
    self.wanted = wanted


def compile_step(step: Step, target: Target) -> StepReport:
  """Compiles a step for the devices that its arguments are on, and reads it.

  Raises:
    DoesNotFit: where the compiler refuses it for want of memory.
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
  """Sums communication by kind: how many run in a step, and what a device sends."""
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
  """Reads what a TPU's compiler wanted: "Used 246.1G of 95.74G hbm"."""
  found = re.search(r"[Uu]sed ([\d.]+)([KMGT])i?B? of", message)
  if found is None:
    return None
  return round(float(found[1]) * 1024 ** (1 + "KMGT".index(found[2])))
