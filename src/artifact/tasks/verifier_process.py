"""One killable worker process, seen from the parent: start, ask within a limit of processor time, kill.

Plain pipes and `python -m` instead of `multiprocessing`: nothing of the caller's main module is imported, so it works
from a script without a main guard, a notebook, a thread and a Ray actor alike. POSIX only (it waits on pipes).
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import artifact
from artifact.errors import ArtifactError

START_LIMIT_S = 180.0
"""How long a worker may take to import sympy and report ready before that is an error of the installation."""


class WorkerTimeout(Exception):
    """The request has used up its processor time; the worker is gone."""


class WorkerStalled(Exception):
    """No reply within the wall-clock limit, whatever the reason (a stopped process, a machine at a standstill)."""


class WorkerDied(Exception):
    """The worker ended by itself (crash, out of memory, killed from outside)."""


class WorkerProcess:
    """A running `verifier_worker`. Not thread-safe: one caller at a time."""

    def __init__(self) -> None:
        source = str(Path(artifact.__file__).resolve().parents[1])
        inherited = os.environ.get("PYTHONPATH")
        path = os.pathsep.join([source, inherited] if inherited else [source])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "artifact.tasks.verifier_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=os.environ | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # an interrupt in the notebook stops the caller, not the worker
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._buffer = b""
        self._requests = 0
        self._owner = os.getpid()
        try:
            self._read_line(time.monotonic() + START_LIMIT_S)
        except (WorkerTimeout, WorkerStalled, WorkerDied) as err:
            raise ArtifactError(
                f"the worker for algebra did not start ({err}); to see why, run "
                f"`PYTHONPATH={path} {sys.executable} -m artifact.tasks.verifier_worker` in a terminal"
            ) from err
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the worker runs and is this process's own, not inherited over a fork."""
        return self._owner == os.getpid() and self._process.poll() is None

    def ask(self, gold: str | tuple[str, str], answer: str | None, cpu_s: float, wall_s: float) -> dict[str, Any]:
        """The reply, with the key `equal`, `unreadable` or `error`; `gold` is a pair where neither answer is the gold.

        Raises WorkerTimeout after `cpu_s` seconds of its processor time, WorkerStalled after `wall_s` seconds by the
        clock, and WorkerDied; the worker is then gone.
        """
        self._requests += 1
        deadline = time.monotonic() + wall_s
        request = {"id": self._requests, "gold": gold, "answer": answer, "cpu_s": cpu_s}
        try:
            # Far below a pipe's buffer (the answers are bounded), so this cannot block even on a stopped worker.
            self._stdin.write(json.dumps(request, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            reply: dict[str, Any] = json.loads(self._read_line(deadline))
        except BrokenPipeError as err:
            raise self._ended() from err
        except BaseException:  # an interrupt, too: a late reply must not answer the next question
            self.kill()
            raise
        if reply["id"] != self._requests:
            self.kill()
            raise WorkerDied(f"reply {reply['id']} to request {self._requests}")
        return reply

    def kill(self) -> int:
        """Kill the worker if it still runs, reap it, close the pipes; returns its exit code. Safe to call twice."""
        if self._owner != os.getpid():
            self._stdin.close()
            self._stdout.close()
            return 0
        self._process.kill()
        code = self._process.wait()
        self._stdin.close()
        self._stdout.close()
        return code

    def _ended(self) -> WorkerTimeout | WorkerDied:
        """Why the worker is gone, by its exit code."""
        code = self._process.wait(timeout=10)
        self.kill()
        return (
            WorkerTimeout("its processor time is used up")
            if code == -signal.SIGPROF
            else WorkerDied(f"exit code {code}")
        )

    def _read_line(self, deadline: float) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    self.kill()
                    raise WorkerStalled("no reply by the deadline")
                chunk = os.read(self._stdout.fileno(), 1 << 16)
                if not chunk:
                    raise self._ended()
                self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line
