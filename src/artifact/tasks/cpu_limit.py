"""A block of Python that may use so much processor time and no more: for code that came with a model.

A watching thread reads the processor clock of each watched thread, so a busy machine cannot make a block run out of
time, and raises OutOfTime inside the block. Left out: code that does not return to the interpreter (a single long call
into C), which cannot be interrupted from inside its process.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

INTERVAL_S = 0.1


class OutOfTime(BaseException):
    """The block used up its time. Not an Exception: the watched code must not be able to catch it by accident."""


@dataclass
class _Watched:
    clock: int
    deadline: float
    fired: bool = False


_watched: dict[int, _Watched] = {}
_changed = threading.Condition()
_watcher: threading.Thread | None = None


def _watch() -> None:
    while True:
        with _changed:
            while not _watched:
                _changed.wait()
            for ident, one in _watched.items():
                if not one.fired and time.clock_gettime(one.clock) > one.deadline:
                    one.fired = True
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(OutOfTime))
        time.sleep(INTERVAL_S)


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the block when this thread has computed for `seconds` in it. Blocks do not nest."""
    global _watcher
    ident = threading.get_ident()
    own = _Watched(time.pthread_getcpuclockid(ident), time.thread_time() + seconds)
    with _changed:
        if _watcher is None or not _watcher.is_alive():  # the first block of this process, or of a forked one
            _watcher = threading.Thread(target=_watch, name="cpu-limit", daemon=True)
            _watcher.start()
        _watched[ident] = own
        _changed.notify()
    try:
        yield
    finally:
        with _changed:
            _watched.pop(ident, None)
    while own.fired:  # the block ended as its time did: the exception is on its way, and must not arrive later
        time.sleep(0.001)
