"""The model behind the page: what exists, what a video takes, how it is made."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import html
import math
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import ltx_jax
from ltx_jax.cli import console as shared
from ltx_jax.config import TransformerConfig, VAEConfig
from ltx_jax.data import video
from ltx_jax.models import transformer, vae
from ltx_jax.pipeline import preview
from ltx_jax.pipeline.generate import Way, generate
from ltx_jax.pipeline.hints import hints
from ltx_jax.pipeline.recipes import Recipe
from ltx_jax.pipeline.request import Request
from ltx_jax.planning import memory
from ltx_jax.releases.presets import PRESETS, HubFile, Preset
from sample import settings
from sample.app.form import Form, name_of, options_of
from sample.app.jobs import Job
from sample.app.uploads import Limits, decode
from sample.making import request_of
from sample.options import Options, check
from sample.passes import way_of

_OTHER_MODEL = 'choose a released model under "Model and sampling"'
_TEXT_ENCODER_GB = 19
"""Size of T5-XXL on the hub, in float32."""


class Made(NamedTuple):
  """A finished video.

  Attributes:
    path: File of the video.
    command: Command line that makes it again.
    python: Python program that makes it again.
    seconds: Seconds by stage.
  """

  path: Path
  command: str
  python: str
  seconds: dict[str, float]


class Shape(NamedTuple):
  """The properties that determine which programs a video needs."""

  model: str
  way: str
  size: tuple[int, ...]
  conditions: int


@dataclasses.dataclass
class Studio:
  """One model at a time, and the measured times of its videos.

  Attributes:
    folder: Folder for the videos.
    text_encoder: Folder of the text encoder, as `ltx_jax.load` takes it.
    dtype: Precision of the networks, as `ltx_jax.load` takes it.
    limits: Limits of an upload.
    extra: Models in addition to the presets: files or folders.
    times: Seconds by stage of the last video of each shape.
  """

  folder: Path
  text_encoder: str | None = None
  dtype: str | None = None
  limits: Limits = Limits()
  extra: tuple[str, ...] = ()
  times: dict[Shape, dict[str, float]] = dataclasses.field(default_factory=dict)
  _loaded: tuple[str, ltx_jax.LTXVideo, preview.Preview] | None = None
  _made: int = 0

  def models(self) -> list[tuple[str, str]]:
    """Lists (label, name), with the models on this machine first."""
    names = [(name, name) for name in self._paths]
    shown = [(self._shown(name, preset), name) for name, preset in PRESETS.items()]
    return names + sorted(shown, key=lambda pair: not is_here(pair[1]))

  @property
  def _paths(self) -> dict[str, str]:
    """Returns the paths of the extra models by their names on the page."""
    return {name_of(path): path for path in self.extra}

  def _shown(self, name: str, preset: Preset) -> str:
    where = "" if is_here(name) else f", {download_gb(preset):.0f} GB to download"
    return f"{name}: {preset.summary}{where}"

  def recipe(self, model: str) -> Recipe:
    """Returns a model's recipe; for a file, only after it is loaded."""
    if self._loaded and self._loaded[0] == model:
      return self._loaded[1].recipe
    return PRESETS[model].recipe if model in PRESETS else Recipe()

  def load(self, name: str) -> tuple[ltx_jax.LTXVideo, preview.Preview]:
    """Returns a model; loads it instead of the previous one if it differs."""
    if self._loaded is None or self._loaded[0] != name:
      self._loaded = None  # Free the memory before the next one needs it.
      known = [value for _, value in self.models()]
      if name not in known:
        raise ValueError(f"There is no model {name!r}; choose another.")
      source, dtype = self._paths.get(name, name), self.dtype
      encoder = ltx_jax.load_text_encoder(source, folder=self.text_encoder, dtype=dtype)
      model = ltx_jax.load(source, text_encoder=encoder, dtype=dtype)
      self._loaded = name, model, preview.fit(model)
    return self._loaded[1:]

  def about(self, form: Form) -> str:
    """Says what a video will take, before it is made.

    Raises:
      ValueError: If it cannot be made.
    """
    loaded = self._loaded is not None and self._loaded[0] == form.model
    if not loaded and form.model not in PRESETS:
      return "The model is loaded first; its size, memory and time are known then."
    recipe = self.recipe(form.model)
    asked = form.prompt.strip()
    if not asked:
      form = dataclasses.replace(form, prompt="-")
    options = options_of(form, recipe)
    check(options)
    fps, frames = recipe.fps, options.frames
    lines = [
      f"{options.width}x{options.height} pixels, {shared.counted(frames, 'frame')}: "
      f"{frames / fps:.1f} seconds at {fps:g} frames a second."
    ]
    if not is_here(form.model):
      lines.append(download_note(PRESETS[form.model]))
    elif not loaded:
      lines.append("The model is loaded first; memory and time are known then.")
    else:
      lines += self._cost(form, options)
    known, media = recipe.captions, bool(form.uploads)
    said = hints(options.prompts if asked else [], media, known, _OTHER_MODEL)
    return "\n\n".join([" ".join(lines), *map(_in_page, said)])

  def _cost(self, form: Form, options: Options) -> list[str]:
    model = self._loaded[1]
    way = self._way(model, options)
    blank = np.zeros((1, 8, 8, 3), np.uint8)
    request = request_of(model, options, lambda path: blank)
    plan, free = way.plan(request), memory.free_beside(model.params)
    of = f" of {size_of(free)} that are free" if free is not None else ""
    lines = [f"Memory: about {size_of(plan.most)}{of}."]
    times = self.times.get(shape_of(form, way, request))
    if times:
      run = sum(times[name] for name in ("text", "denoise", "decode"))
      lines.append(f"This shape is compiled: it starts at once, and takes {run:.0f} s.")
    elif self.times:
      last = [t["compile"] for t in self.times.values()]
      lines.append(f"This shape is compiled first, for about {max(last):.0f} seconds.")
    else:
      lines.append("The first video is compiled first; the time is known after it.")
    return lines

  def _way(self, model: ltx_jax.LTXVideo, options: Options) -> Way:
    flags = options.sampling, options.second, options.passes, options.windows
    return way_of(model, *flags)

  def make(self, job: Job, form: Form) -> Made:
    """Makes a video, as `sample.generate` does, and writes it.

    Raises:
      ValueError: If it cannot be made.
      Cancelled: If the job is cancelled.
    """
    if not is_here(form.model) and not form.download:
      raise ValueError(download_note(PRESETS[form.model]))
    with shared.Clock() as clock:

      @contextlib.contextmanager
      def on_stage(name: str) -> Iterator[Callable[[Any], Any]]:
        with job.on_stage(name), clock.stage(name) as ready:
          yield ready

      with on_stage("load"):
        model, colors = self.load(form.model)
      options = options_of(form, model.recipe)
      check(options)
      with on_stage("uploads"):
        frames = {
          name: decode(path, self.limits) for name, path in form.uploads.items()
        }
      way = self._way(model, options)
      request = request_of(model, options, lambda path: frames[str(path)])

      def show(index: int, steps: int, pictures: np.ndarray) -> None:
        job.preview = pictures[0]

      pictures = preview.after_each_step(way, colors, show)

      def on_step(index: int, steps: int, latents: Any) -> None:
        job.on_step(index, steps)
        pictures(index, steps, latents)

      (clip,) = generate(way, request, on_stage=on_stage, on_step=on_step)
    self._made += 1
    # Anyone who knows a file's name can fetch it, so the name must not be guessable.
    path = self.folder / f"video-{self._made:04d}-{secrets.token_hex(8)}.mp4"
    options = dataclasses.replace(options, output=Path(path.name))
    video.write(path, clip, request.fps, comment=settings.as_json(options))
    self.times[shape_of(form, way, request)] = dict(clock.seconds)
    python = settings.python(options, model.recipe)
    return Made(path, settings.command(options), python, dict(clock.seconds))


