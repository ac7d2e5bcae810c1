"""Low-rank updates (LoRA) of a transformer, merged into its kernels while it is read.

For some of the transformer's linear layers, a LoRA has two thin matrices A (r, in) and
B (out, r) of rank r. With a strength w that the user gives,

  W' = W + w (alpha / r) B A

where alpha is a number in the file, or r if the file does not say it. Several updates
are summed in float32 and rounded once. Each stacked kernel is changed in host memory,
after it is read and before it is placed, one layer at a time, so that only one layer is
there twice.

Files name layers as diffusers does (`transformer.transformer_blocks.0...lora_A.weight`)
or as ComfyUI does (`diffusion_model.transformer_blocks.0...lora_down.weight`); inside
the blocks both use the official names.

Source: Hu et al. 2021 (arXiv 2106.09685), equation 3; scales as in `peft`, whose
settings diffusers writes into a file's metadata.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped

from ltx_jax.checkpoints import recognize
from ltx_jax.checkpoints.arrays import Place, Placed, listed
from ltx_jax.checkpoints.diffusers import transformer_name
from ltx_jax.checkpoints.keys import DENSE, Entry, transformer_entries
from ltx_jax.checkpoints.safetensors_io import (
  Reader,
  open_safetensors,
  write_safetensors,
)
from ltx_jax.checkpoints.trees import flatten
from ltx_jax.config import TransformerConfig
from ltx_jax.config.lora import LoRAConfig
from ltx_jax.errors import check_number, is_number, shown
from ltx_jax.files import NotJSON, parse_json
from ltx_jax.typing import Params

Loras = Sequence[tuple[str | os.PathLike[str], float]]
"""Files, each with the strength at which it is applied."""

_PREFIXES = (
  "base_model.model.",
  "model.diffusion_model.",
  "diffusion_model.",
  "transformer.",
)
_SIDES = {
  "lora_A": "down",
  "lora_down": "down",
  "lora.down": "down",
  "lora_B": "up",
  "lora_up": "up",
  "lora.up": "up",
}
# An adapter's name may come before "weight", as `peft` has it in memory.
_KEY = re.compile(
  r"(?P<module>.+?)\.(?:(?P<alpha>alpha)|"
  rf"(?P<side>{'|'.join(map(re.escape, _SIDES))})(?:\.[\w-]+)?\.weight)"
)
_METADATA = "lora_adapter_metadata"


class Update(NamedTuple):
  """The update of one layer's kernel: scale (up down), transposed.

  Attributes:
    layer: Index in the stack; None if the kernel is not a stack.
    down: A, (r, in).
    up: B, (out, r).
    scale: The strength times alpha / r.
  """

  layer: int | None
  down: Shaped[np.ndarray, "r i"]
  up: Shaped[np.ndarray, "o r"]
  scale: float


Updates = Mapping[str, Sequence[Update]]
"""Updates of each kernel by its path, which starts with "transformer/"."""


def read_loras(loras: Loras, config: TransformerConfig) -> Updates:
  """Reads LoRA files for a transformer.

  Args:
    loras: Files and strengths; 0 ignores a file, and negative strengths subtract it.
    config: Config of the transformer.

  Raises:
    ValueError: If a file cannot be read, not everything in it belongs to this
      transformer, a shape does not fit, or a pair is incomplete.
  """
  modules = _modules(config)
  updates: dict[str, list[Update]] = {}
  for path, strength in loras:
    if not (is_number(strength) and math.isfinite(strength)):
      raise ValueError(
        f"The strength of {path} is {shown(strength)}; give a finite number."
      )
    with open_safetensors(path) as reader:
      for entry, update in _read(reader, modules, recognize.describe(config)):
        _check_finite(path, entry, update)
        update = update._replace(scale=strength * update.scale)
        updates.setdefault(f"transformer/{entry.path}", []).append(update)
  return updates


def _check_finite(path: Any, entry: Entry, update: Update) -> None:
  """Refuses what would make every video black.

  Raises:
    ValueError: naming the file and the layer.
  """
  if not all(np.isfinite(np.asarray(x, np.float32)).all() for x in update[1:3]):
    raise ValueError(
      f"{path} has NaN or infinite numbers for {entry.key}; train or download it again."
    )


def merging(updates: Updates, place: Place) -> Place:
  """Returns a `Place` that adds updates to arrays before `place` places them."""

  def put(path: str, array: Shaped[np.ndarray, "..."]) -> Placed:
    merge(array, updates.get(path, ()))
    return place(path, array)

  return put


def merge(kernel: Shaped[np.ndarray, "..."], updates: Sequence[Update]) -> None:
  """Adds updates in place to a kernel (in, out) or to a stack of them."""
  for layer in dict.fromkeys(update.layer for update in updates):
    target = kernel if layer is None else kernel[layer]
    total = target.astype(np.float32)
    for update in updates:
      if update.layer == layer:
        down, up = (np.asarray(x, np.float32) for x in (update.down, update.up))
        total += (np.float32(update.scale) * down.T) @ up.T
    target[...] = total.astype(kernel.dtype)


def _modules(config: TransformerConfig) -> dict[str, Entry]:
  """Returns the linear layers, by their official names and by those of diffusers."""
  modules = {}
  for entry in transformer_entries(config):
    if entry.layout == DENSE:
      for name in (entry.key, transformer_name(entry.key)):
        modules[name.removesuffix(".weight")] = entry
  return modules


def _read(
  reader: Reader, modules: Mapping[str, Entry], what: str
) -> list[tuple[Entry, Update]]:
  """Returns the updates in a file, without the user's strength."""
  found, strange = _sorted(reader, modules)
  if not found:
    raise ValueError(
      f"{reader.path} has nothing for {what}: none of its {len(reader.names)} tensors "
      f"({listed(reader.names)}) is a LoRA of one of its layers; give a LoRA made for "
      "this model."
    )
  if strange:
    raise ValueError(
      f"{reader.path} has {len(strange)} of {len(reader.names)} tensors that belong to "
      f"no layer of {what}: {listed(strange)}; give a LoRA made for this model."
    )
  settings = _settings(reader)
  return [
    (modules[module], _update(reader, module, modules[module], sides, settings))
    for module, sides in found.items()
  ]


