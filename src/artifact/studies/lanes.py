"""Jobs side by side: each lane works through the list with actors of its own (`cluster.lanes`).

A tiny run leaves most of a core idle while it waits for another phase, so two single-thread lanes finish a study about
1.6 times as fast as one lane with two threads. Threads are enough: the work happens in actors. They are
daemons, so an interrupted program ends at once; what a run had committed is there when it starts again.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def side_by_side(
    jobs: Sequence[Job],
    lanes: int,
    work: Callable[[Job, int], Result],
    ready: Callable[[Job, int], bool] = lambda job, lane: True,
) -> list[Result]:
    """`work(job, lane)` for every job, at most `lanes` at a time; the results in the order of `jobs`.

    A lane that is free takes the first job that is `ready(job, lane)`, which is asked again whenever a job is finished;
    one lane alone takes them in their order. After the first error, or an interruption, no further job is begun; the
    error is raised.
    """
    if lanes == 1 or len(jobs) < 2:
        return [work(job, 0) for job in jobs]
    waiting, stop = list(range(len(jobs))), False
    turn = threading.Condition()
    finished: queue.SimpleQueue[tuple[int, Result | None, BaseException | None]] = queue.SimpleQueue()

    def take(lane: int) -> int | None:
        with turn:
            while waiting and not stop:
                found = next((i for i in waiting if ready(jobs[i], lane)), None)
                if found is not None:
                    waiting.remove(found)
                    return found
                turn.wait()
        return None

    def lane_of(lane: int) -> None:
        while (i := take(lane)) is not None:
            try:
                finished.put((i, work(jobs[i], lane), None))
            except BaseException as err:
                finished.put((i, None, err))
                return
            finally:
                with turn:
                    turn.notify_all()

    for lane in range(lanes):
        threading.Thread(target=lane_of, args=(lane,), daemon=True, name=f"lane-{lane}").start()
    results: dict[int, Result] = {}
    try:
        while len(results) < len(jobs):
            i, result, error = finished.get()
            if error is not None:
                raise error
            results[i] = result  # type: ignore[assignment]
    finally:
        with turn:
            stop = True
            turn.notify_all()
    return [results[i] for i in range(len(jobs))]
