"""The page: its fields, from the simple ones to those that are folded."""

from __future__ import annotations

import functools
import html
import re
import secrets
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from ltx_jax.cli.command_line import cli
from ltx_jax.moving_shapes import world
from sample.app.form import ASPECTS, KEYFRAMES, SIZES, Form, from_options
from sample.app.jobs import Cancelled, Job
from sample.app.studio import Made, Studio
from sample.options import Options
from sample.settings import read_arguments

TITLE = "LTX-Video"
EXAMPLES = world.EXAMPLES
FONT = ["system-ui", "sans-serif"]
"""Fonts that every machine has, so that nothing is fetched from elsewhere."""

CSS = """
footer {display: none !important}
#status {min-height: 3em}
#status .wrong {border-left: 4px solid #c00; padding-left: 0.6em}
"""
_LOOK = 0.3
_PREVIEW = 256
_LONGEST_PROMPT = 4000


def theme() -> gr.themes.Base:
  """Returns a theme without fonts from elsewhere."""
  mono = ["ui-monospace", "monospace"]
  return gr.themes.Base(font=FONT, font_mono=mono)


def build(studio: Studio, delete_cache: tuple[int, int] | None = None) -> gr.Blocks:
  """Builds the page of a studio.

  Args:
    studio: Studio that makes the videos.
    delete_cache: Seconds between clean-ups, and the age of files that are deleted; None
      keeps all files.
  """
  page = gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=delete_cache)
  with page:
    gr.Markdown(f"# {TITLE}\nWrite what the video is to show, and press Generate.")
    with gr.Row():
      with gr.Column(scale=3):
        fields, buttons = _left(studio)
      with gr.Column(scale=4):
        results = _right()
    made = gr.State([])
    order, values = list(fields), list(fields.values())
    about = buttons["about"]
    ask = functools.partial(_about, studio, order)
    for field in values:
      field.change(ask, values, about, queue=False, show_progress="hidden")
    page.load(ask, values, about, queue=False, show_progress="hidden")
    running = _run(studio, fields, buttons, [*results, made], made)
    for event in running:
      event.then(ask, values, about, queue=False, show_progress="hidden")
    _settings(studio, order, values, results[0])
  return page


def _run(
  studio: Studio,
  fields: dict[str, Any],
  buttons: dict[str, Any],
  outputs: list[Any],
  made: gr.State,
) -> list[Any]:
  """Connects the buttons that make videos, and the one that cancels."""
  jobs: dict[str, Job] = {}
  order, values, seed = list(fields), list(fields.values()), fields["seed"]

  def run(request: gr.Request, *given: Any) -> Iterator[list[Any]]:
    *given, before = given
    job = Job(lambda job: studio.make(job, Form.of(order, given)))
    jobs[request.session_hash] = job
    try:
      yield from _watch(job.start(), before)
    finally:
      jobs.pop(request.session_hash, None)

  def cancel(request: gr.Request) -> str:
    if job := jobs.pop(request.session_hash, None):
      job.cancel()
    return _say("Cancelled.")

  def another() -> int:
    return secrets.randbelow(2**31)

  # One identifier, because both buttons share the queue of the one device.
  how = {"concurrency_limit": 1, "concurrency_id": "device"}
  how |= {"show_progress": "minimal", "show_progress_on": outputs[0]}
  first = buttons["generate"].click(run, [*values, made], outputs, **how)
  seeded = buttons["again"].click(another, None, seed, queue=False)
  second = seeded.then(run, [*values, made], outputs, **how)
  buttons["dice"].click(another, None, seed, queue=False)
  both = [first, second]
  buttons["cancel"].click(cancel, None, outputs[0], queue=False, cancels=both)
  return both