def _sorted(
  reader: Reader, modules: Mapping[str, Entry]
) -> tuple[dict[str, dict[str, str]], list[str]]:
  """Returns the names by module and by "down", "up" or "alpha"; and all others."""
  found: dict[str, dict[str, str]] = {}
  strange, taken = [], set()
  for name in reader.names:
    key = name
    for prefix in _PREFIXES:
      if name.startswith(prefix):
        key = name.removeprefix(prefix)
        break
    parsed = _KEY.fullmatch(key)
    if parsed is None or parsed["module"] not in modules:
      strange.append(name)
      continue
    side = parsed["alpha"] or _SIDES[parsed["side"]]
    place = (modules[parsed["module"]].key, side)
    if place in taken:
      raise ValueError(f"{reader.path} has a second tensor like {name}.")
    taken.add(place)
    found.setdefault(parsed["module"], {})[side] = name
  return found, strange


def _update(
  reader: Reader,
  module: str,
  entry: Entry,
  sides: Mapping[str, str],
  settings: Mapping[str, Any],
) -> Update:
  """Returns one layer's update, after checking its shapes."""
  for side in ("down", "up"):
    if side not in sides:
      raise ValueError(
        f"{reader.path} has {', '.join(sides.values())} but not the other half of "
        "it; give a whole LoRA."
      )
  down, up = reader.shape(sides["down"]), reader.shape(sides["up"])
  n_out, n_in = entry.shape
  if len(down) != 2 or down != (down[0] or 1, n_in) or up != (n_out, down[0]):
    raise ValueError(
      f"{reader.path} has {module} with A {down} and B {up}; a layer from {n_in} to "
      f"{n_out} channels takes (r, {n_in}) and ({n_out}, r): give a LoRA made for this "
      "model."
    )
  for name in sides.values():
    if not jnp.issubdtype(reader.dtype(name), jnp.floating):
      raise ValueError(
        f"{reader.path} has {name} as {reader.dtype(name)}, not floating point."
      )
  rank = down[0]
  alpha = float(rank)
  if "alpha" in sides:
    if math.prod(reader.shape(sides["alpha"])) != 1:
      shape = reader.shape(sides["alpha"])
      raise ValueError(
        f"{reader.path} has {sides['alpha']} of shape {shape}; alpha is one number."
      )
    alpha = float(reader.read(sides["alpha"]).reshape(()))
  elif settings:
    alpha = _alpha(module, settings, rank)
  if not math.isfinite(alpha):
    raise ValueError(f"{reader.path} has alpha = {alpha} for {module}.")
  divisor = math.sqrt(rank) if settings.get("use_rslora") else rank
  halves = reader.read(sides["down"]), reader.read(sides["up"])
  return Update(entry.layer, *halves, alpha / divisor)


