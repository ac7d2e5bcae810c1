"""The rows of the device benchmark, in the order in which they run.

A row makes its weights and inputs on the device and returns a `Job`. `--rows` takes the
names of rows; `Sizes.words` fills in the descriptions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ltx_jax.platforms import Policy
from sample.benchmark.device import attention, networks, training
from sample.benchmark.device.job import Job
from sample.benchmark.device.sizes import Sizes


@dataclasses.dataclass(frozen=True)
class Row:
  """One line of the table.

  Attributes:
    name: Name that `--rows` takes.
    what: Description of what is measured.
    expected: Seconds that it takes on an H100, compilation included; a row is not
      started with less time left.
    make: Function that prepares it; None if the original runs it, or nothing does yet.
    original_of: The row whose task the original is timed on.
    missing: Reason why it cannot run.
  """

  name: str
  what: str
  expected: float
  make: Callable[[Sizes, Policy], Job] | None = None
  original_of: str = ""
  missing: str = ""


ROWS = (
  Row(
    "clip",
    "a whole clip of {clip} by {small}, {steps} steps, prompt to pixels",
    70,
    networks.clip,
  ),
  Row("velocity", "{small} velocity, {clip}, one clip", 35, networks.velocity),
  Row(
    "velocity_guided",
    "{small} velocity, {clip}, two rows for guidance",
    35,
    networks.velocity_guided,
  ),
  Row("decode", "decode {clip}", 30, networks.decode),
  Row("attention", "attention, {short} tokens", 15, attention.short),
  Row("attention_long", "attention, {long} tokens", 15, attention.long),
  Row(
    "attention_gradients",
    "attention and its gradients, {short} tokens",
    25,
    attention.gradients,
  ),
  Row(
    "training_step",
    "{small} training step with AdamW, one clip of {clip}",
    60,
    training.step,
  ),
  Row(
    "lora_step",
    "{small} LoRA step",
    0,
    missing="there is no training of LoRAs yet",
  ),
  Row("velocity_large", "{large} velocity, {clip}", 45, networks.velocity_large),
  Row(
    "velocity_large_int8",
    "{large} velocity, {clip}, weights in int8",
    45,
    networks.velocity_large_int8,
  ),
  Row(
    "velocity_original",
    "the original's {small} velocity, {clip}",
    40,
    original_of="velocity",
  ),
  Row("decode_original", "the original's decode of {clip}", 40, original_of="decode"),
  Row("denoise", "{steps} steps of {small}, {clip}", 35, networks.denoise),
  Row(
    "denoise_guided",
    "{steps} steps of {small} with guidance, {clip}",
    45,
    networks.denoise_guided,
  ),
  Row("encode", "encode {clip}", 30, networks.encode),
  Row("text", "T5 encode of 2 prompts of {text} tokens", 25, networks.text),
  Row(
    "distilled",
    "{small} distilled, {few} steps and decode, {wide}",
    45,
    networks.distilled,
  ),
)

BY_NAME = {row.name: row for row in ROWS}
