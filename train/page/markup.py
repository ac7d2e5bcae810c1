"""HTML as a tree: text and attributes are escaped only when it is written.

A page is one file that needs nothing else. It works on a phone, in dark mode, in print
and with a screen reader. It has no script, and a policy in its head keeps a browser
from fetching anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from xml.etree import ElementTree

from train.page.style import STYLE

Element = ElementTree.Element

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})


def element(
  tag: str, attributes: Mapping[str, str] = NO_ATTRIBUTES, *children: Element | str
) -> Element:
  """Returns an element that contains text and other elements in order."""
  node = Element(tag, dict(attributes))
  for child in children:
    if isinstance(child, str):
      if len(node):
        node[-1].tail = (node[-1].tail or "") + child
      else:
        node.text = (node.text or "") + child
    else:
      node.append(child)
  return node


def whole(title: str, *content: Element) -> Element:
  """Returns a page with a title."""
  head = element(
    "head",
    NO_ATTRIBUTES,
    element("meta", {"charset": "utf-8"}),
    element("meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY}),
    element("meta", {"name": "viewport", "content": "width=device-width"}),
    element("meta", {"name": "color-scheme", "content": "light dark"}),
    element("title", NO_ATTRIBUTES, title),
    element("style", NO_ATTRIBUTES, STYLE),
  )
  main = element("main", NO_ATTRIBUTES, element("h1", NO_ATTRIBUTES, title), *content)
  return element("html", {"lang": "en"}, head, element("body", NO_ATTRIBUTES, main))


def section(title: str, *content: Element) -> Element:
  """Returns a part of a page under a heading."""
  heading = element("h2", NO_ATTRIBUTES, title)
  return element("section", NO_ATTRIBUTES, heading, *content)


def folded(summary: str, *content: Element) -> Element:
  """Returns content that is shown when a reader asks for it."""
  title = element("summary", NO_ATTRIBUTES, summary)
  return element("details", NO_ATTRIBUTES, title, *content)


def written(root: Element) -> bytes:
  """Returns a whole document in UTF-8; characters that UTF-8 lacks become `?`."""
  text = ElementTree.tostring(root, encoding="unicode", method="html")
  return f"<!DOCTYPE html>\n{text}\n".encode(errors="replace")


def table(head: list[Element], rows: list[Element], caption: str) -> Element:
  """Returns a table that scrolls by itself if the page is narrower."""
  inside = element(
    "table",
    NO_ATTRIBUTES,
    element("caption", NO_ATTRIBUTES, caption),
    element("thead", NO_ATTRIBUTES, *head),
    element("tbody", NO_ATTRIBUTES, *rows),
  )
  # A scrolling element must be reachable by keyboard.
  scrolls = {"class": "wide", "tabindex": "0", "role": "region", "aria-label": caption}
  return element("div", scrolls, inside)


def row(name: str, cells: list[str]) -> Element:
  """Returns a row of a table, headed by a name."""
  return element(
    "tr",
    NO_ATTRIBUTES,
    element("th", {"scope": "row"}, name),
    *[element("td", NO_ATTRIBUTES, cell) for cell in cells],
  )
