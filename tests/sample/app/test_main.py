"""The command line of the page: what it refuses before it serves anything."""

import importlib.util

import pytest

from ltx_jax.cli import console
from sample.app import __main__ as app


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (("--host", "0.0.0.0"), "--host 0.0.0.0 lets others in; give --password"),
    (("--share",), "--share lets others in; give --password"),
    (("--port", "70000"), "--port is 70000; it must be"),
    (("--queue", "0"), "--queue is 0; it must be at least 1"),
    ((), 'The page needs Gradio; install it with: pip install "gradio'),
  ],
)
def test_what_is_unsafe_or_missing_is_refused_in_a_sentence(
  monkeypatch, capsys, words, message
):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  monkeypatch.setattr(console, "use_compile_cache", lambda: None)
  with pytest.raises(SystemExit) as ended:
    console.run(lambda: app.main(words))
  err = capsys.readouterr().err
  assert ended.value.code == 2 and message in err
  assert len(err.strip().splitlines()) == 1
