"""The trainer of the Video-VAE: the parts of a run around its steps (`vae_step`)."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ltx_jax.checkpoints import arrays
from ltx_jax.checkpoints.discriminator import FILE, save_discriminator
from ltx_jax.checkpoints.lightricks import save_checkpoint
from ltx_jax.checkpoints.perceptual import load_perceptual
from ltx_jax.cli.command_line import errors_in_words
from ltx_jax.cli.console import counted
from ltx_jax.config import ModelConfig, SchedulerConfig
from ltx_jax.config.adversarial import DISCRIMINATOR
from ltx_jax.config.perceptual import PERCEPTUAL
from ltx_jax.config.runs import VAERun
from ltx_jax.data.buckets import tokens_of
from ltx_jax.data.loader import Loader
from ltx_jax.data.pixels import to_floats, to_uint8
from ltx_jax.diffusion import statistics
from ltx_jax.metrics.latents import LatentSums
from ltx_jax.models import vae as vae_lib
from ltx_jax.parallel import distributed
from ltx_jax.parallel.mesh import make_mesh, own_rows
from ltx_jax.parallel.sharding import VAE_TRAINING_RULES
from ltx_jax.planning import flops
from ltx_jax.platforms import Policy, policy_of
from ltx_jax.training.state import Batch, TrainState, without
from ltx_jax.typing import Params
from train.harness import (
  checks,
  data,
  dry_run,
  evaluation,
  fitting,
  following,
  loop,
  processes,
)
from train.harness.meter import Work, WorkOf
from train.harness.skipped import Skipped
from train.harness.start import Start, vae_start
from train.harness.steps import News, Pictures
from train.trainers import vae_step

ERROR_GAIN = 4
"""Factor by which errors are shown brighter."""

CAPTIONS = [
  "a held-out clip",
  "what the VAE makes of it",
  f"the error, {ERROR_GAIN} times as bright",
]
"""Captions of the three rows of each clip."""

MEASURED_BATCHES = 16
"""Number of last batches from which the statistics of averaged encoders are taken."""


def clip_flops(run: VAERun, size: Sequence[int]) -> int:
  """Counts the operations of a clip's passes through all networks."""
  encoder_trained = run.trained == "vae"
  size = tuple(size)
  return flops.vae_training(
    run.vae,
    run.adversarial,
    size,
    encoder_trained=encoder_trained,
    compared_frames=run.loss.perceptual_frames if run.loss.compares_features else 0,
  )


def work_of(run: VAERun) -> WorkOf:
  """Returns a function that counts a step's clips, tokens and operations."""

  def work(batch: Mapping[str, Array]) -> Work:
    clips, *size = batch["video"].shape[:4]
    grid = run.vae.latent_shape(*size)
    return Work(clips, clips * int(np.prod(grid)), clips * clip_flops(run, size))

  return work


def exported_params(
  run: VAERun, policy: Policy, state: TrainState, batches: Iterable[Batch]
) -> Params:
  """Returns the parameters to export: averaged if kept, with their statistics.

  The running statistics belong to the latents that the parameters themselves encoded.
  An averaged encoder is another one, so its statistics are taken from these batches,
  one after the other, with sums in float64.
  """
  params = without(state.ema or state.params, (DISCRIMINATOR,))
  found = statistics.statistics(state.extra)
  if state.ema and run.trained == "vae":

    @jax.jit
    def latents(params: Params, video: Array) -> Array:
      return vae_lib.encode_moments(params, run.vae, policy, to_floats(video))[0]

    sums = LatentSums.of(latents(params, batch["video"]) for batch in batches)
    found = {"mean": np.float32(sums.mean), "std": np.float32(sums.std)}
  return params | {"per_channel_statistics": found}


def remark(metrics: Mapping[str, float]) -> str | None:
  """Warns of a KL weight with which the latents drift; see `STD_RANGE`."""
  low, high = (metrics.get(f"latent_std_{end}", 1.0) for end in ("min", "max"))
  if statistics.STD_RANGE[0] <= low and high <= statistics.STD_RANGE[1]:
    return None
  return (
    f"the latents' std spans {low:.2f} to {high:.2f}, outside {statistics.STD_RANGE}; "
    "raise --loss.kl if it is too large, lower it if it is too small."
  )


