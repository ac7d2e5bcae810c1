"""All files that break pipelines, each with the reasons that a run must give for it.

Each shows a picture of its own, so that none is a duplicate of another by accident.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from tests.curation.faults import case, test_containers, test_pictures
from tests.data import media_case

GOOD = [f"good-{k}.mp4" for k in range(10)]


def _scene(path: Path, count: int = 50, speed: float = 1.0) -> np.ndarray:
  """A scene that only a file of this name has."""
  return case.scene(100 + zlib.crc32(os.fsencode(path.name)) % 10_000, count, speed)


def _written(change: Callable[[np.ndarray], np.ndarray], **given):
  def write(path: Path) -> None:
    case.write(path, change(_scene(path)), **given)

  return write


def _as_cameras_write(**given):
  return lambda path: media_case.write(path, _scene(path), 25, **given)


def _cut(size: float):
  def write(path: Path) -> None:
    case.plain(path, _scene(path))
    path.write_bytes(path.read_bytes()[: round(size * path.stat().st_size)])

  return write


def _of_bytes(content: bytes):
  return lambda path: path.write_bytes(content)


def _edited(path: Path) -> None:
  whole = path.with_suffix(".whole")
  options = {"bf": "0", "g": "100"}
  media_case.write(path, _scene(path), 25, options=options).rename(whole)
  options = {"avoid_negative_ts": "disabled"}
  test_containers.moved(whole, path, -10, options)
  whole.unlink()


def _late(path: Path) -> None:
  whole = path.with_suffix(".mp4")
  media_case.write(whole, _scene(path), 25)
  test_containers.moved(whole, path, 125)
  whole.unlink()


def _woven(path: Path) -> None:
  shown = _scene(path, 50, 2.0)
  pairs = zip(shown[::2], shown[1::2], strict=True)
  options = {"x264-params": "interlaced=1"}
  case.write(path, test_containers.woven(pairs), options=options)


def _transparent(shown: np.ndarray) -> np.ndarray:
  alpha = np.full((*shown.shape[:3], 1), 255, np.uint8)
  alpha[:, :, :40] = 0
  return np.concatenate([shown, alpha], -1)


def _strobe(shown: np.ndarray) -> np.ndarray:
  lit = np.arange(len(shown)) % 6 == 3
  return np.where(lit[:, None, None, None], np.uint8(255), shown)


def _still(shown: np.ndarray) -> np.ndarray:
  return np.repeat(shown[:1], len(shown), 0)


def _huge(path: Path) -> None:
  Image.new("1", (16384, 16384)).save(path)


def _wide(path: Path) -> None:
  case.write(path, [np.zeros((4096, 16384, 3), np.uint8)], "ffv1", "gray")


def _picture(path: Path) -> None:
  Image.fromarray(_scene(path, 1)[0]).save(path)


def _copy(seed: int, change: Callable[[np.ndarray], np.ndarray], fps: int = 25):
  def write(path: Path) -> None:
    shown = case.scene(seed, 50).repeat(2, 1).repeat(2, 2)
    case.plain(path, change(shown), fps)

  return write


KEPT = frozenset({None})
FILES: dict[str, tuple[Callable[[Path], object], frozenset[str | None]]] = {
  "uneven.mp4": (
    _as_cameras_write(times=np.cumsum([0] + [20, 60] * 24 + [40]).tolist()),
    KEPT,
  ),
  "turned.mp4": (_as_cameras_write(rotation=90), KEPT),
  "wide-pixels.mp4": (_as_cameras_write(aspect=Fraction(4, 3)), KEPT),
  "edited.mp4": (_edited, KEPT),
  "late.ts": (_late, KEPT),
  "open-gop.mp4": (
    _as_cameras_write(options={"bf": "3", "g": "9", "x264-params": "open-gop=1"}),
    KEPT,
  ),
  "few-broken.mp4": (lambda path: test_containers.damaged(path, 1, 90), KEPT),
  "many-broken.mp4": (
    lambda path: test_containers.damaged(path, 400, 91),
    frozenset({"corrupt"}),
  ),
  "half.mp4": (_cut(0.5), frozenset({"unreadable"})),
  "empty.mp4": (_of_bytes(b""), frozenset({"unreadable"})),
  "page.mp4": (_of_bytes(b"<html>404</html>"), frozenset({"unreadable"})),
  "song.mp4": (media_case.write_sound, frozenset({"no video"})),
  "cover.mp4": (
    lambda path: test_containers.tracks(path, (128, 72), cover=True),
    frozenset({"no video"}),
  ),
  "tracks.mkv": (
    lambda path: test_containers.tracks(path, (128, 72), (256, 144)),
    KEPT,
  ),
  "pq.mp4": (
    lambda path: media_case.write_deep(path, 594, test_containers.PQ, 9),
    frozenset({"length"}),
  ),
  "interlaced.mp4": (_woven, frozenset({"interlaced"})),
  "clear.mov": (_written(_transparent, codec="qtrle", pixels="argb"), KEPT),
  "odd.mp4": (_written(lambda s: s[:, :71, :127], pixels="yuv444p"), KEPT),
  "tiny.mp4": (_written(lambda s: s[:, :62, :80]), frozenset({"small"})),
  "frame.mp4": (_written(lambda s: s[:1]), KEPT),
  "image.png": (_picture, KEPT),
  "letterbox.mp4": (
    _written(lambda s: np.concatenate([s, test_pictures.boxed(s[:, ::-1], 12, 12)])),
    KEPT,
  ),
  "dissolve.mp4": (
    lambda path: case.plain(path, test_pictures.changed("dissolve")),
    frozenset({None, "transition"}),
  ),
  "strobe.mp4": (_written(_strobe), frozenset({"strobe"})),
  "slide.mp4": (_written(_still), frozenset({"static"})),
  "black.mp4": (_written(np.zeros_like), frozenset({"black"})),
  "white.mp4": (_written(lambda s: np.full_like(s, 255)), frozenset({"black"})),
  "huge.png": (_huge, frozenset({"too large"})),
  "wide.mkv": (_wide, frozenset({"too large"})),
  "hangs.mp4": (_of_bytes(b"?"), frozenset({"timeout"})),
  "dies.mp4": (_of_bytes(b"?"), frozenset({"crashed"})),
  "changes.mp4": (_written(lambda s: s), frozenset({"changed"})),
  "goes.mp4": (_written(lambda s: s), frozenset({"changed"})),
  "-i \"quote'\n$(x);\udcff.mp4": (_written(lambda s: s), KEPT),
  "copy-0.mp4": (_copy(80, lambda s: s), KEPT),
  "copy-half.mp4": (_copy(80, lambda s: s[:, ::2, ::2]), frozenset({"duplicate"})),
  "copy-faster.mp4": (
    _copy(80, lambda s: s[np.arange(60) * 25 // 30], 30),
    frozenset({"duplicate"}),
  ),
  "copy-mirrored.mp4": (_copy(80, lambda s: s[:, :, ::-1]), KEPT),
} | {name: (_written(lambda s: s), KEPT) for name in GOOD}
"""What writes each file, and the reasons that its rows may have; None is kept."""


def write(folder: Path) -> None:
  """Writes all files."""
  for name, (make, _) in FILES.items():
    make(folder / name)
