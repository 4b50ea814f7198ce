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


def side_by_side(jobs: Sequence[Job], lanes: int, work: Callable[[Job, int], Result]) -> list[Result]:
    """`work(job, lane)` for every job, at most `lanes` at a time; the results in the order of `jobs`.

    After the first error, or an interruption, no further job is begun; the error is raised.
    """
    if lanes == 1 or len(jobs) < 2:
        return [work(job, 0) for job in jobs]
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    finished: queue.SimpleQueue[tuple[int, Result | None, BaseException | None]] = queue.SimpleQueue()
    for i in range(len(jobs)):
        waiting.put(i)
    stop = threading.Event()

    def lane_of(lane: int) -> None:
        while not stop.is_set():
            try:
                i = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                finished.put((i, work(jobs[i], lane), None))
            except BaseException as err:
                finished.put((i, None, err))
                return

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
        stop.set()
    return [results[i] for i in range(len(jobs))]
