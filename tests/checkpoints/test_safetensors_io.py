import json
import resource
import struct
import weakref

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from ltx_jax.checkpoints.safetensors_io import (
  DTYPES,
  aligned_empty,
  open_safetensors,
  write_safetensors,
)
from ltx_jax.files import atomic_file


def _arrays():
  rng = np.random.default_rng(0)
  return {
    "b.weight": rng.standard_normal((3, 4)).astype(np.float32),
    "a.weight": rng.standard_normal((2, 3, 5)).astype(ml_dtypes.bfloat16),
    "é.half": rng.standard_normal(7).astype(np.float16),
    "odd.bytes": rng.standard_normal(3).astype(ml_dtypes.float8_e4m3fn),
    "five": rng.standard_normal(5).astype(ml_dtypes.float8_e5m2),
    "scalar": np.array(1000.0, np.float32),
    "empty": np.zeros((0, 3), np.float32),
    "ids": np.arange(6, dtype=np.int64).reshape(2, 3),
    "on": np.array([True, False, True]),
  }


def _write(path, arrays, metadata=None):
  tensors = [(k, v.shape, v.dtype, lambda v=v: v) for k, v in arrays.items()]
  write_safetensors(path, tensors, metadata)


def _equal(a, b):
  return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def test_reads_what_the_library_wrote(tmp_path):
  arrays = _arrays()
  path = tmp_path / "theirs.safetensors"
  safetensors.numpy.save_file(arrays, path, metadata={"config": "{}"})
  with open_safetensors(path) as reader:
    assert set(reader.names) == set(arrays)
    assert reader.metadata == {"config": "{}"}
    for name, array in arrays.items():
      assert reader.shape(name) == array.shape
      assert reader.dtype(name) == array.dtype
      assert _equal(reader.read(name), array)


def test_the_library_reads_what_we_wrote_and_would_have_written_the_same(tmp_path):
  arrays = _arrays()
  ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
  _write(ours, arrays, {"config": '{"a": "é"}'})
  safetensors.numpy.save_file(arrays, theirs, metadata={"config": '{"a": "é"}'})
  assert ours.read_bytes() == theirs.read_bytes()
  with safetensors.safe_open(ours, framework="np") as file:
    assert file.metadata() == {"config": '{"a": "é"}'}
    for name, array in arrays.items():
      if not name.startswith(("odd", "five")):  # Its front end has no float8 for NumPy.
        assert _equal(file.get_tensor(name), array)


def test_order_of_tensors_and_metadata_does_not_change_the_file(tmp_path):
  arrays = _arrays()
  one, two = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
  _write(one, arrays, {"x": "1", "a": "2"})
  _write(two, dict(reversed(arrays.items())), {"a": "2", "x": "1"})
  assert one.read_bytes() == two.read_bytes()
  (length,) = struct.unpack("<Q", one.read_bytes()[:8])
  assert length % 8 == 0


def test_no_metadata_is_read_as_none(tmp_path):
  path = tmp_path / "x.safetensors"
  _write(path, {"a": np.ones(2, np.float32)})
  with open_safetensors(path) as reader:
    assert reader.metadata == {}
    assert "a" in reader and "b" not in reader


def test_read_into_slices_strides_and_other_dtypes(tmp_path):
  path = tmp_path / "x.safetensors"
  array = np.arange(12, dtype=np.float32).reshape(3, 4)
  _write(path, {"a": array})
  with open_safetensors(path) as reader:
    stack = np.zeros((2, 3, 4), np.float32)
    reader.read_into("a", stack[1])
    np.testing.assert_array_equal(stack, [np.zeros((3, 4)), array])
    turned = np.zeros((4, 3), np.float32)
    reader.read_into("a", turned.T)
    np.testing.assert_array_equal(turned, array.T)
    cast = np.zeros((3, 4), ml_dtypes.bfloat16)
    reader.read_into("a", cast)
    np.testing.assert_array_equal(cast.astype(np.float32), array)
    with pytest.raises(ValueError, match=r"'a' of .* has shape \(3, 4\).*\(4, 3\)"):
      reader.read_into("a", turned)
    with pytest.raises(ValueError, match="no tensor named 'b'"):
      reader.read("b")


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_tensors_of_many_rows_are_read_into_transposed_stacks(tmp_path, dtype):
  path = tmp_path / "x.safetensors"
  rng = np.random.default_rng(0)
  arrays = {
    "dense": rng.standard_normal((1025, 700)).astype(np.float32),
    "conv": rng.standard_normal((37, 20, 3, 3, 3)).astype(np.float32),
    "empty": np.zeros((3, 0), np.float32),
  }
  _write(path, arrays)
  with open_safetensors(path) as reader:
    for name, array in arrays.items():
      stack = aligned_empty((2, *array.T.shape), dtype)
      reader.read_into(name, stack[1].T)
      np.testing.assert_array_equal(stack[1].T, array.astype(dtype))


def test_jax_takes_aligned_arrays_over_without_copying():
  array = aligned_empty((3, 500), ml_dtypes.bfloat16)
  array[...] = 2
  placed = jax.device_put(array, jax.devices("cpu")[0])
  assert placed.unsafe_buffer_pointer() == array.ctypes.data
  assert aligned_empty((), np.float32).shape == ()


def test_a_tensor_is_read_without_a_second_copy(tmp_path):
  path = tmp_path / "x.safetensors"
  count = 8_000_000  # 32 MB
  _write(path, {"a": np.ones(count, np.float32)})
  out = np.zeros(count, np.float32)
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  with open_safetensors(path) as reader:
    reader.read_into("a", out)
  assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8_000
  assert out.min() == 1


