"""Full disks: while a video, records, checkpoints, a page or a manifest is written.

The folder `disk` is a small disk of its own where one may be mounted. Elsewhere, no
file that the program writes may be larger.
"""

from __future__ import annotations

from tests.odd_inputs.case import Case, library, quick, refused, shelved
from tests.odd_inputs.kinds.data import MODEL, TOKENS
from tests.odd_inputs.kinds.resumed import RARE

SLOW = {"seconds": 120.0, "megabytes": 3000}


def full(
  who: str, command: tuple[str, ...], *names: str, disk: int = 16, **more: object
) -> Case:
  """A program that runs out of disk: it says so, and leaves nothing half written."""
  return refused(who, command, "space", *names, disk=disk, **(SLOW | more))


def records(*more: str) -> tuple[str, ...]:
  """Records on the disk."""
  options = (*MODEL, *TOKENS, "--variants", "1", "--output", "disk/out")
  return ("train.precompute", "moving-shapes", *options, *more)


def noise(path: str) -> tuple[str, ...]:
  """A video that no format makes small."""
  return library(
    "from ltx_jax.data import video\n"
    "draw = np.random.default_rng(0).integers(0, 256, (9, 128, 128, 3), 'u1')\n"
    f"video.write({path!r}, draw, 24)"
  )


TRAIN = (
  *("train.transformer", "tiny", "--vae", "{shelf}/vae.safetensors", "--data"),
  *("{shelf}/records", "--output.folder", "disk/run", "--steps", "4", *RARE),
)
TRAIN_VAE = ("train.vae", "tiny", "--output.folder", "disk/run", "--steps", "4", *RARE)
RUN = ("disk/run/", "disk/run/*")

CASES = (
  *(
    full(f"has no room for a video of {suffix}", noise(f"disk/a.{suffix}"))
    for suffix in ("mp4", "webm", "mov", "gif", "webp", "png")
  ),
  full("has no room for a folder of PNGs", noise("disk/out")),
  full(
    "has no room for the sheet",
    (*quick("--sheet"), "--output", "disk/a.mp4"),
    disk=4,
    leaves=("disk/a.mp4",),
  ),
  full(
    "has no room at all",
    (*quick(), "--output", "disk/a/b/c.mp4"),
    disk=4,
    leaves=("disk/a/", "disk/a/b/"),
  ),
  full(
    "has no room for a checkpoint",
    ("sample.convert", "{shelf}/model/model.safetensors", "disk/a.safetensors"),
  ),
  full(
    "has no room for the layout of diffusers",
    ("sample.convert", "{shelf}/shipped/model.safetensors", "disk/a.safetensors"),
    disk=4000,
  ),
  full("has no room for records", records(), leaves=("disk/out/", "disk/out/*")),
  full(
    "has room for some records",
    records("--shard", "64"),
    disk=160,
    leaves=("disk/out/", "disk/out/*"),
  ),
  full("has no room for a run's first files", TRAIN, disk=4, leaves=RUN),
  full("has no room for a run's checkpoint", TRAIN, disk=64, leaves=RUN),
  full("has no room for a VAE's checkpoint", TRAIN_VAE, disk=64, leaves=RUN),
  full("has no room for a VAE's model", TRAIN_VAE, disk=1400, leaves=RUN),
  full(
    "has no room for the page",
    ("train.curves", "{shelf}/run", "--output", "disk/a.html"),
  ),
  full(
    "has no room for the curves",
    ("train.curves", "{shelf}/run", "--output", "disk/a.png"),
  ),
  full(
    "has no room for the manifest",
    ("train.manifest", "{shelf}/data/list.jsonl", "--output", "disk/m.jsonl"),
    disk=4,
    leaves=("disk/m.jsonl",),
  ),
  full(
    "has no room for a tokenizer",
    ("train.tokenizer", "--output", "disk/out"),
    leaves=("disk/out/", "disk/out/*.json"),
  ),
  full(
    "has no room for a judgement",
    (
      "train.evaluate",
      "judge",
      "--clips",
      "60",
      "--frames",
      "1",
      "--height",
      "32",
      "--width",
      "32",
      "--output",
      "disk/a/b",
    ),
    disk=4,
    leaves=("disk/a/", "disk/a/b/"),
  ),
  full(
    "has no room for a decoded record",
    (
      "train.records",
      "{shelf}/records",
      "000#5x32x32",
      "--model",
      "{shelf}/vae.safetensors",
      "--output",
      "disk/a.png",
    ),
    disk=4,
  ),
  Case(
    "has no room for the texts",
    quick("--text-cache", "disk"),
    code=0,
    makes=("video.mp4",),
    disk=4,
    leaves=("disk/*",),
    **SLOW,
  ),
  full(
    "replaces a video on a full disk",
    noise("disk/a.mp4"),
    files={"disk/a.mp4": shelved("clips/one.mp4")},
  ),
)
