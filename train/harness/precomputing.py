"""Turns a manifest into records: clips in their buckets, encoded shard by shard."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from rich.console import Console
from rich.progress import (
  BarColumn,
  MofNCompleteColumn,
  Progress,
  ProgressColumn,
  Task,
  TextColumn,
  TimeElapsedColumn,
  TimeRemainingColumn,
)
from rich.text import Text

from ltx_jax.checkpoints import lightricks
from ltx_jax.checkpoints.fingerprint import fingerprint
from ltx_jax.cli import console as shared
from ltx_jax.config.runs import Bucket
from ltx_jax.data import assignment
from ltx_jax.data.buckets import tokens_of
from ltx_jax.data.clip_reader import read_clip
from ltx_jax.data.clips import Clips, Fault
from ltx_jax.data.manifest import read_manifest
from ltx_jax.data.probing import measure_all
from ltx_jax.data.record_index import SetInfo
from ltx_jax.errors import check_number
from ltx_jax.moving_shapes import source as shapes
from ltx_jax.platforms import policy_of
from ltx_jax.releases import sources
from train.harness import following
from train.harness.captions import Captions
from train.harness.checks import check_captions, check_references
from train.harness.completion import (
  Plan,
  Source,
  complete,
  missing_in_words,
  part_in_words,
  remove_partials,
  standing,
)
from train.harness.encoding import ClipEncoder
from train.harness.precompute_report import Faults, write_report
from train.harness.record_writer import Read, ShardWriter
from train.harness.shard_plan import Existing, Makers, SourceHashes, plan_shards
from train.harness.sizes import parse_buckets, size_of
from train.harness.skipped import DROPPED
from train.precompute import Options

_MUCH = 0.01  # Of images that is cropped, or of frames that is left out.
_DTYPES = ("float32", "bfloat16", "float16")
_SOME = {"at_least": 1, "whole": True}
_BOUNDS = {
  "clips_per_call": _SOME,
  "shard": _SOME,
  "readers": _SOME,
  "max_faulty": {"at_least": 0, "at_most": 1},
  "samples": {"at_least": 0, "whole": True},
  "variants": _SOME,
}


def check(options: Options) -> None:
  """Refuses numbers out of bounds before anything is read.

  Raises:
    ValueError: With the option, its value and what it may be.
  """
  for name, limits in _BOUNDS.items():
    check_number(f"--{name.replace('_', '-')}", getattr(options, name), **limits)
  if options.dtype not in (None, *_DTYPES):
    raise ValueError(f"--dtype is {options.dtype}; it may be {', '.join(_DTYPES)}.")
  if options.buckets != ("auto",):
    parse_buckets(options.buckets)


def open_clips(options: Options, console: Console) -> tuple[Clips, list[Fault], Read]:
  """Returns the clips with their sizes, the unreadable ones, and a function to read.

  Raises:
    ValueError: If the manifest is invalid, or a clip has no caption.
  """
  if options.manifest == shapes.NAME:
    if options.buckets == ("auto",):
      raise ValueError(
        f"{shapes.NAME} are rendered at any size; name some with --buckets, such as "
        "25x128x128."
      )
    buckets = parse_buckets(options.buckets)
    clips = shapes.manifest(buckets, options.variants)
    return clips, [], shapes.read_clip
  clips = read_manifest(options.manifest)
  check_captions(clips, options.manifest)
  with _bar(console) as bar:
    task = bar.add_task("Measuring clips", total=len(clips))
    clips, faults = measure_all(clips, lambda done, _: bar.update(task, completed=done))
  return clips, faults, read_clip


def open_encoder(options: Options) -> ClipEncoder:
  """Loads the VAE of the model."""
  checkpoint = sources.resolve(options.model, text_encoder=False).checkpoint
  config, params = lightricks.load_checkpoint(checkpoint, "float32", parts=("vae",))
  policy = policy_of(jax.local_devices()[0])
  policy = policy if options.dtype is None else policy.in_dtype(options.dtype)
  return ClipEncoder(config.vae, params["vae"], policy, options.clips_per_call)


def open_captions(options: Options) -> Captions:
  """Finds the text encoder, or the tokenizer if only that is needed."""
  policy = policy_of(jax.local_devices()[0])
  alone = options.text_encoder == "none"
  if options.tokenizer is not None:
    if not alone:
      raise ValueError("--tokenizer is for --text-encoder none; leave one of them out.")
    return Captions.of_tokenizer(options.tokenizer)
  files = sources.resolve(options.model, None if alone else options.text_encoder)
  if files.tokenizer is None:
    raise ValueError(
      f"There is no tokenizer next to {options.model}; name the folder of one with "
      "--text-encoder FOLDER, or --text-encoder none --tokenizer FOLDER."
    )
  if alone:
    return Captions.of_tokenizer(files.tokenizer)
  texts = options.output / "texts"
  return Captions.of_encoder(files.text_encoder, files.tokenizer, policy, texts)


def choose_buckets(
  options: Options, clips: Clips, encoder: ClipEncoder
) -> tuple[Bucket, ...]:
  """Returns the named buckets, or those that suit the clips.

  Raises:
    ValueError: If the VAE cannot encode one of them.
  """
  vae = encoder.config
  factors = vae.temporal_factor, vae.spatial_factor
  if options.buckets != ("auto",):
    buckets = parse_buckets(options.buckets)
    for b in buckets:
      if (b.frames - 1) % factors[0] or b.height % factors[1] or b.width % factors[1]:
        raise ValueError(
          f"--buckets has {size_of(b)}; this VAE takes "
          f"{factors[0]}k + 1 frames, and sides that are multiples of {factors[1]}."
        )
    return buckets
  tokens = tokens_of(vae)
  return assignment.auto_buckets(clips.sizes(), options.auto, factors, tokens)


def precompute(options: Options, console: Console) -> None:
  """Encodes what is not encoded yet, and writes index, report and image.

  One of several processes encodes its own part; the one that finds all shards complete
  writes these.

  Raises:
    ValueError: If clips, model or folder cannot be used.
  """
  check(options)
  folder = options.output
  clips, unmeasured, read = open_clips(options, console)
  captions, encoder = open_captions(options), open_encoder(options)
  buckets = choose_buckets(options, clips, encoder)
  has_references = check_references(clips, options.manifest)
  folder.mkdir(parents=True, exist_ok=True)
  total = len(clips) + len(unmeasured)
  faults = Faults(folder / DROPPED, clips, total, options.max_faulty, options.share)
  for fault in unmeasured:
    faults.add(fault)
  beside = ("last",) if options.last_frame else ()
  beside += ("reference",) if has_references else ()
  made = made_by(encoder, captions, beside)
  faults.leave_out(assignment.too_short(clips, buckets))
  plan = plan_of(options, clips, buckets, encoder, made)
  console.print(_summary(plan, buckets), highlight=False)
  if not plan.shards:
    named = ", ".join(map(size_of, buckets))
    raise ValueError(
      f"No clip of {options.manifest} is as long as --buckets {named}; name some with "
      "fewer frames."
    )
  own = plan.own(_hashed(options, read))
  todo = {plan.name(position, jobs): jobs for position, jobs in own.items()}
  remove_partials(folder, todo, plan.share)

  existing = Existing(folder)
  missing = {name: jobs for name, jobs in todo.items() if name not in existing.names}
  if not plan.share.alone:
    console.print(part_in_words(plan, len(todo), len(missing)), highlight=False)
  new = [job.clip.caption for jobs in missing.values() for job in jobs]
  captions.encode(["", *new])  # The text encoder is freed before the VAE works.
  empty = captions.empty()  # Now, because the process that completes all removes texts.
  writer = ShardWriter(encoder, captions, existing, read, made, options.readers)
  with _bar(console) as bar:
    task = bar.add_task("Encoding clips", total=len(new))
    for name, jobs in missing.items():
      writer.write(folder / name, jobs, faults, lambda: bar.advance(task))

  now = standing(plan, own, _listed(options, read), folder, faults.noted())
  if now.missing:
    console.print(missing_in_words(plan, now.missing), highlight=False)
    return
  faults.judge_without(now.kept)
  index = complete(folder, now, made, empty)
  shown = {"encoder": encoder, "read": read, "samples": options.samples}
  write_report(folder, clips, index, faults, **shown, console=console)
  sizes = sorted({Bucket(*map(int, size)) for size in index.sizes}, key=size_of)
  for line in _next(options, captions, sizes):
    console.print(line, markup=False, highlight=False)


def _next(options: Options, captions: Captions, sizes: Sequence[Bucket]) -> list[str]:
  """Returns the commands that train on the records."""
  vae = sources.resolve(options.model, text_encoder=False).checkpoint
  encoded, tokenizer = captions.encoder is not None, captions.folder
  return following.after_records(
    options.output, vae, tokenizer, encoded=encoded, sizes=sizes
  )


def _hashed(options: Options, read: Read) -> Source:
  """Returns a function that hashes a clip's media."""
  if read is shapes.read_clip:
    return shapes.digest
  return SourceHashes(options.output, options.share)