def _left(studio: Studio) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns the fields of `Form` by name, and the buttons among them."""
  default, models, fields, buttons = Form(), studio.models(), {}, {}
  fields["prompt"] = gr.Textbox(
    label="Prompt",
    lines=3,
    max_length=_LONGEST_PROMPT,
    placeholder=EXAMPLES[0],
    autofocus=True,
    elem_id="prompt",
  )
  with gr.Row():
    buttons["generate"] = gr.Button("Generate", variant="primary", elem_id="generate")
    buttons["cancel"] = gr.Button("Cancel", elem_id="cancel")
    buttons["again"] = gr.Button("Again, with another seed", elem_id="again")
  buttons["about"] = gr.Markdown(elem_id="about")
  with gr.Row():
    fields["aspect"] = gr.Dropdown(list(ASPECTS), value=default.aspect, label="Aspect")
    fields["size"] = gr.Dropdown(list(SIZES), value=default.size, label="Size")
  fields["seconds"] = gr.Slider(0, 20, default.seconds, label="Seconds", step=0.1)
  with gr.Row():
    fields["seed"] = gr.Number(0, label="Seed", precision=0, minimum=0, elem_id="seed")
    buttons["dice"] = gr.Button("Roll another seed", elem_id="dice")
  gr.Examples([[example] for example in EXAMPLES], fields["prompt"], label="Examples")
  _media_fields(fields, default)
  with gr.Accordion("Model and sampling", open=False):
    fields["model"] = gr.Dropdown(models, value=models[0][1], label="Model")
    fields["download"] = gr.Checkbox(False, label="Download the model")
    fields["negative"] = gr.Textbox(label="Negative prompt", max_length=_LONGEST_PROMPT)
    fields["steps"] = gr.Slider(0, 100, 0, step=1, label="Steps (0: the model's own)")
    fields["guidance"] = gr.Slider(0, 20, 0, label="Guidance (0: the model's own)")
    fields["two_passes"] = gr.Checkbox(False, label="Two passes, with an upscaler")
    fields["windows"] = gr.Checkbox(
      False, label="Long video in windows, one for each line of the prompt"
    )
  return fields, buttons


def _media_fields(fields: dict[str, Any], default: Form) -> None:
  """Adds the folded fields for given images and clips."""
  with gr.Accordion("Image to video", open=False, elem_id="image-to-video"):
    fields["image"] = gr.File(
      label="First frame: an image or a clip", type="filepath", elem_id="image"
    )
    fields["image_strength"] = gr.Slider(0, 1, 1.0, label="Strength of the first frame")
  with gr.Accordion("Keyframes and clips", open=False):
    gr.Markdown(
      "An image is shown at its frame. A clip at frame 0 is continued; the video leads "
      "up to a clip at a later frame, a multiple of 8."
    )
    for i in range(1, KEYFRAMES + 1):
      with gr.Row():
        fields[f"media_{i}"] = gr.File(label=f"Image or clip {i}", type="filepath")
        with gr.Column():
          fields[f"frame_{i}"] = gr.Number(0, label=f"Frame {i}", precision=0)
          fields[f"strength_{i}"] = gr.Slider(0, 1, 1.0, label=f"Strength {i}")
  with gr.Accordion("Video to video", open=False):
    fields["video"] = gr.File(label="Clip to start from", type="filepath")
    fields["change"] = gr.Slider(0, 1, default.change, label="Change")


def _right() -> list[Any]:
  """Returns the page's outputs about a video, in the order of `_watch`."""
  status = gr.HTML("", elem_id="status")
  preview = gr.Image(
    label="Preview", interactive=False, height=170, buttons=[], elem_id="preview"
  )
  video = gr.Video(label="Video", autoplay=True, height=400, elem_id="video")
  file = gr.File(label="Download, with its settings inside", elem_id="file")
  again = _again()
  gallery = gr.Gallery(
    label="Videos of this session", columns=4, height=200, elem_id="gallery"
  )
  return [status, preview, video, file, *again, gallery]


def _again() -> list[Any]:
  with gr.Accordion("Make it again from a shell or from Python", open=False):
    command = gr.Textbox(label="Command line", buttons=["copy"], elem_id="command")
    python = gr.Textbox(label="Python", lines=8, buttons=["copy"], elem_id="python")
  return [command, python]


