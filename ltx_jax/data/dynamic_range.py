"""Converts high dynamic range and wide gamuts to 8-bit RGB of ordinary screens.

A sample E in [0, 1] stands for light in units of white, which BT.2408 sets to 203
cd/m2:

    PQ   L = 10000 / 203 ((E^(1/m2) - c1) / (c2 - c3 E^(1/m2)))^(1/m1)    (BT.2100)  (1)
    HLG  L = 1000 / 203 Y^0.2 S,  S = E^2 / 3 or (exp((E - c) / a) + b) / 12         (2)
    else L = E^2.4                                                        (BT.1886)  (3)

S is the light of the scene and Y its luminance. Colours of BT.2020 are converted to
those of BT.709. Light above 3/4 of white is compressed towards white, by the brightest
of the three colours, so that hues stay. The inverse of (3) gives the levels.
"""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Float32, UInt8, UInt16

PQ, HLG = 16, 18
"""libav's numbers of the two transfer characteristics."""
BT2020 = 9
"""libav's number of the wide primaries."""

_WHITE = 203.0
_KNEE = 0.75
_GAMMA = 2.4
_TO_BT709 = np.array(  # BT.2087, linear light.
  [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
  np.float32,
)
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)


def to_standard(
  samples: UInt16[np.ndarray, "H W 3"], transfer: int, primaries: int
) -> UInt8[np.ndarray, "H W 3"]:
  """Converts 16-bit RGB samples to 8-bit RGB.

  Args:
    samples: Full-range samples.
    transfer: libav's number of their transfer characteristics.
    primaries: libav's number of their primaries.
  """
  light = _light_table(transfer)[samples]
  if transfer == HLG:
    luminance = np.maximum(light @ _LUMINANCE, 1e-6)[..., None]
    light = light * luminance**0.2 * (1000 / _WHITE)
  if primaries == BT2020:
    light = np.maximum(light @ _TO_BT709.T, 0)
  if transfer in (PQ, HLG):
    light = _compressed(light)
  return np.rint(255 * np.minimum(light, 1) ** (1 / _GAMMA)).astype(np.uint8)


@functools.cache
def _light_table(transfer: int) -> Float32[np.ndarray, "65536"]:
  """Returns the light of each sample, equations (1) to (3); for HLG, of the scene."""
  e = np.arange(65536) / 65535
  if transfer == PQ:
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    root = e ** (1 / m2)
    light = (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return (light * (10_000 / _WHITE)).astype(np.float32)
  if transfer == HLG:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    light = np.where(e <= 0.5, e**2 / 3, (np.exp((e - c) / a) + b) / 12)
    return light.astype(np.float32)
  return (e**_GAMMA).astype(np.float32)


def _compressed(light: Float32[np.ndarray, "H W 3"]) -> Float32[np.ndarray, "H W 3"]:
  """Compresses light above the knee towards 1, equally in all three colours."""
  brightest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
  above = np.maximum(brightest - _KNEE, 0) / (1 - _KNEE)
  shown = np.minimum(brightest, _KNEE) + (1 - _KNEE) * above / (1 + above)
  return light * (shown / brightest)
