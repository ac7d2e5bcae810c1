"""`python -m tests.pictures [demo] [page]`: remakes the images of README and docs.

demo.webp shows videos of captions that the small model was never trained on: evenly
spaced ones of all such captions, whatever their quality. page.png and page-phone.png
show the page in Chromium after it has made a video; they need gradio, playwright and a
browser.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import ltx_jax
from ltx_jax.data.contact_sheet import wrapped
from ltx_jax.moving_shapes import world
from tests.page_client import served
from tests.program import ROOT

IMAGES = ROOT / "docs" / "images"
COLUMNS, ROWS, GAP, LINE = 4, 2, 8, 14
PAPER, INK = (255, 255, 255), (30, 30, 30)
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PROMPT = "a large red circle moving right on a navy background"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def held_out() -> list[str]:
  """Returns evenly spaced captions of those that were never trained on."""
  captions = world.held_out_captions()
  places = np.linspace(0, len(captions) - 1, COLUMNS * ROWS).round().astype(int)
  return [captions[place] for place in places]


def grid(clips: np.ndarray, labels: list[str]) -> list[Image.Image]:
  """Returns frames that show all clips in rows, each clip above its label."""
  count, frames, height, width, _ = clips.shape
  font = ImageFont.load_default(11)
  texts = [wrapped(label, font, width) for label in labels]
  below = LINE * max(map(len, texts)) + GAP
  size = COLUMNS * (width + GAP) + GAP, ROWS * (height + below) + GAP
  paper = Image.new("RGB", size, PAPER)
  draw = ImageDraw.Draw(paper)
  corners = [
    (GAP + (width + GAP) * (i % COLUMNS), GAP + (height + below) * (i // COLUMNS))
    for i in range(count)
  ]
  for (left, top), lines in zip(corners, texts, strict=True):
    for i, line in enumerate(lines):
      draw.text((left, top + height + 2 + LINE * i), line, INK, font)
  images = []
  for frame in range(frames):
    image = paper.copy()
    for clip, corner in zip(clips, corners, strict=True):
      image.paste(Image.fromarray(clip[frame]), corner)
    images.append(image)
  return images


def demo() -> None:
  """Writes demo.webp."""
  model, captions = ltx_jax.load("moving-shapes"), held_out()
  clips = np.asarray(model.generate(captions, seed=0))
  first, *others = grid(clips, captions)
  first.save(
    IMAGES / "demo.webp",
    save_all=True,
    append_images=others,
    duration=round(1000 / model.recipe.fps),
    loop=0,
    quality=80,
    method=6,
  )


def page() -> None:
  """Writes page.png and page-phone.png."""
  from playwright.sync_api import expect, sync_playwright

  with (
    tempfile.TemporaryDirectory() as name,
    served(sys.executable, Path(name) / "page") as server,
    sync_playwright() as playwright,
  ):
    chromium = shutil.which("chromium")
    browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
    for file, viewport in (("page.png", WIDE), ("page-phone.png", PHONE)):
      sheet = browser.new_page(viewport=viewport)
      sheet.set_default_timeout(300_000)
      sheet.goto(server.address)
      sheet.fill("#prompt textarea", PROMPT)
      sheet.click("#generate")
      expect(sheet.locator("#status")).to_contain_text("Done:", timeout=300_000)
      sheet.wait_for_function("document.querySelector('#video video').readyState == 4")
      sheet.screenshot(path=IMAGES / file)
    browser.close()


PICTURES = {"demo": demo, "page": page}


def main() -> None:
  for name in sys.argv[1:] or PICTURES:
    PICTURES[name]()


if __name__ == "__main__":
  main()
