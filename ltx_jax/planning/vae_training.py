"""Estimates the memory of a training step of the VAE, before it is compiled.

    kept        inputs of layers, and results of norms and activations
    workspace   the largest layer's results, in float32

A residual block that is computed again keeps its input alone. The other parts are those
of the transformer's plan (`planning.training`).
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp

from ltx_jax.config.runs import VAERun
from ltx_jax.models.sharded import parts_of_frames
from ltx_jax.planning.training import StepPlan, device_bytes
from ltx_jax.planning.vae_walk import (
  Size,
  walk_decoder,
  walk_discriminator,
  walk_encoder,
  walk_perceptual,
)
from ltx_jax.platforms import Policy
from ltx_jax.training.state import TrainState

VAE_REMATS = ("none", "full")
"""Remat policies of a VAE to try, the fastest first."""

_KEPT = {2: 2.0, 4: 4.0}
_KEPT_IN_BLOCK = {
  "none": {2: 9.0, 4: 5.0},
  "full": {2: 0.5, 4: 0.5},
}
"""Number of inputs of a layer that are kept, by the bytes of the compute dtype; of the
two layers of a residual block by remat policy as well. Norms keep float32 copies. They
were fitted to XLA's own figures for VAE C on an H100 and the small one on a CPU."""

_WORK = 4
"""Number of float32 results of the largest layer during its computation."""

_COPIES = {"tpu": 2.25}
"""Factor for what a platform keeps and works on, where its convolutions need copies in
layouts of their own. It was fitted to XLA's figures for VAE C on v5e and v5p, where
residual blocks are computed again; other platforms have 1."""


def plan_vae(
  run: VAERun,
  policy: Policy,
  rows: int,
  size: Size,
  state: TrainState,
  inputs: Any,
  *,
  remat: str,
) -> StepPlan:
  """Estimates the bytes that a training step of the VAE needs on each device.

  Every layer keeps its input, and the results of its norms and activations; a residual
  block that is computed again keeps its input alone. The second derivatives of R1 are
  left out.

  Args:
    run: Recipe, with the configs of the VAE and of the discriminator.
    policy: How the platform runs the step, with its mesh.
    rows: Number of clips in a micro-batch.
    size: Frames, height and width of a clip.
    state: State as arrays or shapes on their devices.
    inputs: Batch and frozen parameters as arrays or shapes on their devices.
    remat: What residual blocks keep, `none` for everything or `full`.
  """
  layers = walk_encoder(run.vae, *size)
  layers += walk_decoder(run.vae, *run.vae.latent_shape(*size))
  if run.adversarial.weight:
    layers += run.adversarial.judged * walk_discriminator(run.adversarial, *size)
  if run.loss.compares_features:
    layers += walk_perceptual(min(run.loss.perceptual_frames, size[0]), *size[1:])
  item, parts = (
    jnp.dtype(policy.dtype).itemsize,
    parts_of_frames(policy, rows, size[1:]),
  )
  of_block, of_layer = _KEPT_IN_BLOCK[remat][item], _KEPT[item]
  kept = sum(
    (of_block if layer.in_block else of_layer)
    * math.prod(layer.before)
    * layer.channels
    for layer in layers
  )
  most = max(math.prod(layer.after) * layer.features for layer in layers)
  copies = _COPIES.get(policy.name, 1.0)
  parameters = device_bytes(state.params)
  return StepPlan(
    state=device_bytes(state),
    batch=device_bytes(inputs),
    kept=int(copies * kept) * rows * item // parts,
    gradients=2 * parameters,
    gathered=parameters * item // 4 if item < 4 else 0,
    workspace=int(copies * _WORK * most) * rows * 4 // parts,
  )
