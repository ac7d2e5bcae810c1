"""What precomputing leaves for people: the clips that were dropped, and the ceiling.

`dropped.jsonl` says why a clip is not among the records. `report.json` holds counts and
the PSNR of what the VAE makes of some clips, `report.png` shows them: a transformer
that learned everything would still generate no better than that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from ltx_jax.config.runs import Bucket
from ltx_jax.data.clips import Clip, Clips, Fault
from ltx_jax.data.contact_sheet import contact_sheet
from ltx_jax.data.partial import write_bytes
from ltx_jax.data.records import Index, Records
from ltx_jax.metrics.psnr import psnr
from train.harness.encoding import ClipEncoder
from train.harness.sharing import Share, parts, read_rows


class Faults:
  """The clips that are not encoded, with reasons, also those of interrupted runs and
  of other processes.

  Attributes:
    reasons: Why each is not encoded, by the clip's id.
  """

  def __init__(self, path: Path, clips: Clips, total: int, most: float, share: Share):
    """Reads what interrupted runs and other processes have noted.

    Args:
      path: JSON Lines, to which each new one is added.
      clips: Clips of the manifest that could be measured.
      total: Number of clips in the manifest.
      most: Largest share of them that may be faulty.
      share: This process's part, which has a list of its own.
    """
    self._path, self._own = path, share.file(path)
    self._total, self._most = total, most
    self._there = frozenset(clips.ids)
    self._new = False
    self._short: Sequence[Fault] = ()
    self.reasons: dict[str, str] = {}
    self._read()

  def _read(self) -> None:
    for row in read_rows(self._path):
      if row["id"] in self._there and not row.get("short"):
        self.reasons[row["id"]] = row["reason"]

  def add(self, fault: Fault) -> None:
    """Notes a clip.

    Raises:
      ValueError: where there are too many of them.
    """
    self.reasons[fault.where] = fault.reason
    with self._own.open("a", encoding="utf-8") as file:
      file.write(json.dumps({"id": fault.where, "reason": fault.reason}) + "\n")
    self._new = True
    self._judge(self.reasons)

  def judge_all(self) -> None:
    """Counts what other processes have noted as well, after notes of this one.

    Called before a shard gets its name, so that of processes which together have too
    many, the last to note one leaves its shard out, and no index is written.

    Raises:
      ValueError: where there are too many of them.
    """
    if self._new:
      self._judge(self.noted())
      self._new = False

  def judge_without(self, kept: Collection[str]) -> None:
    """Counts what all processes have noted, before the index is written.

    A shard of unreadable clips alone is not written, so that none of the shards may be
    missing although too many clips are.

    Args:
      kept: Ids of the clips that have a record: those that can be read by now.

    Raises:
      ValueError: where there are too many of them.
    """
    self._judge({clip: r for clip, r in self.noted().items() if clip not in kept})

  def _judge(self, reasons: Mapping[str, str]) -> None:
    if len(reasons) > self._most * self._total:
      clip, reason = list(reasons.items())[-1]
      raise ValueError(
        f"{len(reasons)} of {self._total} clips cannot be read, more than "
        f"--max-faulty {self._most:g} allows; the last is {Fault(clip, reason)}"
      )

  def noted(self) -> Mapping[str, str]:
    """Returns the reasons by the clip's id, with what others have noted by now."""
    self._read()
    return self.reasons

  def leave_out(self, short: Sequence[Fault]) -> None:
    """Notes clips that no bucket is short enough for; of these there may be any."""
    self._short = short

  def write(self, kept: Sequence[str]) -> int:
    """Writes the list, without clips that have a record, and returns its length."""
    taken = parts(self._path)
    self._read()
    there = set(kept)
    reasons = sorted(self.reasons.items())  # Whoever found them, and when.
    rows = [{"id": clip, "reason": why} for clip, why in reasons if clip not in there]
    rows += [{"id": f.where, "reason": f.reason, "short": True} for f in self._short]
    lines = (json.dumps(row) + "\n" for row in rows)
    write_bytes(self._path, "".join(lines).encode())
    for part in taken:
      part.unlink(missing_ok=True)
    return len(rows)


def write_report(
  folder: Path,
  clips: Clips,
  index: Index,
  faults: Faults,
  *,
  encoder: ClipEncoder,
  read: Callable[[Clip, Bucket], tuple[np.ndarray, float]],
  samples: int,
  console: Console,
) -> None:
  """Writes the list of dropped clips, the figures and the picture, and says them.

  Args:
    folder: Folder of the records.
    clips: The manifest.
    index: What became records.
    faults: What did not.
    encoder: Decodes the samples.
    read: Reads the samples' clips.
    samples: How many are shown.
    console: Console to print to.
  """
  dropped = faults.write(index.ids)
  rows = np.linspace(0, len(index) - 1, min(samples, len(index))).astype(int)
  places = {clip: row for row, clip in enumerate(clips.ids)}
  source, shown, labels, figures = Records(folder), [], [], {}
  for row in np.unique(rows).tolist():
    clip = clips[places[index.ids[row]]]
    frames, height, width = (int(side) for side in index.sizes[row])
    video, _ = read(clip, Bucket(frames, height, width))
    (decoded,) = encoder.decode(source.record(row).latents[None])
    figures[clip.id] = float(psnr(video, decoded, 255.0))
    shown += [video, decoded]
    labels += [clip.caption, f"{figures[clip.id]:.1f} dB"]
  if shown:
    contact_sheet(folder / "report.png", shown, labels)
  report = {
    "records": len(index),
    "bytes": int(index.bytes.sum()),
    "dropped": dropped,
    "psnr": figures,
  }
  write_bytes(folder / "report.json", (json.dumps(report, indent=2) + "\n").encode())
  mean = f"{np.mean(list(figures.values())):.1f} dB" if figures else "not measured"
  console.print(
    f"{len(index)} records, {report['bytes'] / 1e6:.1f} MB, in {folder}; {dropped} "
    f"clips dropped (dropped.jsonl). PSNR of what the VAE keeps: {mean} (report.png)",
    highlight=False,
  )
