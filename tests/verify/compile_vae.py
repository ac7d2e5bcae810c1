"""The training step of the released VAE with its discriminator, compiled for pods.

The recipe `ltxv_vae` with the reconstruction GAN, AdamW for both networks, an average,
bfloat16 products and float32 parameters; nothing is run. TPUs are compiled for with the
least effort. Work is compared with the passes of both networks by formula, each counted
once. The compiler of TPUs counts 1.09 times the formula for a convolution alone (128
channels, 49 frames of 64x64), the one of GPUs less than once, since it leaves out the
borders.

The large clip has its height split over `context`, with edges exchanged at each
convolution; four chips share each clip, and all sixteen the parameters. For the other
clips the largest number that fits is searched. It needs the compilers: pip install
"jax[cuda12]" "jax[tpu]", 6.2 GB. Results are kept in docs/compile_vae.partial.json, so
an interrupted check resumes. The file is removed when all rows are there.
"""

from __future__ import annotations

from typing import Any

from tests.verify.compile_tables import row
from tests.verify.compile_training import GB, ROOT, all_compiled, plan_row

NAME = "The VAE's training step with its discriminator, compiled for pods"
COMMAND = "python -m tests.verify compile_vae"

PARTIAL = ROOT / "docs" / "compile_vae.partial.json"
MINUTES = 10
"""Longest compilation, on two quiet cores."""

_RECIPE = ("ltxv_vae", "--adversarial.weight", "0.1", "--remat", "full")
_CLIP = (*_RECIPE, "--bucket", "256x256x49", "--device")
_LARGE = (*_RECIPE, "--bucket", "512x512x121", "--device")
_H100 = (*_CLIP, "8xh100")
_V5P = (*_CLIP, "v5p-16", "--effort", "least")
_V5E = (*_CLIP, "v5e-16", "--effort", "least")
_SPLIT = ("--effort", "least", "--clips", "0.25", "--mesh.context", "4")
STEPS = (
  *((*device, "--clips", "1") for device in (_H100, _V5P, _V5E)),
  (*_LARGE, "v5e-16", *_SPLIT),
  *((*device, "--fit") for device in (_V5E, _H100, _V5P)),
)
"""Arguments of `train.compile`."""

MOST_WORK = {"8xh100": 1.05, "v5p-16": 1.2, "v5e-16": 1.2}
"""Largest work relative to the formula, by device."""


def rows_of(arguments: tuple[str, ...], found: dict[str, Any]) -> list[dict[str, Any]]:
  """Rows of one step."""
  if "--fit" in arguments:
    return [_most(found)]
  split = " context=4" if "--mesh.context" in arguments else ""
  what = f"{found['device']}{split}, {found['clips']:g} x {found['bucket']}"
  if found["peak_bytes"] is None:
    wanted = (found["wanted_bytes"] or 0) / GB
    return [row(f"{what}: no place for it", wanted, "GB", "fits", False)]
  peak, most = found["peak_bytes"] / GB, 0.95 * found["memory_bytes"] / GB
  parts = f"state {found['state_bytes'] / GB:.1f}"
  parts += f", temporaries {found['temporaries_bytes'] / GB:.1f}"
  again = found["recomputed_flops"] / found["minimum_flops"]
  work = found["flops"] / found["minimum_flops"] - again
  sent = ", ".join(
    f"{kind} {each['count']} x: {each['bytes'] / GB:.2f}"
    for kind, each in found["collectives"].items()
  )
  minutes, bound = found["compile_seconds"] / 60, MOST_WORK[found["device"]]
  seconds = f"estimate of {found['estimate_seconds']:.2f} s a step"
  return [
    row(f"{what}: peak ({parts})", peak, "GB", f"at most {most:g}", peak <= most),
    plan_row(what, found),
    row(
      f"{what}: FLOPs over those of both networks, each pass once, without "
      f"{again:.2f} that are computed again",
      *(work, "", f"at most {bound:g}", work <= bound),
    ),
    row(f"{what}: sent ({sent}; {seconds})", found["sent_bytes"] / GB, "GB", "", True),
    row(
      f"{what}: compiled in",
      *(minutes, "minutes", f"at most {MINUTES}", minutes <= MINUTES),
    ),
  ]


def _most(found: dict[str, Any]) -> dict[str, Any]:
  """The row of the largest batch; with one clip more, the compiler finds no room."""
  peak = found["peak_bytes"] / GB
  what = f"{found['device']}: most clips of {found['bucket']} that fit (peak {peak:.1f}"
  what += f" GB, planned {found['planned_bytes'] / GB:.1f} GB)"
  return row(what, found["clips"], "a device", "at least 1", found["clips"] >= 1)


def run() -> list[dict[str, Any]]:
  """Rows of all steps."""
  found = all_compiled(STEPS, PARTIAL)
  rows = [each for one in STEPS for each in rows_of(one, found[" ".join(one)])]
  PARTIAL.unlink(missing_ok=True)
  return rows
