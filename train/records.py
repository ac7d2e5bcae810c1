"""Lists the records of a folder, or decodes one of them back to a video.

    python -m train.records runs/records
    python -m train.records runs/records dog.mp4
    python -m train.records runs/records dog.mp4 --model ltxv-2b --output again.mp4

Without an ID it prints the number of records of each size, what made them, and the
captions of the first few. With an ID it prints all that is known of that record, and
with --output the VAE that made it decodes its latents: the best that a transformer
trained on them can show.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from ltx_jax.cli import console as shared
from ltx_jax.cli.command_line import cli, nearest
from ltx_jax.data import outputs, video
from ltx_jax.data.records import Record, Records

_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Options:
  """Which records, and what is done with them."""

  folder: Annotated[
    Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR", help_behavior_hint="")
  ]
  """Folder of records, as written by train.precompute."""

  id: Annotated[
    str | None,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="[ID]", help_behavior_hint=""),
  ] = None
  """Id of the clip whose record is shown or decoded."""

  model: Annotated[str | None, tyro.conf.arg(help_behavior_hint="(default: none)")] = (
    None
  )
  """Model whose VAE made the records: a preset, a checkpoint, or a file on the Hugging
  Face Hub."""

  output: Annotated[
    Path | None, tyro.conf.arg(help_behavior_hint="(default: none)")
  ] = None
  """Video to write: .mp4, .webm, .mov, .gif, .webp or .png."""


def main(argv: Sequence[str] | None = None) -> None:
  """Reads the command line, and lists, shows or decodes."""
  options = cli(Options, argv, program="python -m train.records", about=__doc__)
  if options.output is not None:
    _check_output(options)
  console = Console(soft_wrap=True)
  source = Records(options.folder)
  if options.id is None:
    _list(console, source)
    return
  row = _row(source, options.id)
  record = source.record(row)
  _show(console, record, int(source.index.bytes[row]))
  if options.output is not None:
    frames = _decode(source, record, options.model)
    video.write(options.output, frames, record.fps)
    console.print(f"wrote {options.output}", highlight=False, markup=False)


def _check_output(options: Options) -> None:
  if options.id is None or options.model is None:
    raise ValueError(
      "--output decodes one record: name its ID after the folder, and --model, whose "
      "VAE made it."
    )
  outputs.check_output(options.output)


def _row(source: Records, name: str) -> int:
  names = list(source.index.ids)
  if name not in names:
    raise ValueError(
      f"{source.folder} has no record {name!r}; {nearest(name, names)} Without an ID "
      "`python -m train.records` lists them."
    )
  return names.index(name)


def _list(console: Console, source: Records) -> None:
  """Prints sizes and counts, and the first few captions."""
  index, info = source.index, source.info
  table = Table(header_style="bold")
  for name in ("frames x height x width", "records", "MB", "text tokens"):
    table.add_column(name, justify="right")
  sizes, group = np.unique(index.sizes, axis=0, return_inverse=True)
  for i, size in enumerate(sizes):
    own = group.reshape(-1) == i
    tokens = index.tokens[own]
    table.add_row(
      "x".join(map(str, size)),
      f"{own.sum():,}",
      f"{index.bytes[own].sum() / 1e6:,.1f}",
      f"{tokens.min()} to {tokens.max()}",
    )
  total = f"{index.bytes.sum() / 1e6:,.1f} MB"
  console.print(f"{shared.counted(len(index), 'record')}, {total}")
  console.print(table)
  t, s = info.factors
  console.print(
    f"latents of {info.channels} channels, a position for {t}x{s}x{s}; VAE {info.vae}, "
    f"text {info.text_encoder or 'not encoded'}",
    highlight=False,
    markup=False,
  )
  for name, values in index.scores.items():
    low, middle, high = np.nanquantile(values, [0, 0.5, 1])
    console.print(f"score {name}: {low:.4g}, {middle:.4g}, {high:.4g}")
  for row in range(min(_SHOWN, len(index))):
    record = source.record(row)
    console.print(f"{record.id}: {record.caption}", highlight=False, markup=False)
  if len(index) > _SHOWN:
    console.print(f"and {len(index) - _SHOWN:,} more")


def _show(console: Console, record: Record, size: int) -> None:
  """Prints everything about a record."""
  table = Table(show_header=False, box=None)
  arrays = {}
  for field in dataclasses.fields(Record):
    value = getattr(record, field.name)
    if isinstance(value, np.ndarray):
      arrays[field.name] = value
    elif value not in (None, "", {}):
      table.add_row(field.name, str(value))
  for name, array in arrays.items():
    table.add_row(name, f"{array.dtype}, {'x'.join(map(str, array.shape))}")
  spread = np.asarray(record.latents, np.float32)
  table.add_row("latents", f"mean {spread.mean():.3f}, std {spread.std():.3f}")
  table.add_row("bytes", f"{size:,}")
  console.print(table, highlight=False, markup=False)


def _decode(source: Records, record: Record, model: str) -> np.ndarray:
  """Decodes a record with the VAE that made it.

  Raises:
    ValueError: If the model's VAE is another one.
  """
  # Here: only a decoded record waits for Flax and the networks.
  import jax

  from ltx_jax.checkpoints import lightricks
  from ltx_jax.checkpoints.fingerprint import fingerprint
  from ltx_jax.platforms import policy_of
  from ltx_jax.releases import sources
  from train.harness.encoding import ClipEncoder

  checkpoint = sources.resolve(model, text_encoder=False).checkpoint
  config, params = lightricks.load_checkpoint(checkpoint, "float32", parts=("vae",))
  source.check(fingerprint(config.vae, params["vae"]))
  policy = policy_of(jax.local_devices()[0])
  device = (jax.local_devices()[0],)
  decoder = ClipEncoder(config.vae, params["vae"], policy, devices=device)
  return decoder.decode(record.latents[None])[0]


if __name__ == "__main__":
  shared.run(main)
