"""Files that a stranger may send to the page: all must be refused, and leave no trace.

Needs an interpreter that has Gradio: PAGE_PYTHON names it (`make verify` makes one).
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import struct
import tempfile
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ltx_jax.data import video
from tests.page_client import Page, as_upload, served
from tests.verify.page import python, request

NAME = "The page: hostile uploads"
COMMAND = "make verify CHECKS=hostile_uploads"

MEGABYTES = 20
MOST_MEMORY = 1000.0
"""Megabytes by which the server may grow in total."""

FIELD = "First frame: an image or a clip"


def png(width: int, height: int, rows: int | None = None) -> bytes:
  """A black image by its header, with `rows` rows of data; by default all of them."""

  def chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

  header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
  squeeze, data = zlib.compressobj(9), b""
  row = bytes(1 + (width + 7) // 8)
  for _ in range(height if rows is None else rows):
    data += squeeze.compress(row)
  data += squeeze.flush()
  parts = chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b"")
  return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def gif(side: int, frames: int) -> bytes:
  """A short file of many large frames, alternately black and white."""
  black, white = (Image.new("1", (side, side), value) for value in (0, 1))
  others = [white, black] * (frames // 2)  # The same two, over and over.
  file = io.BytesIO()
  black.save(file, "GIF", save_all=True, append_images=others)
  return file.getvalue()


def clip(frames: int = 9) -> bytes:
  """A valid clip."""
  with tempfile.TemporaryDirectory() as name:
    path = Path(name) / "clip.mp4"
    video.write(path, np.zeros((frames, 64, 64, 3), np.uint8), 25)
    return path.read_bytes()


def zipped() -> bytes:
  """An archive of a gigabyte of zeros."""
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
    with archive.open("frames.raw", "w", force_zip64=True) as inner:
      for _ in range(1000):
        inner.write(bytes(1_000_000))
  return file.getvalue()


def contents(secret: Path) -> dict[str, bytes]:
  """Hostile files by name.

  Args:
    secret: A clip on the server's disk that no upload may reach.
  """
  playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n"
  away = playlist.replace(f"file://{secret}", "http://127.0.0.1:9/clip.ts")
  script = "<script>fetch('/config')</script>"
  svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">'
  link = f'<image href="file://{secret}"/>'
  return {
    "bomb.png": png(60_000, 60_000),
    "vast.png": png(100_000, 100_000, rows=1),
    "many.gif": gif(4000, 200),
    "archive.mp4": zipped(),
    "drawing.svg": f"{svg}{link}</svg>".encode(),
    "drawing.png": f"{svg}{link}</svg>".encode(),
    "page.png": f"<!doctype html><html>{script}</html>".encode(),
    "page.mp4": f"<!doctype html><html>{script}</html>".encode(),
    "list.mp4": f"ffconcat version 1.0\nfile '{secret}'\n".encode(),
    "playlist.mp4": f"{playlist}#EXT-X-ENDLIST\n".encode(),
    "playlist.m3u8": f"{playlist}#EXT-X-ENDLIST\n".encode(),
    "away.mp4": f"{away}#EXT-X-ENDLIST\n".encode(),
    "empty.png": b"",
    "cut.mp4": clip()[:700],
    "noise.webm": np.random.default_rng(0).bytes(100_000),
    "pickle.png": b"\x80\x04cos\nsystem\n(S'touch /tmp/evil'\ntR.",
  }


NAMES = (
  "../../../../tmp/evil.png",
  "/tmp/evil.png",
  "..\\..\\evil.png",
  "%2e%2e%2fevil.png",
  ".png",
  "a" * 300 + ".png",
  "<img src=x onerror=alert(1)>.png",
  "video.mp4; touch evil.png",
)
"""File names that try to leave the folder, or to be more than a name."""


def asked_with(page: Page, path: str) -> tuple[bool, str]:
  """Asks for a video whose first frame is a file; returns (made, the message)."""
  values = request(page, steps=1)
  labels = [part["props"].get("label") for part in page.fields[2]]
  values[labels.index(FIELD)] = as_upload(path)
  answer = page.ask(values)
  return answer.video is not None, answer.refused or answer.status


def sent(page: Page, name: str, content: bytes) -> tuple[bool, str]:
  """Uploads a file and asks for a video of it; returns (made, the message)."""
  code, said = page.upload(name, content)
  if code != 200:
    return False, str(said)
  return asked_with(page, said[0])


def declared(page: Page, size: int) -> str:
  """Declares an upload of a size, sends little of it, and returns the status line."""
  where = urllib.parse.urlsplit(page.address)
  head = (
    "POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\n"
    f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {size}\r\n\r\n"
    '--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
  )
  with socket.create_connection((where.hostname, where.port), timeout=60) as stream:
    stream.sendall(head.encode())
    with contextlib.suppress(OSError):
      for _ in range(2 * MEGABYTES):
        stream.sendall(bytes(1_000_000))
    with contextlib.suppress(OSError):
      return stream.recv(100).decode(errors="replace").splitlines()[0]
  return "the connection was closed"


def paths_of(secret: Path) -> dict[str, str]:
  """Paths of the server's own files, which a client names instead of an upload."""
  return {
    "the list of users": "/etc/passwd",
    "that list, from the current folder": "../../etc/passwd",
    "a clip next to the page's folder": str(secret),
    "the process's variables": "/proc/self/environ",
  }


