"""The local Ray head of one project: started, found and stopped without touching any other Ray on the machine.

It runs as a process group of its own with a private session folder and token
authentication. Its process id and address stand in `state.json`; stopping it ends that group and nothing else.
A cluster named by `RAY_ADDRESS` is somebody else's: it is joined, never stopped.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from artifact.errors import ArtifactError
from artifact.files import read_json, write_json
from artifact.paths import project_root
from artifact.provenance import text_hash

START_SECONDS = 120
"""How long a head may take to answer before the attempt is given up."""


def state_folder() -> Path:
    """Private folder of this user and project; short, because Ray's socket paths may have at most 107 characters."""
    project = text_hash(str(project_root()))[:8]
    folder = Path(tempfile.gettempdir()) / f"artifact-{os.getuid()}-{project}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise ArtifactError(f"{folder} belongs to another user; remove it or set TMPDIR to a folder of your own")
    return folder


def read_state() -> dict[str, Any] | None:
    """{"pid", "address"} of the running head, None when there is none."""
    path = state_folder() / "state.json"
    if not path.is_file():
        return None
    state = read_json(path, "delete it; a head that still runs is then left to itself")
    return state if _is_our_head(state["pid"]) else None


def environment() -> dict[str, str]:
    """Variables that head, drivers and actors must share: authentication, no telemetry, no CUDA masking by Ray."""
    token = state_folder() / "token"
    if not token.exists():
        with contextlib.suppress(FileExistsError):
            handle = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(handle, secrets.token_hex(32).encode())
            os.close(handle)
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }


def start(num_cpus: int) -> str:
    """Start a head with `num_cpus` *logical* CPUs (threads are limited by the actors themselves); returns its address.

    The agents' ports are chosen here: left to Ray, its node daemon gives up when an agent takes more than 15 s to
    import and report its port, which happens on a busy or cold machine. A failed start is cleaned up and tried again.
    Actors have environments of their own: the idle workers that Ray would start ahead, one a CPU, could not serve them.
    """
    folder = state_folder()
    ray_command = Path(sys.executable).with_name("ray")
    for _ in range(5):
        ports = _free_ports(4)
        address = f"127.0.0.1:{ports[0]}"
        command = [
            str(ray_command),
            "start",
            "--head",
            "--block",
            f"--port={ports[0]}",
            f"--num-cpus={num_cpus}",
            f"--temp-dir={folder}",
            "--include-dashboard=false",
            "--include-log-monitor=false",
            "--disable-usage-stats",
            f"--object-store-memory={2 * 2**30}",
            f"--dashboard-agent-listen-port={ports[1]}",
            f"--dashboard-agent-grpc-port={ports[2]}",
            f"--runtime-env-agent-port={ports[3]}",
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
    state = read_state()
    (state_folder() / "state.json").unlink(missing_ok=True)
    if state is None:
        return False
    _end_group(state["pid"])
    return True


def _is_up(head: subprocess.Popen[bytes], log: Path) -> bool:
    """Whether the head reports that its node runs before the time is over."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and head.poll() is None:
        if "Ray runtime started" in log.read_text(encoding="utf-8", errors="replace"):
            return True
        time.sleep(0.2)
    return False


def _is_our_head(pid: int) -> bool:
    """Whether `pid` is alive and is a `ray start` of this project (process ids are used again)."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return False
    return str(state_folder()) in command


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


def _free_ports(n: int) -> list[int]:
    """n different ports that are free at this moment."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()
