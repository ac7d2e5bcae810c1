"""Will a training step fit? What it needs of each device, by formula, before it is
compiled; and what of the forward pass to keep for the backward pass.

    state       parameters, moments, averaged parameters      exact, from their shapes
    batch       a device's clips, and what is frozen          exact
    kept        of every block, for the backward pass         by the remat policy
    gradients   of the parameters, and the updates made of them, both float32
    gathered    weights in the compute dtype, and whole those of the blocks at work
    workspace   what a block has in memory at once, forwards and backwards

With U a device's tokens times the width, in the compute dtype, a block keeps

    full             1 U       its input
    attention       +2 U       what attention gives, of video and of text
    dots           +11 U       what its products give
    dots+attention +13 U
    none            78 U       all that its derivatives ask for

where heads narrower than a TPU's registers take twice their size. Under low-rank
updates (`training.lora`) `none` keeps 66 U, and what keeps products keeps what the
updates' first matrices give as well. The numbers of U, and what is made of the
gradients, were fitted to the compiler's own figures: the peak lies within 15 % of its
for the 2B and 13B transformers, and is hardly ever below
(`tests/verify/compile_training.py`, `compile_finetune.py` beside it).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ltx_jax.checkpoints.trees import flatten
from ltx_jax.config import TransformerConfig, VAEConfig
from ltx_jax.models.attention import LOGITS_BYTES
from ltx_jax.models.linear import DOWN
from ltx_jax.models.sharded import (
  devices_of,
  padded_tokens,
  parts_of_frames,
  parts_of_stream,
)
from ltx_jax.planning.vae_walk import Size, walk_decoder, walk_encoder
from ltx_jax.platforms import Policy
from ltx_jax.training.state import TrainState
from ltx_jax.typing import Params

FILLED = 0.95
"""Share of a device's memory that a step may plan with: the rest is the runtime's."""

_GB = 1e9
_LANES = 128
_TEXT = 5  # Keys and values of the text, before and after their norm, and gradients.
_KEPT_OF_LAYER = 4  # Inputs, of a layer of the VAE, that its block keeps.
_WORK_OF_LAYER = 4  # Outputs, in float32, of its largest layer at work.


class _Fitted(NamedTuple):
  """What was fitted, of the compiler that a kernel of attention stands for.

  Attributes:
    gradients: Times that it has as many float32 numbers as there are parameters.
    casts: Whether it casts all weights before the first block.
    workspace: U that a block works with.
    everything: U that a block keeps where nothing is computed again.
    blocks: Blocks whose weights a device has whole: two in turn, and the gradients of
      one where it is trained.
  """

  gradients: int
  casts: bool
  workspace: int
  everything: int
  blocks: int


_WHOLE = {
  "splash": _Fitted(2, True, 72, 78, 3),
  "cudnn": _Fitted(1, False, 40, 78, 3),
  "xla": _Fitted(1, False, 40, 78, 3),
}
_UPDATES = {
  "splash": _Fitted(2, True, 48, 66, 2),
  "cudnn": _Fitted(1, False, 40, 66, 2),
  "xla": _Fitted(1, False, 40, 66, 2),
}
_ORDER = ("dots+attention", "dots", "attention", "full")


@dataclasses.dataclass(frozen=True)
class StepSize:
  """What a step works on, all devices together.

  Attributes:
    rows: Clips of a batch.
    tokens: Video tokens of a clip.
    text_tokens: Text tokens of a clip.
    accumulate: Micro-batches that the rows come in.
  """

  rows: int
  tokens: int
  text_tokens: int
  accumulate: int = 1


@dataclasses.dataclass(frozen=True)
class StepPlan:
  """Bytes that a training step needs of each device.

  Attributes:
    state: Parameters, moments, averaged parameters.
    batch: Clips and texts, with what is frozen.
    kept: What is kept of the forward pass, for the backward pass.
    gradients: Gradients, with the updates that are made of them.
    gathered: Weights in the compute dtype, and whole those of the blocks at work.
    workspace: What the block at work has in memory at once.
  """

  state: int
  batch: int
  kept: int
  gradients: int
  gathered: int
  workspace: int

  @property
  def temporaries(self) -> int:
    """What is needed beside the step's arguments."""
    return self.kept + self.gradients + self.gathered + self.workspace

  @property
  def peak(self) -> int:
    """All of it."""
    return self.state + self.batch + self.temporaries

  def fits(self, memory: int) -> bool:
    """Whether a device of so many bytes has room for it."""
    return self.peak <= FILLED * memory

  def describe(self) -> str:
    """Says in a line what takes how much."""
    parts = [
      f"{field.name} {getattr(self, field.name) / _GB:.1f}"
      for field in dataclasses.fields(self)
    ]
    return f"{self.peak / _GB:.1f} GB of each device ({', '.join(parts)})"


