"""Records of random latents, as the tests of the transformer's trainer read them."""

from __future__ import annotations

import numpy as np

from configs import tiny
from ltx_jax.checkpoints.fingerprint import fingerprint
from ltx_jax.data.records import Record, SetInfo, Writer, write_index
from ltx_jax.moving_shapes import world
from ltx_jax.releases.presets import ASSETS
from train.harness.captions import Captions

TOKENIZER = ASSETS / "moving_shapes" / "tokenizer"
CAPTIONS = world.train_captions()[::8]
HELD_OUT = world.held_out_captions()[:6]
LONGEST = 11
"""Tokens of a caption."""


def write(
  folder,
  vae,
  *,
  buckets=(tiny.IMAGE, tiny.CLIP),
  tokenizer=TOKENIZER,
  seed=0,
  beside=(),
):
  """Writes a record of each caption and bucket, and returns the folder.

  Args:
    vae: VAE whose fingerprint they carry.
    seed: Seed of the latents.
    beside: What clips are shown, of `last` and `reference`.
  """
  captions = Captions.of_tokenizer(tokenizer)
  made = fingerprint(vae.config, vae.params)
  rng = np.random.default_rng(seed)
  for bucket in buckets:
    size = bucket.frames, bucket.height, bucket.width
    name = "x".join(map(str, size))
    shape = (*vae.config.latent_shape(*size), vae.config.latent_channels)
    with Writer(folder / f"{name}.arrayrecord") as writer:
      for number, caption in enumerate([*CAPTIONS, *HELD_OUT]):
        latents = rng.standard_normal(shape, np.float32)
        shown = {
          name: rng.standard_normal((1, *shape[1:]) if name == "last" else shape, "f4")
          for name in beside
        }
        aside = {"held_out": 1.0} if number >= len(CAPTIONS) else {}
        writer.write(
          Record(
            f"{number:03d}#{name}",
            caption,
            latents,
            24.0,
            *size,
            vae=made,
            text_encoder=captions.made_by,
            tokens=captions.tokens(caption),
            scores=aside,
            key=f"{seed} {number} {name}",
            **shown,
          )
        )
  info = SetInfo(
    made,
    vae.config.latent_channels,
    (vae.config.temporal_factor, vae.config.spatial_factor),
    captions.made_by,
    tuple(beside),
  )
  write_index(folder, info, captions.empty())
  return folder