def make_pictures(run: VAERun, policy: Policy, video: np.ndarray) -> Pictures:
  """Returns a function that shows clips, their reconstructions, and the errors.

  Args:
    video: uint8 [b F H W 3].
  """

  @jax.jit
  def reconstruct(params: Params, video: Array) -> Array:
    mean, _ = vae_lib.encode_moments(params, run.vae, policy, to_floats(video))
    sigma = jnp.zeros(video.shape[0])
    return vae_lib.decode(params, run.vae, policy, mean, sigma)

  def pictures(state: TrainState, step: int) -> dict[str, np.ndarray]:
    output = reconstruct(state.params | state.ema, video)
    output = to_uint8(np.asarray(output))
    error = np.abs(output.astype(np.int16) - video) * ERROR_GAIN
    error = error.clip(0, 255).astype(np.uint8)
    frames = np.linspace(0, video.shape[1] - 1, 5).astype(int)
    rows = [
      np.concatenate(list(clip[frames]), axis=1)
      for three in zip(video, output, error, strict=True)
      for clip in three
    ]
    return {"reconstruction": np.concatenate(rows, axis=0)}

  return pictures


def exported(run: VAERun) -> Path:
  """Returns the file where the VAE is written."""
  return Path(run.output.folder) / "vae.safetensors"


def export(run: VAERun, params: Params, rival: Params | None = None) -> Path:
  """Writes the VAE in the released single-file layout and returns its path.

  The discriminator, if there is one, is written next to it for a later run.
  """
  path = exported(run)
  if rival is not None:
    save_discriminator(path.with_name(FILE), run.adversarial, jax.device_get(rival))
  config = ModelConfig(transformer=None, vae=run.vae, scheduler=SchedulerConfig())
  save_checkpoint(path, config, {"vae": jax.device_get(params)}, dtype="float32")
  return path


def frozen_of(run: VAERun) -> Params:
  """Returns what the steps read but do not train, on the host: the network of LPIPS.

  Raises:
    ValueError: If its file cannot be read.
  """
  if not run.loss.compares_features:
    return {}
  return {PERCEPTUAL: load_perceptual(run.loss.perceptual_weights, arrays.on_host)}


def written_and_read(run: VAERun) -> tuple[list[Path], list[tuple[str, Path | str]]]:
  """Returns the files that a run writes at its end, and its inputs by their options."""
  written: list[Path] = [exported(run)]
  read: list[tuple[str, Path | str]] = [("init_from", run.init_from)]
  if run.adversarial.weight:
    written.append(exported(run).with_name(FILE))
    if run.init_from:
      read.append(("init_from", Path(run.init_from).with_name(FILE)))
  return written, read


def shown_clips(held_out: Mapping[str, Batch], run: VAERun) -> np.ndarray:
  """Returns the held-out clips to sample: up to four of the last stage's size."""
  b = run.stages[-1].buckets[0]
  name = f"{b.frames}x{b.height}x{b.width}"
  return held_out.get(name, next(iter(held_out.values())))["video"][:4]


def left_out(run: VAERun) -> list[str]:
  """Says which losses a run lacks that its config has a weight for."""
  lines, gan = [], run.adversarial
  if run.loss.perceptual and not run.loss.perceptual_weights:
    lines.append(
      "There is no LPIPS among the losses: --loss.perceptual-weights names no file "
      "(train.perceptual_weights makes it)."
    )
  whole = gan.heard[1]
  if gan.weight and gan.start >= run.steps:
    lines.append(
      f"The discriminator is not trained: --adversarial.start {gan.start} is beyond "
      f"the run's {counted(run.steps, 'step')}."
    )
  elif gan.weight and gan.heard[0] >= run.steps:
    lines.append(
      "The VAE does not learn from the discriminator: by --adversarial.start and "
      f"head-start it begins to at step {gan.heard[0]}, beyond the run's "
      f"{counted(run.steps, 'step')}."
    )
  elif gan.weight and whole >= run.steps:
    lines.append(
      "The adversarial loss does not reach its whole weight: by --adversarial.start, "
      f"head-start and ramp it does so at step {whole} of {run.steps}."
    )
  return lines


