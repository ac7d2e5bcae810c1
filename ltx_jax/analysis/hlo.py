"""Reads a compiled XLA program from its text: what runs, on which shapes, how often.

The text lists computations, one of which is the entry. Instructions name the values
that they read and the computations that they call:

    %body (...) -> (...) {
      %dot.1 = bf16[32,16]{1,0} dot(%x, %w), lhs_contracting_dims={1}, ...
    }
    ENTRY %main (...) -> ... {
      %loop = (...) while(%start), condition=%cond, body=%body,
        backend_config={"known_trip_count":{"n":"28"}}
    }

The trip count of a loop is in its attributes if the compiler knows it. A fusion is one
kernel, and its computation holds what it does. `hlo_flops` and `hlo_traffic` walk over
the program.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Iterator

_BITS = {
  **dict.fromkeys(("pred", "s8", "u8", "f8e4m3fn", "f8e5m2", "f8e4m3"), 8),
  **dict.fromkeys(("s16", "u16", "f16", "bf16"), 16),
  **dict.fromkeys(("s32", "u32", "f32"), 32),
  **dict.fromkeys(("s64", "u64", "f64", "c64"), 64),
  **{"s4": 4, "u4": 4, "c128": 128, "token": 0, "opaque": 0},
}
_SHAPE = re.compile(r"\b([a-z][a-z0-9]*)\[([0-9,<=]*)\](\{[^}]*\})?")
_NAME = re.compile(r"%([\w.\-]+)")
_HEADER = re.compile(r"^(ENTRY )?%([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%([\w.\-]+) = (.*)$")
_OPCODE = re.compile(r"^([a-z][\w\-]*)\(")
_TRIPS = re.compile(r'"known_trip_count":\s*\{\s*"n":\s*"(\d+)"')
_CALLED = re.compile(
  r"\b(?:calls|body|true_computation|false_computation|branch_computations)="
  r"(\{[^}]*\}|%[\w.\-]+)"
)
_APPLIED = re.compile(r"\bto_apply=(%[\w.\-]+)")
_CALLS = ("call", "call-start")  # A TPU's `call-start` runs on its sparse cores.
_INLINE = (*_CALLS, "conditional", "async-start")


@dataclasses.dataclass(frozen=True)
class Shape:
  """An array's element type, as XLA names it, and its sizes.

  Attributes:
    near: Whether it is in a TPU's fast memory, `S(1)`, and not in the main memory.
  """

  dtype: str
  dims: tuple[int, ...]
  near: bool = False

  @property
  def size(self) -> int:
    """Number of its elements."""
    return math.prod(self.dims)

  @property
  def bytes(self) -> int:
    """Number of its bytes, without the padding of a device's layout."""
    return self.size * _BITS[self.dtype] // 8


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line of a computation.

  Attributes:
    name: Name of its value.
    opcode: Operation, such as `dot`.
    shapes: Shape of its value, or the shapes of a tuple's parts.
    operands: Names of the values that it reads.
    inside: Text between its parentheses.
    attributes: Text after the parentheses.
    root: Whether its value is the result of the computation.
  """

  name: str
  opcode: str
  shapes: tuple[Shape, ...]
  operands: tuple[str, ...]
  inside: str
  attributes: str
  root: bool

  @property
  def shape(self) -> Shape:
    """Shape of the value, or of the first part of a tuple."""
    return self.shapes[0]

  @property
  def bytes(self) -> int:
    """Bytes of the value, all its parts together."""
    return sum(shape.bytes for shape in self.shapes)

  @property
  def far_bytes(self) -> int:
    """Bytes of the parts of the value that are in the main memory."""
    return sum(shape.bytes for shape in self.shapes if not shape.near)

  @property
  def called(self) -> tuple[str, ...]:
    """Computations that it runs, without the sum that a reduction applies."""
    found = _CALLED.findall(self.attributes)
    if self.opcode in _CALLS:
      found += _APPLIED.findall(self.attributes)
    return tuple(name for each in found for name in _NAME.findall(each))

  @property
  def target(self) -> str:
    """Name of the function that a custom call calls, or an empty text."""
    return self.attribute(r'custom_call_target="([^"]*)"') or ""

  def attribute(self, pattern: str) -> str | None:
    """Returns the text that the pattern's group matches in the attributes, or None."""
    found = re.search(pattern, self.attributes)
    return found and found[1]


@dataclasses.dataclass(frozen=True)
class Computation:
  """Instructions by name, in the order in which they run."""

  name: str
  instructions: dict[str, Instruction]

  def operands(self, instruction: Instruction) -> list[Instruction]:
    """Returns the instructions that make the values that an instruction reads."""
    return [self.instructions[name] for name in instruction.operands]

  @property
  def root(self) -> Instruction:
    """The instruction whose value is returned."""
    return next(i for i in self.instructions.values() if i.root)

  @functools.cached_property
  def users(self) -> dict[str, list[Instruction]]:
    """Instructions that read each value."""
    found = {name: [] for name in self.instructions}
    for instruction in self.instructions.values():
      for name in dict.fromkeys(instruction.operands):
        found[name].append(instruction)
    return found


