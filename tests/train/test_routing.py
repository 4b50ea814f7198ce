"""C and I of a group by rank: the definition by scipy's ranks, and what must hold of any of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from artifact.records import Group, Problem, Rollout, Status, Verdict
from artifact.train.routing import route

SCORES = st.lists(st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.9, 1.0]), min_size=1, max_size=9)


def group(verdicts: list[Verdict]) -> Group:
    rollouts = [Rollout("p", i, (1,), (2,), (0.0,), "x", "stop", 0, v) for i, v in enumerate(verdicts)]
    return Group(Problem("p", "q", "a", None, "t", "easy"), (1,), tuple(rollouts))


def ranked(verdicts: list[Verdict]) -> tuple[list[int], list[int]]:
    correct, incorrect = route(group(verdicts), "rank")
    return [r.sample for r in correct], [r.sample for r in incorrect]


@given(SCORES)
def test_above_and_below_the_mean_of_the_mid_ranks(scores: list[float]) -> None:
    ranks, middle = rankdata(scores), (len(scores) + 1) / 2
    expected = [[i for i, k in enumerate(ranks) if sign * (k - middle) > 0] for sign in (1, -1)]
    assert list(ranked([Verdict(Status.WRONG, score=s) for s in scores])) == expected
    stretched = [Verdict(Status.CORRECT, score=s**3 / 2) for s in scores]
    assert list(ranked(stretched)) == expected, "only the order of the scores counts"


@given(st.lists(st.booleans(), min_size=1, max_size=8))
def test_right_and_wrong_are_parted_as_by_verdict(right: list[bool]) -> None:
    verdicts = [Verdict(Status.CORRECT if r else Status.WRONG) for r in right]
    mixed = len(set(right)) == 2
    assert route(group(verdicts), "rank") == (route(group(verdicts), "verdict") if mixed else ((), ()))


@pytest.mark.parametrize("accident", [Status.TIMEOUT, Status.ERROR])
def test_an_accident_is_in_neither_set_and_moves_no_rank(accident: Status) -> None:
    scored = [Verdict(Status.WRONG, score=s) for s in (0.1, 0.2, 0.3)]
    assert ranked([scored[0], Verdict(accident), scored[1], scored[2]]) == ([3], [0])
    assert ranked(scored) == ([2], [0])
