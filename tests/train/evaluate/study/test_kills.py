"""The real server under many raters, killed again and again: no vote is lost."""

import pytest

from tests.train.evaluate.study.killed_server import under_kills
from train.evaluate.study.design import Rules

RULES = Rules(votes_per_pair=9, comparisons=10, damaged=1, repeats=0, same=1)


@pytest.mark.slow
def test_no_acknowledged_vote_is_lost_when_the_server_is_killed(tmp_path):
  found = under_kills(tmp_path / "study", 9, RULES, kills=4)
  assert found.fault == "" and found.problems == []
  assert len(found.kept) == len(set(found.kept)) == 9 * RULES.trials
  assert set(found.acknowledged) == set(found.kept)
  assert found.head in found.said
