"""The training queue of a series, in a process of its own beside the notebooks (`artifact train-all`).

It has a process, for training waits in threads of Ray's, and a notebook's kernel and the pages must not wait for them.
It ends when the series ends, also where the series was killed: its standard input is a pipe that ends with us.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from artifact.children import end
from artifact.escape import visible
from artifact.report.output_manifest import VARIABLE

END_SECONDS = 30.0
"""So long the process may take to leave its locks in order, once it is told to end."""


class Background:
    """A training queue at work; `heard` is given each line that it says, from another thread."""

    def __init__(self, command: Sequence[str], log_path: Path, heard: Callable[[str], None]) -> None:
        log_path.parent.mkdir(parents=True, exist_ok=True)
        self.log_path, self._told_to_end = log_path, False
        self._log = log_path.open("w", encoding="utf-8")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={name: value for name, value in os.environ.items() if name != VARIABLE},
            start_new_session=True,  # an interruption at the terminal is ours to pass on
        )
        self._thread = threading.Thread(target=self._follow, args=(heard,), daemon=True)
        self._thread.start()

    def _follow(self, heard: Callable[[str], None]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._log.write(line)
            self._log.flush()
            heard(visible(line.rstrip("\n")))
        if self._process.wait() and not self._told_to_end:
            heard(f"the training queue stopped; the series ends after this notebook: {self._reason()}")

    def failure(self) -> str | None:
        """Why it ended before its work was done, in its own words; None while it works, and where it is done."""
        if not self._process.poll():
            return None
        self._thread.join(END_SECONDS)
        return f"{self._reason()} (training queue; its output: {self.log_path})"

    def _reason(self) -> str:
        """The error that a verb prints, else what the last traceback ends with."""
        told, rest = "", iter(self.log_path.read_text(encoding="utf-8").splitlines())
        for line in rest:
            if line.startswith("error: "):
                told = line.removeprefix("error: ")
            elif line.startswith("Traceback "):
                told = next((end for end in rest if end and not end[0].isspace()), told)
        return told or f"it ended with code {self._process.returncode}"

    def end(self) -> None:
        """End it, in order where it can be; nothing where it has ended."""
        self._told_to_end = True
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        end(self._process, END_SECONDS)
        self._process.wait()
        self._thread.join(END_SECONDS)
        self._log.close()


@contextlib.contextmanager
def training(
    studies: Sequence[str], tier: str, sets: Sequence[str], log_path: Path, heard: Callable[[str], None]
) -> Iterator[Background | None]:
    """While the block runs, the runs of `studies` are trained beside it; None where there is none."""
    if not studies:
        yield None
        return
    command = [sys.executable, "-m", "artifact.cli.main", "train-all", "--tier", tier, "--study", ",".join(studies)]
    command += [part for item in sets for part in ("--set", item)]
    queue = Background([*command, "--until-input-ends"], log_path, heard)
    try:
        yield queue
    finally:
        queue.end()


def end_with_input() -> None:
    """From now on this process ends when its standard input does: who started it is gone."""

    def wait() -> None:
        while os.read(0, 4096):  # past Python's own object, whose lock would be held when the process ends by itself
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="until-input-ends").start()
