"""Who uses the actors of a placement group, and their end when nobody has for a while.

`hold` runs in every actor of a group when a driver takes it up, `put_back` when it is done with it. A thread in each
looks whether the job that holds it still lives; once nobody has held it for `idle_s` seconds it removes the group,
and all its actors end and their devices are free. An actor that works is held, so nobody ends a busy one.

Left out: which actors belong together (`reservation.py`), and one user at a time (the lane's lock).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

LOOK_S = 30.0
"""Longest time between two looks at the holder, seconds."""


@dataclass
class _Holding:
    job: str | None = None
    idle_s: float = 0.0
    thread: threading.Thread | None = None


_holding = _Holding()  # of this actor's process


def hold(actor: object, job: str, idle_s: float) -> None:
    """Run in an actor by `__ray_call__`: it belongs to the driver of Ray job `job` (hex) until that puts it back."""
    import ray

    _holding.job, _holding.idle_s = job, idle_s
    group = ray.util.get_current_placement_group()
    if _holding.thread is None and group is not None:
        _holding.thread = threading.Thread(target=_watch, args=(group,), daemon=True, name="presence")
        _holding.thread.start()


def put_back(actor: object, job: str) -> None:
    """Run in an actor by `__ray_call__`: job `job` needs it no more."""
    if _holding.job == job:
        _holding.job = None


def holder(actor: object) -> str | None:
    """Run in an actor by `__ray_call__`: the living job that holds it."""
    return _holding.job if _holding.job is not None and job_lives(_holding.job) else None


def job_lives(job: str) -> bool:
    """Whether Ray's job `job` (hex) has not ended; True where the cluster does not say."""
    from ray._private import state  # the public listing needs the dashboard, which does not run

    try:
        return not any(entry["JobID"] == job and entry["IsDead"] for entry in state.jobs())
    except Exception:  # the GCS is restarting or gone: no reason to end anything
        return True


def _watch(group: Any) -> None:
    from ray.util.placement_group import remove_placement_group

    last = time.monotonic()
    while True:
        time.sleep(min(LOOK_S, _holding.idle_s / 4))
        if _holding.job is not None and job_lives(_holding.job):
            last = time.monotonic()
        elif time.monotonic() - last > _holding.idle_s:
            remove_placement_group(group)  # this actor goes with it
            return
