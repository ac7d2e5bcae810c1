"""A page in the browser that makes videos.

    python -m sample.app

It listens only on this machine. To let others in, set a password:

    python -m sample.app --host 0.0.0.0 --password SECRET

One video is made at a time; other requests wait in a queue of --queue places. All files
are written to one folder, which is temporary unless --folder names it. Nothing is sent
anywhere: the page loads no font, no script and no statistics from elsewhere.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from ltx_jax.cli import console as shared
from ltx_jax.cli.command_line import cli
from ltx_jax.errors import check_number
from sample.app.uploads import Limits
from sample.flags import IfAny

_LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclasses.dataclass(frozen=True)
class Options:
  """Settings of the page."""

  model: Annotated[tuple[str, ...], IfAny] = ()
  """Checkpoints (*.safetensors) or folders to offer in addition to the presets."""

  text_encoder: Annotated[str | None, IfAny] = None
  """Folder of the T5 encoder and its tokenizer, if not next to the model."""

  dtype: Annotated[Literal["float32", "bfloat16", "float16"] | None, IfAny] = None
  """Precision of the networks; default bfloat16 on GPU and TPU, float32 on CPU."""

  host: str = "127.0.0.1"
  """Address to listen on; 0.0.0.0 lets others in, and needs --password."""

  port: int = 7860
  """Port to listen on; 0 takes a free one."""

  password: Annotated[str | None, IfAny] = None
  """Password of the user "ltx", without which nobody sees the page."""

  share: bool = False
  """Open a public address through Gradio's server; needs --password."""

  queue: int = 20
  """Number of requests that may wait; others are asked to come back later."""

  upload_megabytes: int = 200
  """Largest size of an uploaded file, in megabytes."""

  folder: Annotated[Path | None, IfAny] = None
  """Folder for videos and uploads; default: a temporary one."""


def check(options: Options) -> None:
  """Refuses settings that are unsafe or out of bounds.

  Raises:
    ValueError: If there is one.
  """
  check_number("--port", options.port, at_least=0, at_most=65535)
  check_number("--queue", options.queue, at_least=1, at_most=1000)
  check_number(
    "--upload-megabytes", options.upload_megabytes, at_least=1, at_most=10_000
  )
  open_to_others = options.share or options.host not in _LOCAL
  if open_to_others and not options.password:
    flag = "--share" if options.share else f"--host {options.host}"
    raise ValueError(
      f"{flag} lets others in; give --password as well, which they are asked for."
    )


def main(argv: Sequence[str] | None = None) -> None:
  """Reads the command line, and serves the page until it is interrupted."""
  options = cli(Options, argv, program="python -m sample.app", about=__doc__)
  check(options)
  shared.use_compile_cache()
  with tempfile.TemporaryDirectory(prefix="ltx-jax-") as temporary:
    folder = Path(options.folder or temporary).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    # Gradio reads these when it is imported: its folder, and that it sends no
    # statistics.
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    serve(options, folder)


def serve(options: Options, folder: Path) -> None:
  """Serves the page.

  Raises:
    ValueError: If Gradio is not installed.
  """
  if importlib.util.find_spec("gradio") is None:
    raise ValueError(
      'The page needs Gradio; install it with: pip install "gradio>=6.31"'
    )
  from sample.app.server import launch

  launch(options, folder, Limits(megabytes=options.upload_megabytes))


if __name__ == "__main__":
  shared.run(main)
