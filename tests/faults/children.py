"""Processes that are killed at one operation on files, and what became of those that were not.

The operations are found by tracing, not listed by hand: Python announces each open for writing, rename, removal, new
folder and truncation (`sys.addaudithook`), and `os.fsync` is wrapped. A child is forked for each fault from a process
that has imported everything, so a fault costs what the run costs.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
EVENTS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink")
KILLED, REFUSED, BROKEN = 9, 2, 3
SECONDS = 60.0
"""Longer than any child takes by far: then it hangs."""


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code (None: it hung and was killed from outside), and what it said."""

    code: int | None
    said: str


class Tracer:
    """Counts the operations below `root` in this process and ends it at number `at` (before it takes place).

    Flushing is counted and not done: what a killed process has written stays with the system, flushed or not.

    torn  number of the `fsync` at which the file's bytes since its last one are half lost before the process ends:
          what a power cut leaves
    """

    def __init__(self, root: Path, at: int | None = None, torn: int | None = None) -> None:
        self.root, self.at, self.torn = str(root), at, torn
        self.seen: list[str] = []
        self.syncs: list[str] = []
        self._synced: dict[int, int] = {}

    def install(self) -> None:
        """From now on, for good: an audit hook cannot be taken away, so this is for a child."""
        sys.addaudithook(self._heard)
        os.fsync = self._sync

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, (str, bytes)) and flags & WRITES:
                self._operation("write", os.fsdecode(path))
        elif event in EVENTS and isinstance(arguments[0], (str, bytes, os.PathLike)):
            self._operation(event.removeprefix("os."), os.fsdecode(arguments[0]))

    def _operation(self, what: str, path: str) -> None:
        if not path.startswith(self.root):
            return
        if self.at == len(self.seen):
            os._exit(KILLED)
        self.seen.append(f"{what} {os.path.relpath(path, self.root)}")

    def _sync(self, handle: int) -> None:
        facts, path = os.fstat(handle), os.readlink(f"/proc/self/fd/{handle}")
        if path.startswith(self.root):
            if stat.S_ISREG(facts.st_mode):
                if self.torn == len(self.syncs):
                    safe = self._synced.get(facts.st_ino, 0)
                    os.truncate(path, safe + (facts.st_size - safe) // 2)
                    os._exit(KILLED)
                self.syncs.append(f"tear {os.path.relpath(path, self.root)}")
                self._synced[facts.st_ino] = facts.st_size
            self._operation("fsync", path)


def child(work: Callable[[], object], said: Path, tracer: Tracer | None = None, trace: Path | None = None) -> Ended:
    """Fork, do `work` there, and say how it ended; `said` holds its output, `trace` its operations."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _work(work, said, tracer, trace)
    deadline = time.monotonic() + SECONDS
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return Ended(os.waitstatus_to_exitcode(status), said.read_text(errors="replace"))
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return Ended(None, said.read_text(errors="replace"))
        time.sleep(0.005)


def _work(work: Callable[[], object], said: Path, tracer: Tracer | None, trace: Path | None) -> None:
    code = BROKEN
    try:
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if tracer is not None:
            tracer.install()
        work()
        code = 0
    except BaseException as err:
        from artifact.cli.main import is_known

        code = REFUSED if isinstance(err, Exception) and is_known(err) else BROKEN
        print(f"error: {err}" if code == REFUSED else traceback.format_exc(), flush=True)
    finally:
        sys.stdout.flush()
        if trace is not None and tracer is not None:
            trace.write_text("\n".join([*tracer.seen, "--", *tracer.syncs]))
        os._exit(code)
