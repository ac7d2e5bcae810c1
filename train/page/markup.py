"""HTML as a tree: text and attributes are escaped only when it is written."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from xml.etree import ElementTree

Element = ElementTree.Element

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