def _in_page(hint: str) -> str:
  """Returns a hint as a sentence of the page."""
  return html.escape(hint[:1].upper() + hint[1:], quote=False)


def size_of(count: int) -> str:
  """Writes a number of bytes: 15.4 GB, or 30 MB."""
  return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def shape_of(form: Form, way: Way, request: Request) -> Shape:
  """Returns the properties that determine which programs a video needs."""
  size = request.canvas.used
  return Shape(form.model, type(way).__name__, size, len(request.conditions))


def is_here(model: str) -> bool:
  """Whether a model needs no download."""
  if model not in PRESETS or not isinstance(PRESETS[model].files, HubFile):
    return True
  import huggingface_hub

  repository, file, _ = PRESETS[model].files
  found = huggingface_hub.try_to_load_from_cache(repository, file)
  return isinstance(found, str)


def download_gb(preset: Preset) -> float:
  """Estimates the size of a preset's file: 2 bytes per parameter, or 1 with float8."""
  width = 1 if "fp8" in preset.files.name else 2
  return parameters(preset.config.transformer, preset.config.vae) * width / 1e9


@functools.cache
def parameters(of_transformer: TransformerConfig, of_vae: VAEConfig) -> int:
  """Counts the parameters of two networks without making them."""
  key = jax.random.key(0)
  shapes = (
    jax.eval_shape(functools.partial(transformer.init, of_transformer), key),
    jax.eval_shape(functools.partial(vae.init_vae, config=of_vae), key),
  )
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def download_note(preset: Preset) -> str:
  """Says how large a download is, and which licence it has."""
  return (
    f"This model is not on this machine: about {download_gb(preset):.0f} GB, and once "
    f"for all models {_TEXT_ENCODER_GB} GB for the text encoder. Its licence: "
    f"{preset.files.licence}. Tick Download to fetch it."
  )