def _settings(studio: Studio, order: list[str], values: list[Any], status: Any) -> None:
  """Adds the field that reads the settings of a video back."""
  with gr.Accordion("Settings of a video", open=False):
    given = gr.File(label="MP4 that was made here", type="filepath", elem_id="settings")

  def read(path: str | None, *now: Any) -> list[Any]:
    if not path:
      return ["", *now]
    try:
      form = Form.of(order, now)
      words = read_arguments(path)
      options = _parsed(words)
      form = from_options(options, form, studio.recipe(form.model))
    except ValueError as error:
      return [_say(in_words(error), wrong=True), *now]
    found = [getattr(form, name) for name in order]
    return [_say("The settings of that video are in the fields now."), *found]

  given.upload(read, [given, *values], [status, *values], queue=False)


def _parsed(words: list[str]) -> Options:
  """Reads options from arguments, which may come from a stranger's file.

  Raises:
    ValueError: If they are not arguments of this version.
  """
  try:
    return cli(Options, words, program="", about="")
  except SystemExit:
    raise ValueError("The settings in this file are not of this version.") from None


_FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^\s/'\"]+/)+")
"""Folders in a path, but not those in a web address."""


def _about(studio: Studio, order: list[str], *values: Any) -> str:
  try:
    return studio.about(Form.of(order, values))
  except ValueError as error:
    return f"**{in_words(error)}**"


def _say(sentence: str, wrong: bool = False) -> str:
  role = "alert" if wrong else "status"
  kind = ' class="wrong"' if wrong else ""
  return f'<div role="{role}"{kind}>{html.escape(sentence)}</div>'


def _watch(job: Job, before: list[Any]) -> Iterator[list[Any]]:
  """Yields the page's outputs while a video is made, and then the video."""
  nothing = [gr.skip()] * 7
  last = None
  try:
    while not job.wait(_LOOK):
      picture = gr.skip()
      if job.preview is not None and job.preview is not last:
        last, picture = job.preview, enlarged(job.preview)
      yield [_say(progress(job)), picture, *nothing[1:]]
  finally:
    job.cancel()  # The client has left; otherwise the job has ended already.
  if isinstance(job.error, Cancelled):
    yield [_say("Cancelled."), *nothing]
  elif job.error is not None:
    yield [_say(in_words(job.error), wrong=True), *nothing]
  else:
    yield _finished(job.result, before)


def _finished(made: Made, before: list[Any]) -> list[Any]:
  parts = ", ".join(f"{name} {s:.1f} s" for name, s in made.seconds.items() if s > 0.05)
  shown = [str(made.path), *before]
  file = str(made.path)
  return [
    *(_say(f"Done: {parts}."), None, file, file, made.command, made.python),
    *(shown, shown),
  ]


def progress(job: Job) -> str:
  """Says what a job is doing, and how long that will take."""
  if not job.steps:
    return f"{job.stage.capitalize()} ..."
  left = job.seconds_left
  rest = "" if left is None else f", about {left:.0f} s left"
  return f"{job.stage.capitalize()}: step {job.step} of {job.steps}{rest}."


def in_words(error: Exception) -> str:
  """Returns the page's message about an error, without traceback, folder or secret."""
  if isinstance(error, ValueError):
    return _FOLDERS.sub("", str(error))
  return (
    f"Something unforeseen went wrong ({type(error).__name__}). The page lives on; who "
    "runs it finds the details in the terminal."
  )


def enlarged(pictures: np.ndarray) -> np.ndarray:
  """Puts at most 4 small images [f h w 3] side by side, enlarged."""
  chosen = pictures[
    np.linspace(0, len(pictures) - 1, min(4, len(pictures))).astype(int)
  ]
  height, width = chosen.shape[1:3]
  scale = max(1, _PREVIEW // max(height, width))
  size = width * scale, height * scale
  images = [Image.fromarray(p).resize(size, Image.Resampling.BICUBIC) for p in chosen]
  return np.concatenate([np.asarray(image) for image in images], axis=1)
