"""What a notebook shows: a video that plays, and a preview while one is denoised.

    preview = fit(model)  # ltx_jax.pipeline.preview, once for each model
    videos = model.generate(prompt, on_step=live(model, preview))
    play("clip.mp4", videos[0], model.recipe.fps)

`sample/colab.ipynb` uses both.
"""

from __future__ import annotations

import base64
import io
import os

import numpy as np
from jaxtyping import UInt8
from PIL import Image

import ltx_jax
from ltx_jax.data import video
from ltx_jax.pipeline.generate import OnStep
from ltx_jax.pipeline.model import OnePass
from ltx_jax.pipeline.preview import Pictures, Preview, after_each_step
from ltx_jax.typing import Scalar

_SHOWN, _HEIGHT, _GAP = 4, 128, 6
_NARROWEST = 256


def play(
  path: str | os.PathLike[str], clip: UInt8[np.ndarray, "F H W 3"], fps: Scalar
) -> None:
  """Writes a clip, and shows it as a player inside the notebook.

  Args:
    path: File to write, such as "clip.mp4".
    clip: The clip.
    fps: Frames a second.
  """
  from IPython.display import Video, display  # A notebook has it, others need not.

  video.write(path, clip, fps)
  attributes = "controls loop autoplay muted"
  width = max(_NARROWEST, clip.shape[2])  # Or a player has no room for its buttons.
  display(Video(str(path), embed=True, width=width, html_attributes=attributes))


def live(
  model: ltx_jax.LTXVideo,
  preview: Preview,
  sampling: ltx_jax.Sampling | None = None,
) -> OnStep:
  """Returns an `on_step` that shows a progress bar, and a preview from step 2 on.

  Args:
    model: The model that generates.
    preview: What `ltx_jax.pipeline.preview.fit` returned for it.
    sampling: The sampling that `generate` is given; None: the model's recipe.
  """
  from IPython.display import HTML, display

  shown = None

  def keep(index: int, steps: int, pictures: Pictures) -> None:
    nonlocal shown
    shown = pictures[0]

  way = OnePass(model, sampling or model.recipe.sampling)
  see = after_each_step(way, preview, keep)
  handle = display(HTML("Encoding the prompt ..."), display_id=True)

  def on_step(index: int, steps: int, latents: object) -> None:
    see(index, steps, latents)
    handle.update(HTML(panel(index + 1, steps, shown)))

  return on_step


def panel(step: int, steps: int, pictures: UInt8[np.ndarray, "f h w 3"] | None) -> str:
  """Returns a progress bar as HTML, with the preview below it.

  Args:
    step: Number of steps that were started.
    steps: Number of steps in all.
    pictures: A small image for each latent frame; at most four are shown.
  """
  then = ", then the video is decoded" if step == steps else ""
  bar = f'<progress value="{step}" max="{steps}"></progress>'
  text = f"{bar} step {step} of {steps}{then}"
  if pictures is None:
    return text
  return f'{text}<br><img src="{_data_url(beside(pictures))}">'


def beside(
  pictures: UInt8[np.ndarray, "f h w 3"],
) -> UInt8[np.ndarray, "_ _ 3"]:
  """Returns at most four of the images, enlarged, next to one another."""
  chosen = np.unique(np.linspace(0, len(pictures) - 1, _SHOWN).round().astype(int))
  width = round(pictures.shape[2] * _HEIGHT / pictures.shape[1])
  gap = np.full((_HEIGHT, _GAP, 3), 255, np.uint8)
  parts = []
  for i in chosen:
    image = Image.fromarray(pictures[i]).resize((width, _HEIGHT))
    parts += [gap, np.asarray(image)]
  return np.concatenate(parts[1:], axis=1)


def _data_url(picture: UInt8[np.ndarray, "h w 3"]) -> str:
  file = io.BytesIO()
  Image.fromarray(picture).save(file, "PNG")
  return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
