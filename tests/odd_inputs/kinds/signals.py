"""Signals: Ctrl-C, the end of a session, and schedulers that want a machine back."""

from __future__ import annotations

import signal

from tests.odd_inputs.case import Case, Signal, generate, shelved
from tests.odd_inputs.kinds.data import precompute

INTERRUPTED, TERMINATED, HUNG_UP = 130, 143, 129
CODES = {
  signal.SIGINT: INTERRUPTED,
  signal.SIGTERM: TERMINATED,
  signal.SIGHUP: HUNG_UP,
}
LONG = "--width", "64", "--height", "64", "--frames", "33", "--steps", "5000"
TRAIN = (
  *("train.transformer", "tiny", "--vae", "{shelf}/vae.safetensors", "--data"),
  *("{shelf}/records", "--output.folder", "run", "--steps", "100000"),
  *("--output.sample-every", "100000", "--output.evaluate-every", "100000"),
)
TRAIN_VAE = ("train.vae", "tiny", "--output.folder", "run", "--steps", "100000")
RUN = ("run/", "run/*")


def ended(
  who: str,
  command: tuple[str, ...],
  number: int,
  after: str = "",
  wait: float = 0.0,
  **more: object,
) -> Case:
  """A program that a signal ends, in words, with nothing half written."""
  more = {"seconds": 90.0, "megabytes": 3000} | more
  sent = Signal(number, after, wait)
  return Case(who, command, code=CODES[number], signal=sent, **more)


MANY = {f"clips/{n}.mp4": shelved("data/cat.mp4") for n in range(40)}
MANY |= {f"clips/{n}.txt": "a cat" for n in range(40)}

CASES = (
  *(
    ended(f"{who} after {wait:g} s", generate(*LONG), number, wait=wait)
    for who, number in (
      ("thinks better of it", signal.SIGINT),
      ("ends the session", signal.SIGTERM),
      ("closes the terminal", signal.SIGHUP),
    )
    for wait in (0.5, 5.0)
  ),
  *(
    ended(f"{who} after {wait:g} s of training", TRAIN, number, wait=wait, leaves=RUN)
    for who, number in (
      ("thinks better of it", signal.SIGINT),
      ("wants the machine back", signal.SIGTERM),
      ("loses the connection", signal.SIGHUP),
    )
    for wait in (1.0,)
  ),
  ended("stops training in the middle", TRAIN, signal.SIGINT, "step 2", leaves=RUN),
  ended("preempts training in the middle", TRAIN, signal.SIGTERM, "step 2", leaves=RUN),
  ended("hangs up on training", TRAIN, signal.SIGHUP, "step 2", leaves=RUN),
  ended(
    "preempts a VAE in the middle", TRAIN_VAE, signal.SIGTERM, "step 2", leaves=RUN
  ),
  ended(
    "stops encoding",
    precompute("moving-shapes", "--variants", "50"),
    signal.SIGINT,
    "shards",
    leaves=("out/", "out/*"),
  ),
  ended(
    "preempts encoding",
    precompute("moving-shapes", "--variants", "50"),
    signal.SIGTERM,
    "shards",
    leaves=("out/", "out/*"),
  ),
  ended(
    "stops measuring",
    ("train.manifest", "clips"),
    signal.SIGINT,
    wait=0.15,
    files=MANY,
    leaves=("clips/manifest.jsonl",),
  ),
  ended(
    "stops judging",
    ("train.evaluate", "judge"),
    signal.SIGINT,
    wait=1.0,
    leaves=("runs/", "runs/evaluation/"),
  ),
  ended(
    "stops drawing",
    ("train.curves", "{shelf}/run", "--output", "a.png"),
    signal.SIGINT,
    wait=0.1,
  ),
  ended("stops planning", ("train.plan", "lora_13b"), signal.SIGINT, wait=0.5),
)
