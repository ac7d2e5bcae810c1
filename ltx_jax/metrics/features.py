"""Features of clips, the numbers that `fvd` compares: three places they come from.

| name        | what it sees                                    | what it needs        |
|-------------|-------------------------------------------------|----------------------|
| precomputed | whatever another program computed               | an .npz file         |
| i3d         | logits of 400 actions (Kinetics-400)            | a file of weights    |
| shapes      | place, speed, size and colours of a moving      | nothing              |
|             | shape, by the rules of its judge                |                      |

I3D looks at single frames more than at motion. The shapes' features see motion as well
as colour, so that they show what a distance of features can do and what it costs in
clips. An FVD of one kind is no FVD of another: the name is part of the figure.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64, UInt8

from ltx_jax.checkpoints.fingerprint import fingerprint
from ltx_jax.config.i3d import I3D, LEAST_FRAMES, SIDE, I3DConfig
from ltx_jax.metrics.figure import Figure, no_weights
from ltx_jax.models import i3d
from ltx_jax.moving_shapes.foreground import foreground
from ltx_jax.platforms import Policy
from ltx_jax.typing import AnyArray, Params

SHAPES = 13
"""Number of features of a moving shape."""


@dataclasses.dataclass(frozen=True)
class Features:
  """A network, or rules, that turn clips into features.

  Attributes:
    name: Name, which becomes part of the figure's.
    fingerprint: Hash of the weights; empty without any.
    frames: Least number of frames of a clip.
    size: Height and width that frames are stretched to; None leaves them.
    call: Function from frames to features.
  """

  name: str
  fingerprint: str
  frames: int
  size: tuple[int, int] | None
  call: Callable[[UInt8[np.ndarray, "b F H W 3"]], Float[AnyArray, "b d"]]

  @property
  def recipe(self) -> str:
    """What a report says about them."""
    parts = [f"features {self.name}"]
    if self.size:
      parts.append(f"frames stretched to {self.size[1]}x{self.size[0]}")
    if self.fingerprint:
      parts.append(f"weights {self.fingerprint}")
    return ", ".join(parts)


@dataclasses.dataclass(frozen=True)
class Precomputed:
  """Features that another program computed.

  Attributes:
    name: Name of the network, as the file gives it, or the file's own.
    fingerprint: Hash of the file.
    features: One row a clip.
    clips: Names of the clips; empty if the file has none.
  """

  name: str
  fingerprint: str
  features: Float64[np.ndarray, "n d"]
  clips: tuple[str, ...] = ()


def features_of(
  features: Features, batches: Iterable[UInt8[np.ndarray, "b F H W 3"]]
) -> Float64[np.ndarray, "n d"]:
  """Returns the features of clips, batch by batch.

  Args:
    features: What computes them.
    batches: Frames of 8 bits.

  Raises:
    ValueError: If there are no clips, or some are too short.
  """
  rows = []
  for batch in batches:
    if batch.shape[1] < features.frames:
      raise ValueError(
        f"Clips of {batch.shape[1]} frames are too short for the features "
        f"{features.name}; give at least {features.frames}."
      )
    rows.append(np.asarray(features.call(batch), np.float64))
  if not rows:
    raise ValueError("There are no clips; features need at least one.")
  return np.concatenate(rows)


def read_precomputed(path: str | os.PathLike[str]) -> Precomputed:
  """Reads an .npz file: `features` [n d], and perhaps `network` and `clips` [n].

  Raises:
    ValueError: If it is no such file; the message says what it should hold.
  """
  path = Path(path)
  should = (
    "give an .npz file with features [clips, numbers], as "
    "np.savez(path, features=...) writes it"
  )
  if not path.is_file():
    raise ValueError(f"There is no file {path}; {should}.")
  try:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
      arrays = {name: file[name] for name in file.files}
  except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile):
    raise ValueError(f"{path} is no readable .npz file; {should}.") from None
  found = arrays.get("features")
  if found is None or found.ndim != 2 or found.dtype.kind not in "fiu":
    held = {name: (array.shape, str(array.dtype)) for name, array in arrays.items()}
    raise ValueError(f"{path} holds {held}; {should}.")
  clips = tuple(str(name) for name in np.ravel(arrays.get("clips", ())))
  if clips and len(clips) != len(found):
    raise ValueError(
      f"{path} has {len(found)} rows of features and {len(clips)} clips; give one name "
      "a row."
    )
  name = str(arrays["network"]) if "network" in arrays else path.stem
  digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
  return Precomputed(name, digest, found.astype(np.float64), clips)


def i3d_features(params: Params, policy: Policy, config: I3DConfig = I3D) -> Features:
  """Returns the features of FVD.

  Args:
    params: Weights (`checkpoints.i3d.load_i3d` reads them).
    policy: How the platform runs the network.
    config: Sizes of the network.
  """
  logits = i3d.logits_fn(policy, config)

  def call(frames: UInt8[np.ndarray, "b F H W 3"]) -> Float[AnyArray, "b _"]:
    return logits(params, frames)

  digest = fingerprint(config, params)
  return Features("i3d", digest, LEAST_FRAMES, (SIDE, SIDE), call)


def no_i3d(name: str = "fvd-i3d") -> Figure:
  """Returns what is reported without I3D's weights.

  Args:
    name: Name of the figure.
  """
  return no_weights(
    name,
    "the weights of I3D for Kinetics-400",
    "save the state dict of a PyTorch I3D as safetensors and name that file, or name "
    "an .npz file of features from another program; other figures do without",
  )


def shape_features() -> Features:
  """Returns the features of moving shapes; they need no weights."""
  return Features("shapes", "", 2, None, _shapes)


def _shapes(video: UInt8[np.ndarray, "b F H W 3"]) -> Float64[np.ndarray, "b 13"]:
  return np.stack([_shape(clip) for clip in video])


def _shape(clip: UInt8[np.ndarray, "F H W 3"]) -> Float64[np.ndarray, "13"]:
  """Returns a clip's features: each is about 0 to 1, or -1 to 1.

  Without a shape all but the background's colour are 0.
  """
  seen = foreground(clip)
  features = np.zeros(SHAPES)
  features[:3] = seen.background / 255
  if len(seen.frames) < 2:
    return features
  side = np.array(clip.shape[1:3])
  places = seen.centroids / side
  times = seen.frames / (len(clip) - 1)
  features[3:6] = seen.color / 255
  features[6:8] = places.mean(0)
  features[8:10] = np.polyfit(times, places, 1)[0]  # From the first frame to the last.
  features[10:12] = abs(np.diff(places, axis=0)).sum(0)  # The way that it took.
  features[12] = np.sqrt(np.median(seen.areas) / np.pi) / side.min()
  return features
