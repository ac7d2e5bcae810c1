"""Whose shards are whose, and lists that several processes add to."""

import json

import pytest

from ltx_jax.data.clips import Clip
from train.harness.shard_plan import SourceHashes
from train.harness.sharing import Share, parts, read_rows


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_shard_is_of_one_process(count):
  shares = [Share(count, number) for number in range(count)]
  taken = [list(share.positions(5)) for share in shares]
  assert sorted(sum(taken, [])) == list(range(5))
  for share, own in zip(shares, taken, strict=True):
    assert all(share.owner(position) == share.number for position in own)
    assert share.alone == (count == 1)


@pytest.mark.parametrize(
  ("numbers", "said"),
  [
    ((2, None), "--processes is given without --process; processes that share"),
    ((None, 0), "--process is given without --processes; processes that share"),
    ((2, 2), "--process is 2 of --processes 2; it must be 0 for the first and 1"),
    ((0, 0), "--processes is 0"),
    ((2, -1), "--process is -1"),
  ],
)
def test_numbers_that_do_not_fit_are_refused(numbers, said):
  with pytest.raises(ValueError, match=said):
    Share(*numbers)


def test_a_list_is_read_with_what_all_have_added(tmp_path):
  path = tmp_path / "list.jsonl"
  assert read_rows(path) == []
  for row, share in enumerate((Share(), Share(1, 0), Share(2, 0), Share(2, 1))):
    with share.file(path).open("a") as file:
      file.write(json.dumps({"row": row}) + "\n")
  assert [part.name for part in parts(path)] == ["list-0.jsonl", "list-1.jsonl"]
  assert [line["row"] for line in read_rows(path)] == [0, 1, 2, 3]


def test_hashes_are_known_to_others_while_the_file_is_the_same(tmp_path):
  path = tmp_path / "clip.mp4"
  clips = [Clip("clip", str(path), "a"), Clip("gone", str(tmp_path / "gone"), "b")]
  path.write_bytes(b"one")
  own = SourceHashes(tmp_path, Share(2, 0))
  before = SourceHashes(tmp_path, Share(2, 1))
  first = [own(clip) for clip in clips]
  assert len(first[0]) == 64 and first[1] == ""
  after = SourceHashes(tmp_path, Share(2, 1))
  assert [after.known(clip) for clip in clips] == first
  assert not {before.known(clip) for clip in clips} & set(first)
  path.write_bytes(b"another")
  assert after.known(clips[0]) not in first
  assert after(clips[0]) not in first
