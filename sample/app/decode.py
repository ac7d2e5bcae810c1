"""The child process that decodes an upload: `python -m sample.app.decode`.

A damaged or hostile file may take all memory, never end, or crash the decoder. Here it
can do so only in a process of its own, with limits that the system enforces.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import av
import numpy as np
from PIL import Image, UnidentifiedImageError

from ltx_jax.data import decoding, video


def check_size(path: Path, most_pixels: int) -> None:
  """Refuses frames that are too large, by the size in the file's header.

  Raises:
    ValueError: If they are too large; the message has their size.
  """
  try:
    with Image.open(path) as picture:
      width, height = picture.size
  except UnidentifiedImageError:
    width, height = _size_of_video(path)
  if width * height > most_pixels:
    raise ValueError(
      f"{path.name} has {width}x{height} pixels; at most {most_pixels / 1e6:.0f} "
      "million are taken."
    )


def _size_of_video(path: Path) -> tuple[int, int]:
  """Returns width and height, or (0, 0) if it is no video, which the reader reports."""
  try:
    with decoding.open_container(path) as container:
      streams = container.streams.video
      return (streams[0].width, streams[0].height) if streams else (0, 0)
  except av.FFmpegError:
    return 0, 0


def main() -> None:
  """Decodes a file into an array of uint8 frames; prints errors."""
  path, output, given = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
  Image.MAX_IMAGE_PIXELS = None  # `check_size` has a limit of its own.
  memory = given["memory"] + _address_space()
  resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
  resource.setrlimit(resource.RLIMIT_CPU, (given["seconds"], given["seconds"]))
  resource.setrlimit(resource.RLIMIT_FSIZE, (given["memory"], given["memory"]))
  try:
    check_size(path, given["pixels"])
    frames, _ = video.read(path, given["frames"])
    np.save(output, frames)
  except (ValueError, av.FFmpegError, OSError) as error:
    said = str(error).replace(str(path), path.name)
    sys.exit(said)
  except MemoryError:
    sys.exit(f"{path.name} takes too much memory; give a smaller or a shorter file.")


def _address_space() -> int:
  """Returns the process's bytes so far: libraries reserve much that they never use."""
  pages = int(Path("/proc/self/statm").read_text().split()[0])
  return pages * resource.getpagesize()


if __name__ == "__main__":
  main()
