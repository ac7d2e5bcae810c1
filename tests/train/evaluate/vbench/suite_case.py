"""Small prompt files as the suites have them, and clips for them."""

from __future__ import annotations

import json

from ltx_jax.data import video
from ltx_jax.moving_shapes import world

PROMPTS = [
  "a person is riding a bike",
  "In a still frame, a stop sign",
  "a fantasy landscape",
  "A fantasy landscape",
  "a person is riding a bike",  # Listed twice.
  *(f"a {color} bird's wing, number {k}" for k, color in enumerate(world.COLORS)),
  *(f"{k} cats & dogs" for k in range(9)),
]


def text(path, lines):
  path.write_text("\n".join(lines) + "\n")
  return path


def images(path):
  """Writes two images, with a prompt about each and one about the camera."""
  rows = []
  for name in ("a close up of a liquid", "a boat, far away"):
    own = {"prompt_en": name, "image_name": f"{name}.jpg", "dimension": ["i2v_subject"]}
    camera = {"prompt_en": f"{name}, camera pans left", "dimension": ["camera_motion"]}
    rows += [own, camera]
  path.write_text(json.dumps(rows))
  return path


def dimensions(folder):
  folder.mkdir()
  long = "a very long prompt about a day at the sea " * 6
  text(folder / "Diversity.txt", ["a cat"])
  text(folder / "Material.txt", ["wood floats", long, "wood floats"])
  return folder


def write_clips(folder, clips, *, fps=25.0, frames=9, size=(32, 32)):
  """Writes a small clip of its own seed under each id."""
  folder.mkdir(parents=True)
  words, made = world.captions()[0], {}
  for clip in clips:
    if clip.index not in made:
      path = folder / f"{clip.id}.mp4"
      video.write(path, world.clip(words, clip.index, frames, *size), fps)
      made[clip.index] = path.read_bytes()
    (folder / f"{clip.id}.mp4").write_bytes(made[clip.index])
  return folder
