"""The sync proof: what differs more than the tolerance, or is not a number, stops the run."""

from __future__ import annotations

import numpy as np
import pytest

from artifact.errors import StaleEngine
from artifact.train.sync_check import check_weight_sync, max_logprob_diff

EXPECTED = [np.array([-1.0, -2.0]), np.array([-0.5])]


def sides(*engines: list[np.ndarray]):
    """A measurement that gives the same numbers whenever it is made."""
    return lambda: [EXPECTED, *engines]


def test_the_largest_gap_over_engines_and_sequences_is_returned() -> None:
    exact, off = [np.array([-1.0, -2.0]), np.array([-0.5])], [np.array([-1.0, -2.0]), np.array([-0.50003])]
    assert max_logprob_diff(exact, off) == pytest.approx(3e-5)
    assert check_weight_sync(sides(exact, off), 1e-4, "after weight sync 3") == pytest.approx(3e-5)


def test_a_stale_engine_is_named_and_stays_stale_when_measured_again() -> None:
    stale = [np.array([-1.0, -2.5]), np.array([-0.5])]
    expected = r"after weight sync 3: engine 1 differs .* by 5.00e-01 nats.* again they differ by 5.00e-01; "
    with pytest.raises(StaleEngine, match=expected + r"the source's own numbers moved by 0.00e\+00, .* by 0.00e\+00"):
        check_weight_sync(sides(EXPECTED, stale), 1e-4, "after weight sync 3")


def test_a_side_whose_numbers_move_is_named_and_stops_the_run_too() -> None:
    wrong_once = iter([[np.array([-1.0, -2.002]), np.array([-0.5])], EXPECTED])
    expected = r"again they differ by 0.00e\+00; the source's own numbers moved by 2.00e-03, the engine's by 0.00e\+00"
    with pytest.raises(StaleEngine, match=expected):
        check_weight_sync(lambda: [next(wrong_once), EXPECTED], 1e-4, "x")


@pytest.mark.parametrize("values", [([-1.0, np.nan], [-0.5]), ([-1.0, -2.0], [np.nan])])
def test_a_value_that_is_no_number_does_not_pass(values: tuple[list[float], list[float]]) -> None:
    """In whichever sequence: Python's `max` forgets one that does not come first."""
    with pytest.raises(StaleEngine, match="nan"):
        check_weight_sync(sides([np.array(v) for v in values]), 1e-4, "x")


def test_exactly_the_tolerance_passes_and_a_value_above_or_below_counts_alike() -> None:
    for sign in (1, -1):
        engine = [np.array([-1.0 + sign * 0.25, -2.0]), np.array([-0.5])]
        assert check_weight_sync(sides(engine), 0.25, "x") == 0.25
        with pytest.raises(StaleEngine):
            check_weight_sync(sides(engine), 0.2499, "x")
    assert check_weight_sync(sides(), 1e-4, "no engine") == 0.0
