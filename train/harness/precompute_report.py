"""The report of precomputing: dropped clips, and the quality that the VAE allows.

`dropped.jsonl` says why a clip is not among the records. `report.json` has counts and
the PSNR of some clips after the VAE, and `report.png` shows them. Even a perfect
transformer would generate nothing better than that.
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
  """The clips that are not encoded, with reasons, including those of interrupted runs
  and of other processes.

  Attributes:
    reasons: Reason for each clip, by its id.
  """

  def __init__(self, path: Path, clips: Clips, total: int, most: float, share: Share):
    """Reads the faults that interrupted runs and other processes noted.

    Args:
      path: JSON Lines file, to which each new fault is appended.
      clips: Clips of the manifest that could be measured.
      total: Number of clips in the manifest.
      most: Largest share of clips that may be faulty.
      share: This process's part; it has a list of its own.
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
    """Notes a faulty clip.

    Raises:
      ValueError: If there are too many faulty clips.
    """
    self.reasons[fault.where] = fault.reason
    with self._own.open("a", encoding="utf-8") as file:
      file.write(json.dumps({"id": fault.where, "reason": fault.reason}) + "\n")
    self._new = True
    self._judge(self.reasons)

  def judge_all(self) -> None:
    """Also counts the faults that other processes have noted.

    It is called before a shard gets its name. So if processes have too many faults
    together, the last to note one leaves its shard out, and no index is written.

    Raises:
      ValueError: If there are too many faulty clips.
    """
    if self._new:
      self._judge(self.noted())
      self._new = False

  def judge_without(self, kept: Collection[str]) -> None:
    """Counts the faults of all processes, before the index is written.

    A shard that has only unreadable clips is not written. So there may be too many
    faults although no shard is missing.

    Args:
      kept: Ids of the clips that have a record, and so can be read by now.

    Raises:
      ValueError: If there are too many faulty clips.
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
    """Returns the reasons by the clip's id, with the latest ones of other processes."""
    self._read()
    return self.reasons

  def leave_out(self, short: Sequence[Fault]) -> None:
    """Notes clips that are shorter than every bucket; their number is not limited."""
    self._short = short

  def write(self, kept: Sequence[str]) -> int:
    """Writes the list, without clips that have a record, and returns its length."""
    taken = parts(self._path)
    self._read()
    there = set(kept)
    reasons = sorted(self.reasons.items())  # Independent of who found them, and when.
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
  """Writes the list of dropped clips, the figures and the image, and prints a summary.

  Args:
    folder: Folder of the records.
    clips: The manifest.
    index: Index of the records.
    faults: Clips that are not encoded.
    encoder: VAE that decodes the samples.
    read: Function that reads the samples' clips.
    samples: Number of samples to show.
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
