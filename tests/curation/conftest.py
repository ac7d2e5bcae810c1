"""Curation decodes in these tests as its workers do."""

import pytest

from ltx_jax.data import decoding


@pytest.fixture(autouse=True)
def one_thread_decodes(monkeypatch):
  """With more, which frames count as damaged depends on the timing of threads."""
  monkeypatch.setattr(decoding, "THREADS", 1)
