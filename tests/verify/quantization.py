"""The effect of 8-bit weights on velocity, whole videos and text; and the memory saved.

The shipped small model in float32 is compared with the same model with kernels in 8
bits. The velocity is compared on rendered clips, noised to several levels, as the norm
of the difference divided by the norm. Videos from the same captions and noise are
compared by PSNR. Sizes of the released networks follow from their shapes, with
everything else in bfloat16.

How much fp8 changes depends on the model. So its limit is what rounding to four
significant bits does by itself, with no limit to the exponent, and a tenth more.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ltx_jax
from ltx_jax.checkpoints.quantization import quantize_params
from ltx_jax.checkpoints.trees import flatten, nest
from ltx_jax.config import TRANSFORMER_2B, TRANSFORMER_13B, TextEncoderConfig
from ltx_jax.diffusion.latents import coordinates, patchify
from ltx_jax.metrics.psnr import psnr
from ltx_jax.models import text_encoder, transformer
from ltx_jax.moving_shapes import world
from ltx_jax.typing import EncodedText

NAME = "Weights in 8 bits, against full precision"
COMMAND = "python -m tests.verify quantization"

CLIPS, SIGMAS = 4, (0.1, 0.5, 0.9)
# Videos within these limits are hard to tell apart; a mistake in the scales is far
# worse.
INT8_PERCENT = 2.0
OVER_ROUNDING = 1.1
VIDEO_DB = {"int8": 30.0, "fp8": 25.0}
TEXT_PERCENT = 2.0


def in_8_bits(model: ltx_jax.LTXVideo, part: str, weights: str) -> ltx_jax.LTXVideo:
  """Returns the model with the kernels of one network in 8 bits."""
  quantized = quantize_params({part: model.params[part]}, weights)
  return dataclasses.replace(model, params=model.params | quantized)


def rounded(model: ltx_jax.LTXVideo) -> ltx_jax.LTXVideo:
  """Returns the model with its blocks' kernels at four significant bits."""
  plain = flatten({"transformer": model.params["transformer"]})
  stored = flatten(quantize_params(nest(plain), "fp8"))
  for path in plain:
    if stored[path].dtype != plain[path].dtype:
      mantissa, exponent = np.frexp(np.asarray(plain[path], np.float32))
      plain[path] = np.ldexp(np.round(mantissa * 16) / 16, exponent)
  return dataclasses.replace(model, params=model.params | nest(plain))


def noised(model: ltx_jax.LTXVideo, captions: list[str]) -> list[tuple]:
  """Returns tokens, positions and noise levels of rendered clips, at each level."""
  recipe = model.recipe
  size = recipe.frames, recipe.height, recipe.width
  clips = [world.clip(text, i, *size) for i, text in enumerate(captions)]
  latents = model.encode(np.float32(np.stack(clips)) / 127.5 - 1)
  tokens = np.asarray(patchify(latents))
  vae = model.config.vae
  place = coordinates(
    latents.shape[1:4],
    recipe.fps,
    temporal_factor=vae.temporal_factor,
    spatial_factor=vae.spatial_factor,
    causal=model.config.transformer.causal_temporal_positioning,
  )
  coords = np.broadcast_to(place, (len(tokens), *place.shape))
  noise = np.random.default_rng(0).standard_normal(tokens.shape).astype(np.float32)
  levels = [np.full(len(tokens), sigma, np.float32) for sigma in SIGMAS]
  mix = [(1 - s)[:, None, None] * tokens + s[:, None, None] * noise for s in levels]
  return [(x, coords, sigma) for x, sigma in zip(mix, levels, strict=True)]


def velocities(
  model: ltx_jax.LTXVideo, inputs: list[tuple], text: EncodedText
) -> np.ndarray:
  """Returns the velocities at all levels."""
  return np.stack([model.velocity(x, at, *text, sigma) for x, at, sigma in inputs])


def change(found: np.ndarray, expected: np.ndarray) -> float:
  """Returns the norm of the difference divided by the norm, in per cent."""
  return 100 * float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def row(
  figure: str, value: float, unit: str, *, most: float = np.inf, least: float = -np.inf
) -> dict:
  """Returns a row with an upper or a lower limit, or with none."""
  target = f"at most {most:g} {unit}" if np.isfinite(most) else ""
  target = f"at least {least:g} {unit}" if np.isfinite(least) else target
  ok = bool(least <= value <= most)
  return {"figure": figure, "value": value, "unit": unit, "target": target, "ok": ok}


def small_model() -> list[dict]:
  """Rows for the shipped model: velocity, videos and text."""
  captions = world.held_out_captions()[::17][:CLIPS]
  full = ltx_jax.load("moving-shapes")
  text, negative = full.encode_text(captions), full.encode_text([""])
  inputs = noised(full, captions)
  expected = velocities(full, inputs, text)
  videos = full.generate(text, negative_prompt=negative)

  def decibels(model: ltx_jax.LTXVideo, text: EncodedText, none: EncodedText) -> float:
    made = model.generate(text, negative_prompt=none)
    return float(np.mean([psnr(a, b, 255) for a, b in zip(made, videos, strict=True)]))

  rounding = change(velocities(rounded(full), inputs, text), expected)
  rows = [row("four significant bits: change of the velocity", rounding, "%")]
  limits = {"int8": INT8_PERCENT, "fp8": round(OVER_ROUNDING * rounding, 2)}
  for weights, most in limits.items():
    model = in_8_bits(full, "transformer", weights)
    percent = change(velocities(model, inputs, text), expected)
    least = VIDEO_DB[weights]
    rows.append(row(f"{weights}: change of the velocity", percent, "%", most=most))
    db = decibels(model, text, negative)
    rows.append(row(f"{weights}: PSNR of {CLIPS} videos", db, "dB", least=least))
  model = in_8_bits(full, "text_encoder", "int8")
  other, none = model.encode_text(captions), model.encode_text([""])
  real = np.asarray(text[1])
  percent = change(np.asarray(other[0])[real], np.asarray(text[0])[real])
  rows.append(row("text in int8: its change", percent, "%", most=TEXT_PERCENT))
  percent = change(velocities(full, inputs, other), expected)
  rows.append(
    row("text in int8: change of the velocity", percent, "%", most=TEXT_PERCENT)
  )
  db = decibels(full, other, none)
  rows.append(
    row(f"text in int8: PSNR of {CLIPS} videos", db, "dB", least=VIDEO_DB["int8"])
  )
  return rows


def sizes() -> list[dict]:
  """Rows for the released networks: gigabytes of their weights."""
  key = jax.random.key(0)
  networks = {
    "2B transformer": ("transformer", transformer.init, TRANSFORMER_2B),
    "13B transformer": ("transformer", transformer.init, TRANSFORMER_13B),
    "T5-XXL": ("text_encoder", text_encoder.init, TextEncoderConfig()),
  }
  rows = []
  for name, (part, init, config) in networks.items():
    shapes = {part: jax.eval_shape(functools.partial(init, config), key)}
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16), shapes)
    eight = jax.eval_shape(lambda tree: quantize_params(tree, "int8"), shapes)
    whole, value = gigabytes(shapes), gigabytes(eight)
    rows.append(row(f"{name} in int8 ({whole:.2f} GB in bfloat16)", value, "GB"))
  return rows


def gigabytes(tree: Any) -> float:
  """Returns the gigabytes of arrays with these shapes and dtypes."""
  return 1e-9 * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def run() -> list[dict]:
  return [*small_model(), *sizes()]