def device_bytes(tree: Any) -> int:
  """Counts a device's share of arrays, or of shapes on devices."""

  def own(x: Any) -> int:
    split = getattr(x, "sharding", None)
    shape = x.shape if split is None else split.shard_shape(x.shape)
    return math.prod(shape) * x.dtype.itemsize

  return sum(map(own, jax.tree.leaves(tree)))


def plan_transformer(
  config: TransformerConfig,
  policy: Policy,
  size: StepSize,
  state: TrainState,
  inputs: Any,
  *,
  remat: str,
) -> StepPlan:
  """Estimates what a training step of the transformer needs of each device.

  Args:
    config: Config of the transformer.
    policy: How the platform runs the step, with its mesh.
    size: Size of the batch.
    state: Arrays or shapes on their devices.
    inputs: Arrays or shapes of the batch and of what is frozen, on their devices.
    remat: What blocks keep, one of `models.transformer.REMAT_POLICIES`.
  """
  parameters = device_bytes(state.params)
  # Low-rank updates are trained beside a frozen base.
  updates = state.params.get("lora", {})
  fitted = (_UPDATES if updates else _WHOLE)[policy.attention]
  network = inputs[0]["base"] if updates else state.params
  blocks = network["transformer"]["blocks"]
  block = sum(math.prod(x.shape[1:]) for x in jax.tree.leaves(blocks))
  item = jnp.dtype(policy.dtype).itemsize
  tensor, fsdp = (devices_of(policy.mesh, (axis,)) for axis in ("tensor", "fsdp"))
  gathered = parameters * item // 4 if fitted.casts and item < 4 else 0
  if fsdp > 1 or item < 4:
    gathered += fitted.blocks * block * item // tensor
  share = _share(config, policy, size)
  kept = _kept(config, policy, share, remat, fitted.everything)
  if remat in ("dots", "dots+attention"):
    kept += _kept_of_updates(updates, share, item)
  return StepPlan(
    state=device_bytes(state),
    batch=device_bytes(inputs),
    kept=config.num_layers * kept,
    gradients=(fitted.gradients + (size.accumulate > 1)) * parameters,
    gathered=gathered,
    workspace=_workspace(config, policy, share, fitted.workspace),
  )


class _Share(NamedTuple):
  """A device's share of a micro-batch.

  Attributes:
    rows: Clips.
    own: Tokens of each that are its own.
    tokens: All tokens of each.
    text: Text tokens of each.
    tensor: Devices that share heads and hidden layers.
    stream: U, bytes of the own tokens, as wide as the stream.
    wide: Bytes of the own tokens, as wide as attention lays out their heads.
  """

  rows: int
  own: int
  tokens: int
  text: int
  tensor: int
  stream: int
  wide: int