@dataclasses.dataclass(frozen=True)
class Kernel:
  """An instruction that a device runs as one piece, and how often.

  Attributes:
    instruction: A fusion, a custom call, or any other that is not control flow.
    home: The computation that it stands in.
    times: How often it runs: the product of the trip counts of the loops around it.
  """

  instruction: Instruction
  home: Computation
  times: int


@dataclasses.dataclass(frozen=True)
class Program:
  """A program's computations by name.

  Attributes:
    entry: Name of the computation that runs first.
  """

  computations: dict[str, Computation]
  entry: str

  def kernels(self) -> Iterator[Kernel]:
    """Yields the kernels that run; enters loops and calls, but not fusions.

    Every branch of a conditional counts as if it ran.
    """
    yield from self._kernels(self.entry, 1)

  def _kernels(self, name: str, times: int) -> Iterator[Kernel]:
    home = self.computations[name]
    for instruction in home.instructions.values():
      if instruction.opcode == "while":
        for body in instruction.called:
          yield from self._kernels(body, times * (self.trips(instruction) or 1))
      elif instruction.opcode in _INLINE and instruction.called:
        for inner in instruction.called:
          yield from self._kernels(inner, times)
      else:
        yield Kernel(instruction, home, times)

  def trips(self, loop: Instruction) -> int | None:
    """Returns how often a loop runs, or None if that is not known."""
    found = _TRIPS.search(loop.attributes)
    return int(found[1]) if found else self._counted(loop)

  def _counted(self, loop: Instruction) -> int | None:
    """Reads the trip count of a loop that counts from 0 by 1, from its condition."""
    condition = self.computations[loop.attribute(r"condition=%([\w.\-]+)")]
    root = condition.root
    limits = [
      int(made.inside)
      for made in condition.operands(root)
      if made.opcode == "constant" and made.inside.isdecimal()
    ]
    compared = "direction=LT" in root.attributes or any(
      "direction=LT" in inner.root.attributes for inner in self.inner(root)
    )
    return limits[0] if len(limits) == 1 and compared else None

  @property
  def instructions(self) -> int:
    """Number of instructions in all computations."""
    return sum(len(each.instructions) for each in self.computations.values())

  @property
  def arguments(self) -> int:
    """Bytes of the arguments that the program reads."""
    entry = self.computations[self.entry].instructions.values()
    return sum(each.bytes for each in entry if each.opcode == "parameter")

  def inner(self, instruction: Instruction) -> list[Computation]:
    """Returns the computations that an instruction calls."""
    return [self.computations[name] for name in instruction.called]

  @property
  def unknown_trips(self) -> int:
    """Number of loops with an unknown trip count, which `kernels` counts once."""
    return sum(
      self.trips(instruction) is None
      for computation in self.computations.values()
      for instruction in computation.instructions.values()
      if instruction.opcode == "while"
    )


def parse(text: str) -> Program:
  """Reads the text of a compiled program (`Compiled.as_text`).

  Raises:
    ValueError: If there is no entry computation.
  """
  computations, entry, name = {}, None, None
  for line in _joined(text):
    header = _HEADER.match(line)
    if header:
      name = header[2]
      computations[name] = Computation(name, {})
      entry = name if header[1] else entry
    elif name is not None and (found := _INSTRUCTION.match(line)):
      instruction = _instruction(found[2], found[3], bool(found[1]))
      computations[name].instructions[instruction.name] = instruction
  if entry is None:
    raise ValueError("The text has no ENTRY computation; give Compiled.as_text().")
  return Program(computations, entry)


def _joined(text: str) -> Iterator[str]:
  """Yields headers and instructions; a TPU kernel's attributes take several lines."""
  pending = ""
  for line in text.splitlines():
    if _HEADER.match(line) or _INSTRUCTION.match(line) or line == "}":
      yield pending
      pending = line
    else:
      pending += line
  yield pending


def _instruction(name: str, text: str, root: bool) -> Instruction:
  """Reads the text after the equals sign: shape, opcode, operands, attributes."""
  end = _closing(text) + 1 if text.startswith("(") else text.index(" ")
  shape, text = text[:end], text[end:].lstrip()
  opcode = _OPCODE.match(text)[1]
  text = text[len(opcode) :]
  close = _closing(text)
  inside, attributes = text[1:close], text[close + 1 :]
  shapes = tuple(
    Shape(dtype, tuple(int(n.lstrip("<=")) for n in dims.split(",") if n), "S(" in at)
    for dtype, dims, at in _SHAPE.findall(shape)
  )
  operands = () if opcode == "constant" else tuple(_NAME.findall(inside))
  return Instruction(name, opcode, shapes, operands, inside, attributes, root)


def _closing(text: str) -> int:
  """Returns the position where the first parenthesis of a text is closed."""
  depth = 0
  for found in re.finditer(r"[()]", text):
    depth += 1 if found[0] == "(" else -1
    if depth == 0:
      return found.start()
  raise ValueError(f"A parenthesis is not closed in {text[:80]!r}.")
