"""A study in a folder whose clips are a few bytes."""

from __future__ import annotations

import dataclasses
import hashlib

from tests.train.evaluate.study.cases import study
from train.evaluate.study import design, raters
from train.evaluate.study.design import Clip


def content(name):
  return f"the content of {name}, ".encode() * 20


def written(folder, count=3, **how):
  """Writes a study with raters; returns it with their tokens."""
  made = study(**how)

  def real(clip):
    return Clip(clip.media, hashlib.sha256(content(clip.media)).hexdigest())

  items = tuple(
    dataclasses.replace(i, clips={m: real(c) for m, c in i.clips.items()})
    for i in made.items
  )
  damaged = tuple(dataclasses.replace(d, clip=real(d.clip)) for d in made.damaged)
  made = dataclasses.replace(made, items=items, damaged=damaged)
  media = folder / design.MEDIA
  media.mkdir(parents=True)
  for name in made.clips():
    (media / name).write_bytes(content(name.removesuffix(".mp4")))
  people, tokens = raters.invite(count)
  raters.write(folder / design.RATERS, people)
  design.write(folder / design.STUDY, made)
  return made, tokens
