"""Which rollouts of a run the leak check looks at."""

from __future__ import annotations

import pytest

from artifact.errors import EmptyDataset
from artifact.records import Rollout
from artifact.studies.leak_check import spread_over


def rollout(name: str, sample: int, text: str = "\\boxed{1}") -> Rollout:
    return Rollout(name, sample, (1,), (2,), (0.0,), text, "stop")


def test_the_first_of_each_group_evenly_spread_and_only_with_a_box():
    rollouts = [rollout(f"p{i}", k, "" if i == 1 else "\\boxed{1}") for i in range(9) for k in (0, 1)]
    chosen = spread_over(lambda: iter(rollouts), 4)
    assert [(r.problem_id, r.sample) for r in chosen] == [("p0", 0), ("p3", 0), ("p5", 0), ("p7", 0)]
    assert len(spread_over(lambda: iter(rollouts), 100)) == 8
    with pytest.raises(EmptyDataset, match="2 rollouts has a box to cut"):
        spread_over(lambda: iter([rollout("p", 0, ""), rollout("p", 1)]), 4)