def silent(said: str, secret: Path) -> bool:
  """Whether a message reveals nothing about the server's disk or code."""
  words = "Traceback", 'File "', "/root", "/tmp", "/home", "root:", str(secret)
  return not any(word in said for word in words)


def cases(page: Page, secret: Path) -> Iterator[tuple[str, Callable[[], tuple]]]:
  """Yields (description, function that tries it)."""
  for name, content in contents(secret).items():
    yield name, lambda name=name, content=content: sent(page, name, content)
  yield "too many bytes", lambda: sent(page, "a.png", bytes(MEGABYTES * 1_000_000 + 1))
  for what, path in paths_of(secret).items():
    yield f"path of {what}", lambda path=path: asked_with(page, path)


def outside(folder: Path) -> list[str]:
  """Lists files outside the page's own folder, where none may be."""
  allowed = {folder / "files", folder / "log.txt", folder / "secret.mp4"}
  found = [path for path in folder.rglob("*") if path.is_file()]
  evil = [path for path in (Path("/tmp/evil.png"), Path("/tmp/evil")) if path.exists()]
  kept = [p for p in found if not any(a == p or a in p.parents for a in allowed)]
  return [str(path) for path in [*kept, *evil]]


def run() -> list[dict[str, Any]]:
  """Rows: the result for each file, for the folder, and for the page."""
  rows = []

  def row(figure: str, value: Any, target: str, ok: bool) -> None:
    rows.append(
      {"figure": figure, "value": value, "unit": "", "target": target, "ok": ok}
    )

  options = "--upload-megabytes", str(MEGABYTES)
  with (
    tempfile.TemporaryDirectory() as name,
    served(python(), Path(name) / "page", *options) as page,
  ):
    secret = page.folder / "secret.mp4"
    secret.write_bytes(clip())
    page.ask(request(page, steps=1))
    before = page.memory
    for what, attempt in cases(page, secret):
      made, said = attempt()
      # A client that names a path has no page, and needs no sentence.
      good = not made and silent(said, secret) and (said or what.startswith("path"))
      row(what, "made" if made else said_of(said), "refused", bool(good))
    image = io.BytesIO()
    Image.new("RGB", (64, 64)).save(image, "PNG")
    for what in NAMES:
      code, said = page.upload(what, image.getvalue())
      inside = code != 200 or (page.folder / "files") in Path(said[0]).parents
      row(f"name {what[:40]}", code, "inside the folder, or refused", inside)
    line = declared(page, 10_000_000_000)
    row("10 GB declared", line, "413, or closed", "200" not in line)
    growth = (page.memory - before) / 1e6
    row("growth of the server, MB", round(growth), f"at most {MOST_MEMORY:g}",
        growth <= MOST_MEMORY)  # fmt: skip
    left = outside(page.folder)
    row("files outside its folder", json.dumps(left), "none", not left)
    answer = page.ask(request(page, steps=1))
    row("the next video", answer.status[:60], "made", answer.video is not None)
  return rows


def said_of(said: str) -> str:
  """Returns the message without its markup, cut to the width of a table."""
  text = said.replace('<div role="alert" class="wrong">', "").replace("</div>", "")
  return text[:120]
