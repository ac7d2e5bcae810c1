"""Opens the data of a run: the sources that its config names, and held-out clips.

Clips with the score `held_out` are never trained on. If no clip has it, the number that
the run says is held out, but at most a quarter, chosen by the hash of their ids.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt32

from ltx_jax.cli import console as shared
from ltx_jax.config import VAEConfig
from ltx_jax.config.data import ScoreConfig
from ltx_jax.config.runs import AutoBuckets, Bucket, TransformerRun, VAERun
from ltx_jax.data import beside as beside_lib
from ltx_jax.data.buckets import Ids, tokens_of
from ltx_jax.data.manifest import read_manifest
from ltx_jax.data.records import Record, Records
from ltx_jax.data.source import Batch, Mixture, Source, resolved
from ltx_jax.data.token_dropping import as_tokens
from ltx_jax.data.videos import Videos
from ltx_jax.moving_shapes import world
from ltx_jax.moving_shapes.source import WORLDS, shapes
from ltx_jax.text.cache import encoder_fingerprint
from train.harness.checks import check_beside, check_records

HELD_OUT = "held_out"
"""Score of clips that are never trained on."""

LARGEST_SHARE = 4
"""At most one clip in so many is held out where no clip says that it is."""

SHOWN = 6
"""Number of held-out captions in the sample images."""


class ClipData(NamedTuple):
  """Videos to train on, held-out videos of the first source, and notes about them."""

  trained: Mixture
  held_out: Source
  notes: list[str]


class RecordData(NamedTuple):
  """Records to train on, and held-out records of the first source.

  Attributes:
    trained: All sources.
    held_out: Records that are never trained on.
    empty: Arrays of a batch for the caption "", without the axis of rows.
    shown: Arrays of a batch for some held-out captions; the last row is that of "".
    captions: Captions of the rows of `shown`.
    references: Latents of their references, if all clips are shown theirs.
    notes: Notes about records that are held or left out.
  """

  trained: Mixture
  held_out: Source
  empty: Batch
  shown: Batch
  captions: list[str]
  references: list[np.ndarray]
  notes: list[str]


def held_out(
  ids: Sequence[str], scores: np.ndarray | None, count: int
) -> tuple[Bool[np.ndarray, "n"], list[str]]:
  """Returns which clips are held out, and a note if they are fewer than asked for.

  Args:
    ids: Ids of all clips.
    scores: Their score `held_out`, nan for none; None if no clip has one.
    count: Number of clips to hold out if no clip has the score; of few clips, at most a
      quarter is held out, but at least one of two.

  Raises:
    ValueError: If nothing would be left to train on.
  """
  if scores is not None and np.any(scores > 0):
    if np.all(scores > 0):
      raise ValueError(
        f"All {len(ids)} clips have the score {HELD_OUT}, so none is left to train on; "
        "set it to 0 in some rows of the manifest."
      )
    return np.nan_to_num(scores) > 0, []
  most = max(len(ids) // LARGEST_SHARE, min(len(ids) - 1, 1))
  hashes = np.array([zlib.crc32(clip.encode()) for clip in ids])
  chosen = np.zeros(len(ids), bool)
  chosen[np.argsort(hashes, kind="stable")[: min(count, most)]] = True
  if count <= most:
    return chosen, []
  held = {0: "none is", 1: "1 is"}.get(most, f"{most} are")
  return chosen, [
    f"{shared.counted(len(ids), 'clip')}: {held} held out, not {count} (--held-out), "
    "so that enough are left to train on."
  ]


def open_clips(run: VAERun) -> ClipData:
  """Opens the data for a VAE: manifests, or the moving shapes.

  Raises:
    ValueError: If a manifest, or too many of its clips, cannot be read.
  """
  opened = [_open_clips(run, path, first=not k) for k, path in enumerate(run.data)]
  sources, aside, notes = zip(*opened, strict=True)
  return ClipData(Mixture(sources, weights(run)), aside[0], notes[0])


def _open_clips(
  run: VAERun, path: str, first: bool
) -> tuple[Source, Source, list[str]]:
  """Opens one source and its held-out part, with notes about it.

  Only the first source holds out by number.
  """
  if path in WORLDS:
    trained, aside = world.train_captions(), world.held_out_captions()
    return shapes(path, trained), shapes(path, aside), []
  clips = read_manifest(path)
  scores = np.array([clip.scores.get(HELD_OUT, np.nan) for clip in clips])
  chosen, notes = held_out(clips.ids, scores, run.held_out if first else 0)
  how = {"flip": run.video.flip, "max_faulty": run.video.max_faulty}
  videos = Videos(clips, **how)
  names = {clips.ids[row] for row in np.flatnonzero(chosen).tolist()}
  aside = np.array([name in names for name in videos.clips.ids], bool)
  if aside.all() or (names and not aside.any()):
    part = "trained on" if aside.all() else "held out"
    raise ValueError(f"None of the clips of {path} that are to be {part} can be read.")
  return videos.take(~aside), videos.take(aside if names else ~aside), notes


def with_buckets(
  run: VAERun | TransformerRun, data: Mixture, vae: VAEConfig
) -> VAERun | TransformerRun:
  """Returns the run with buckets that suit its first source, if it names none."""
  factors = vae.temporal_factor, vae.spatial_factor
  stages = resolved(run.stages, data.sources[0], factors, tokens_of(vae))
  return dataclasses.replace(run, stages=stages)


def weights(run: VAERun | TransformerRun) -> tuple[float, ...]:
  """Returns one weight per source of a run; a single weight applies to all."""
  if len(run.data_weights) == 1:
    return run.data_weights * len(run.data)
  return run.data_weights


@dataclasses.dataclass(frozen=True)
class Worded:
  """Records as a transformer reads them: latents as tokens, and one form of the text.

  Attributes:
    records: The source.
    name: Which of the two the run reads: `tokens` or `text`.
    beside: Extra clips that clips may be shown (`beside.ARRAYS`).
  """

  records: Records
  name: str
  beside: frozenset[str] = frozenset()

  @property
  def fingerprint(self) -> str:
    """Hash of everything that determines the batches."""
    return " ".join([self.records.fingerprint, self.name, *sorted(self.beside)])

  def assign(self, buckets: Sequence[Bucket]) -> list[Ids]:
    """Returns for each bucket the records that it takes (`Records.assign`).

    If clips are shown their last frame, these are only records of the bucket's length.
    """
    assigned = self.records.assign(buckets)
    if "last" not in self.beside:
      return assigned
    frames = self.records.index.sizes[:, 0]
    return [
      ids[frames[ids] == bucket.frames]
      for ids, bucket in zip(assigned, buckets, strict=True)
    ]

  def propose(
    self,
    auto: AutoBuckets,
    factors: tuple[int, int],
    tokens: Callable[[Bucket], int],
  ) -> tuple[Bucket, ...]:
    """Returns the sizes that the records have (`Records.propose`)."""
    return self.records.propose(auto, factors, tokens)

  def read(
    self, bucket: Bucket, ids: Int[np.ndarray, "b"], seeds: UInt32[np.ndarray, "b"]
  ) -> Batch:
    """Makes a batch of the records (`as_tokens`), with either tokens or text."""
    batch = _worded(self.records.read(bucket, ids, seeds), self.name)
    return beside_lib.only(as_tokens(batch), self.beside)

  @property
  def empty(self) -> Batch:
    """Arrays of a batch for the caption "", without the axis of rows."""
    return _worded(self.records.empty, self.name)


def _worded(batch: Batch, name: str) -> Batch:
  other = {"tokens": "text", "text": "tokens"}[name]
  return {key: rows for key, rows in batch.items() if key != other}


def open_records(run: TransformerRun, vae: str) -> RecordData:
  """Opens the records for a transformer.

  Args:
    run: Run that names them.
    vae: Fingerprint of its VAE.

  Raises:
    ValueError: If a folder holds no records, records of another VAE or encoder, or
      records without a caption.
  """
  name = "tokens" if run.text_encoder == "trained" else "text"
  whole = [Records(path) for path in run.data]
  for records in whole:
    records.check(vae, _made_by(run))
    if name not in records.empty:
      raise ValueError(
        f"{records.folder} holds tokens but no texts, which a frozen text encoder "
        "makes; run train.precompute with --text-encoder FOLDER, or train one."
      )
    check_records(records)
    check_beside(records, run.conditions)
  longest = max(records.text_tokens for records in whole)
  trained, aside, notes = [], None, []
  for number, records in enumerate(whole):
    index = records.index
    scores = index.scores.get(HELD_OUT)
    chosen, fewer = held_out(index.ids, scores, 0 if number else run.held_out)
    notes += fewer
    how = {"text_tokens": longest}
    good = good_enough(run.score, records) & ~chosen
    kept = Records(records.folder, keep=lambda _, g=good: g, **how)
    trained.append(Worded(kept, name, frozenset(run.conditions.beside)))
    if not number:
      rest = chosen if chosen.any() else ~chosen
      aside = Records(records.folder, keep=lambda _, r=rest: r, **how)
  # Held-out clips are shown what every clip is shown in training.
  always = run.conditions.reference == 1
  source = Worded(aside, name, frozenset({"reference"} if always else ()))
  shown, captions, references = _shown(aside, name)
  mixture = Mixture(tuple(trained), weights(run))
  references = references if always else []
  if run.score.at_least is not None:
    notes += [scored_in_words(run.score, records) for records in whole]
  return RecordData(mixture, source, source.empty, shown, captions, references, notes)


def good_enough(score: ScoreConfig, records: Records) -> Bool[np.ndarray, "n"]:
  """Returns which records have the requested score.

  The held-out clips do not depend on it: a run on the best records holds out the same
  clips as a run on all of them, and is measured on the same clips.

  Raises:
    ValueError: If none has it; the message says what there is.
  """
  if score.at_least is None:
    return np.ones(len(records), bool)
  scores = records.index.scores
  if score.name not in scores:
    raise ValueError(
      f"No record in {records.folder} has the score {score.name!r}; there are: "
      f"{', '.join(scores) or 'none'}. Write it into the manifest's rows, and run "
      "train.precompute again."
    )
  found = scores[score.name]
  if not np.any(found >= score.at_least):
    raise ValueError(
      f"No record in {records.folder} has the score {score.name!r} of at least "
      f"{score.at_least:g}; the highest is {np.nanmax(found):g}: lower "
      "--score.at-least."
    )
  return found >= score.at_least


def scored_in_words(score: ScoreConfig, records: Records) -> str:
  """Says how many records have the score, how many have less, and how many none."""
  found = records.index.scores[score.name]
  enough, none = int(np.sum(found >= score.at_least)), int(np.sum(np.isnan(found)))
  return (
    f"{records.folder}: {enough} of {len(records)} records have the score "
    f"{score.name!r} of at least {score.at_least:g}; {len(records) - enough - none} "
    f"have less and {none} have none."
  )


def _made_by(run: TransformerRun) -> str | None:
  """Returns the fingerprint that the records' texts need; None if it is unknown."""
  folder = Path(run.text_folder)
  if run.text_encoder == "trained":
    return encoder_fingerprint(folder / "tokenizer")[:16]
  if not (folder / "text_encoder").is_dir():
    return None
  return encoder_fingerprint(folder / "text_encoder", folder / "tokenizer")[:16]


def _shown(
  records: Records, name: str
) -> tuple[Batch, list[str], list[np.ndarray | None]]:
  """Returns some captions, each once, and "", with the longest clips' references."""
  rows: dict[str, Record] = {}
  for row in np.argsort(-records.index.sizes[:, 0], kind="stable").tolist():
    record = records.record(row)
    rows.setdefault(record.caption, record)
    if len(rows) == SHOWN:
      break
  texts = [{n: getattr(r, n) for n in ("text", "tokens")} for r in rows.values()]
  batch = _worded(records.padded(texts), name)
  empty = _worded(records.empty, name)
  both = {n: np.concatenate([batch[n], empty[n][None]]) for n in batch}
  return both, [*rows, ""], [record.reference for record in rows.values()]
