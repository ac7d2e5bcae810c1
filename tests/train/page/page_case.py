"""Folders of runs as a trainer leaves them, and a reader of the page about them."""

import json
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
from PIL import Image

VOID = {"meta", "img", "br", "link", "input"}


def run(folder, rows, cut="", *, evaluation=(), config=None):
  """Writes a run's folder; `cut` is the beginning of a last line."""
  folder.mkdir(parents=True)
  lines = "".join(json.dumps(row) + "\n" for row in rows) + cut
  (folder / "metrics.jsonl").write_text(lines)
  if evaluation:
    lines = "".join(json.dumps(row) + "\n" for row in evaluation)
    (folder / "evaluation.jsonl").write_text(lines)
  if config is not None:
    (folder / "config.json").write_text(json.dumps(config))
  return folder


def picture(folder, name, size=(40, 24), colour=(200, 30, 30)):
  """Writes a sample image of a run; without a colour, one that hardly compresses."""
  samples = folder / "samples"
  samples.mkdir(exist_ok=True)
  pixels = np.full((size[1], size[0], 3), colour or 0, np.uint8)
  if colour is None:
    pixels = np.random.default_rng(0).integers(0, 256, pixels.shape, np.uint8)
  Image.fromarray(pixels).save(samples / f"{name}.png")


class _Reader(HTMLParser):
  """Builds a tree, and fails if a tag is not closed by its own end."""

  def __init__(self):
    super().__init__()
    self.builder = ElementTree.TreeBuilder()
    self.open = []

  def handle_starttag(self, tag, attrs):
    self.builder.start(tag, {name: value or "" for name, value in attrs})
    if tag in VOID:
      self.builder.end(tag)
    else:
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag
    self.builder.end(tag)

  def handle_data(self, data):
    if self.open:
      self.builder.data(data)


def parsed(path):
  """Returns the root element of a page."""
  text = path.read_text(encoding="utf-8")
  assert text.startswith("<!DOCTYPE html>")
  reader = _Reader()
  reader.feed(text)
  reader.close()
  assert not reader.open
  return reader.builder.close()


def words(node):
  """All text in an element."""
  return "".join(node.itertext())


def panels(root):
  """The figures with a chart, by their captions."""
  figures = [f for f in root.iter("figure") if f.get("class") == "panel"]
  return {words(figure.find("figcaption")): figure for figure in figures}


def lines(figure, style="line"):
  """The lines of a chart as lists of points, by the run they are of."""
  found = {}
  for group in figure.iter("g"):
    if (title := group.find("title")) is not None:
      for line in group.findall("polyline"):
        if line.get("class") == style:
          points = [tuple(map(float, p.split(","))) for p in line.get("points").split()]
          found[title.text] = points
  return found


def rows(table):
  """The rows of a table as lists of text."""
  return [[words(cell) for cell in row] for row in table.iter("tr")]


def tables(root):
  """The tables by their captions."""
  return {words(table.find("caption")): table for table in root.iter("table")}
