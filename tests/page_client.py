"""The page's server in a process of its own, and a client that speaks its protocol.

It says what Gradio's own front end says, so that fifty of them cost no fifty browsers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.program import ROOT

_QUEUE = "gradio_api/queue"
_START = 240.0
"""Seconds in which a server must answer for the first time."""


@dataclasses.dataclass(frozen=True)
class Answer:
  """The result of a request.

  Attributes:
    refused: What the server said instead of taking it, or None.
    status: The last sentence of the page's status.
    video: Path of the video on the server, or None.
    places: Places in the queue that were shown, in order.
  """

  refused: str | None = None
  status: str = ""
  video: str | None = None
  places: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Page:
  """A running page.

  Attributes:
    address: Its address, with a slash at the end.
    process: Number of the server's process.
    folder: Folder that all its files are in.
  """

  address: str
  process: int
  folder: Path

  def get(self, path: str = "") -> bytes:
    """Fetches a path."""
    with urllib.request.urlopen(self.address + path, timeout=60) as answer:
      return answer.read()

  @property
  def fields(self) -> tuple[int, int, list[dict[str, Any]]]:
    """Number of the function that generates, its trigger, and its input components."""
    config = json.loads(self.get("config"))
    parts = {part["id"]: part for part in config["components"]}
    (found,) = (
      each
      for each in config["dependencies"]
      if each["queue"] and each["targets"][0][1] == "click"
    )
    inputs = [parts[number] for number in found["inputs"]]
    return found["id"], found["targets"][0][0], inputs

  def values(self, **changed: Any) -> list[Any]:
    """Returns the defaults of all fields, except those whose labels are given."""
    _, _, inputs = self.fields
    known = {part["props"].get("label"): i for i, part in enumerate(inputs)}
    values = [part["props"].get("value") for part in inputs]
    for label, value in changed.items():
      values[known[label]] = value
    return values

  def join(self, values: list[Any], session: str) -> str | None:
    """Asks for a video; returns the server's message if it refuses."""
    number, trigger, _ = self.fields
    asked = {"data": values, "fn_index": number, "trigger_id": trigger}
    asked |= {"event_data": None, "session_hash": session}
    request = urllib.request.Request(
      f"{self.address}{_QUEUE}/join",
      json.dumps(asked).encode(),
      {"Content-Type": "application/json"},
    )
    try:
      with urllib.request.urlopen(request, timeout=60):
        return None
    except urllib.error.HTTPError as error:
      with error:
        return json.loads(error.read()).get("detail", "")

  def ask(self, values: list[Any], patience: float = 600.0) -> Answer:
    """Asks for a video and waits for the result."""
    session = secrets.token_hex(6)
    refused = self.join(values, session)
    if refused is not None:
      return Answer(refused=refused)
    places, output = [], {}
    for event in self.events(session, patience):
      if event["msg"] == "estimation":
        places.append(event["rank"])
      elif event["msg"] == "process_completed":
        output = event["output"]
        break
    data = output.get("data") or [output.get("error") or "", None, None]
    status = data[0] if isinstance(data[0], str) else ""
    video = data[2].get("path") if isinstance(data[2], dict) else None
    return Answer(None, status, video, tuple(places))

  def events(self, session: str, patience: float) -> Iterator[dict[str, Any]]:
    """Yields the server's messages to a session."""
    url = f"{self.address}{_QUEUE}/data?session_hash={session}"
    with urllib.request.urlopen(url, timeout=patience) as stream:
      for line in stream:
        if line.startswith(b"data:"):
          yield json.loads(line[5:])

  def upload(self, name: str, content: bytes) -> tuple[int, Any]:
    """Sends a file as a browser does; returns the code and the server's answer."""
    mark = secrets.token_hex(16)
    head = (
      f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="{name}"'
    )
    body = head.encode() + b"\r\nContent-Type: application/octet-stream\r\n\r\n"
    request = urllib.request.Request(
      f"{self.address}gradio_api/upload",
      body + content + f"\r\n--{mark}--\r\n".encode(),
      {"Content-Type": f"multipart/form-data; boundary={mark}"},
    )
    try:
      with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
      with error:
        return error.code, error.read().decode(errors="replace")

  @property
  def memory(self) -> int:
    """Bytes that the server's process holds."""
    status = Path(f"/proc/{self.process}/status").read_text()
    (kilobytes,) = (
      line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")
    )
    return 1024 * int(kilobytes)


def as_upload(path: str) -> Mapping[str, Any]:
  """A field's value that names an uploaded file."""
  return {"path": path, "meta": {"_type": "gradio.FileData"}}


def free_port() -> int:
  """Finds a port that nobody listens on."""
  with contextlib.closing(socket.socket()) as listener:
    listener.bind(("127.0.0.1", 0))
    return listener.getsockname()[1]


@contextlib.contextmanager
def served(python: str, folder: Path, *options: str) -> Iterator[Page]:
  """Serves the page from a process of its own, with all its folders in `folder`.

  Raises:
    RuntimeError: with what the server said, where it does not answer.
  """
  places = {name: folder / name for name in ("files", "current", "temporary")}
  for place in places.values():
    place.mkdir(parents=True)
  port = free_port()
  command = [python, "-m", "sample.app", "--port", str(port)]
  command += ["--folder", str(places["files"]), *options]
  environment = {
    "HF_HUB_OFFLINE": "1",
    "PYTHONPATH": str(ROOT),
    "TMPDIR": str(places["temporary"]),
  }
  log = folder / "log.txt"
  with open(log, "w") as file:
    server = subprocess.Popen(
      command,
      cwd=places["current"],
      env=os.environ | environment,
      stdout=file,
      stderr=file,
    )
  page = Page(f"http://127.0.0.1:{port}/", server.pid, folder)
  deadline = time.monotonic() + _START
  try:
    while True:
      with contextlib.suppress(OSError):
        page.get()
        break
      if server.poll() is not None or time.monotonic() > deadline:
        raise RuntimeError(f"the page does not answer:\n{log.read_text()}")
      time.sleep(0.3)
    yield page
  finally:
    server.terminate()
    server.wait(30)
