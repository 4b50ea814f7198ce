"""The local Ray head of one project: started, found and stopped without touching any other Ray on the machine.

It runs as a process group of its own, listens on loopback only, and asks for a token. Token, state and locks lie in a
folder that only this user can enter; Ray's own folder, which Ray opens to everybody, lies inside it. A head is found by
the command line of its processes, so one whose starter was killed is found too; stopping ends these and nothing else.
A cluster named by `RAY_ADDRESS` is somebody else's: it is joined, never stopped.

Every process that uses the cluster holds a lock of its own (`use`), so nobody stops it under another by mistake, and
finding, starting and stopping take turns (`in_turn`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from artifact.actors.object_store import require_memory
from artifact.actors.ports import free_ports
from artifact.errors import ArtifactError
from artifact.files import DamagedFile, atomically, read_json, write_json
from artifact.paths import project_root
from artifact.provenance import text_hash

START_SECONDS = 120
"""How long a head may take to answer before the attempt is given up."""


LONGEST_SOCKET = 107
"""Characters of a Unix socket's path, `sun_path` less its end."""

RAY_BELOW = len("/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store")
"""Characters that Ray adds to its folder for the longest of its sockets."""


def state_folder() -> Path:
    """The folder of this user and project that nobody else can enter (mode 0700); made where it is missing.

    Raises ArtifactError where it belongs to somebody else or is a link.
    """
    project = text_hash(str(project_root()))[:8]
    folder = Path(tempfile.gettempdir()) / f"artifact-{os.getuid()}-{project}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
        raise ArtifactError(f"{folder} belongs to another user or is a link; remove it or set TMPDIR to another folder")
    if found.st_mode & 0o077:
        for name in ("token", "state.json"):  # while it was open, anybody could have put them here
            (folder / name).unlink(missing_ok=True)
        folder.chmod(0o700)
    return folder


def ray_folder() -> Path:
    """Ray's own folder, below the private one. Raises ArtifactError where its sockets' paths would be too long."""
    folder = state_folder() / "ray"
    if len(str(folder)) + RAY_BELOW > LONGEST_SOCKET:
        raise ArtifactError(
            f"{folder} is too long a path: Ray's sockets in it may have {LONGEST_SOCKET} characters; set TMPDIR to a "
            f"folder whose path is at least {len(str(folder)) + RAY_BELOW - LONGEST_SOCKET} characters shorter"
        )
    return folder


@contextlib.contextmanager
def in_turn() -> Iterator[None]:
    """Held while a head is looked for, started or stopped: one process, and one thread of it, at a time."""
    with (state_folder() / "cluster.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


_use: IO[str] | None = None


def use() -> None:
    """Say that this process uses the cluster, until it ends or `put_back` is called."""
    global _use
    if _use is None:
        folder = state_folder() / "users"
        folder.mkdir(mode=0o700, exist_ok=True)
        _use = (folder / str(os.getpid())).open("w")
        fcntl.flock(_use, fcntl.LOCK_EX)


def put_back() -> None:
    """This process does not use the cluster any more."""
    global _use
    if _use is not None:
        Path(_use.name).unlink(missing_ok=True)
        _use.close()
        _use = None


def users() -> list[int]:
    """Process ids of the others that use the cluster now."""
    out = []
    for path in sorted((state_folder() / "users").glob("[0-9]*")):
        if int(path.name) == os.getpid():
            continue
        with contextlib.suppress(FileNotFoundError), path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)  # of a process that was killed
            except BlockingIOError:
                out.append(int(path.name))
    return out


def read_state() -> dict[str, Any] | None:
    """{"pid", "address"} of the running head, None when there is none (or it was never seen to answer)."""
    path = state_folder() / "state.json"
    if not path.is_file():
        return None
    try:
        state = read_json(path, "start a run")
    except DamagedFile:
        return None  # the head it spoke of is found by its processes, and ended before another starts
    return state if state["pid"] in _heads() else None