def _file(path, header, data=b"", length=None):
  raw = header if isinstance(header, bytes) else json.dumps(header).encode()
  path.write_bytes(struct.pack("<Q", length or len(raw)) + raw + data)
  return path


def _info(offsets=(0, 8), shape=(2,), dtype="F32"):
  return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
  ("header", "data", "message"),
  [
    ({"a": _info()}, b"1234", "is truncated: its tensors take 8 bytes, but 4 are"),
    ({"a": _info()}, b"0123456789", "well-formed.* its tensors take 8 bytes, but 10"),
    ({"a": _info((0, 4))}, b"0123", r"'a' of shape \[2\] .* needs 8 bytes"),
    ({"a": _info((4, 12))}, b"0" * 12, "'a' starts at byte 4 .* instead of byte 0"),
    (
      {"a": _info((0, 8)), "b": _info((4, 12))},
      b"0" * 12,
      "'b' starts at byte 4 .* instead of byte 8",
    ),
    ({"a": _info(dtype="F3")}, b"0" * 8, "dtype 'F3'; this code reads .*BF16"),
    ({"a": _info(shape=(-2,))}, b"0" * 8, r"'a' has shape \[-2\]"),
    ({"a": {"dtype": "F32"}}, b"", "needs exactly data_offsets, dtype, shape"),
    ({"a": 3}, b"", "needs exactly data_offsets, dtype, shape"),
    ({"__metadata__": {"n": 1}}, b"", "metadata 'n' is not a string"),
    ({"__metadata__": 3}, b"", "__metadata__ is not a JSON object"),
    ([1], b"", "is a JSON list, not an object"),
    (b"{nonsense", b"", "header is not a JSON object"),
    (b"\xff\xfe", b"", "header is not a JSON object"),
    (b'{"a": 1, "a": 2}', b"", "'a' occurs twice"),
  ],
)
def test_malformed_files_are_refused_by_name(tmp_path, header, data, message):
  path = _file(tmp_path / "bad.safetensors", header, data)
  with pytest.raises(ValueError, match=message) as error:
    open_safetensors(path)
  assert "bad.safetensors" in str(error.value)


def test_short_long_and_absent_files_are_refused(tmp_path):
  path = tmp_path / "bad.safetensors"
  with pytest.raises(ValueError, match="found nothing"):
    open_safetensors(path)
  with pytest.raises(ValueError, match="found a folder"):
    open_safetensors(tmp_path)
  path.write_bytes(b"1234")
  with pytest.raises(ValueError, match="has 4 bytes, too few"):
    open_safetensors(path)
  with pytest.raises(ValueError, match="should have 500 bytes, but only 2 are there"):
    open_safetensors(_file(path, b"{}", length=500))
  with pytest.raises(ValueError, match="not a well-formed.*over the format's"):
    open_safetensors(_file(path, b"{}", length=10**12))


def test_a_file_cut_anywhere_is_refused(tmp_path):
  whole = tmp_path / "whole.safetensors"
  _write(whole, _arrays(), {"config": "{}"})
  raw = whole.read_bytes()
  cut = tmp_path / "cut.safetensors"
  for length in range(0, len(raw), 7):
    cut.write_bytes(raw[:length])
    with pytest.raises(ValueError, match=r"cut\.safetensors"):
      open_safetensors(cut)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
  path = tmp_path / "x.safetensors"
  _write(path, {"a": np.ones(2, np.float32)})
  old = path.read_bytes()

  def fail():
    raise RuntimeError("no")

  f32 = np.dtype(np.float32)
  bad = [("a", (2,), f32, lambda: np.ones(2, np.float32)), ("b", (2,), f32, fail)]
  with pytest.raises(RuntimeError):
    write_safetensors(path, bad)
  assert path.read_bytes() == old
  assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]
  with pytest.raises(ValueError, match="announced as float32 of shape .2,."):
    write_safetensors(path, [("a", (2,), f32, lambda: np.ones(3, np.float32))])
  assert path.read_bytes() == old


def test_what_cannot_be_written_is_refused(tmp_path):
  path = tmp_path / "x.safetensors"
  f32 = np.dtype(np.float32)
  one = ("a", (2,), f32, lambda: np.ones(2, np.float32))
  with pytest.raises(ValueError, match="'a' is to be written twice"):
    write_safetensors(path, [one, one])
  with pytest.raises(ValueError, match="is not a folder"):
    write_safetensors(tmp_path / "no" / "x.safetensors", [one])
  int4 = np.dtype(ml_dtypes.int4)
  with pytest.raises(ValueError, match="'a' has dtype int4, unknown"):
    write_safetensors(path, [("a", (2,), int4, lambda: np.ones(2, int4))])
  assert not list(tmp_path.iterdir())


def test_arrays_are_produced_one_at_a_time(tmp_path):
  made = []

  def produce():
    assert all(ref() is None for ref in made)
    array = np.ones(4, np.float32)
    made.append(weakref.ref(array))
    return array

  f32 = np.dtype(np.float32)
  tensors = [(f"t{i}", (4,), f32, produce) for i in range(5)]
  write_safetensors(tmp_path / "x.safetensors", tensors)
  assert len(made) == 5


def test_dtypes_are_those_of_the_library():
  assert list(DTYPES)[:3] == ["BOOL", "U8", "I8"]
  assert DTYPES["BF16"].itemsize == 2 and DTYPES["F8_E4M3"].itemsize == 1


def test_two_writers_of_one_file_do_not_meet(tmp_path):
  path = tmp_path / "text.safetensors"
  with atomic_file(path) as one, atomic_file(path) as other:
    one.write(b"the same")
    other.write(b"the same")
    other.flush()
  assert path.read_bytes() == b"the same" and list(tmp_path.iterdir()) == [path]
