"""Whose turn a lane is. Engines of frozen models and those that train cannot have the devices at once (`leases.py`),
and each change of turn starts engines anew, on a GPU for up to a minute.

So whoever needs the kind that was there last goes first, until its turn is over; the other kind waits until then, or
until nobody has come for a moment. A turn that is over lets others pass and begins again where there are none. Who is
killed leaves nothing that is waited for: the lock ends with its process, and the moment passes.

Left out: where engines stay because no device is counted; there the lock alone decides.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Literal

Kind = Literal["engine", "sampler"]
"""Engines of the student's architecture, which are trained on, or those of a frozen model."""

TURN_S = 900.0
"""So long a kind has the lane while the other waits: a start of a minute is then a fifteenth of it."""

GAP_S = 3.0
"""So long nobody must have the lane before the other kind takes it: one job of a series follows another sooner."""

LOOK_S = 0.1
"""Between two looks at a lane whose turn is the other kind's."""


@dataclass(frozen=True)
class Turn:
    """The last turn on a lane: the kind, when it began, when its last user left; seconds of the machine's clock."""

    kind: Kind
    began: float
    left: float


def next_turn(last: Turn | None, kind: Kind, now: float) -> Turn | None:
    """The turn in which `kind` may take a lane that nobody has; None where it has to wait."""
    anew = Turn(kind, now, now)
    if last is None or not 0 <= now - last.left < GAP_S:  # before 0: the machine started since
        return anew
    over = now - last.began >= TURN_S
    if kind == last.kind:
        return None if over else Turn(kind, last.began, now)
    return anew if over else None


@contextmanager
def taking_turn(path: Path, kind: Kind | None) -> Iterator[None]:
    """The lane whose lock is `path`, for one user at a time over threads and processes; `kind` None: in any order."""
    with path.open("a+", encoding="utf-8") as lock:
        if kind is None:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
            return
        turn = _wait(lock, kind)
        try:
            yield
        finally:
            _write(lock, Turn(kind, turn.began, time.monotonic()))


def _wait(lock: IO[str], kind: Kind) -> Turn:
    """The lock, held, when the turn of `kind` has come."""
    while True:
        fcntl.flock(lock, fcntl.LOCK_EX)  # wakes as soon as it is free, before whoever had it asks again
        if (turn := next_turn(_read(lock), kind, time.monotonic())) is not None:
            return turn
        fcntl.flock(lock, fcntl.LOCK_UN)
        time.sleep(LOOK_S)


def _read(lock: IO[str]) -> Turn | None:
    """The last turn; None before the first, and where a process was killed while it wrote."""
    lock.seek(0)
    try:
        return Turn(**json.load(lock))
    except (ValueError, TypeError):
        return None


def _write(lock: IO[str], turn: Turn) -> None:
    lock.seek(0)
    lock.truncate()
    json.dump(asdict(turn), lock)
    lock.flush()
