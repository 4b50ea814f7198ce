"""This process joins a Ray cluster: the one at `RAY_ADDRESS` where that is set, else this project's own local head.

Ray is told what it must know before it is imported, waits no longer than a person would, and leaves the process's
handling of signals as it was. Left out: the head itself (`ray_head.py`), and what is done on a cluster (`session.py`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

from artifact.actors import imported, nodes, ray_head
from artifact.actors.placement import logical_gpus, one_machine
from artifact.actors.reservation import namespace
from artifact.config import Cluster
from artifact.errors import ArtifactError
from artifact.paths import results_dir

CONNECT_SECONDS = 10
"""How long a cluster at RAY_ADDRESS may take to answer."""


LOGICAL_CPUS = 16
"""CPUs that a local head counts; threads are limited by the actors themselves."""


def connect(cluster: Cluster | None = None) -> None:
    """Join `RAY_ADDRESS` where it is set, else this project's local head, started if it does not run. Idempotent.

    cluster  what a head that is started must have: object store, and on a CPU the GPUs it counts; a running one keeps
             its own

    Raises ArtifactError where no cluster answers at `RAY_ADDRESS`, one of its nodes does not see the results folder
    (`nodes.py`), or the source was edited under this process.
    """
    imported.check_unchanged()
    given = os.environ.get("RAY_ADDRESS")
    imported_before = "ray" in sys.modules
    if not given:
        os.environ.update(ray_head.environment())
    logging.getLogger("ray.widgets.util").setLevel(logging.ERROR)  # importing ray asks for ipywidgets in a notebook
    import ray

    if ray.is_initialized():
        return
    with ray_head.in_turn(), _own_signals():
        if ray.is_initialized():  # by another thread, in its turn
            return
        options: Any = {"namespace": namespace(), "log_to_driver": False, "logging_level": "ERROR"}
        if given:
            _join(given, options | {"runtime_env": nodes.shipped()})
            if not one_machine():
                _check_nodes()
        else:
            if imported_before:
                _read_settings_again()
            ray_head.use()
            state = ray_head.read_state()
            ray.init(address=state["address"] if state else _start_head(cluster), **options)


def _check_nodes() -> None:
    """`nodes.check_shared` of the results folder; after a refusal this process has not joined."""
    import ray

    try:
        nodes.check_shared(results_dir())
    except BaseException:
        ray.shutdown()
        raise


def _start_head(cluster: Cluster | None) -> str:
    store = cluster.object_store_gib if cluster else 2.0
    return ray_head.start(LOGICAL_CPUS, int(store * 2**30), logical_gpus(cluster) if cluster else None)


def _join(address: str, options: dict[str, Any]) -> None:
    """Join the cluster at `address`; ArtifactError where nothing listens there, or nothing that speaks Ray."""
    import ray

    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        if port.isdigit():  # Ray itself would try for minutes, and not be interrupted
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
            _speaks_ray(address)
        ray.init(address=address, **options)
    except OSError as err:
        raise ArtifactError(
            f"no Ray cluster answers at RAY_ADDRESS={address!r} ({err}); start one with `ray start --head` or unset "
            "the variable to use a local one"
        ) from err


def _speaks_ray(address: str) -> None:
    """Raise ConnectionError where the GCS does not answer in time."""
    if "://" in address:
        return
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    answered: list[object] = []

    def ask() -> None:
        with contextlib.suppress(Exception):
            answered.append(GcsClient(address=address))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if not answered:
        raise ConnectionError("something listens there, but it does not answer as Ray does")


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Ray's driver replaces the handler of SIGTERM by one that aborts the process; keep what was there."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _read_settings_again() -> None:
    """Ray reads its settings when it is imported, here before they were set: in a notebook, say."""
    from ray._private import ray_constants
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    ray_constants.ENABLE_RAY_CLUSTER = False  # loopback, as `ray_head.environment` says
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
