"""The guidance of each step, decided on the host: branches, masks and scales.

A step evaluates the network for up to three branches of each clip, and only for those
that its settings need:

  unconditional   if guidance > 1
  conditional     always
  perturbed       if stg > 0 and something is perturbed

The branches are stacked along the batch. Settings may change with the noise level. If a
list of levels `guidance_sigmas` is given, the step at sigma takes from every list the
entry with number

  min {i : guidance_sigmas[i] <= sigma},  or the last one if there is no such i    (1)

The four modes of perturbation are those of the original; `models.transformer_layers`
says what each does to a block.

Source: the original's pipeline. It numbers the rows of its batch clip by clip, although
the batch is stacked branch by branch, so with two or more clips it perturbs the wrong
rows. This code perturbs the last rows, for any number of clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

from ltx_jax.diffusion.guidance import Guidance, needs_unconditional
from ltx_jax.typing import Branches, Perturbation

Mode = Literal["attention_values", "attention_skip", "residual", "transformer_block"]
"""How a block is perturbed: self-attention returns each token's own value, or its own
input; or the block is skipped. `residual` changes nothing, here and in the original: it
acts on a connection that this transformer does not have."""

_FIELDS = {
  "attention_values": "values",
  "attention_skip": "attention",
  "transformer_block": "block",
}


class Setting(NamedTuple):
  """Guidance settings of one step, as `Sampling` gives them.

  Attributes:
    guidance: Scale of classifier-free guidance.
    star: Whether to use CFG-star.
    stg: Scale of spatiotemporal guidance.
    rescale: Share of rescaling; 1 means none, as in the original.
    mode: How blocks are perturbed.
    blocks: Numbers of the perturbed blocks.
  """

  guidance: float
  star: bool
  stg: float
  rescale: float
  mode: Mode
  blocks: tuple[int, ...]

  @property
  def unconditional(self) -> bool:
    """Whether the step needs the unconditional branch."""
    return needs_unconditional(self.guidance)

  @property
  def perturbed(self) -> bool:
    """Whether the step needs a perturbed branch that differs from the conditional."""
    return self.stg > 0 and bool(self.blocks) and self.mode in _FIELDS

  @property
  def branches(self) -> int:
    """Number of branches that the step evaluates."""
    return 1 + self.unconditional + self.perturbed

  @property
  def share(self) -> float:
    """How far velocities are rescaled; 0 without spatiotemporal guidance."""
    return self.rescale if self.stg > 0 and self.rescale != 1 else 0.0


def entries(
  levels: Float32[np.ndarray, " s"], guidance_sigmas: Sequence[float]
) -> list[int]:
  """Returns the number of the list entry of each level, equation (1), in float32."""
  marks = np.asarray(guidance_sigmas, np.float32)
  reached = marks[None, :] <= levels[:, None]
  return np.where(reached.any(1), reached.argmax(1), len(marks) - 1).tolist()


def perturbation(
  mode: Mode, blocks: Sequence[int], *, layers: int, rows: int, clips: int
) -> Perturbation:
  """Returns the masks that perturb the last `clips` of `rows` rows.

  Args:
    mode: How blocks are perturbed.
    blocks: Numbers of the perturbed blocks, from 0.
    layers: Number of blocks of the network.
    rows: Number of rows of the batch.
    clips: Number of clips of the perturbed branch.

  Raises:
    ValueError: If the network lacks one of the blocks.
  """
  missing = sorted({block for block in blocks if not 0 <= block < layers})
  if missing:
    raise ValueError(
      f"stg_blocks names {missing}; this transformer has the blocks 0 to {layers - 1}, "
      "so give some of those."
    )
  masks = {name: np.zeros((layers, rows), bool) for name in Perturbation._fields}
  if mode in _FIELDS:
    masks[_FIELDS[mode]][list(blocks), rows - clips :] = True
  return Perturbation(**masks)


def guidance_of(
  setting: Setting, *, clips: int, layers: int, unconditional_texts: bool
) -> Guidance:
  """Returns the guidance arguments of the compiled step.

  Args:
    setting: Guidance settings of the step.
    clips: Number of clips of the batch.
    layers: Number of blocks of the network.
    unconditional_texts: Whether the run has the unconditional texts in front of the
      conditional ones, or only the conditional ones.

  Raises:
    ValueError: If the network lacks a block that is to be perturbed.
  """
  first = np.arange(clips, dtype=np.int32)
  conditional = first + clips if unconditional_texts else first
  texts = [first] * setting.unconditional + [conditional]
  texts += [conditional] * setting.perturbed
  skip = None
  if setting.perturbed:
    rows = clips * setting.branches
    skip = perturbation(
      setting.mode, setting.blocks, layers=layers, rows=rows, clips=clips
    )
  text = _unless_in_order(np.concatenate(texts), 2 if unconditional_texts else 1, clips)
  return Guidance(
    scale=np.float32(setting.guidance) if setting.unconditional else None,
    star=np.bool_(setting.star),
    stg=np.float32(setting.stg) if setting.perturbed else None,
    rescale=np.float32(setting.share),
    branches=Branches(text, skip),
  )


def _unless_in_order(
  text: Int32[np.ndarray, " b"], kinds: int, clips: int
) -> Int32[np.ndarray, " b"] | None:
  """Returns None if the rows take all texts in order, and else the rows' texts."""
  return None if np.array_equal(text, np.arange(kinds * clips)) else text
