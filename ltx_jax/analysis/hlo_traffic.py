"""What a compiled program moves: through memory, between devices; and what it keeps.

A kernel reads its operands from memory and writes its result, whatever happens inside.
Where it takes a slice of an operand, as the body of a loop does of the stacked weights,
the slice counts; where it writes into a larger array, what is written. A value that
several kernels read counts for each of them: caches are not modelled, so that the sum
is an estimate from above. What a TPU's compiler keeps in fast memory does not count.

Bytes on the wire are those that a device sends, by ring algorithms, of g devices:

    all-gather, reduce-scatter, all-to-all    (g - 1) / g of the whole
    all-reduce                                twice that
    permute                                   the operand
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from ltx_jax.analysis.hlo import Computation, Instruction, Kernel, Program, Shape

_FREE = (
  *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"),
  *("partition-id", "replica-id", "opt-barrier", "iota", "domain", "add-dependency"),
)
_MEGASCALE = "xla_megascale_runtime"
_BLOCK = 128
_SLICES = ("dynamic-slice", "slice", "gather")
_SAME = ("bitcast", "reshape", "convert")
_COLLECTIVES = (
  *("all-gather", "all-reduce", "reduce-scatter", "all-to-all"),
  *("collective-permute", "ragged-all-to-all", "collective-broadcast"),
)


class Collective(NamedTuple):
  """Communication of one kind, in loops of one length.

  Attributes:
    kind: Its opcode.
    count: How many instructions there are of it.
    times: How often each of them runs.
    wire_bytes: What a device sends, in all runs of all of them.
  """

  kind: str
  count: int
  times: int
  wire_bytes: float


def bytes_moved(program: Program) -> int:
  """Estimates what the program reads from a device's memory and writes to it."""
  return sum(kernel.times * _kernel_bytes(program, kernel) for kernel in _work(program))


def collectives(program: Program) -> list[Collective]:
  """Lists what devices send one another, one entry a kind and length of loop.

  Those that send most come first.
  """
  found: dict[tuple[str, int], Collective] = {}
  for home, it, kind, times in _sending(program):
    _, count, _, sent = found.get((kind, times), Collective(kind, 0, times, 0.0))
    sent += times * _wire_bytes(home, it, kind)
    found[kind, times] = Collective(kind, count + 1, times, sent)
  return sorted(found.values(), key=lambda each: -each.wire_bytes)


def between_slices(program: Program) -> list[tuple[int, int]]:
  """Lists what a device sends to other slices of TPUs: (how often, bytes each time).

  The compiler hands it to the host, which has the network.
  """
  return [
    (kernel.times, kernel.instruction.shape.bytes)
    for kernel in program.kernels()
    if kernel.instruction.opcode == "send"
    and _MEGASCALE in kernel.instruction.attributes
  ]


def largest_sent(program: Program) -> int:
  """Returns the bytes of the largest array that a collective reads or makes."""
  return max(
    (
      shape.bytes
      for home, it, _, _ in _sending(program)
      for made in (it, *home.operands(it))
      for shape in made.shapes
    ),
    default=0,
  )


def _sending(program: Program) -> Iterator[tuple[Computation, Instruction, str, int]]:
  """Yields communication, that inside a fusion too: (where, what, kind, how often).

  A TPU's may stand in several fusions, that which starts it and those it runs beside.
  Its channel and its place in the source tell that it is one: all that a `shard_map`
  sends has one channel.
  """
  seen = set()
  for kernel in _work(program):
    it = kernel.instruction
    kind = it.opcode.removesuffix("-start")
    if kind in _COLLECTIVES:
      yield kernel.home, it, kind, kernel.times
    if it.opcode != "fusion":
      continue
    for home, part in _sending_inside(program, it):
      channel = part.attribute(r"channel_id=(\d+)")
      told_by = channel, part.attribute(r"stack_frame_id=(\d+)")
      if channel is None or told_by not in seen:
        seen.add(told_by)
        yield home, part, _kind_inside(home, part), kernel.times


def _sending_inside(
  program: Program, fusion: Instruction
) -> Iterator[tuple[Computation, Instruction]]:
  for home in program.inner(fusion):
    for part in home.instructions.values():
      if part.opcode.removesuffix("-start") in _COLLECTIVES:
        yield home, part


def _kind_inside(home: Computation, part: Instruction) -> str:
  """A TPU writes a reduce-scatter as a fusion of a sum and one's own slice of it."""
  kind, root = part.opcode.removesuffix("-start"), home.root
  scattered = root.opcode == "dynamic-slice" and root.operands[0] == part.name
  return "reduce-scatter" if kind == "all-reduce" and scattered else kind


