"""A child process that ends when its parent is told to: in order where it can, so that its own children end as well."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

END_SECONDS = 60
"""So long a child may take to end in order, before it is killed."""


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
