"""What guidance asks of each step, decided on the host: branches, masks, numbers.

A step evaluates the network for up to three branches of a clip, and only for those that
its numbers need:

  unconditional   where guidance > 1
  conditional     always
  perturbed       where stg > 0 and something is perturbed

stacked along the batch, branch after branch. Numbers may change with the noise level:
with a list of levels, `guidance_sigmas`, the step at sigma takes entry number

  min {i : guidance_sigmas[i] <= sigma},  or the last one where there is none      (1)

of every list. The four modes of perturbation are those of the original; what each does
to a block is in `models.transformer_layers`.

Source: the original's pipeline. It counts rows sample by sample where its batch is
stacked branch by branch, so that from two clips on it perturbs rows that it should not;
here the last rows are perturbed, whatever the number of clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

from ltx_jax.diffusion.guidance import Guidance, needs_unconditional
from ltx_jax.typing import Branches, Perturbation

Mode = Literal["attention_values", "attention_skip", "residual", "transformer_block"]
"""What is perturbed in a block: self-attention becomes each token's own value, or its
own input; nothing (`residual` acts on a connection that this transformer has not, in
the original neither); or the block is passed by."""

_FIELDS = {
  "attention_values": "values",
  "attention_skip": "attention",
  "transformer_block": "block",
}


class Setting(NamedTuple):
  """The numbers of guidance in one step, as `Sampling` gives them.

  Attributes:
    guidance: Scale of classifier-free guidance.
    star: Whether it is CFG-star.
    stg: Scale of spatiotemporal guidance.
    rescale: Share of rescaling, where 1 means none, as in the original.
    mode: What is perturbed.
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
    """Whether the unconditional branch is needed."""
    return needs_unconditional(self.guidance)

  @property
  def perturbed(self) -> bool:
    """Whether the perturbed branch is needed, and is another than the conditional."""
    return self.stg > 0 and bool(self.blocks) and self.mode in _FIELDS

  @property
  def branches(self) -> int:
    """How many branches the step evaluates."""
    return 1 + self.unconditional + self.perturbed

  @property
  def share(self) -> float:
    """How far velocities are rescaled; only where there is spatiotemporal guidance."""
    return self.rescale if self.stg > 0 and self.rescale != 1 else 0.0


def entries(
  levels: Float32[np.ndarray, " s"], guidance_sigmas: Sequence[float]
) -> list[int]:
  """Returns which entry of the lists each level takes, equation (1), in float32."""
  marks = np.asarray(guidance_sigmas, np.float32)
  reached = marks[None, :] <= levels[:, None]
  return np.where(reached.any(1), reached.argmax(1), len(marks) - 1).tolist()


def perturbation(
  mode: Mode, blocks: Sequence[int], *, layers: int, rows: int, clips: int
) -> Perturbation:
  """Returns the masks that perturb the last `clips` of `rows` rows.

  Args:
    mode: What is perturbed.
    blocks: Numbers of the perturbed blocks, from 0.
    layers: How many blocks the network has.
    rows: Number of rows of the batch.
    clips: Number of clips of the perturbed branch.

  Raises:
    ValueError: where the network lacks one of the blocks.
  """
  missing = sorted({block for block in blocks if not 0 <= block < layers})
  if missing:
    raise ValueError(
      f"stg_blocks names {missing}; this transformer has the blocks 0 to {layers - 1}."
    )
  masks = {name: np.zeros((layers, rows), bool) for name in Perturbation._fields}
  if mode in _FIELDS:
    masks[_FIELDS[mode]][list(blocks), rows - clips :] = True
  return Perturbation(**masks)


def guidance_of(
  setting: Setting, *, clips: int, layers: int, unconditional_texts: bool
) -> Guidance:
  """Returns what the compiled step is told.

  Args:
    setting: The numbers of the step.
    clips: Number of clips of the batch.
    layers: Blocks of the network.
    unconditional_texts: Whether the texts of the run are the unconditional ones and
      then the conditional ones, and not those alone.

  Raises:
    ValueError: where the network lacks a block that is to be perturbed.
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
  """None where the rows take all the texts as they come."""
  return None if np.array_equal(text, np.arange(kinds * clips)) else text
