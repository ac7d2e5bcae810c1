"""The README's examples run, and show what it says."""

import re
from pathlib import Path

import pytest

from ltx_jax.data import video
from ltx_jax.moving_shapes.judge import judge

README = Path(__file__).resolve().parent.parent / "README.md"


@pytest.mark.slow
def test_the_ten_lines_make_both_videos_as_they_are_told(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (code, *_) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
  made = {}
  exec(code, made)
  for clip, prompt in (
    (made["clips"][0], made["prompt"]),
    (made["again"][0], made["turned"]),
  ):
    wrong = [word for word, right in judge(clip).agreement(prompt).items() if not right]
    assert not wrong, f"{prompt}: {wrong}"
  assert len(video.read("circle.mp4")[0]) == 25
