"""Sampling compiled for an H100, a T4 and single TPU chips, without any of them.

It needs the compilers: pip install "jax[cuda12]" "jax[tpu]", 6.2 GB. The figures are
the compiler's plan and the walk over its program; nothing is run. Memory is without the
workspaces of cuDNN and cuBLAS, and in brackets with the weights that a stage does not
read. It is the memory that a program reserves; less of it is in use at one time. N x N
arrays are checked at 129 frames, with 6528 tokens, because no layer is that wide; at
121 frames, arrays smaller than the logits of one row are left out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ltx_jax.analysis import devices
from sample import compile as compile_program
from sample import compiling

NAME = "Compiled for accelerators that are not there: memory, work, kernels"
COMMAND = "python -m tests.verify compile_tables"

GB = 1e9
SMALL, LARGE = "ltxv-2b-0.9.6-dev", "ltxv-13b-0.9.8-dev"


class Table(NamedTuple):
  """Flags of the program, and the largest memory of its stages in GB.

  Attributes:
    device: Name of the device for the program.
    preset: The model.
    size: Size of the video.
    frames: Number of frames of the video.
    branches: Number of branches of guidance.
    bounds: Peak GB by stage; None for no bound.
    blocks: Number of blocks of the network: its self-attention runs that often, if a
      kernel does it.
    decode_memory: GB that the tiled decode plans with.
    mesh: Mesh of several chips.
    sent: Largest number of GB that a chip sends in a denoising step; None for no bound.
  """

  device: str
  preset: str
  size: str
  frames: int
  branches: int
  bounds: dict[str, float | None]
  blocks: int | None = None
  decode_memory: float | None = None
  mesh: str | None = None
  sent: float | None = None


TABLES = (
  Table("h100", SMALL, "768x512", 121, 2, {"denoise": 5.0, "decode": 5.0}, 28),
  Table("h100", SMALL, "768x512", 129, 2, {"denoise": None}, 28),
  Table("h100", SMALL, "768x512", 121, 1, {"text": None, "keys": None}),
  Table("h100", LARGE, "768x512", 121, 3, {"denoise": 28.0}, 48),
  Table(
    "h100",
    SMALL,
    "1216x704",
    257,
    2,
    {"decode": 14.0, "tiled": 6.0},
    decode_memory=4.4,
  ),
  Table("t4", SMALL, "512x320", 49, 2, {"denoise": 5.0, "decode": None}),
  Table("v5p", SMALL, "768x512", 121, 3, {"denoise": 4.6}, 28),
  Table("v6e", SMALL, "768x512", 121, 3, {"denoise": 4.6}, 28),
)


def compiled(table: Table) -> list[dict[str, Any]]:
  """Compiles the stages of a table, as the program does with its flags."""
  options = compile_program.Options(
    device=table.device,
    preset=table.preset,
    size=table.size,
    frames=table.frames,
    branches=table.branches,
    stages=tuple(table.bounds),
    decode_memory=table.decode_memory,
    mesh=table.mesh,
  )
  return [report.as_dict() for report in compiling.reports(options)]


def row(figure: str, value: Any, unit: str, target: str, ok: bool) -> dict[str, Any]:
  """A row of the page."""
  return {
    "figure": figure,
    "value": value,
    "unit": unit,
    "target": target,
    "ok": bool(ok),
  }


def rows_of(table: Table) -> list[dict[str, Any]]:
  """Rows of one table, stage by stage."""
  model = "13B" if table.preset == LARGE else "2B"
  branches = ("", "CFG", "CFG and STG")[table.branches - 1]
  rows = []
  for stage in compiled(table):
    name = stage["stage"]
    where = table.device if table.mesh is None else f"{table.device} {table.mesh}"
    what = f"{where}, {model} {table.size}x{table.frames}, {name}"
    if name == "denoise":
      what += f" {branches}".rstrip()
    rows += memory_rows(what, stage, table.bounds[name.split()[0]])
    ratio = stage["flops_over_minimum"]
    bounded = name == "denoise"
    rows.append(
      row(
        f"{what}: FLOPs over the analytic minimum ({stage['flops'] / 1e12:.2f} TFLOP)",
        float(ratio),
        "",
        "at most 1.02" if bounded else "",
        ratio <= 1.02 or not bounded,
      )
    )
    if name == "denoise" and table.blocks:
      rows += attention_rows(what, stage, table.blocks)
    if table.mesh is not None:
      rows.append(sent_row(what, stage, table.sent if name == "denoise" else None))
  return rows


def memory_rows(
  what: str, stage: dict[str, Any], bound: float | None
) -> list[dict[str, Any]]:
  """Rows of the peak memory with its parts, and of the roofline."""
  peak, unread = stage["peak"] / GB, stage["unread"] / GB
  parts = f"arguments {stage['arguments'] / GB:.2f}"
  parts += f", temporaries {stage['temporaries'] / GB:.2f}"
  parts += f"; {stage['in_use'] / GB:.2f} in use at one time"
  parts += f"; {peak + unread:.2f} with weights that it does not read"
  target = "" if bound is None else f"at most {bound:g}"
  ok = bound is None or peak <= bound
  return [
    row(f"{what}: peak ({parts})", float(peak), "GB", target, ok),
    row(
      f"{what}: estimate by roofline, {stage['moved'] / GB:.0f} GB moved"
      + (f", {1e3 * stage['wire_seconds']:.1f} ms to send" if stage["wire"] else ""),
      1e3 * stage["estimate"],
      "ms",
      "",
      True,
    ),
  ]


def sent_row(what: str, stage: dict[str, Any], bound: float | None) -> dict[str, Any]:
  """Row of what a chip sends, by kind."""
  kinds = [
    f"{each['kind']} {each['count']} x {each['times']}: {each['wire_bytes'] / GB:.3f}"
    for each in stage["sent"]
  ]
  sent, target = stage["wire"] / GB, "" if bound is None else f"at most {bound:g}"
  ok = bound is None or sent <= bound
  figure = f"{what}: sent by a chip ({', '.join(kinds) or 'nothing'})"
  return row(figure, float(sent), "GB", target, ok)


def attention_rows(
  what: str, stage: dict[str, Any], blocks: int
) -> list[dict[str, Any]]:
  """Rows of fused self-attention in the loop over blocks, and of N x N arrays."""
  runs = [times for _, keys, times in stage["attention"] if keys >= stage["tokens"]]
  squares = len(stage["squares"])
  return [
    row(
      f"{what}: fused self-attention calls, and how often each runs",
      ", ".join(map(str, runs)) or "none",
      "",
      f"one, {blocks} times",
      runs == [blocks],
    ),
    row(f"{what}: N x N arrays in memory", squares, "", "0", squares == 0),
  ]


def rows_of_all(tables: tuple[Table, ...]) -> list[dict[str, Any]]:
  """Rows of several tables, printed as they come."""
  devices.use_host_only()
  rows = []
  for table in tables:
    named = f"{table.device} {table.mesh or ''}".strip()
    print(f"  {named} {table.preset} {table.size}x{table.frames}", flush=True)
    found = rows_of(table)
    for each in found:
      print(f"    {each['figure']}: {each['value']} {each['unit']}", flush=True)
    rows += found
  return rows


def run() -> list[dict[str, Any]]:
  """Rows of all tables."""
  return rows_of_all(TABLES)
