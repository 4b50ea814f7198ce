"""The forecast on made-up histories: right within a fifth after the first tenth where costs are proportional."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from artifact.book.forecast import ENOUGH_RUNS, Cost, Running, Runs, remaining

seconds = st.floats(1, 500)
speeds = st.floats(0.1, 10)


def said(number: int, size: int) -> str:
    return f"[{number}/{size}] UOPD, teacher base, seed 1: 14 s, run 0f134609e81481d8"


def history(cost: Cost, speed: float, elapsed: float) -> Running:
    """A notebook at work, `elapsed` seconds in: what is its own first, then one run after the other."""
    runs = Runs()
    for i in range(1, cost.runs + 1):
        at = speed * cost.seconds(i)
        if at <= elapsed:
            runs.hear(said(i, cost.runs), at)
    return Running(cost, elapsed, runs)


def forecast_at(costs: list[Cost], speed: float, now: float) -> float:
    """What is forecast for the whole, `now` seconds into a series in which everything takes `speed` times its cost."""
    ends = list(accumulate(speed * c.seconds() for c in costs))
    current = next(i for i, end in enumerate(ends) if end > now)
    begun = ends[current - 1] if current else 0.0
    done = [(c, c.runs, speed * c.seconds()) for c in costs[:current]]
    rest = remaining(done, history(costs[current], speed, now - begun), costs[current + 1 :])
    assert rest is not None
    return now + rest


@given(st.lists(seconds, min_size=10, max_size=30), speeds, st.floats(0.1, 0.99))
def test_proportional_costs_are_forecast_within_a_fifth_after_the_first_tenth(
    own: list[float], speed: float, share: float
) -> None:
    own = sorted(own)  # the first is then no longer than a tenth of the whole: something is measured by then
    total = speed * sum(own)
    assert forecast_at([Cost(s) for s in own], speed, share * total) == pytest.approx(total, rel=0.2)


@given(st.floats(0, 40), st.integers(60, 200), seconds, speeds, st.floats(0.15, 0.99))
def test_runs_tell_before_their_notebook_is_finished(
    own: float, runs: int, run_s: float, speed: float, share: float
) -> None:
    cost = Cost(own, runs, run_s)
    total = speed * cost.seconds()
    assume(share * total > speed * cost.seconds(ENOUGH_RUNS + 2))
    assert forecast_at([cost], speed, share * total) == pytest.approx(total, rel=0.2)


def test_the_embedded_tier_on_a_machine_half_as_fast() -> None:
    """Two short notebooks, four of a minute or two, and two of many runs: right from the first tenth on."""
    own = [Cost(s) for s in (11, 6, 144, 82, 80, 13)]
    costs = [*own, Cost(30, 30, 15), Cost(60, 18, 15)]
    total = 2 * sum(c.seconds() for c in costs)
    for share in (0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99):
        assert forecast_at(costs, 2.0, share * total) == pytest.approx(total, rel=0.2), share


def test_before_anything_is_measured_the_costs_are_believed() -> None:
    assert remaining([], None, [Cost(10), Cost(5, 3, 2)]) == 21
    assert remaining([], Running(Cost(10), 4), [Cost(5)]) == 11


def test_a_notebook_overdue_slows_the_rest_down() -> None:
    assert remaining([], Running(Cost(10), 30), [Cost(5)]) == 15
    assert remaining([(Cost(10), 0, 30.0)], Running(Cost(10), 20), [Cost(5)]) == 10 + 15


def test_runs_found_in_the_store_make_no_machine_fast() -> None:
    """All 20 runs were there: the notebook took its own 10 s, and the next will take 110 s."""
    assert remaining([(Cost(10, 20, 10), 0, 10.0)], None, [Cost(10, 10, 10)]) == 110


def test_what_came_before_the_first_run_is_spent() -> None:
    cost = Cost(100, 10, 10)
    assert remaining([], history(cost, 1.0, 110.0), []) == 90
    assert remaining([], history(cost, 1.0, 164.0), []) == 36


def test_what_was_never_measured_has_no_forecast() -> None:
    assert remaining([(Cost(1), 0, 1.0)], None, [Cost(1), None]) is None


def test_runs_are_counted_over_studies_and_lanes() -> None:
    runs = Runs()
    found = said(2, 2).replace("14 s", "1 s")  # waited for the store a little: no run
    for line in (said(2, 3), said(1, 3), said(3, 3), "phase 1: 200 of 400", said(1, 2), found):
        runs.hear(line, 0)
    assert len(runs.at) == 4 and runs.left(0) == 1 and runs.left(9) == 5


def test_a_study_longer_than_expected_is_believed_and_its_cached_runs_are_not_counted() -> None:
    longer, mixed = Runs(), Runs()
    longer.hear(said(1, 90), 0)
    assert (longer.left(30), longer.left(1)) == (29, 89)
    mixed.hear(said(4, 20), 0)  # three of the first four came from the store
    assert mixed.left(0) == 4


def test_what_a_study_says_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    from artifact.studies import runner, store

    lines: list[str] = []
    monkeypatch.setattr(store.Stopwatch, "__call__", lambda self: 14.2)
    monkeypatch.setattr(runner, "say", lines.append)
    monkeypatch.setattr(runner, "run", lambda *_, **__: type("Info", (), {"key": "0f134609e81481d8"}))
    infos = runner.run_study("uopd", "tiny", {"cluster.lanes": 1})
    runs = Runs()
    assert all(runs.hear(line, 0) for line in lines) and len(infos) == len(lines) == len(runs.at) > 10