def start_run(run: VAERun, dry: bool = False) -> None:
  """Trains or resumes, and writes the VAE; a dry run prints what it would do.

  Exits with a message on errors.
  """
  tokens = tokens_of(run.vae)
  with processes.ends_at_once(), errors_in_words():
    processes.start(run)
    checks.check_run(run, run.vae, tokens)
    if run.trained == "decoder" and not run.init_from:
      raise ValueError(
        "--trained decoder keeps the encoder unchanged; without --init-from that is "
        "a random one; name the checkpoint of a VAE."
      )
    checks.check_outputs(*written_and_read(run))
    clips = data.open_clips(run)
    run = data.with_buckets(run, clips.trained, run.vae)
    checks.check_run(run, run.vae, tokens)
    skipped = Skipped(clips, run.stages)
    for line in (*clips.notes, *skipped.news()):
      processes.say(line)
    for line in left_out(run):
      processes.say(line)
    mesh = make_mesh(**vars(run.mesh))
    own = functools.partial(own_rows, mesh)
    loader = Loader(clips.trained, run.stages, run.seed, tokens, own)
    policy = policy_of(jax.devices()[0]).in_dtype(run.dtype).for_training(mesh)
    memory = None if dry else fitting.device_memory(mesh)
    run = fitting.settle(run, policy, mesh, run.vae, memory=memory, say=processes.say)
    if dry:
      shapes = jax.eval_shape(
        functools.partial(vae_step.init_state, run), jax.random.key(0)
      )
      networks = {"vae": without(shapes.params, (DISCRIMINATOR,))}
      if DISCRIMINATOR in shapes.params:
        networks[DISCRIMINATOR] = shapes.params[DISCRIMINATOR]
      return dry_run.show(run, loader, networks)
    # Before the run has a folder.
    warm_start, frozen = vae_start(run), frozen_of(run)
    with skipped.listed(Path(run.output.folder)) as news:
      train(run, policy, clips, loader, news=news, warm_start=warm_start, frozen=frozen)


def train(
  run: VAERun,
  policy: Policy,
  clips: data.ClipData,
  loader: Loader,
  *,
  news: News,
  warm_start: Start | None,
  frozen: Params,
) -> None:
  """Trains on clips, and writes the checkpoint."""
  mesh, alone = make_mesh(**vars(run.mesh)), processes.alone(policy)
  held_out = evaluation.held_out_batches(clips.held_out, run.stages)
  video = shown_clips(held_out, run)
  losses = functools.partial(vae_step.held_out_losses, run=run, policy=policy)
  state = loop.fit(
    run,
    init=functools.partial(vae_step.init_state, run),
    update=vae_step.make_update(run, policy),
    loader=loader,
    rules=VAE_TRAINING_RULES,
    frozen=frozen,
    options=policy.training_options,
    hooks=loop.Hooks(
      pictures=make_pictures(run, alone, video),
      captions=CAPTIONS * len(video),
      evaluate=evaluation.make_evaluate(
        losses, held_out, mesh, policy.training_options
      ),
      remark=remark,
      work=work_of(run),
      news=news,
    ),
    warm_start=warm_start,
  )
  last = range(max(0, run.steps - MEASURED_BATCHES), run.steps)
  state = processes.shown(state)
  if distributed.is_first():
    if state.ema and run.trained == "vae":
      print("Measuring the latents of the averaged encoder ...", flush=True)
    params = exported_params(run, alone, state, map(loader.batch, last))
    path = export(run, params, state.params.get(DISCRIMINATOR))
    curves = following.curves(run.output.folder)
    print(f"Wrote {path}", curves, *following.after_vae(run, path), sep="\n")
  processes.wait_for_all("VAE written")
