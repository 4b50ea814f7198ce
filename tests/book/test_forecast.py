"""The forecast on made-up histories: right within a fifth after the first tenth where costs are proportional."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from artifact.book.forecast import ENOUGH_RUNS, Cost, Running, Trained, remaining

seconds = st.floats(1, 500)
speeds = st.floats(0.1, 10)
NONE = Trained()


def ends_of(costs: list[Cost], speed: float) -> tuple[list[float], list[list[float]], list[float]]:
    """(when each notebook begins, when each of its runs is trained, when it is done), by walking through the series."""
    begins, runs, ends = [], [], []
    free = queue = 0.0
    for cost in costs:
        begins.append(free)
        made = [queue := queue + speed * cost.run_s for _ in range(cost.runs)]
        runs.append(made)
        free = max([free, *made[-1:]]) + speed * cost.own_s
        ends.append(free)
    return begins, runs, ends


def forecast_at(costs: list[Cost], speed: float, now: float) -> float:
    """What is forecast for the whole, `now` seconds into a series in which everything takes `speed` times its cost."""
    begins, runs, ends = ends_of(costs, speed)
    current = next(i for i, end in enumerate(ends) if end > now)
    left = [replace(c, runs=sum(at > now for at in made)) for c, made in zip(costs, runs, strict=True)]
    past = [at for made in runs for at in made if at <= now]
    trained = NONE
    if past:
        run_s = max(c.run_s for c in costs)
        trained = Trained(len(past) - 1, run_s * (len(past) - 1), past[-1] - past[0], now - past[-1])
    since = max([begins[current], *(at for at in runs[current] if at <= now)])
    done = [(c, speed * c.own_s) for c in costs[:current]]
    rest = remaining(done, Running(left[current], now - since), left[current + 1 :], trained)
    assert rest is not None
    return now + rest


@given(st.lists(seconds, min_size=10, max_size=30), speeds, st.floats(0.1, 0.99))
def test_proportional_costs_are_forecast_within_a_fifth_after_the_first_tenth(
    own: list[float], speed: float, share: float
) -> None:
    own = sorted(own)  # the first is then no longer than a tenth of the whole: something is measured by then
    total = speed * sum(own)
    assert forecast_at([Cost(s) for s in own], speed, share * total) == pytest.approx(total, rel=0.2)


@given(
    st.lists(st.tuples(st.floats(0, 60), st.integers(10, 60)), min_size=1, max_size=8),
    st.floats(1, 60),
    speeds,
    st.floats(0.1, 0.99),
)
@example([(13.0, 10)], 1.0, 9.0, 0.5)
def test_runs_trained_beside_notebooks_tell_before_theirs_begins(
    shape: list[tuple[float, int]], run_s: float, speed: float, share: float
) -> None:
    costs = [Cost(own, runs, run_s) for own, runs in shape]
    total = ends_of(costs, speed)[2][-1]
    assume(share * total > speed * run_s * (ENOUGH_RUNS + 3))
    assert forecast_at(costs, speed, share * total) == pytest.approx(total, rel=0.2)


def test_the_embedded_tier_on_a_machine_half_as_fast() -> None:
    """Six notebooks of their own, and beside them the runs of the next ones: right from the first tenth on."""
    own = [Cost(s) for s in (11, 6, 144, 82, 80, 13)]
    costs = [*own, Cost(105, 30, 18), Cost(103, 18, 18), Cost(60, 60, 18), Cost(60, 30, 18), Cost(90)]
    total = ends_of(costs, 2.0)[2][-1]
    assert total == pytest.approx(2 * (138 * 18 + 60 + 90)), "the queue decides, and what comes after its last run"
    for share in (0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99):
        assert forecast_at(costs, 2.0, share * total) == pytest.approx(total, rel=0.2), share


def test_the_slower_stage_decides() -> None:
    assert remaining([], None, [Cost(100), Cost(5, 3, 10)], NONE) == 105, "its runs are trained meanwhile"
    assert remaining([], None, [Cost(10), Cost(5, 3, 10)], NONE) == 35, "it waits for them"
    assert remaining([], None, [Cost(10, 3, 10), Cost(5, 1, 10)], NONE) == 45 == max(30 + 10, 40) + 5


def test_before_anything_is_measured_the_costs_are_believed() -> None:
    assert remaining([], None, [Cost(10), Cost(5, 3, 2)], NONE) == 15
    assert remaining([], Running(Cost(10), 4), [Cost(5)], NONE) == 11


def test_a_notebook_overdue_slows_the_rest_down() -> None:
    assert remaining([], Running(Cost(10), 30), [Cost(5)], NONE) == 15
    assert remaining([(Cost(10), 30.0)], Running(Cost(10), 20), [Cost(5)], NONE) == 10 + 15


def test_one_that_waits_for_runs_is_not_overdue() -> None:
    assert remaining([], Running(Cost(10, 5, 20), 300), [Cost(5)], NONE) == 100 + 10 + 5


def test_the_time_since_the_last_run_is_part_of_the_next() -> None:
    done = Trained(10, 100.0, 100.0, 4.0)
    assert remaining([], Running(Cost(3, 2, 10), 50), [], done) == 20 - 4 + 3


def test_few_runs_tell_nothing_yet() -> None:
    fast = Trained(ENOUGH_RUNS, 100.0, 10.0)
    assert remaining([], None, [Cost(0, 10, 10)], fast) == 100
    assert remaining([], None, [Cost(0, 10, 10)], replace(fast, runs=ENOUGH_RUNS + 1)) == 10


def test_what_was_never_measured_has_no_forecast() -> None:
    assert remaining([(Cost(1), 1.0)], None, [Cost(1), None], NONE) is None


def test_the_walk_agrees_with_sums() -> None:
    own = [3.0, 4.0, 5.0]
    assert ends_of([Cost(s) for s in own], 2.0)[2] == [2 * s for s in accumulate(own)]
