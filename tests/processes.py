"""Other processes, as a test sees them: whether one runs, and waiting for what one does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psutil


def alive(pid: int) -> bool:
    """Whether a process runs: one that has ended does not, though nobody has waited for it yet."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def until(what: Callable[[], Any], seconds: float = 60) -> Any:
    """What `what` returns once it is true; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"it did not happen within {seconds} s"
        time.sleep(0.05)
    return found