def environment() -> dict[str, str]:
    """Variables that head, drivers and actors must share: authentication, loopback, no telemetry, no CUDA masking."""
    token = state_folder() / "token"
    if not token.is_file() or not token.stat().st_size:
        with atomically(token) as partial:
            handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.write(handle, secrets.token_hex(32).encode())
            os.close(handle)
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's switch for one machine: every server binds to loopback
    }


def start(num_cpus: int, object_store: int, num_gpus: int | None = None) -> str:
    """Start a head with `num_cpus` *logical* CPUs (threads are limited by the actors themselves); returns its address.

    object_store  bytes of its object store; ConfigError where the machine has less memory
    num_gpus      GPUs it counts, there or not; None: those it finds

    The agents' ports are chosen here: left to Ray, its node daemon gives up when an agent takes more than 15 s to
    import and report its port, which happens on a busy or cold machine. A failed start is cleaned up and tried again.
    Actors have environments of their own: the idle workers that Ray would start ahead, one a CPU, could not serve them.
    """
    require_memory(object_store)
    folder = state_folder()
    stop()  # what a starter that was killed left behind
    ray_command = Path(sys.executable).with_name("ray")
    for _ in range(5):
        ports = free_ports(5)
        address = f"127.0.0.1:{ports[0]}"
        command = [
            str(ray_command),
            "start",
            "--head",
            "--block",
            f"--port={ports[0]}",
            f"--num-cpus={num_cpus}",
            *([] if num_gpus is None else [f"--num-gpus={num_gpus}"]),
            f"--temp-dir={ray_folder()}",
            "--include-dashboard=false",
            "--include-log-monitor=false",
            "--disable-usage-stats",
            f"--object-store-memory={object_store}",
            f"--dashboard-agent-listen-port={ports[1]}",
            f"--dashboard-agent-grpc-port={ports[2]}",
            f"--runtime-env-agent-port={ports[3]}",
            f"--ray-client-server-port={ports[4]}",  # else the same for every head of a machine
        ]
        with (folder / "head.log").open("w") as log:
            head = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **environment(), "RAY_prestart_worker_first_driver": "0"},
            )
        if _is_up(head, folder / "head.log"):
            write_json(folder / "state.json", {"pid": head.pid, "address": address})
            return address
        _end_group(head.pid)
        head.wait(timeout=30)
    words = (folder / "head.log").read_text(encoding="utf-8", errors="replace").strip()[-1500:]
    raise ArtifactError(f"the local Ray head did not start in 5 attempts; its last words were:\n{words}")


def stop() -> bool:
    """Stop this project's head and all its actors; False when none ran."""
    heads = _heads()
    (state_folder() / "state.json").unlink(missing_ok=True)
    groups = {group for pid in heads if (group := _group_of(pid)) is not None}
    for group in sorted(groups - {os.getpgrp()}):
        _end_group(group)
    return bool(heads)


def _is_up(head: subprocess.Popen[bytes], log: Path) -> bool:
    """Whether the head reports that its node runs before the time is over."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and head.poll() is None:
        if "Ray runtime started" in log.read_text(encoding="utf-8", errors="replace"):
            return True
        time.sleep(0.2)
    return False


def _heads() -> set[int]:
    """Process ids of this user's `ray start --head`, GCS and raylet in this project's folder."""
    folder, out = str(state_folder() / "ray"), set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if entry.stat().st_uid != os.getuid():
                continue
            command = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            launcher = "--head" in command and f"--temp-dir={folder}" in command
            server = Path(command[0]).name in ("gcs_server", "raylet") and any(f"{folder}/" in a for a in command)
            if launcher or server:
                out.add(int(entry.name))
    return out


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _end_group(pid: int) -> None:
    """End a process group: politely, then for good."""
    for sig, seconds in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, sig)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and _group_alive(pid):
            time.sleep(0.1)


def _group_alive(pid: int) -> bool:
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = entry.read_text().rsplit(")", 1)[1].split()
            if int(fields[2]) == pid and fields[0] != "Z":  # state, parent, process group
                return True
    return False
