"""A captioner that fails as servers do, and clips to ask it about."""

import base64
import contextlib
import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from ltx_jax.curation.clip import Clip
from ltx_jax.curation.replies import Reply, Stills

GOOD = (
  "A woman in a red coat walks along a wet street and turns her head to the left. Cars "
  "stand at the kerb behind her, number {}, and the camera follows her from the side."
)


def clip(name, **given):
  return Clip(name, "a", 0, "a.mp4", 0.0, 4.0, 640, 360, 100, 25.0, **given)


def stills_of(clip, count=3):
  """Stills that tell clips apart; nothing here decodes them."""
  images = tuple(f"{clip.id} {k}".encode() for k in range(count))
  return Stills(images, tuple(float(k) for k in range(count)))


def said_of(stills):
  """The caption that a captioner without faults gives to stills."""
  return GOOD.format(hashlib.sha256(b"".join(stills.images)).hexdigest()[:8])


class Scripted:
  """A captioner in this process, which replies what a function says."""

  settings = {"model": "scripted"}

  def __init__(self, script, batch=1, at_once=4):
    self.script, self.batch, self.at_once = script, batch, at_once
    self.questions = []
    self.lock = threading.Lock()

  def __call__(self, questions):
    with self.lock:
      self.questions += questions
    texts = [self.script(question) for question in questions]
    return [t if isinstance(t, Reply) else Reply(t, "stop", 9, "s") for t in texts]


class Server:
  """Chat completions that fail as a function of the number of the call says.

  Attributes:
    url: Its address.
    calls: Requests so far, each with its body and headers.
  """

  def __init__(self, fault=lambda number: "", key=""):
    self.fault, self.key, self.calls = fault, key, []
    self.lock = threading.Lock()
    self.ended = threading.Event()

  def answered(self, request):
    """Answers one request, or fails to."""
    length = int(request.headers["Content-Length"])
    body = json.loads(request.rfile.read(length))
    with self.lock:
      number = len(self.calls)
      self.calls.append((request.path, body, dict(request.headers)))
    fault = self.fault(number)
    if self.key and request.headers["Authorization"] != f"Bearer {self.key}":
      said = f"no such key: {request.headers['Authorization']}"
      return send(request, 401, {"error": {"message": said}})
    if isinstance(fault, tuple):
      return send(request, *fault)
    if fault == "hang":
      self.ended.wait(20)
      return None
    if fault == "cut":
      return send(request, 200, completion("cut"), cut=20)
    if fault == "closed":
      return request.connection.close()
    if fault == "garbage":
      return send(request, 200, b"<html>busy</html>")
    content = body["messages"][0]["content"]
    urls = [part["image_url"]["url"] for part in content if "image_url" in part]
    images = [
      base64.b64decode(url.removeprefix("data:image/jpeg;base64,")) for url in urls
    ]
    # Replies come in another order than questions.
    time.sleep(0.001 * (number % 7))
    return send(request, 200, completion(said_of(Stills(tuple(images), ()))))


def completion(text, finish="stop"):
  message = {"role": "assistant", "content": text}
  choice = {"index": 0, "message": message, "finish_reason": finish}
  return {"model": "m-1", "choices": [choice], "usage": {"completion_tokens": 42}}


def send(request, status, body, headers=(), cut=0):
  data = body if isinstance(body, bytes) else json.dumps(body).encode()
  request.send_response(status)
  for name, value in headers:
    request.send_header(name, value)
  request.send_header("Content-Length", str(len(data)))
  request.end_headers()
  request.wfile.write(data[: len(data) - cut] if cut else data)


@contextlib.contextmanager
def serving(**given):
  """A server on this machine, for as long as the context lasts."""
  server = Server(**given)

  class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
      with contextlib.suppress(OSError):
        server.answered(self)

    def log_message(self, format, *args):
      pass

  class Quiet(ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, request, client_address):
      pass

  http = Quiet(("127.0.0.1", 0), Handler)
  server.url = f"http://127.0.0.1:{http.server_port}/v1"
  thread = threading.Thread(target=http.serve_forever, args=(0.01,))
  thread.start()
  try:
    yield server
  finally:
    server.ended.set()
    http.shutdown()
    http.server_close()
    thread.join()


def failing(share, kinds, seed=0):
  """Says how each of many calls fails; "" if it does not."""
  rng = np.random.default_rng(seed)
  fails, which = rng.random(10_000) < share, rng.integers(len(kinds), size=10_000)
  return lambda number: kinds[which[number]] if fails[number] else ""
