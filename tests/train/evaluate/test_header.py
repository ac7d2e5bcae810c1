"""The header of a report: enough to make it again."""

import dataclasses
import hashlib
from pathlib import Path

from train.evaluate import header


@dataclasses.dataclass(frozen=True)
class Options:
  output: Path = Path("runs/a folder")
  count: int = 3
  sigmas: tuple[float, ...] = (0.0, 0.1)
  lpips: Path | None = None


def test_it_holds_what_makes_the_report_again(tmp_path):
  file = tmp_path / "vgg16.safetensors"
  file.write_bytes(b"weights")
  origin = header.Origin(Options(), "python -m a.program --count 3")
  origin.add((9, 32, 48), 24)
  origin.add((9, 32, 48), 24.0)
  origin.add((5, 64, 48), 12.5, 4)
  found = origin.header("abc", {"model": {"vae": "123"}}, [file, None])
  assert found.pop("commit") and found.pop("device")
  assert found == {
    "command": "python -m a.program --count 3",
    "settings": {
      "output": "runs/a folder",
      "count": 3,
      "sigmas": (0.0, 0.1),
      "lpips": None,
    },
    "data": "abc",
    "number of clips": 6,
    "sizes": [
      {"frames": 5, "height": 64, "width": 48, "fps": 12.5, "clips": 4},
      {"frames": 9, "height": 32, "width": 48, "fps": 24.0, "clips": 2},
    ],
    "weights": {"model": {"vae": "123"}},
    "files": {str(file): hashlib.sha256(b"weights").hexdigest()},
  }


def test_without_git_there_is_no_commit(monkeypatch):
  monkeypatch.setenv("PATH", "")
  assert header.made_by("a command") == {"command": "a command", "commit": None}
