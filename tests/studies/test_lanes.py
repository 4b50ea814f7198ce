"""Jobs side by side: all are done once, in order, in as many lanes as asked for, and an error stops the rest."""

from __future__ import annotations

import threading
import time

import pytest

from artifact.studies.lanes import side_by_side


def test_results_come_in_the_order_of_the_jobs() -> None:
    def work(job: int, lane: int) -> int:
        time.sleep(0.01 * (5 - job))
        return job * job

    assert side_by_side([0, 1, 2, 3, 4], 3, work) == [0, 1, 4, 9, 16]


def test_as_many_run_at_once_as_there_are_lanes_and_never_two_in_one_lane() -> None:
    both = threading.Barrier(2, timeout=10)  # passes only if two jobs are inside `work` together
    inside: dict[int, int] = {0: 0, 1: 0}

    def work(job: int, lane: int) -> int:
        inside[lane] += 1
        assert inside[lane] == 1, "two jobs share a lane"
        both.wait()
        inside[lane] -= 1
        return lane

    assert set(side_by_side([0, 1, 2, 3], 2, work)) == {0, 1}


def test_the_first_error_is_raised_and_no_further_job_begins() -> None:
    begun: list[int] = []

    def work(job: int, lane: int) -> int:
        begun.append(job)
        if job == 1:
            raise ValueError("job 1 broke")
        time.sleep(0.2)
        return job

    with pytest.raises(ValueError, match="job 1 broke"):
        side_by_side(list(range(50)), 2, work)
    time.sleep(0.5)
    assert len(begun) < 6


def test_a_lane_takes_the_first_job_that_is_ready_for_it() -> None:
    """Job 0 is for lane 0 alone and takes until job 3 is done; jobs 1 and 2 need it, so lane 1 begins with job 3."""
    order: list[int] = []
    third = threading.Event()

    def work(job: int, lane: int) -> int:
        if job == 0:
            assert lane == 0 and third.wait(10)
        order.append(job)
        if job == 3:
            third.set()
        return job

    def ready(job: int, lane: int) -> bool:
        return lane == 0 if job == 0 else job == 3 or 0 in order

    assert side_by_side([0, 1, 2, 3], 2, work, ready) == [0, 1, 2, 3]
    assert order[:2] == [3, 0] and sorted(order) == [0, 1, 2, 3]


def test_an_error_wakes_the_lanes_that_wait() -> None:
    def work(job: int, lane: int) -> int:
        time.sleep(0.1)
        raise ValueError("the first job broke")

    with pytest.raises(ValueError, match="the first job broke"):
        side_by_side([0, 1], 2, work, lambda job, lane: job == 0 and lane == 0)
    time.sleep(0.2)
    assert not [t for t in threading.enumerate() if t.name.startswith("lane-")]


def test_one_lane_is_a_plain_loop_in_this_thread() -> None:
    here = threading.get_ident()
    assert side_by_side(["a", "b"], 1, lambda job, lane: (job, lane, threading.get_ident() == here)) == [
        ("a", 0, True),
        ("b", 0, True),
    ]
