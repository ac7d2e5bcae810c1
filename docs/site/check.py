"""Checks a built site without a network: no dead link, and nothing from elsewhere.

    python -m docs.site.check build/docs

Every link into the site leads to a file that is there, and to an anchor of it. Links to
other servers are only looked at: they have a scheme and a host. No page asks another
server for anything by itself: no script, style, font, picture or frame.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

from ltx_jax.files import read_text

_LOADING = {"src", "srcset", "poster", "data"}
_FORM = re.compile(r"https?://[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?(/\S*)?", re.IGNORECASE)
_CSS = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""")
# Of scripts, which may name a server without asking it anything.
_ASKED = re.compile(
  r"""(?:fetch|import|importScripts|open|WebSocket|\.src\s*=|\.href\s*=)"""
  r"""\s*\(?\s*(?:["'][A-Z]+["'],\s*)?["'`]((?:https?:|wss?:)?//[^"'`]+)"""
)


@dataclasses.dataclass
class Page:
  """What a page holds: anchors, links that are followed, and what it loads."""

  anchors: set[str] = dataclasses.field(default_factory=set)
  links: list[str] = dataclasses.field(default_factory=list)
  loads: list[str] = dataclasses.field(default_factory=list)


class _Reader(HTMLParser):
  def __init__(self) -> None:
    super().__init__()
    self.page = Page()
    self._style = False

  def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
    given = {name: value or "" for name, value in attrs}
    self._style = tag == "style"
    if given.get("id"):
      self.page.anchors.add(given["id"])
    if tag == "a" and "href" in given:
      self.page.links.append(given["href"])
    elif tag == "link" and "href" in given:
      self.page.loads.append(given["href"])
    for name in _LOADING & given.keys():
      parts = given[name].split(",") if name == "srcset" else [given[name]]
      self.page.loads += [part.split()[0] for part in parts if part.split()]
    self.page.loads += _CSS.findall(given.get("style", ""))

  def handle_data(self, data: str) -> None:
    if self._style:
      self.page.loads += _CSS.findall(data)
    self.page.loads += _ASKED.findall(data)

  def handle_endtag(self, tag: str) -> None:
    self._style = False


def read_page(text: str) -> Page:
  """Returns what a page of HTML holds."""
  reader = _Reader()
  reader.feed(text)
  return reader.page


def faults(site: Path) -> Iterator[str]:
  """Yields what is wrong in a built site, a line each."""
  pages = {path: read_page(read_text(path)) for path in sorted(site.rglob("*.html"))}
  if not pages:
    yield f"There is no page in {site}."
  for path, page in pages.items():
    name = path.relative_to(site)
    for link in page.links:
      if urlsplit(link).scheme in ("http", "https"):
        if not _FORM.fullmatch(link):
          yield f"{name}: {link} is not an address"
      elif urlsplit(link).scheme != "mailto":
        yield from (f"{name}: {why}" for why in _dead(path, link, pages))
    for load in page.loads:
      if _elsewhere(load):
        yield f"{name}: asks another server for {load}"
      elif not load.startswith("data:"):
        yield from (f"{name}: {why}" for why in _dead(path, load, pages))
  yield from _asking(site)


def _elsewhere(address: str) -> bool:
  return bool(urlsplit(address).netloc)


def _dead(page: Path, link: str, pages: dict[Path, Page]) -> Iterator[str]:
  address, anchor = urldefrag(link)
  target = page
  if address:
    target = (page.parent / unquote(urlsplit(address).path)).resolve()
  if not target.is_file():
    yield f"{link} leads nowhere"
  elif anchor and target in pages and unquote(anchor) not in pages[target].anchors:
    yield f"{link} names no place in {target.name}"


def _asking(site: Path) -> Iterator[str]:
  """Yields the styles and scripts that ask another server."""
  for suffix, pattern in ((".css", _CSS), (".js", _ASKED)):
    for path in sorted(site.rglob(f"*{suffix}")):
      for address in pattern.findall(read_text(path)):
        yield f"{path.relative_to(site)}: asks another server for {address}"


def main() -> None:
  """Prints what is wrong and exits with 1, or says how many pages there are."""
  site = Path(sys.argv[1]).resolve()
  found = list(faults(site))
  if found:
    print(*found, sep="\n")
    raise SystemExit(1)
  count = sum(1 for _ in site.rglob("*.html"))
  print(f"All links of {count} pages lead somewhere, and no page asks another server.")


if __name__ == "__main__":
  main()
