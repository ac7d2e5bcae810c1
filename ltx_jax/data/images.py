"""Images of any kind as 8-bit RGB: Pillow's modes, transparency, animations.

Transparent pixels are shown over white, as in viewers. A mode whose white is not known
(32-bit integers, floats beyond [0, 1]) is refused by name and never clipped.
"""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms, ImageOps

from ltx_jax.data.timing import at_constant_rate, rate_of

BACKGROUND = 255
"""Level of red, green and blue behind transparent pixels: white."""

_MOST_PIXELS = 105_000_000
"""Largest number of pixels of an image, as large cameras have."""

_MOST_IN_ALL = 200_000_000
"""Largest number of pixels in all frames of an image, which need less than 2 GB."""

_ROWS = 64
_PLAIN = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")
_CLEAR = ("LA", "La", "PA", "RGBA", "RGBa")
_BITS_PER_SAMPLE = 258  # A tag of TIFF.
_UNTIMED = 100  # Milliseconds for which browsers show a frame that says 0.


class Unsuitable(ValueError):
  """An image is whole but cannot be converted; the message begins with a verb."""


class TooLarge(Unsuitable):
  """An image has more pixels than are read."""


def to_rgb(picture: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
  """Returns an image upright, over white and in 8 bits.

  Raises:
    Unsuitable: If the white of the pixels is not known.
  """
  mode = picture.mode
  if mode.startswith("I;16"):
    return _gray(*_scaled(picture))
  if mode == "F":
    return _gray(_unit_floats(picture), None)
  if mode == "LAB":
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    upright = ImageOps.exif_transpose(picture)
    return np.asarray(ImageCms.profileToProfile(upright, lab, srgb, outputMode="RGB"))
  if mode not in _PLAIN + _CLEAR:
    raise Unsuitable(
      f"holds pixels of mode {mode!r}, whose black and white are not known; save it "
      "with 8 or 16 bits a channel."
    )
  upright = ImageOps.exif_transpose(picture)
  if not upright.has_transparency_data:
    return np.asarray(_in_mode(upright, "RGB"))
  # Pillow cannot convert gray with premultiplied transparency directly.
  upright = upright.convert("LA") if mode == "La" else upright
  return over_background(np.asarray(_in_mode(upright, "RGBA")))


def _in_mode(picture: Image.Image, mode: str) -> Image.Image:
  """Returns an image in a mode, without a copy if it already has it."""
  return picture if picture.mode == mode else picture.convert(mode)


def over_background(
  rgba: UInt8[np.ndarray, "*f H W 4"], level: int = BACKGROUND
) -> UInt8[np.ndarray, "*f H W 3"]:
  """Blends pixels with straight alpha over a level of red, green and blue."""
  colors = np.empty((*rgba.shape[:-1], 3), np.uint8)
  for top in range(0, rgba.shape[-3], _ROWS):  # Floats of it all would take much more.
    rows = rgba[..., top : top + _ROWS, :, :]
    alpha = rows[..., 3:].astype(np.float32) / 255
    over = rows[..., :3] * alpha + level * (1 - alpha)
    colors[..., top : top + _ROWS, :, :] = np.rint(over)
  return colors


def _gray(
  levels: UInt8[np.ndarray, "H W"], alpha: UInt8[np.ndarray, "H W"] | None
) -> UInt8[np.ndarray, "H W 3"]:
  """Returns gray levels as colours, over the background where they are transparent."""
  colors = [levels] * 3
  if alpha is None:
    return np.stack(colors, -1)
  return over_background(np.stack([*colors, alpha], -1))


def _scaled(
  picture: Image.Image,
) -> tuple[UInt8[np.ndarray, "H W"], UInt8[np.ndarray, "H W"] | None]:
  """Returns gray of 9 to 16 bits in 8, and alpha if one level means transparent."""
  bits = getattr(picture, "tag_v2", {}).get(_BITS_PER_SAMPLE, 16)
  bits = bits[0] if isinstance(bits, tuple) else bits
  hidden = picture.info.get("transparency")
  values = np.asarray(ImageOps.exif_transpose(picture)).astype(np.uint16)
  levels = values * np.float32(255 / (2**bits - 1))
  levels = np.rint(levels, out=levels).clip(0, 255, out=levels).astype(np.uint8)
  if hidden is None:
    return levels, None
  return levels, np.where(values == hidden, 0, 255).astype(np.uint8)


def _unit_floats(picture: Image.Image) -> UInt8[np.ndarray, "H W"]:
  values = np.asarray(ImageOps.exif_transpose(picture))
  low, high = float(values.min()), float(values.max())
  if not (low >= 0 and high <= 1):  # Also catches NaN.
    raise Unsuitable(
      f"holds floats (mode 'F') from {low:g} to {high:g}; they must lie in [0, 1], or "
      "be saved as 8 or 16 bits."
    )
  return np.rint(255 * values).astype(np.uint8)


def read_frames(
  picture: Image.Image, limit: int | None
) -> tuple[UInt8[np.ndarray, "F H W 3"], float]:
  """Decodes an image, which may be animated, at a constant frame rate.

  Args:
    picture: Image as `Image.open` returned it. Of phones' files with several images
      (MPO), only the first is used.
    limit: Maximum number of frames to return.

  Returns:
    The frames, and their frames per second; 0 if no frame has a duration.

  Raises:
    Unsuitable: If the white of the pixels is not known, or frames differ in size.
    HeldTooLong: If a frame is held for too long.
  """
  frames, durations = [], []  # All durations, or the rate would depend on the limit.
  pixels = _checked_pixels(picture, limit)
  for i in range(1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)):
    picture.seek(i)
    picture.load()
    durations.append(float(picture.info.get("duration", 0)))
    if limit is None or len(frames) < limit:
      frames.append(to_rgb(picture))
  if len({frame.shape for frame in frames}) > 1:
    sizes = ", ".join(sorted({f"{f.shape[1]}x{f.shape[0]}" for f in frames}))
    raise Unsuitable(f"holds images of several sizes ({sizes}); give one of them.")
  if len(durations) == 1:
    return frames[0][None], 0.0  # A copy of the largest would be one too many.
  if not any(durations):
    return np.stack(frames), 0.0
  seconds = [(duration or _UNTIMED) / 1000 for duration in durations]
  times = [0.0, *np.cumsum(seconds).tolist()]  # With the end: the last duration counts.
  fps = rate_of(times)
  shown = at_constant_rate(zip(times, seconds, frames, strict=False), fps)
  most = _MOST_IN_ALL // pixels
  found = list(itertools.islice(shown, most + 1 if limit is None else limit))
  if len(found) > most:
    raise Unsuitable(
      f"lasts so long that it has more than {most} frames of {picture.width}x"
      f"{picture.height} pixels; cut it, or make a video of it."
    )
  return np.stack(found), fps


def _checked_pixels(picture: Image.Image, limit: int | None) -> int:
  """Returns the number of pixels of a frame.

  Raises:
    TooLarge: If the frames do not fit into memory.
  """
  pixels, count = picture.width * picture.height, getattr(picture, "n_frames", 1)
  count = (
    1 if picture.format == "MPO" else count if limit is None else min(limit, count)
  )
  size = f"{picture.width}x{picture.height} pixels"
  if pixels > _MOST_PIXELS:
    raise TooLarge(
      f"has {size}; at most {_MOST_PIXELS / 1e6:.0f} million are read: make it smaller."
    )
  if count * pixels > _MOST_IN_ALL:
    raise TooLarge(f"has {count} frames of {size}; make a video of it.")
  return pixels
