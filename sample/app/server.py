"""Gradio's server, made safe: with limits, silent, and closed to other origins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sample.app import page
from sample.app.studio import Studio
from sample.app.uploads import Limits

if TYPE_CHECKING:
  from sample.app.__main__ import Options

USER = "ltx"
_FORGET = 3600, 86400
"""Seconds: hourly checks of a temporary folder, in which day-old files are deleted."""

POLICY = "; ".join(
  (
    "default-src 'self' data: blob:",
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
    "style-src 'self' 'unsafe-inline'",
    "connect-src 'self'",
    "frame-ancestors 'none'",
  )
)
"""Sources from which a browser may load: nothing from any other server."""


class Headers:
  """Adds headers that bind the browser to this server."""

  def __init__(self, app: ASGIApp):
    self.app = app

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Passes a request on, and adds the headers to its answer."""

    async def with_headers(message: Message) -> None:
      if message["type"] == "http.response.start":
        added = {
          "content-security-policy": POLICY,
          "x-content-type-options": "nosniff",
          "referrer-policy": "no-referrer",
        }
        pairs = [(k.encode(), v.encode()) for k, v in added.items()]
        message["headers"] = [*message["headers"], *pairs]
      await send(message)

    await self.app(scope, receive, with_headers)


def launch(options: Options, folder: Path, limits: Limits) -> None:
  """Builds the page and serves it until it is interrupted."""
  studio = Studio(
    folder,
    text_encoder=options.text_encoder,
    dtype=options.dtype,
    limits=limits,
    extra=options.model,
  )
  blocks = page.build(studio, _FORGET if options.folder is None else None)
  blocks.queue(max_size=options.queue, api_open=False, default_concurrency_limit=1)
  blocks.launch(
    server_name=options.host,
    server_port=options.port or None,
    share=options.share,
    auth=(USER, options.password) if options.password else None,
    show_error=False,
    max_file_size=f"{limits.megabytes}mb",
    app_kwargs={"middleware": [Middleware(Headers)]},
    footer_links=[],
    ssr_mode=False,
    pwa=False,
    theme=page.theme(),
    css=page.CSS,
  )