def _settings(reader: Reader) -> dict[str, Any]:
  """Returns peft's settings in the metadata, empty if there are none."""
  try:
    content = parse_json(reader.metadata.get(_METADATA, "{}"))
  except NotJSON as error:
    raise ValueError(
      f"{reader.path} has {_METADATA} that is not JSON ({error})."
    ) from None
  if not isinstance(content, dict):
    raise ValueError(f"{reader.path} has {_METADATA} that is not a JSON object.")
  settings = {key.removeprefix("transformer."): v for key, v in content.items()}
  try:
    _check_settings(settings)
  except ValueError as error:
    raise ValueError(f"{reader.path} has {_METADATA} that is wrong. {error}") from None
  if settings.get("use_dora"):
    raise ValueError(f"{reader.path} is a DoRA; this code merges only plain LoRA.")
  return settings


def _check_settings(settings: Mapping[str, Any]) -> None:
  """Refuses settings that say alpha otherwise than by numbers."""
  patterns = settings.get("alpha_pattern") or {}
  if not isinstance(patterns, Mapping):
    raise ValueError(f"Its alpha_pattern is {shown(patterns)}, not a JSON object.")
  for name, alpha in {"lora_alpha": 1, **settings, **patterns}.items():
    if name == "lora_alpha" or name in patterns:
      check_number(f"alpha of {shown(name)}", alpha, below=2**1000)
  for pattern in patterns:
    try:
      re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
      raise ValueError(
        f"Its alpha_pattern {shown(pattern)} is not a pattern ({error})."
      ) from None


def _alpha(module: str, settings: Mapping[str, Any], rank: int) -> float:
  """Returns a layer's alpha: of the first pattern its name ends with, or of all."""
  for pattern, alpha in (settings.get("alpha_pattern") or {}).items():
    if re.match(rf"(.*\.)?({pattern})$", module):
      return float(alpha)
  return float(settings.get("lora_alpha", rank))


def write_for_diffusers(
  path: str | os.PathLike[str],
  updates: Params,
  config: TransformerConfig,
  lora: LoRAConfig,
  metadata: Mapping[str, str],
) -> None:
  """Writes trained updates (`training.lora`) for diffusers and `peft`.

  Args:
    path: The file; its numbers are float32.
    updates: `lora_down` (l, in, r) and `lora_up` (l, r, out) of stacked layers.
    config: Config of the transformer.
    lora: Rank and alpha of the updates, which go into the header as in `peft`.
    metadata: Other entries of the header, such as the data they were trained on.
  """
  halves = {
    transformer_name(f"{module}.weight").removesuffix(".weight"): pair
    for module, pair in _halves(updates, config).items()
  }
  settings = {
    "r": lora.rank,
    "lora_alpha": _alpha_of(lora),
    "target_modules": sorted(halves),
    "rank_pattern": {},  # diffusers requires both patterns.
    "alpha_pattern": {},
  }
  settings = {f"transformer.{key}": value for key, value in settings.items()}
  tensors = {
    f"transformer.{module}.lora_{side}.weight": half
    for module, pair in halves.items()
    for side, half in zip("AB", pair, strict=True)
  }
  _write(path, tensors, {**metadata, _METADATA: json.dumps(settings, sort_keys=True)})


def write_for_comfyui(
  path: str | os.PathLike[str],
  updates: Params,
  config: TransformerConfig,
  lora: LoRAConfig,
  metadata: Mapping[str, str],
) -> None:
  """Writes updates for ComfyUI, with alpha as a tensor; see `write_for_diffusers`."""
  tensors = {}
  for module, (down, up) in _halves(updates, config).items():
    name = f"diffusion_model.{module}"
    tensors[f"{name}.lora_down.weight"] = down
    tensors[f"{name}.lora_up.weight"] = up
    tensors[f"{name}.alpha"] = np.array(_alpha_of(lora), np.float32)
  _write(path, tensors, metadata)


WRITERS = {"diffusers": write_for_diffusers, "comfyui": write_for_comfyui}
"""Writers by the name of the program that reads the file."""


def _alpha_of(lora: LoRAConfig) -> float:
  return float(lora.rank if lora.alpha is None else lora.alpha)


def _halves(
  updates: Params, config: TransformerConfig
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Returns A (r, in) and B (out, r) of every layer, by its official name."""
  flat, found = flatten(updates), {}
  for entry in transformer_entries(config):
    layer = entry.path.removesuffix("/kernel")
    names = f"{layer}/lora_down", f"{layer}/lora_up"
    if entry.layout == DENSE and names[0] in flat:
      pair = (np.asarray(flat[name][entry.layer], np.float32).T for name in names)
      found[entry.key.removesuffix(".weight")] = tuple(pair)
  return found


def _write(
  path: str | os.PathLike[str],
  tensors: Mapping[str, np.ndarray],
  metadata: Mapping[str, str],
) -> None:
  arrays = {name: np.array(array, order="C") for name, array in tensors.items()}
  listed = [(n, a.shape, a.dtype, lambda a=a: a) for n, a in arrays.items()]
  write_safetensors(path, listed, {"format": "pt", **metadata})
