"""The resources of a compiled program, read from the compiler, and its minimum time.

The roofline is an estimate, not a measurement. It is the largest of

    floating-point operations / the device's rate
    bytes moved               / the bandwidth of its memory
    bytes on the wire         / the bandwidth of its links

as if each rate were always reached, and nothing waited. With several devices, every
figure is that of one device.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from ltx_jax.analysis import hlo, hlo_flops, hlo_traffic
from ltx_jax.analysis.devices import Target
from ltx_jax.analysis.hlo_traffic import Collective
from ltx_jax.analysis.stages import Stage
from ltx_jax.planning.training import device_bytes


@dataclasses.dataclass(frozen=True)
class StageReport:
  """One compiled stage; bytes are those of one device.

  Attributes:
    stage: Name of the stage.
    arguments: Bytes of the arguments that it reads, weights included.
    unread: Bytes of its network's weights that it does not read but that are in memory
      all the same, such as the encoder of a VAE that decodes.
    temporaries: Bytes that it needs besides arguments and results.
    peak: Arguments, temporaries, and results that reuse no argument's memory: the bytes
      that are reserved, with the gaps between buffers.
    in_use: Largest number of these bytes that hold something at the same time.
    flops: Floating-point operations of the program, as `hlo_flops` counts them.
    minimum: Floating-point operations of the mathematics, by the formulas of
      `planning.flops`; with several devices, the share of one.
    moved: Bytes moved through memory (`hlo_traffic`).
    attention: Calls of fused attention: sizes of the queries, keys, and how often.
    tokens: Number of video tokens that it attends to; None if it does not.
    squares: Arrays in memory with n x n numbers; with several devices, with a device's
      own queries times n.
    sent: Communication that a device sends, by kind.
    unknown_trips: Number of loops that are counted once, because their length is
      unknown.
    seconds: Seconds of compilation.
    wire_seconds: Seconds of sending, by the roofline.
    estimate: Seconds by the roofline, over all three.
  """

  stage: str
  arguments: int
  unread: int
  temporaries: int
  peak: int
  in_use: int
  flops: int
  minimum: int
  moved: int
  attention: tuple[tuple[tuple[int, ...], int, int], ...]
  tokens: int | None
  squares: tuple[str, ...]
  sent: tuple[Collective, ...]
  unknown_trips: int
  seconds: float
  wire_seconds: float
  estimate: float

  @property
  def wire(self) -> float:
    """Bytes that a device sends."""
    return sum((each.wire_bytes for each in self.sent), 0.0)

  @property
  def ratio(self) -> float:
    """Floating-point operations of the program over those of its mathematics."""
    return self.flops / self.minimum

  def as_dict(self) -> dict[str, Any]:
    """Returns plain numbers and lists, for JSON."""
    sent = [each._asdict() for each in self.sent]
    more = {"flops_over_minimum": self.ratio, "wire": self.wire, "sent": sent}
    return dataclasses.asdict(self) | more


def compile_stage(stage: Stage, target: Target) -> StageReport:
  """Compiles a stage for the devices of its arguments, and reads the program."""
  start = time.perf_counter()
  compiled = stage.compile()
  seconds = time.perf_counter() - start
  return read(stage, compiled, target, seconds)


def read(stage: Stage, compiled: Any, target: Target, seconds: float) -> StageReport:
  """Reads a compiled stage (`jax.stages.Compiled`)."""
  program = hlo.parse(compiled.as_text())
  memory = compiled.memory_analysis()
  flops, moved = hlo_flops.flops(program), hlo_traffic.bytes_moved(program)
  arguments, temporaries = memory.argument_size_in_bytes, memory.temp_size_in_bytes
  results = memory.output_size_in_bytes - memory.alias_size_in_bytes
  sent = hlo_traffic.collectives(program)
  wire = sum(each.wire_bytes for each in sent) / target.wire
  return StageReport(
    stage=stage.name,
    arguments=arguments,
    unread=max(0, device_bytes((stage.arguments, stage.keywords)) - program.arguments),
    temporaries=temporaries,
    peak=arguments + temporaries + results,
    in_use=memory.peak_memory_in_bytes,
    flops=flops,
    minimum=stage.minimum,
    moved=moved,
    attention=tuple(
      (call.shape, call.keys, call.times) for call in hlo_flops.fused_attention(program)
    ),
    tokens=stage.tokens,
    squares=_squares(stage, program),
    sent=tuple(sent),
    unknown_trips=program.unknown_trips,
    seconds=seconds,
    wire_seconds=wire,
    estimate=max(flops / target.flops, moved / target.bandwidth, wire),
  )


def _squares(stage: Stage, program: hlo.Program) -> tuple[str, ...]:
  """Lists n x n arrays; with several devices, a device's own queries times n."""
  if stage.tokens is None:
    return ()
  sizes = {"heads": stage.heads, "width": stage.width}
  found = hlo_traffic.squares(program, stage.tokens, stage.queries, **sizes)
  return tuple(f"{shape.dtype}{list(shape.dims)}" for shape in found)
