"""Lists what this machine has for ltx-jax, with a line of advice for each problem.

    python -m sample.doctor

It lists versions, devices with the precision and the attention that each would use,
free memory, caches and their sizes, models and text encoders on disk, and video codecs.
The exit code is 0 without advice, or else 1. Nothing is downloaded or written.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import av
import jax
from rich.console import Console

from ltx_jax.cli import console as shared
from ltx_jax.cli.command_line import cli
from ltx_jax.planning.memory import free_memory
from ltx_jax.platforms import Policy, policy_of
from ltx_jax.releases.presets import PRESETS, TEXT_ENCODER, HubFile

PACKAGES = (
  "ltx-jax jax jaxlib flax numpy transformers safetensors huggingface_hub av pillow "
  "tyro rich gradio"
).split()
NEEDED = ("jax", "flax", "numpy", "transformers", "safetensors", "av", "pillow")
OLDEST_PYTHON = (3, 11)
WRITES, READS = ("libx264",), ("h264", "hevc", "vp9", "av1")
_LITTLE = 4e9
_ON_GPU = 'pip install -U "jax[cuda12]"'


@dataclasses.dataclass(frozen=True)
class Options:
  """No options."""


class Finding(NamedTuple):
  """A line of the report.

  Attributes:
    what: Thing that was checked.
    found: Result of the check.
    advice: What to do about it; "" if nothing is wrong.
  """

  what: str
  found: str
  advice: str = ""


def versions() -> Iterator[Finding]:
  """Checks Python and the important packages."""
  old = tuple(map(int, platform.python_version_tuple()[:2])) < OLDEST_PYTHON
  advice = "Install Python 3.11 or newer." if old else ""
  yield Finding(
    "Python", f"{platform.python_version()} on {platform.machine()}", advice
  )
  for package in PACKAGES:
    try:
      yield Finding(package, importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
      advice = f"Install it: pip install {package}." if package in NEEDED else ""
      yield Finding(package, "not installed", advice)


def devices() -> Iterator[Finding]:
  """Checks every device, and how the networks would run on it."""
  for device in jax.devices():
    policy, free = policy_of(device), free_memory(device)
    memory = "memory unknown" if free is None else f"{free / 1e9:.1f} GB free"
    advice = ""
    if free is not None and free < _LITTLE:
      advice = "Little memory is free; end other programs for the released models."
    yield Finding(f"device {device.id}", f"{device.device_kind}, {memory}", advice)
    yield Finding("  precision", f"{policy.dtype}: {why_dtype(policy)}")
    yield Finding("  attention", f"{policy.attention}: {why_attention(policy)}")
  if jax.default_backend() == "cpu" and has_nvidia():
    advice = f"JAX does not see the NVIDIA GPU of this machine: {_ON_GPU}."
    yield Finding("NVIDIA GPU", "there, and not used", advice)


def why_dtype(policy: Policy) -> str:
  """Says why a policy computes in its precision."""
  return {
    "float32": "a CPU is no faster with less",
    "bfloat16": "as the models were trained",
    "float16": "this GPU has no bfloat16",
  }[policy.dtype]


def why_attention(policy: Policy) -> str:
  """Says why a policy uses its attention."""
  return {
    "xla": "in chunks, which fit any memory",
    "cudnn": "the fused kernel of NVIDIA GPUs",
    "splash": "the fused kernel of TPUs",
  }[policy.attention]


def has_nvidia() -> bool:
  """Whether the machine has an NVIDIA driver."""
  return Path("/proc/driver/nvidia/version").exists()


def caches() -> Iterator[Finding]:
  """Checks the caches and their sizes."""
  from huggingface_hub import constants

  folders = {
    "compiled programs": shared.cache_folder("xla"),
    "encoded prompts": shared.cache_folder("text"),
    "downloads": Path(constants.HF_HUB_CACHE),
  }
  for name, folder in folders.items():
    there = next(path for path in (folder, *folder.parents) if path.exists())
    advice = "" if os.access(there, os.W_OK) else f"Make {there} writable."
    yield Finding(name, f"{size_of(folder) / 1e6:.1f} MB in {folder}", advice)


def size_of(folder: Path) -> int:
  """Returns the bytes of all files in a folder; 0 if it does not exist."""
  return sum(
    (Path(root) / file).lstat().st_size
    for root, _, files in os.walk(folder)
    for file in files
  )


def models() -> Iterator[Finding]:
  """Checks which presets are on disk, and the text encoder of the released ones."""
  import huggingface_hub

  released = 0
  for name, preset in PRESETS.items():
    if isinstance(preset.files, HubFile):
      repository, file, _ = preset.files
      found = huggingface_hub.try_to_load_from_cache(repository, file)
      released += isinstance(found, str)
    else:
      found = str(preset.files) if preset.files.is_dir() else None
    if isinstance(found, str):
      yield Finding(f"model {name}", found)
  encoder = huggingface_hub.try_to_load_from_cache(
    TEXT_ENCODER, "text_encoder/config.json"
  )
  there = isinstance(encoder, str)
  advice = "" if there or not released else f"Download it: hf download {TEXT_ENCODER}."
  found = str(Path(encoder).parent) if there else "not downloaded"
  yield Finding("text encoder T5-XXL", found, advice)


def codecs() -> Iterator[Finding]:
  """Checks what PyAV writes and reads."""
  for what, names, mode in (("writes", WRITES, "w"), ("reads", READS, "r")):
    missing = [name for name in names if not has_codec(name, mode)]
    there = [name for name in names if name not in missing]
    advice = ""
    if missing:
      advice = (
        f"Install PyAV's own wheel, which has {', '.join(missing)}: pip install av."
      )
    yield Finding(f"video {what}", ", ".join(there) or "nothing", advice)


def has_codec(name: str, mode: str) -> bool:
  """Whether PyAV has a codec."""
  try:
    return bool(av.Codec(name, mode))
  except av.codec.codec.UnknownCodecError:
    return False


def main(argv: Sequence[str] | None = None) -> None:
  """Prints the report, and the advice at its end."""
  cli(Options, argv, program="python -m sample.doctor", about=__doc__)
  console, advice = Console(soft_wrap=True, highlight=False), []
  for look in (versions, devices, caches, models, codecs):
    for finding in look():
      console.print(f"{finding.what:22}{finding.found}", markup=False)
      advice += [finding.advice] if finding.advice else []
  for line in advice:
    console.print(f"advice: {line}", markup=False)
  if not advice:
    console.print("All is well.")
  raise SystemExit(bool(advice))


if __name__ == "__main__":
  shared.run(main)
