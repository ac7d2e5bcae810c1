"""Streams: closed ones, full ones, readers that go away, and terminals of other places.

Python itself opens its streams, so each of these is a process of its own.
"""

from __future__ import annotations

from tests.odd_inputs.case import Case, Streams, accepted, quick, refused, shelved

LATIN = {"PYTHONIOENCODING": "latin-1"}
ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
CODE_PAGE = {"PYTHONIOENCODING": "cp1252"}
DUMB = {"TERM": "dumb", "COLUMNS": "1"}
CUT = 1
"""Exit code of a program whose reader went away, as of Python's own tools."""

LIST = "train.records", "{shelf}/records"
PLAN = "train.plan", "lora", "--devices", "h100", "--ranks", "8"
CURVES = "train.curves", "{shelf}/run", "--output", "curves.html"
MANIFEST = "train.manifest", "clips"
CLIPS = {"clips": shelved("data")}
MADE = ("clips/manifest*",)
DOCTOR = ("sample.doctor",)


def cut(who: str, command: tuple[str, ...], **more: object) -> Case:
  """A program whose reader goes away: it ends without a word."""
  streams = Streams(stdout="pipe")
  more = {"seconds": 120.0, "megabytes": 3000} | more
  return Case(who, command, code=CUT, streams=streams, silent=True, **more)


def with_streams(
  who: str, command: tuple[str, ...], *makes: str, **more: object
) -> Case:
  """A program that does its work whatever its streams are."""
  streams = Streams(
    **{
      k: more.pop(k) for k in ("stdin", "stdout", "stderr", "environment") if k in more
    }
  )
  return accepted(who, command, *makes, streams=streams, **more)


def full(who: str, command: tuple[str, ...], **more: object) -> Case:
  """A program that prints to a full disk: it says so."""
  return refused(
    who,
    command,
    "space",
    streams=Streams(stdout="full"),
    **({"seconds": 120.0} | more),
  )


CASES = (
  cut("pages through the help", ("sample.generate", "--help")),
  cut("pages through a recipe's help", ("train.vae", "tiny", "--help")),
  cut("pages through records", LIST),
  cut("looks at the plan's first line", PLAN),
  cut("looks at the doctor's first line", DOCTOR),
  cut("looks at the first line of a manifest", MANIFEST, files=CLIPS, leaves=MADE),
  cut("looks at the programs", ("sample", "--help")),
  cut("looks at the first line of a video", quick(), leaves=("video.mp4",)),
  cut("looks at a run's first line", ("train.vae", "tiny", "--dry-run")),
  cut("looks at what curves say", CURVES, leaves=("curves.html",)),
  full("prints the help to a full disk", ("sample.generate", "--help")),
  full("lists records to a full disk", LIST),
  full("plans to a full disk", PLAN),
  full("examines to a full disk", DOCTOR),
  full("lists clips to a full disk", MANIFEST, files=CLIPS, leaves=MADE),
  full("looks at a run on a full disk", ("train.vae", "tiny", "--dry-run")),
  full("draws with a log on a full disk", CURVES, leaves=("curves.html",)),
  with_streams("starts it by a service", quick(), "video.mp4", stdin="closed"),
  with_streams(
    "starts it without any stream",
    quick(),
    "video.mp4",
    stdin="closed",
    stdout="closed",
    stderr="closed",
  ),
  with_streams("drops what it prints", CURVES, "curves.html", stdout="closed"),
  with_streams("drops its complaints", CURVES, "curves.html", stderr="closed"),
  with_streams("has a full log of complaints", CURVES, "curves.html", stderr="full"),
  with_streams("leaves the terminal open", CURVES, "curves.html", stdin="open"),
  with_streams("has a narrow terminal", LIST, environment=DUMB),
  with_streams(
    "has an old code page",
    (*quick(), "--output", "вид 🎬.mp4"),
    "вид 🎬.mp4",
    environment=CODE_PAGE,
  ),
  with_streams(
    "has a latin terminal", quick(prompt="круг 🔴"), "video.mp4", environment=LATIN
  ),
  with_streams(
    "has no letters but English",
    quick(prompt="ein großer Kreis 🔴"),
    "video.mp4",
    environment=ASCII,
  ),
  with_streams(
    "lists clips in an old code page",
    ("train.manifest", "клипы 📁"),
    "клипы 📁/manifest.jsonl",
    files={"клипы 📁": shelved("data")},
    leaves=("клипы 📁/manifest*",),
    environment=CODE_PAGE,
  ),
  with_streams("lists records in English letters", LIST, environment=ASCII),
  with_streams("has no home", LIST, environment={"HOME": "/nowhere"}),
  with_streams(
    "has no place for temporary files",
    CURVES,
    "curves.html",
    environment={"TMPDIR": "/nowhere"},
  ),
  with_streams("optimises Python", LIST, environment={"PYTHONOPTIMIZE": "2"}),
  with_streams("hates colours", LIST, environment={"NO_COLOR": "1"}),
  refused(
    "has a code page and no such records",
    ("train.records", "нет 📁"),
    "train",
    streams=Streams(environment=CODE_PAGE),
    real=True,
  ),
  refused(
    "does so with English letters",
    ("train.curves", "нет 📁"),
    "metrics.jsonl",
    streams=Streams(environment=ASCII),
    real=True,
  ),
  Case(
    "makes a mistake without complaints",
    ("train.records", "nowhere"),
    code=2,
    streams=Streams(stderr="closed"),
    real=True,
    silent=True,
  ),
  Case(
    "makes a mistake with a full log",
    ("train.records", "nowhere"),
    code=2,
    streams=Streams(stderr="full"),
    real=True,
    silent=True,
  ),
)