def square_buffers(
  program: Program, tokens: int, *, queries: int | None = None, least: int = 0
) -> list[Shape]:
  """Lists arrays in memory that have an axis of tokens twice, as logits do.

  An axis may be several clips or heads long, or padded to whole blocks. What stands
  inside a fusion is never in memory.

  Args:
    tokens: Video tokens n.
    queries: Video tokens that a device has to itself; None: all.
    least: Numbers that an array has to hold; of use where a layer is as wide as there
      are tokens, which makes plain activations square as well.
  """

  def along(n: int, length: int) -> bool:
    return n > 0 and (n % length == 0 or n % (length + -length % _BLOCK) == 0)

  def square(dims: tuple[int, ...]) -> bool:
    keys = [along(n, tokens) for n in dims]
    either = [along(n, queries or tokens) for n in dims]
    return any(keys) and sum(map(max, keys, either)) >= 2

  return [
    shape
    for kernel in program.kernels()
    if kernel.instruction.opcode not in ("tuple", "parameter", "get-tuple-element")
    for shape in kernel.instruction.shapes
    if square(shape.dims) and shape.size >= least
  ]


def squares(
  program: Program, tokens: int, queries: int, *, heads: int, width: int
) -> list[Shape]:
  """Lists logits in memory (`square_buffers`), of layers of a known width.

  Where there are as many tokens as a layer is wide, 6144 being three times the width of
  the 2B model, plain activations are square too: only arrays with as many numbers as
  the logits of one row of the batch count then.

  Args:
    tokens: Video tokens n.
    queries: Video tokens that are a device's own.
    heads: Heads of attention that are a device's own.
    width: Width of the layers.
  """
  ambiguous = tokens in [width * times for times in range(1, 5)]
  least = heads * queries * tokens if ambiguous else 0
  return square_buffers(program, tokens, queries=queries, least=least)


def _work(program: Program) -> list[Kernel]:
  return [
    kernel
    for kernel in program.kernels()
    if kernel.instruction.opcode not in _FREE
    and not kernel.instruction.opcode.endswith(("-done", "-update"))
  ]


def _kernel_bytes(program: Program, kernel: Kernel) -> int:
  it, home = kernel.instruction, kernel.home
  operands = home.operands(it)
  if it.opcode in _SLICES:
    return it.bytes * (not operands[0].shape.near) + it.far_bytes
  if it.opcode == "dynamic-update-slice":
    return operands[1].far_bytes + operands[1].bytes * (not it.shape.near)
  if it.opcode == "fusion":
    inner = program.inner(it)[0]
    return _read(program, inner, operands) + _written(inner, it)
  if it.opcode == "copy-start":  # Its value lists the copy, the original and a mark.
    return operands[0].far_bytes + it.shape.bytes * (not it.shape.near)
  if it.opcode.endswith("-start"):
    return 2 * sum(made.far_bytes for made in operands)
  return sum(made.far_bytes for made in operands) + it.far_bytes


def _read(program: Program, inner: Computation, operands: list[Instruction]) -> int:
  """What a fusion reads of its operands."""
  parameters = _parameters(inner)
  return sum(
    min(made.far_bytes, _used(program, inner, parameters[i]))
    for i, made in enumerate(operands)
  )


def _parameters(inner: Computation) -> dict[int, Instruction]:
  made = inner.instructions.values()
  return {int(each.inside): each for each in made if each.opcode == "parameter"}


def _used(program: Program, inner: Computation, value: Instruction) -> int:
  """What is read of a value inside a fusion: slices of it, or all, once."""
  count = 0
  for user in inner.users[value.name]:
    first = user.operands[0] == value.name
    if user.opcode in _SLICES and first:
      count += user.bytes
    elif user.opcode == "dynamic-update-slice" and first:
      continue  # It is written into; see `_written`.
    elif user.opcode in _SAME and user.shape.size == value.shape.size:
      count += _used(program, inner, user)
    elif user.opcode == "fusion":
      within = program.inner(user)[0]
      parameter = _parameters(within)[user.operands.index(value.name)]
      count += _used(program, within, parameter)
    else:
      return value.bytes
  return min(count, value.bytes)


def _written(inner: Computation, it: Instruction) -> int:
  root = inner.root
  while root.opcode in _SAME:
    root = inner.operands(root)[0]
  if root.opcode == "dynamic-update-slice":
    return inner.operands(root)[1].bytes * (not it.shape.near)
  return it.far_bytes


def _wire_bytes(home: Computation, it: Instruction, kind: str) -> float:
  """What one device sends in one run."""
  given = float(sum(made.bytes for made in home.operands(it)))
  if kind == "collective-permute":
    return given
  group = _group(it)
  share = (group - 1) / group
  if kind == "all-gather":
    return share * group * given
  return (2 if kind == "all-reduce" else 1) * share * given


def _group(it: Instruction) -> int:
  """Reads how many devices talk to one another, in each form that XLA writes it in.

  `{{0,1},{2,3}}`, short for it `[2,2]<=[4]`, or by axes `mesh['a'=2,'b'=2] {'b'}`, with
  the order of the devices before the second brace where it is another.
  """
  by_axes = re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", it.attributes)
  if by_axes:
    sizes = dict(re.findall(r"'(\w+)'=(\d+)", by_axes[1]))
    named = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", by_axes[2])
    return math.prod(int(part or sizes[axis]) for axis, part in named)
  short = it.attribute(r"replica_groups=\[([\d,]+)\]<=")
  if short:
    return math.prod(int(n) for n in short.split(",")[1:])
  listed = it.attribute(r"replica_groups=\{\{([\d,]*)\}")
  return len(listed.split(",")) if listed else 1
