"""Floating-point operations of a compiled program, counted by a walk over it (`hlo`).

Matrix products, convolutions and fused attention are counted, a multiply-add as two
operations, and in loops as often as they run. Nothing else is counted, as in
`planning.flops`, the count by formula that this count is compared with.

    dot            2 |out| |contracted|
    convolution    2 batch features channels times, for each axis, pairs (pixel, tap)
    attention      4 |q| m, for q k^T and for weights times values
                   8 |q| m backwards, for the gradients of q, k, v and of the weights

Kernels for attention's backward pass compute the logits again. If one kernel makes the
gradient of q and another those of k and v, each of them does, and each also computes
the gradient of the weights. These operations are counted separately, by
`inside_kernels`. Everything that a program computes a second time because the first
result was not kept (`jax.checkpoint`, or XLA's own rematerialisation) is part of the
count; `recomputed` says how much.

As in `planning.flops`, a tap outside the input does not count, whether or not the
device multiplies by that zero. XLA's own `cost_analysis` counts the body of a loop
once, does not know fused attention, and does not exist for a GPU that is not there.

Compilers rewrite programs: a TPU's dots become convolutions, some of them with a batch
dimension as a window; a GPU's dots become calls of cuBLAS and cuDNN, or part of a
fusion.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ltx_jax.analysis.hlo import Computation, Instruction, Program, Shape

_CUDNN_ATTENTION = "__cudnn$fmha"
_TPU_KERNEL = "tpu_custom_call"
_SPLASH = re.compile(r"splash_m[hq]a_(fwd|dq|dkv)")
_AGAIN = "rematted_computation"


class Pass(NamedTuple):
  """A direction of attention, in products of 2 |q| m operations.

  Attributes:
    products: Number of products in the mathematics.
    again: Number of products that the kernel repeats, because another kernel or the
      forward pass has made them.
  """

  products: int
  again: int


FORWARD = Pass(2, 0)
_PASSES = {"fwd": FORWARD, "dq": Pass(2, 1), "dkv": Pass(2, 2)}
_CUDNN_BACKWARD = Pass(4, 1)


class FusedAttention(NamedTuple):
  """A kernel that computes attention without storing all logits.

  Attributes:
    shape: Sizes of the queries.
    keys: Number of keys per query.
    times: How often it runs.
    flops: Floating-point operations of all its runs.
  """

  shape: tuple[int, ...]
  keys: int
  times: int
  flops: int


def flops(program: Program) -> int:
  """Counts the operations of a whole program."""
  return sum(
    kernel.times * of_instruction(program, kernel.home, kernel.instruction)
    for kernel in program.kernels()
  )


def recomputed(program: Program) -> int:
  """Counts the operations that are computed a second time."""
  return sum(
    kernel.times * _again(program, kernel.home, kernel.instruction)
    for kernel in program.kernels()
  )


def inside_kernels(program: Program) -> int:
  """Counts the operations of attention kernels that `flops` leaves out."""
  count = 0
  for kernel in program.kernels():
    if (found := _pass(kernel.instruction)) is not None:
      each = _product(kernel.home, kernel.instruction)
      count += kernel.times * found.again * each
  return count


def fused_attention(program: Program) -> list[FusedAttention]:
  """Lists the kernels of fused attention, forwards and backwards."""
  return [
    FusedAttention(
      _operands(kernel.home, kernel.instruction)[0].dims,
      _keys(kernel.home, kernel.instruction),
      kernel.times,
      kernel.times * _attention(kernel.home, kernel.instruction),
    )
    for kernel in program.kernels()
    if _pass(kernel.instruction) is not None
  ]


def of_instruction(program: Program, home: Computation, it: Instruction) -> int:
  """Counts one run of an instruction, including what is fused into it."""
  if it.opcode == "fusion":
    return sum(
      of_instruction(program, inner, each) for inner, each in _fused(program, it)
    )
  if it.opcode == "dot":
    contracted = _numbers(it.attribute(r"lhs_contracting_dims=\{([\d,]*)\}"))
    return _dot(it, home.operands(it)[0].shape, contracted)
  if it.opcode == "convolution":
    return _convolution(it, *(made.shape for made in home.operands(it)[:2]))
  if it.opcode == "custom-call":
    return _custom_call(home, it)
  return 0


def _fused(
  program: Program, it: Instruction
) -> Iterator[tuple[Computation, Instruction]]:
  for inner in program.inner(it):
    yield from ((inner, each) for each in inner.instructions.values())


def _again(program: Program, home: Computation, it: Instruction) -> int:
  """Counts, as `of_instruction`, the operations marked as computed a second time.

  A fusion carries the mark of only one of its instructions, so each is checked itself.
  """
  if ".remat" in it.name:
    return of_instruction(program, home, it)
  if it.opcode == "fusion":
    return sum(_again(program, inner, each) for inner, each in _fused(program, it))
  return of_instruction(program, home, it) if _AGAIN in it.attributes else 0


def _custom_call(home: Computation, it: Instruction) -> int:
  if _pass(it) is not None:
    return _attention(home, it)
  shapes = [made.shape for made in home.operands(it)]
  if it.target.startswith("__cublas$"):
    contracted = it.attribute(r'"lhs_contracting_dimensions":\s*\[([^\]]*)')
    return _dot(it, shapes[0], _numbers(contracted))
  if it.target.startswith("__cudnn$conv"):
    return _convolution(it, *shapes[:2])
  return 0


def _numbers(text: str | None) -> list[int]:
  return [int(n) for n in re.findall(r"\d+", text or "")]


def _dot(it: Instruction, lhs: Shape, contracted: list[int]) -> int:
  return 2 * it.shape.size * math.prod(lhs.dims[i] for i in contracted)


def _convolution(it: Instruction, lhs: Shape, rhs: Shape) -> int:
  of_lhs, of_rhs, of_out = re.split(
    r"_|->", it.attribute(r"dim_labels=([\w?]+_[\w?]+->[\w?]+)")
  )
  groups = int(it.attribute(r"batch_group_count=(\d+)") or 1)
  batch = lhs.dims[of_lhs.index("b")] // groups
  count = 2 * batch * it.shape.dims[of_out.index("f")] * rhs.dims[of_rhs.index("i")]
  window = it.attribute(r"window=\{([^}]*)\}") or ""
  axes = sorted(label for label in of_out if label.isdecimal())
  for axis, label in enumerate(axes):
    count *= _pairs(
      lhs.dims[of_lhs.index(label)],
      rhs.dims[of_rhs.index(label)],
      it.shape.dims[of_out.index(label)],
      _Window.read(window, axis),
    )
  return count


class _Window(NamedTuple):
  """The movement of a kernel along one axis."""

  stride: int
  before: int
  lhs_dilate: int
  rhs_dilate: int
  reversed: bool

  @classmethod
  def read(cls, text: str, axis: int) -> _Window:
    """Reads `size=3x3 stride=2x1 pad=1_1x0_0 ...`; the defaults are 1, or 0."""
    fields = dict(field.split("=") for field in text.split())

    def entry(name: str, default: str) -> str:
      return fields[name].split("x")[axis] if name in fields else default

    return cls(
      int(entry("stride", "1")),
      int(entry("pad", "0_0").split("_")[0]),
      int(entry("lhs_dilate", "1")),
      int(entry("rhs_dilate", "1")),
      entry("rhs_reversal", "0") == "1",
    )


def _pairs(pixels: int, taps: int, outputs: int, window: _Window) -> int:
  """Counts along one axis the pairs (output, tap) that meet a pixel of the input."""
  at = np.arange(outputs)[:, None] * window.stride - window.before
  at = at + np.arange(taps)[None, :] * window.rhs_dilate
  inside = (at >= 0) & (at <= (pixels - 1) * window.lhs_dilate)
  return int((inside & (at % window.lhs_dilate == 0)).sum())


def _operands(home: Computation, it: Instruction) -> list[Shape]:
  """Returns queries, keys and values; a TPU's kernel has integer tables before them."""
  shapes = [made.shape for made in home.operands(it)]
  return [s for s in shapes if s.dtype in ("bf16", "f16", "f32") and len(s.dims) >= 3]


def _pass(it: Instruction) -> Pass | None:
  """Returns the direction of fused attention; None for any other instruction."""
  if it.opcode != "custom-call":
    return None
  if it.target.startswith(_CUDNN_ATTENTION):
    return _CUDNN_BACKWARD if "Backward" in it.target else FORWARD
  if it.target == _TPU_KERNEL and "splash" in it.attributes:
    phase = _SPLASH.search(it.attributes)
    return _PASSES[phase[1]] if phase else FORWARD
  return None


def _keys(home: Computation, it: Instruction) -> int:
  """Returns the number of keys per query of fused attention."""
  if it.target.startswith(_CUDNN_ATTENTION):
    logits = it.attribute(r'"intermediate_tensor_shape":.*?"dimensions":\s*\[([^\]]*)')
    return _numbers(logits)[-1]
  # [k m x], or [k x m]: a head is narrower than the blocks of tokens.
  return max(_operands(home, it)[1].dims[-2:])


def _product(home: Computation, it: Instruction) -> int:
  return 2 * _operands(home, it)[0].size * _keys(home, it)


def _attention(home: Computation, it: Instruction) -> int:
  return _pass(it).products * _product(home, it)