def _listed(options: Options, read: Read) -> Source:
  """Returns a function that looks up hashes that any process has listed by now."""
  if read is shapes.read_clip:
    return shapes.digest
  return SourceHashes(options.output, options.share).known


def made_by(
  encoder: ClipEncoder, captions: Captions, beside: tuple[str, ...] = ()
) -> SetInfo:
  """Returns the properties that all records of the run share."""
  config = encoder.config
  return SetInfo(
    vae=fingerprint(config, jax.device_get(encoder.params)),
    channels=config.latent_channels,
    factors=(config.temporal_factor, config.spatial_factor),
    text_encoder=captions.made_by,
    beside=beside,
  )


def plan_of(
  options: Options,
  clips: Clips,
  buckets: Sequence[Bucket],
  encoder: ClipEncoder,
  made: SetInfo,
) -> Plan:
  """Returns all shards, the same in every process, and this process's part."""
  numbers = f"{encoder.policy.dtype} {encoder.clips}"
  makers = Makers(f"{made.vae} {numbers}", made.text_encoder, made.beside)
  shards = plan_shards(clips, buckets, options.shard)
  return Plan(shards, clips, makers, options.share)


def _summary(plan: Plan, buckets: Sequence[Bucket]) -> str:
  taken: dict[Bucket, list[int]] = {bucket: [] for bucket in buckets}
  for shard in plan.shards:
    taken[shard.bucket] += [int(row) for row in shard.rows]
  sizes, lines = plan.clips.sizes(), []
  for b, rows in taken.items():
    if rows:
      lost = float(np.mean(assignment.cropped(sizes[rows], b)))
      crop = f", {lost:.0%} of their image cropped" if lost >= _MUCH else ""
      unused = 1 - b.frames * len(rows) / max(int(sizes[rows, 0].sum()), 1)
      cut = f", {unused:.0%} of their frames left out" if unused >= _MUCH else ""
      counted = shared.counted(len(rows), "clip")
      lines.append(f"  {size_of(b)}: {counted}{crop}{cut}")
  left = len(plan.clips) - sum(map(len, taken.values()))
  lines += [f"  {left} clips are shorter than every bucket"] if left else []
  return "\n".join([f"{len(plan.clips)} clips, {len(plan.shards)} shards", *lines])


class _Speed(ProgressColumn):
  """Clips per second since the start: they come by shards, in bursts."""

  def render(self, task: Task) -> Text:
    seconds = task.elapsed
    return Text(f"{task.completed / seconds:.2f}/s" if seconds else "")


def _bar(console: Console) -> Progress:
  columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
  return Progress(
    TextColumn("{task.description}"),
    *columns,
    _Speed(),
    TimeRemainingColumn(),
    console=console,
    speed_estimate_period=600,
  )
