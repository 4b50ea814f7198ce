"""Child processes that end when their parent is told to: in order where they can, so that their own children do too."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence

END_SECONDS = 60
"""So long a child may take to end in order, before it is killed."""

LOOK_S = 0.2
"""Between two looks at whether another child may begin."""


def end(child: subprocess.Popen[str], seconds: float = END_SECONDS) -> None:
    """End `child`, in order where it can in so many seconds; nothing where it has ended."""
    child.terminate()
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()


def run_to_end(
    command: Sequence[str], environment: Mapping[str, str] | None = None, *, keep_errors: bool = False
) -> tuple[int, str]:
    """Run `command` and return its exit code, and what it wrote to stderr where `keep_errors`, else nothing.

    Where this process is interrupted meanwhile, by Ctrl-C or SIGTERM, the child gets SIGTERM and is waited for:
    `subprocess.run` would kill it, and what it had started would go on.
    """
    stderr = subprocess.PIPE if keep_errors else None
    with subprocess.Popen(command, env=environment, stderr=stderr, text=True) as child:
        try:
            _, said = child.communicate()
        except BaseException:
            end(child)
            raise
    return child.returncode, said or ""


def run_side_by_side(
    commands: Mapping[str, Sequence[str]],
    heard: Callable[[str], None],
    *,
    at_once: int = 2,
    ready: Callable[[str, Collection[str]], bool] = lambda name, ended: True,
) -> dict[str, int]:
    """Run all `commands`, `at_once` at a time in their order, and return their exit codes, by name.

    heard  is given each line that one writes, behind its name, from another thread
    ready  whether a command may begin, given the names of those that have ended; where nothing runs, the next one does

    Where this process is interrupted meanwhile, all of them end as in `run_to_end`.
    """
    children: dict[str, subprocess.Popen[str]] = {}
    readers: list[threading.Thread] = []

    def follow(name: str, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            heard(f"{name} | {line.rstrip()}")

    def begin(name: str) -> None:
        child = subprocess.Popen(commands[name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        children[name] = child
        readers.append(threading.Thread(target=follow, args=(name, child), daemon=True))
        readers[-1].start()

    try:
        while waiting := [name for name in commands if name not in children]:
            ended = [name for name, child in children.items() if child.poll() is not None]
            running = len(children) - len(ended)
            may = [name for name in waiting if ready(name, ended)] or ([] if running else waiting)
            if may and running < at_once:
                begin(may[0])
            else:
                time.sleep(LOOK_S)
        codes = {name: children[name].wait() for name in commands}
        for reader in readers:  # the last words of a child may say why it failed
            reader.join(END_SECONDS)
        return codes
    finally:
        for child in children.values():
            if child.poll() is None:
                end(child)
