"""Shared by the programs: paths with strengths, a compile cache, a clock, notes."""

import io
import logging

import jax
from rich.console import Console

from ltx_jax.cli import console


def test_a_strength_follows_the_last_colon():
  for text, expected in (
    ("a.safetensors", ("a.safetensors", 1.0)),
    ("a.safetensors:-.5", ("a.safetensors", -0.5)),
    ("C:a.safetensors", ("C:a.safetensors", 1.0)),
    ("C:a.safetensors:2", ("C:a.safetensors", 2.0)),
  ):
    assert console.path_and_strength(text) == expected


def test_compile_cache_lies_in_the_users_cache_unless_told_otherwise(monkeypatch):
  before = jax.config.jax_compilation_cache_dir
  try:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    jax.config.update("jax_compilation_cache_dir", None)
    console.use_compile_cache()
    assert jax.config.jax_compilation_cache_dir == "/somewhere/ltx-jax/xla"
    jax.config.update("jax_compilation_cache_dir", "/elsewhere")
    console.use_compile_cache()
    assert jax.config.jax_compilation_cache_dir == "/elsewhere"
  finally:
    jax.config.update("jax_compilation_cache_dir", before)


def test_clock_counts_nested_compilation_once(monkeypatch):
  now = [10.0]
  monkeypatch.setattr(console.time, "perf_counter", lambda: now[0])
  with console.Clock() as clock:
    with clock.stage("denoise"):
      for end, duration in ((12.0, 1.0), (14.0, 0.5), (15.0, 4.5), (17.0, 1.0)):
        now[0] = end
        clock._record("/jax/core/compile/some_duration", duration)
      clock._record("/jax/unrelated", 7.0)
      now[0] = 20.0
  assert clock.seconds == {"compile": 5.5, "denoise": 4.5}


def test_a_note_is_shown_once(monkeypatch):
  logger = logging.getLogger("ltx_jax")
  monkeypatch.setattr(logger, "handlers", [])
  monkeypatch.setattr(logger, "propagate", True)
  out = io.StringIO()
  console.show_notes(Console(file=out))
  for note in ("one", "two", "one"):
    logger.warning(note)
  assert out.getvalue() == "note: one\nnote: two\n"


def test_the_bar_of_work_shows_what_is_done_and_begins_anew_with_other_work(
  monkeypatch,
):
  monkeypatch.setenv("TERM", "xterm")
  out = io.StringIO()
  terminal = Console(file=out, force_terminal=True, width=100)
  with console.work_bar(terminal) as on_work:
    on_work("encode", 0, 200)
    on_work("decode", 150, 200)
    on_work("compare", 1, 10)
  shown = out.getvalue()
  assert "compare" in shown and " 10%" in shown and "left" in shown
  silent = io.StringIO()
  with console.work_bar(Console(file=silent)) as on_work:
    on_work("encode", 0, 200)
  assert silent.getvalue().strip() == ""
