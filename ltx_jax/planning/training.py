"""Estimates by formula, before it is compiled, the memory that a training step needs on
each device; and chooses what of the forward pass to keep for the backward pass.

    state       parameters, moments, averaged parameters      exact, from their shapes
    batch       a device's clips, and frozen parameters       exact
    kept        of every block, for the backward pass         by the remat policy
    gradients   of the parameters, and the updates made of them, both float32
    gathered    weights in the compute dtype, and whole weights of the current blocks
    workspace   what a block has in memory at once, forwards and backwards

U is a device's tokens times the width, in the compute dtype. A block keeps

    full             1 U       its input
    attention       +2 U       the results of attention, over video and text
    dots           +11 U       the results of its products
    dots+attention +13 U
    none            78 U       everything that its derivatives need

Heads narrower than a TPU's registers take twice their size. With low-rank updates
(`training.lora`) `none` keeps 66 U, and the policies that keep products also keep the
results of the updates' first matrices. The multiples of U and the size of the gradients
were fitted to the compiler's own figures. The estimated peak lies within 15 % of the
compiler's for the 2B and 13B transformers, and is hardly ever below it
(`tests/verify/compile_training.py` and `compile_finetune.py`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ltx_jax.checkpoints.trees import flatten
from ltx_jax.config import TransformerConfig
from ltx_jax.models.attention import LOGITS_BYTES
from ltx_jax.models.linear import DOWN
from ltx_jax.models.sharded import (
  devices_of,
  padded_tokens,
  parts_of_stream,
)
from ltx_jax.platforms import Policy
from ltx_jax.training.state import TrainState
from ltx_jax.typing import Params

FILLED = 0.95
"""Share of a device's memory that a step may use; the runtime needs the rest."""

_GB = 1e9
_LANES = 128
_TEXT = 5  # Keys and values of the text, before and after their norm, and gradients.


class _Fitted(NamedTuple):
  """Fitted numbers of one compiler, identified by its attention kernel.

  Attributes:
    gradients: Number of float32 copies of the parameters that it holds.
    casts: Whether it casts all weights before the first block.
    workspace: U that a block works with.
    everything: U that a block keeps if nothing is recomputed.
    blocks: Number of blocks whose weights a device has whole: two in turn, and the
      gradients of one if it is trained.
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
  """Size of a step, over all devices together.

  Attributes:
    rows: Number of clips in a batch.
    tokens: Number of video tokens of a clip.
    text_tokens: Number of text tokens of a clip.
    accumulate: Number of micro-batches.
  """

  rows: int
  tokens: int
  text_tokens: int
  accumulate: int = 1


@dataclasses.dataclass(frozen=True)
class StepPlan:
  """Bytes that a training step needs on each device.

  Attributes:
    state: Parameters, moments, averaged parameters.
    batch: Clips, texts and frozen parameters.
    kept: What the forward pass keeps for the backward pass.
    gradients: Gradients, and the updates made of them.
    gathered: Weights in the compute dtype, and whole weights of the current blocks.
    workspace: What the current block has in memory at once.
  """

  state: int
  batch: int
  kept: int
  gradients: int
  gathered: int
  workspace: int

  @property
  def temporaries(self) -> int:
    """Bytes that are needed besides the step's arguments."""
    return self.kept + self.gradients + self.gathered + self.workspace

  @property
  def peak(self) -> int:
    """Sum of all."""
    return self.state + self.batch + self.temporaries

  def fits(self, memory: int) -> bool:
    """Whether it fits into a device with that many bytes."""
    return self.peak <= FILLED * memory

  def describe(self) -> str:
    """Returns one line that says what takes how many bytes."""
    parts = [
      f"{field.name} {getattr(self, field.name) / _GB:.1f}"
      for field in dataclasses.fields(self)
    ]
    return f"{self.peak / _GB:.1f} GB of each device ({', '.join(parts)})"


def device_bytes(tree: Any) -> int:
  """Counts a device's share of the bytes of arrays, or of shapes on devices."""

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
  """Estimates the bytes that a training step of the transformer needs on each device.

  Args:
    config: Config of the transformer.
    policy: How the platform runs the step, with its mesh.
    size: Size of the batch.
    state: State as arrays or shapes on their devices.
    inputs: Batch and frozen parameters as arrays or shapes on their devices.
    remat: What blocks keep, one of `models.transformer.REMAT_POLICIES`.
  """
  parameters = device_bytes(state.params)
  # Low-rank updates are trained next to a frozen base.
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
    rows: Number of its clips.
    own: Number of its own tokens per clip.
    tokens: Number of all tokens per clip.
    text: Number of text tokens per clip.
    tensor: Number of devices that share heads and hidden layers.
    stream: U, bytes of its own tokens at the width of the stream.
    wide: Bytes of its own tokens at the width in which attention lays out heads.
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
  """Returns the bytes that a block keeps for the backward pass; see `_Fitted`."""
  u, t = share.stream, share.tensor
  attention = 2 * share.wide // t
  # q, k, v, q of the text and the hidden layer are sharded over `tensor`; the rest not.
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
  """Returns the bytes of x A, over all layers of a block with low-rank updates."""
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
  """Returns the bytes of all logits of a block, if its kernel stores them."""
  if policy.attention != "xla":
    return 0
  heads = config.num_attention_heads // share.tensor
  return 4 * share.rows * heads * share.own * share.tokens


def transformer_remats(policy: Policy) -> tuple[str, ...]:
  """Returns the remat policies of a transformer to try, the fastest first.

  On a CPU, where computing costs more than memory, everything is kept if it fits.
  """
  return ("none", *_ORDER) if policy.name == "cpu" else _ORDER


def choose_remat(
  plan: Callable[[str], StepPlan], order: Sequence[str], memory: int | None
) -> str:
  """Returns the remat policy that fits and recomputes least.

  If none fits, it is the one that needs the least memory.

  Args:
    plan: Function from a remat policy to the plan of a step in its largest bucket.
    order: Remat policies to try, `transformer_remats` or `VAE_REMATS`.
    memory: Bytes of each device; None means unknown, and takes the first policy.
  """
  for remat in order:
    if memory is None or plan(remat).fits(memory):
      return remat
  return order[-1]


def most_rows(plan: Callable[[int], StepPlan], memory: int, step: int) -> int:
  """Returns the most rows, a multiple of `step`, whose plan fits; 0 if none does."""
  low, high = 0, 1
  while plan(high * step).fits(memory):
    low, high = high, 2 * high
  while high - low > 1:
    middle = (low + high) // 2
    low, high = (middle, high) if plan(middle * step).fits(memory) else (low, middle)
  return low * step
