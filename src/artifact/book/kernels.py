"""Kernels that begin with the libraries of notebooks imported: forks of `kernel_server.py`.

A notebook imports torch, SciPy, matplotlib and more, three seconds of a processor before its first cell: here once a
series. In all else a kernel is what Jupyter's own would be, down to its process and session.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from functools import cache
from importlib.metadata import EntryPoint
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

from artifact.errors import ArtifactError

FORKED = "artifact-forked"
"""The name of this way to start a kernel, for kernel specifications."""

START_SECONDS = 180
"""So long the server may take to import the libraries, and then to fork."""


class Server:
    """The one server of this process; it ends with us, however we end."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        self._channel.settimeout(START_SECONDS)
        self._asking = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.kernel_server", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                cwd="/",  # papermill is in the folder of the first notebook, which may go
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._lines = self._channel.makefile("rw", encoding="utf-8")

    def fork(self, arguments: list[str], folder: str, environment: dict[str, str]) -> int:
        """The process id of a new kernel; ArtifactError where the server does not answer."""
        asked = json.dumps({"arguments": arguments, "folder": folder, "environment": environment})
        with self._asking:
            try:
                self._lines.write(f"{asked}\n")
                self._lines.flush()
                return int(self._lines.readline())
            except BaseException as err:  # also where we are interrupted: its answer would be the next one's
                _server.cache_clear()
                self._process.kill()
                if not isinstance(err, OSError | ValueError):
                    raise
                raise ArtifactError(
                    f"the process that kernels are forked from gave none ({type(err).__name__}; its exit code: "
                    f"{self._process.wait()}); what it said stands above. Start the command again"
                ) from err


@cache
def _server() -> Server:
    return Server()


class Forked:
    """A forked kernel, with what Jupyter asks of a `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)  # the server keeps the id of one that has ended

    def poll(self) -> int | None:
        """None while it runs, then 1: its exit code is its parent's to know, and nobody asks."""
        ended, _, _ = select.select([self._descriptor], [], [], 0)
        return 1 if ended else None

    def wait(self) -> int | None:
        """`poll`, once it has ended."""
        select.select([self._descriptor], [], [])
        return self.poll()

    def send_signal(self, number: int) -> None:
        """Nothing where it has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._descriptor, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def __del__(self) -> None:
        os.close(self._descriptor)


class ForkedProvisioner(LocalProvisioner):
    """Jupyter's own, but for how the process comes to be."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Fork a kernel that is given the arguments in `cmd` from `-f` on, its connection file first."""
        self.cwd = str(kwargs.get("cwd") or os.getcwd())
        self.pid = self.pgid = _server().fork(cmd[cmd.index("-f") :], self.cwd, dict(kwargs["env"]))
        self.process = Forked(self.pid)  # type: ignore[assignment]  # Jupyter asks it no more than Forked answers
        return self.connection_info


def register() -> None:
    """Let kernel specifications name `FORKED` in this process; an entry point would need an installed package."""
    place = EntryPoint(FORKED, f"{__name__}:{ForkedProvisioner.__name__}", KernelProvisionerFactory.GROUP_NAME)
    KernelProvisionerFactory.provisioners[FORKED] = place
