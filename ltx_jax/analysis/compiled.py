"""What a compiled program takes, read from the compiler, and the least time it needs.

The roofline is an estimate, not a measurement: the larger of

    floating-point operations / the device's rate
    bytes moved               / the bandwidth of its memory

as if each were reached all the time, and neither waited for the other.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import jax

from ltx_jax.analysis import hlo, hlo_flops, hlo_traffic
from ltx_jax.analysis.devices import Target
from ltx_jax.analysis.stages import Stage


@dataclasses.dataclass(frozen=True)
class Report:
  """One compiled stage; bytes are of one device.

  Attributes:
    stage: Its name.
    arguments: Bytes of the arguments that it reads, weights included.
    unread: Bytes of its network's weights that it does not read, which are in memory
      all the same: the encoder of a VAE that decodes.
    temporaries: Bytes that it needs beside arguments and results.
    peak: Arguments, temporaries and results that take over no argument.
    flops: Of the program, `hlo_flops`.
    minimum: Of its mathematics, `flops`.
    moved: Bytes through memory, `hlo_traffic`.
    attention: Its calls of fused attention: the queries' sizes, keys, and how often.
    squares: Arrays in memory with n x n numbers.
    wire: Bytes that a device sends, by kind of communication.
    unknown_trips: Loops that are counted once for want of a better number.
    seconds: That compiling took.
    estimate: The roofline's seconds.
  """

  stage: str
  arguments: int
  unread: int
  temporaries: int
  peak: int
  flops: int
  minimum: int
  moved: int
  attention: tuple[tuple[tuple[int, ...], int, int], ...]
  squares: tuple[str, ...]
  wire: dict[str, float]
  unknown_trips: int
  seconds: float
  estimate: float

  @property
  def ratio(self) -> float:
    """Floating-point operations of the program over those of its mathematics."""
    return self.flops / self.minimum

  def as_dict(self) -> dict[str, Any]:
    """Returns plain numbers and lists, for JSON."""
    return dataclasses.asdict(self) | {"flops_over_minimum": self.ratio}


def compile_stage(stage: Stage, target: Target) -> Report:
  """Compiles a stage for the device that its arguments are on, and reads the result."""
  start = time.perf_counter()
  compiled = stage.compile()
  seconds = time.perf_counter() - start
  return read(stage, compiled, target, seconds)


def read(stage: Stage, compiled: Any, target: Target, seconds: float) -> Report:
  """Reads a compiled stage (`jax.stages.Compiled`)."""
  program = hlo.parse(compiled.as_text())
  memory = compiled.memory_analysis()
  flops, moved = hlo_flops.flops(program), hlo_traffic.bytes_moved(program)
  arguments, temporaries = memory.argument_size_in_bytes, memory.temp_size_in_bytes
  results = memory.output_size_in_bytes - memory.alias_size_in_bytes
  return Report(
    stage=stage.name,
    arguments=arguments,
    unread=max(0, _bytes((stage.arguments, stage.keywords)) - program.arguments),
    temporaries=temporaries,
    peak=arguments + temporaries + results,
    flops=flops,
    minimum=stage.minimum,
    moved=moved,
    attention=tuple(
      (call.shape, call.keys, call.times) for call in hlo_flops.fused_attention(program)
    ),
    squares=_squares(stage, program),
    wire={sent.kind: sent.wire_bytes for sent in hlo_traffic.collectives(program)},
    unknown_trips=program.unknown_trips,
    seconds=seconds,
    estimate=max(flops / target.flops, moved / target.bandwidth),
  )


def _bytes(arguments: Any) -> int:
  leaves = jax.tree.leaves(arguments)
  return sum(x.size * x.dtype.itemsize for x in leaves)


def _squares(stage: Stage, program: hlo.Program) -> tuple[str, ...]:
  """Lists n x n arrays.

  Where there are as many tokens as a layer is wide, 6144 being three times the width of
  the 2B model, plain activations are square too: only arrays with as many numbers as
  the logits of one row of the batch count then.
  """
  if stage.tokens is None:
    return ()
  widths = [stage.width * times for times in range(1, 5)]
  least = stage.heads * stage.tokens**2 if stage.tokens in widths else 0
  found = hlo_traffic.square_buffers(program, stage.tokens, least=least)
  return tuple(f"{shape.dtype}{list(shape.dims)}" for shape in found)
