"""The sync proof: what differs more than the tolerance, or is not a number, stops the run."""

from __future__ import annotations

import numpy as np
import pytest

from artifact.errors import NonFinite, StaleEngine
from artifact.records import Rollout
from artifact.train.sync_check import (
    SHOWN,
    check_arrived,
    check_held,
    check_known,
    check_ranks,
    check_sampled,
    check_weight_sync,
    first_rollouts,
    max_logprob_diff,
)

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


@pytest.mark.parametrize("value", [np.nan, -np.inf, -1001.0])
def test_a_student_that_has_diverged_is_not_taken_for_a_machine_that_computes_wrongly(value: float) -> None:
    """Whatever the engines say: not even equal numbers make it usable."""
    source = [np.array([-1.0, -2.0]), np.array([value])]
    for engine in (source, EXPECTED):
        with pytest.raises(NonFinite, match=r"after sync 4, .*step 3, learning rate 1000.*teacher.*not the machine"):
            check_weight_sync(lambda: [source, engine], 1e-4, "after sync 4", "step 3, learning rate 1000")  # noqa: B023
    unlikely = [np.array([-999.0])]
    assert check_weight_sync(lambda: [unlikely, unlikely], 1e-4, "x") == 0.0


def rollout(*logprobs: float, mask: tuple[bool, ...] | None = None) -> Rollout:
    ids = tuple(range(len(logprobs)))
    return Rollout("p", 2, (1,), ids, logprobs, "", "stop", 3, response_mask=mask)


def test_rollouts_of_stale_keys_and_values_are_refused() -> None:
    """0.71 nats were seen with a prefix cache that was not emptied, and a proof of 2e-6 on the probe."""
    ours = [np.array([-1.0, -2.0]), np.array([-3.0])]
    check_sampled([rollout(-1.0, -2.0), rollout(-3.00001)], ours, 2e-5, exact=True)
    with pytest.raises(StaleEngine, match=r"rollout 2 of problem 'p'.*largest.* 7\.10e-01 nats"):
        check_sampled([rollout(-1.0, -2.0), rollout(-3.71)], ours, 2e-4, exact=True)
    with pytest.raises(StaleEngine, match="nan"):
        check_sampled([rollout(-1.0, np.nan)], ours[:1], 2e-4, exact=False)


def test_in_half_precision_the_mean_over_the_probe_is_held_to_the_tolerance() -> None:
    """Correct weights differ at single tokens there; a head that stayed behind differs everywhere."""
    source = [np.array([-1.0, -2.0, -3.0, -4.0])]
    one, all_of_them = [source[0] + np.array([0.4, 0, 0, 0])], [source[0] + 0.4]
    assert check_weight_sync(lambda: [source, one], 0.2, "x", exact=False) == pytest.approx(0.4)
    for engine, exact in ((one, True), (all_of_them, False)):
        with pytest.raises(StaleEngine, match="engine 0 differs"):
            check_weight_sync(lambda e=engine: [source, e], 0.2, "x", exact=exact)


def test_what_arrives_is_what_was_sent() -> None:
    check_arrived(["a", "b"], [1, 2], [[1, 2], [1, 2]], "x")
    for found, said in (([1, 3], "1 of 2 tensors .* worker 1 .*first 'b'"), ([1], "1 of 2 tensors .* worker 1")):
        with pytest.raises(StaleEngine, match=said):
            check_arrived(["a", "b"], [1, 2], [[1, 2], found], "x")


def test_in_half_precision_the_mean_of_a_response_is_held_to_the_tolerance() -> None:
    ours = [np.array([-1.0, -2.0])]
    check_sampled([rollout(-1.0, -2.5)], ours, 0.25, exact=False)
    for exact, gap in ((True, "largest"), (False, "mean")):
        with pytest.raises(StaleEngine, match=gap):
            check_sampled([rollout(-1.0, -2.75)], ours, 0.25, exact=exact)


def test_tokens_of_a_tool_are_not_compared() -> None:
    ours = [np.array([-1.0, -2.0])]
    check_sampled([rollout(-1.0, 0.0, mask=(True, False))], ours, 1e-4, exact=True)
    check_sampled([rollout(0.0, 0.0, mask=(False, False))], ours, 1e-4, exact=True)
    with pytest.raises(StaleEngine):
        check_sampled([rollout(-1.0, 0.0, mask=(False, True))], ours, 1e-4, exact=True)


def test_every_engine_shows_its_first_problems() -> None:
    groups = [(Rollout(str(i), 0, (1,), (1,), (0.0,), "", "stop", 0), rollout(0.0)) for i in range(20)]
    assert [r.problem_id for r in first_rollouts(groups, 2)] == [str(i) for i in range(2 * SHOWN)]
    assert first_rollouts([(), ()], 2) == []


def test_an_engine_that_uses_other_weights_than_arrived_is_named() -> None:
    check_held([[], []], "weight sync 2")
    with pytest.raises(
        StaleEngine, match=r"weight sync 2: worker 1 of an engine .* in 2 of its tensors, first 'a.qkv'"
    ):
        check_held([[], ["a.qkv", "b"]], "weight sync 2")


def test_an_arrangement_that_nobody_knows_is_refused() -> None:
    check_known({}, "weight sync 2")
    said = r"weight sync 2: how vLLM arranges 'x.w13_weight' of a FusedMoE \(and 1 tensors more\) is not known"
    with pytest.raises(StaleEngine, match=said):
        check_known({"x.w13_weight": "FusedMoE", "x.w2_weight": "FusedMoE"}, "weight sync 2")


def test_ranks_that_hold_different_weights_are_named() -> None:
    check_ranks(["a", "b"], [[1, 2], [1, 2]], "weight sync 2")
    with pytest.raises(StaleEngine, match=r"rank 2 of the student holds other weights than rank 0 .* first 'b'"):
        check_ranks(["a", "b"], [[1, 2], [1, 2], [1, 3]], "weight sync 2")
