"""Writers on a full disk: an error that names the file, and nothing left over."""

import errno
import resource
import signal

import numpy as np
import pytest

from ltx_jax.data import records, video
from tests.data.record_case import record


@pytest.fixture
def small_disk():
  """No file may be larger than two kilobytes."""
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))
  yield
  resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.png", "frames"])
def test_a_video_that_does_not_fit_leaves_nothing(tmp_path, small_disk, name):
  draw = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
  with pytest.raises(OSError) as error:
    video.write(tmp_path / name, draw, 24)
  assert error.value.errno == errno.EFBIG
  assert error.value.filename == str(tmp_path / name)
  assert not list(tmp_path.iterdir())


def test_a_shard_that_does_not_fit_leaves_nothing(tmp_path, small_disk):
  path = tmp_path / "shard.arrayrecord"
  with pytest.raises(OSError) as error, records.Writer(path) as writer:
    for number in range(20):
      writer.write(record(number))
  assert error.value.filename == str(path)
  assert not list(tmp_path.iterdir())
