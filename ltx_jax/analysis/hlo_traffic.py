"""Traffic of a compiled program: through memory and between devices; and its arrays.

A kernel reads its operands from memory and writes its result, whatever happens inside.
If it takes a slice of an operand, as the body of a loop does with stacked weights, the
slice counts. If it writes into a larger array, the part that it writes counts. A value
that several kernels read counts once for each: caches are not modelled, so the sum is
an upper estimate. Values that a TPU's compiler keeps in fast memory do not count.

Bytes on the wire are those that one of g devices sends, with ring algorithms:

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
    kind: Opcode.
    count: Number of such instructions.
    times: How often each of them runs.
    wire_bytes: Bytes that a device sends, over all runs of all of them.
  """

  kind: str
  count: int
  times: int
  wire_bytes: float


def bytes_moved(program: Program) -> int:
  """Estimates the bytes that the program reads from memory and writes to it."""
  return sum(kernel.times * _kernel_bytes(program, kernel) for kernel in _work(program))


def collectives(program: Program) -> list[Collective]:
  """Lists the communication between devices, one entry per kind and loop length.

  The entries that send most come first.
  """
  found: dict[tuple[str, int], Collective] = {}
  for home, it, kind, times in _sending(program):
    _, count, _, sent = found.get((kind, times), Collective(kind, 0, times, 0.0))
    sent += times * _wire_bytes(home, it, kind)
    found[kind, times] = Collective(kind, count + 1, times, sent)
  return sorted(found.values(), key=lambda each: -each.wire_bytes)


def between_slices(program: Program) -> list[tuple[int, int]]:
  """Lists what a device sends to other slices of TPUs: (how often, bytes each time).

  The compiler hands these bytes to the host, which has the network.
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
  """Yields communication, also within fusions: (where, what, kind, how often).

  On a TPU one collective may appear in several fusions: the one that starts it and
  those that it overlaps with. It is identified by its channel and its place in the
  source, because all collectives of a `shard_map` share one channel.
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
  """Returns the kind of a fusion; on a TPU, a sum and a slice is a reduce-scatter."""
  kind, root = part.opcode.removesuffix("-start"), home.root
  scattered = root.opcode == "dynamic-slice" and root.operands[0] == part.name
  return "reduce-scatter" if kind == "all-reduce" and scattered else kind


def square_buffers(
  program: Program, tokens: int, *, queries: int | None = None, least: int = 0
) -> list[Shape]:
  """Lists arrays in memory with two axes of n tokens, as logits have.

  An axis may cover several clips or heads, or be padded to whole blocks. Values inside
  a fusion are never in memory.

  Args:
    tokens: Number of video tokens n.
    queries: Number of video tokens that a device holds itself; None means all.
    least: Smallest number of elements of such an array; needed if a layer is as wide as
      there are tokens, because then plain activations are square too.
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
  """Lists logits in memory (`square_buffers`), for layers of a known width.

  If there are as many tokens as a layer is wide, plain activations are square too; for
  example 6144 is three times the width of the 2B model. Then only arrays with as many
  elements as the logits of one row of the batch count.

  Args:
    tokens: Number of video tokens n.
    queries: Number of video tokens that a device holds itself.
    heads: Number of attention heads that a device holds itself.
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
  """Returns the bytes that a fusion reads of its operands."""
  parameters = _parameters(inner)
  return sum(
    min(made.far_bytes, _used(program, inner, parameters[i]))
    for i, made in enumerate(operands)
  )


def _parameters(inner: Computation) -> dict[int, Instruction]:
  made = inner.instructions.values()
  return {int(each.inside): each for each in made if each.opcode == "parameter"}


def _used(program: Program, inner: Computation, value: Instruction) -> int:
  """Returns the bytes read of a value in a fusion: its slices, or all of it once."""
  count = 0
  for user in inner.users[value.name]:
    first = user.operands[0] == value.name
    if user.opcode in _SLICES and first:
      count += user.bytes
    elif user.opcode == "dynamic-update-slice" and first:
      continue  # This value is written into; see `_written`.
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
  """Returns the bytes that one device sends in one run."""
  given = float(sum(made.bytes for made in home.operands(it)))
  if kind == "collective-permute":
    return given
  group = _group(it)
  share = (group - 1) / group
  if kind == "all-gather":
    return share * group * given
  return (2 if kind == "all-reduce" else 1) * share * given


def _group(it: Instruction) -> int:
  """Reads how many devices communicate, in each form in which XLA writes it.

  `{{0,1},{2,3}}`, the short form `[2,2]<=[4]`, or by axes `mesh['a'=2,'b'=2] {'b'}`,
  with the order of the devices before the second brace if it is not the default.
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
