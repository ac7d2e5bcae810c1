"""The example of a study: what its raters like, and what it leaves behind."""

import dataclasses

import numpy as np

from ltx_jax.data import video
from ltx_jax.moving_shapes import world
from tests.experiments import example
from tests.train.evaluate.study.cases import study


def test_simulated_raters_like_the_clip_that_shows_what_the_caption_says(tmp_path):
  caption, other = "a small red circle moving up on a black background", "blue square"
  wrong = caption.replace("red circle", other)
  made = study(models=2, items=1)
  item = dataclasses.replace(made.items[0], prompt=caption)
  made = dataclasses.replace(made, items=(item,))
  for name, said in zip(made.models, (caption, wrong), strict=True):
    clip = world.clip(said, 0, 25, 64, 64)
    (tmp_path / name).mkdir()
    video.write(tmp_path / name / f"{item.id}.mp4", clip, 24.0)
  likes = example.liked(tmp_path, made)[item.id]
  assert likes[0] - likes[1] > 2
  assert np.isfinite(likes).all()