def _share(config: TransformerConfig, policy: Policy, size: StepSize) -> _Share:
  rows = max(1, size.rows // size.accumulate)
  of_rows, of_tokens = parts_of_stream(policy, rows)
  tokens = padded_tokens(rows, size.tokens, policy)
  rows, own = max(1, rows // of_rows), tokens // of_tokens
  stream = rows * own * config.width * jnp.dtype(policy.dtype).itemsize
  narrow = policy.attention == "splash" and config.attention_head_dim % _LANES
  return _Share(
    rows=rows,
    own=own,
    tokens=tokens,
    text=size.text_tokens,
    tensor=devices_of(policy.mesh, ("tensor",)),
    stream=stream,
    wide=2 * stream if narrow else stream,
  )


def _kept(
  config: TransformerConfig,
  policy: Policy,
  share: _Share,
  remat: str,
  everything: int,
) -> int:
  """What one block keeps for the backward pass; `everything` as of `_Fitted`."""
  u, t = share.stream, share.tensor
  attention = 2 * share.wide // t
  # q, k, v, q of the text and the hidden layer lie over `tensor`; the rest is whole.
  dots = 8 * u // t + 3 * u
  text = _TEXT * u * share.text // share.own // t
  logits = _logits(config, policy, share)
  more = {
    "full": 0,
    "attention": attention,
    "dots": dots,
    "dots+attention": dots + attention,
    "none": everything * u // t - u + (logits if logits <= LOGITS_BYTES else 0),
  }
  return u + text + more[remat]


def _kept_of_updates(updates: Params, share: _Share, item: int) -> int:
  """What x A of all layers of a block with low-rank updates takes."""
  bytes_ = 0
  for path, leaf in flatten(updates).items():
    if path.endswith(DOWN):
      of_text = "attn2/to_k" in path or "attn2/to_v" in path
      bytes_ += share.rows * (share.text if of_text else share.own) * leaf.shape[-1]
  return bytes_ * item


def _workspace(
  config: TransformerConfig, policy: Policy, share: _Share, workspace: int
) -> int:
  bytes_ = workspace * share.stream // share.tensor
  if share.own < share.tokens:  # Keys, values and their gradients, of all tokens.
    bytes_ += 4 * share.stream * share.tokens // share.own // share.tensor
  return bytes_ + 3 * min(LOGITS_BYTES, _logits(config, policy, share))


def _logits(config: TransformerConfig, policy: Policy, share: _Share) -> int:
  """Bytes of all logits of a block, where a kernel does not keep them to itself."""
  if policy.attention != "xla":
    return 0
  heads = config.num_attention_heads // share.tensor
  return 4 * share.rows * heads * share.own * share.tokens


def choose_remat(
  plan: Callable[[str], StepPlan], policy: Policy, memory: int | None
) -> str:
  """Returns the remat policy that computes least again, of those that fit.

  On a CPU, whose memory is large beside what it computes, all is kept where it fits.
  Where none fits it is the one that needs least.

  Args:
    plan: Function from a remat policy to the plan of a step in its largest bucket.
    policy: How the platform runs the step.
    memory: Bytes of each device; None, unknown, takes the first.
  """
  order = ("none", *_ORDER) if policy.name == "cpu" else _ORDER
  for remat in order:
    if memory is None or plan(remat).fits(memory):
      return remat
  return order[-1]


def most_rows(plan: Callable[[int], StepPlan], memory: int, step: int) -> int:
  """Returns the most rows, a multiple of `step`, whose plan fits; 0 where none does."""
  low, high = 0, 1
  while plan(high * step).fits(memory):
    low, high = high, 2 * high
  while high - low > 1:
    middle = (low + high) // 2
    low, high = (middle, high) if plan(middle * step).fits(memory) else (low, middle)
  return low * step


def plan_vae(
  config: VAEConfig,
  policy: Policy,
  rows: int,
  size: Size,
  state: TrainState,
  inputs: Any,
) -> StepPlan:
  """Estimates what a training step of the VAE needs of each device.

  Every layer keeps its input, and what norms and activations made of it.

  Args:
    config: Config of the VAE.
    policy: How the platform runs the step, with its mesh.
    rows: Clips of a micro-batch.
    size: Frames, height and width of a clip.
    state: Arrays or shapes on their devices.
    inputs: Arrays or shapes of the batch and of what is frozen, on their devices.
  """
  layers = walk_encoder(config, *size)
  layers += walk_decoder(config, *config.latent_shape(*size))
  item, parts = (
    jnp.dtype(policy.dtype).itemsize,
    parts_of_frames(policy, rows, size[1:]),
  )
  kept = sum(math.prod(layer.before) * layer.channels for layer in layers)
  most = max(math.prod(layer.after) * layer.features for layer in layers)
  parameters = device_bytes(state.params)
  return StepPlan(
    state=device_bytes(state),
    batch=device_bytes(inputs),
    kept=_KEPT_OF_LAYER * kept * rows * item // parts,
    gradients=2 * parameters,
    gathered=parameters * item // 4 if item < 4 else 0,
    workspace=_WORK_OF_LAYER * most * rows * 4 // parts,
  )
