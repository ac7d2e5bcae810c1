"""A selection that was never measured, with every kind of decision on its page."""

import dataclasses
import functools
import io

import numpy as np
from PIL import Image, ImageDraw

from ltx_jax.curation import filters
from ltx_jax.curation.captions import FAULTS
from ltx_jax.curation.clip import Clip, Decision
from ltx_jax.curation.filters import Duplicates, Threshold
from ltx_jax.curation.table import tabled

FILTERS = [
  Threshold("length", "length", "seconds", least=1.0, most=20.0),
  Threshold("static", "static", "motion", least=0.005),
  Duplicates(),
  Threshold("aesthetic", "aesthetic", "aesthetic", best=0.6),
]
REFUSED = {
  "a/broken.mp4": Decision("probe", "unreadable", "Invalid data found"),
  "a/other.mp4": Decision("probe", "unreadable", "moov atom not found"),
  "a/song.mp4": Decision("probe", "no video", "audio only"),
}
WORDS = "a woman in the red coat walks along wet street and turns camera pans".split()


def clips(count=120, seed=0):
  """Clips of several files, ten or more; some are short, static, alike, or faulty."""
  rng = np.random.default_rng(seed)
  found = []
  for k in range(count):
    start, seconds = float(10 * k), float(rng.gamma(3.0, 1.8))
    source = f"videos/holiday {k // 12}.mp4"
    scores = {
      "motion": round(float(rng.lognormal(-3.5, 1.2)), 4),
      "camera": round(float(rng.lognormal(-4, 1)), 4),
      "aesthetic": round(float(rng.normal(5, 1)), 4),
    }
    code = rng.bytes(8).hex() if k % 10 != 9 else found[-1].hashes[0]
    text = " ".join(rng.choice(WORDS, int(rng.integers(15, 160)))) + "."
    found.append(
      Clip(
        *(f"{source}@{round(1000 * start)}", source, 0, source),
        *(start, start + seconds, 1280, 720, max(1, round(25 * seconds)), 25.0),
        caption=text,
        scores=scores,
        stills=tuple(f"{k}-{n}" for n in range(5)),
        hashes=(code,) * 3,
        extra={FAULTS: ["static"]} if k % 11 == 0 else {},
      )
    )
  faulty = dataclasses.replace(
    found[7],
    caption="Too short.",
    decision=Decision("caption", "caption", "short"),
    extra={FAULTS: ["short"]},
  )
  black = Decision("black", "black", 3.2, 16.0)
  found[3] = dataclasses.replace(found[3], decision=black, caption="")
  return [*found[:7], faulty, *found[8:]]


def of(found, rules=FILTERS):
  return filters.select(tabled(found), rules)


def selected(**given):
  return of(clips(**given))


@functools.cache
def still(name):
  """A small JPEG that shows its own name."""
  number = int(name.split("-")[0])
  image = Image.new("RGB", (128, 72), (number % 256, 90, 255 - number % 256))
  ImageDraw.Draw(image).text((5, 5), name, fill="white")
  file = io.BytesIO()
  image.save(file, "jpeg", quality=80)
  return file.getvalue()
