"""Drawn globes at night, whose lights lie elsewhere on each."""

import numpy as np
from PIL import Image

SIZE = 256, 144


def globe(seed, lights=60, light=60, part=0.4):
  """A disc on black, as bright on one side as on the other, with lights on it.

  Args:
    seed: Number of what the lights are drawn from.
    lights: How many there are.
    light: Brightness of the disc.
    part: Radius, in heights of the picture.
  """
  width, height = (2 * side for side in SIZE)
  y, x = np.mgrid[:height, :width]
  y, x, radius = y - height / 2, x - width / 2, part * height
  found = np.where(np.hypot(y, x) < radius, light, 0.0)
  rng = np.random.default_rng(seed)
  for angle, r in rng.uniform((0, 0), (2 * np.pi, 0.85), (lights, 2)):
    v, u = radius * r**0.5 * np.array([np.sin(angle), np.cos(angle)])
    found += 2 * light * np.exp(-((y - v) ** 2 + (x - u) ** 2) / 128)
  image = Image.fromarray(found.clip(0, 255).astype(np.uint8)).convert("RGB")
  return np.asarray(image.resize(SIZE, Image.Resampling.BOX))
