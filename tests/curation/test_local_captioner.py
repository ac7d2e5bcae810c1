"""What a captioner in this process refuses before it loads; tests/oracle runs one."""

import importlib.util

import pytest

from ltx_jax.curation.local_captioner import LocalCaptioner


def test_a_folder_without_a_network_is_refused(tmp_path):
  with pytest.raises(ValueError, match="has no config.json; name the folder of a"):
    LocalCaptioner(tmp_path)


def test_without_pytorch_it_says_what_to_do(tmp_path, monkeypatch):
  (tmp_path / "config.json").write_text("{}")
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(
    ValueError, match="needs PyTorch, which is not installed; run `pip"
  ):
    LocalCaptioner(tmp_path)


@pytest.mark.parametrize("name", ["batch", "most_tokens"])
def test_numbers_are_checked(tmp_path, name):
  with pytest.raises(ValueError, match=f"{name} is 0; it must be at least 1"):
    LocalCaptioner(tmp_path, **{name: 0})
