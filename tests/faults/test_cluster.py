"""What goes wrong around a cluster: edits, deaths, two at once, strangers. A real Ray, and actors that hold nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.processes import until

from artifact.actors import imported, ray_head, reservation, session
from artifact.actors.calls import call
from artifact.config import Config, load
from artifact.errors import ActorDied, ActorTimeout, ArtifactError, NonFinite

pytestmark = pytest.mark.timeout(300)

CONFIG = load("tiny", {"cluster.start_timeout_s": 60})
ROOT = Path(__file__).resolve().parents[2]


def light() -> type:
    """An actor without a model; made here so that it travels by value."""

    class Light:
        def __init__(self, role: str) -> None:
            self.role = role

        def ready(self) -> int:
            import os

            return os.getpid()

        def sleep(self, seconds: float) -> None:
            import time

            time.sleep(seconds)

        def fail(self) -> None:
            from artifact.errors import NonFinite

            raise NonFinite("a weight is not finite")

    return Light


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A temporary folder of its own, with a short path, so that no other cluster of this clone is met."""
    with tempfile.TemporaryDirectory(prefix="af", dir="/tmp") as made, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", made)
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setattr(tempfile, "tempdir", None)
        session.stop()
        yield Path(made)
        session.stop()
        patch.undo()
    tempfile.tempdir = None


@pytest.fixture
def cluster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A running head; every actor is a light one, and ends with the test."""
    monkeypatch.setattr(session, "_class_of", lambda role, slot, config, engines_for: (light(), (role,)))
    monkeypatch.setattr(imported, "report", lambda actor: [])  # light actors import nothing of ours
    monkeypatch.setattr(imported, "mine", list)
    session.connect()
    yield folder
    if "RAY_ADDRESS" not in os.environ:
        session.connect()
        reservation.end_all()


def pids(actors: session.Actors) -> list[int]:
    import ray

    return ray.get([a.ready.remote() for a in [*actors.engines, *actors.students, actors.teacher]], timeout=30)


def opened(config: Config = CONFIG, lane: int = 0) -> session.Actors:
    return session.open_actors(config, engines_for=config.models.student, student=True, teacher=True, lane=lane)


def child(code: str, **env: str) -> subprocess.Popen[str]:
    """Another process of the same project."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", **env}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def free_cpus() -> float:
    import ray

    return float(ray.available_resources().get("CPU", 0.0))


def test_actors_serve_the_next_user_until_code_or_environment_change(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F1: whatever an actor imported is part of its name."""
    first = pids(opened())
    assert pids(opened()) == first
    monkeypatch.setattr(imported, "made_of", lambda device: "another code")
    session._put_back(0)
    second = pids(opened())
    assert not set(first) & set(second), "old code serves nobody"
    assert until(lambda: not any(map(psutil.pid_exists, first))), "and does not stay"


@pytest.mark.faults
def test_training_actors_of_earlier_settings_do_not_pile_up(cluster: Path) -> None:
    """F14."""
    first = pids(opened())
    session._put_back(0)
    pids(opened(load("tiny", {"cluster.student_threads": 2, "cluster.start_timeout_s": 60})))
    assert len(reservation.reservations()) == 1
    assert until(lambda: not any(map(psutil.pid_exists, first)))


@pytest.mark.faults
def test_actors_that_somebody_holds_stay(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pids(opened())
    opened(load("tiny", {"cluster.student_threads": 2, "cluster.start_timeout_s": 60}))
    assert len(reservation.reservations()) == 2 and pids(opened()) == first


@pytest.mark.parametrize("times", [2])
def test_an_engine_that_dies_again_and_again_is_replaced_and_nothing_stays_reserved(cluster: Path, times: int) -> None:
    """F4 (b): names of placement groups are unique, and what lost an actor gives its resources back."""
    import ray

    before = free_cpus()
    for _ in range(times):
        actors = opened()
        pid = ray.get(actors.engines[0].ready.remote())
        with pytest.raises(ActorDied, match="start the run again"), session.taking_lane(0):
            os.kill(pid, signal.SIGKILL)
            call(actors.engines[0].sleep.remote(60), 60, "sampling rollouts")
        assert not reservation.reservations()
    assert until(lambda: free_cpus() == before)
    os.kill(ray.get(opened().engines[0].ready.remote()), signal.SIGKILL)  # while nobody looks
    until(lambda: len(reservation.actor_names()) < 3)
    pids(opened())
    assert len(reservation.reservations()) == 1


@pytest.mark.faults
def test_a_hung_engine_ends_with_its_lane(cluster: Path) -> None:
    """F4 (c): SIGSTOP, a deadline, and the next run starts."""
    import ray

    actors = opened()
    hung = ray.get(actors.engines[0].ready.remote())
    os.kill(hung, signal.SIGSTOP)
    with pytest.raises(ActorTimeout), session.taking_lane(0):
        call(actors.engines[0].ready.remote(), 2, "sampling rollouts")
    assert hung not in pids(opened())
    assert until(lambda: not psutil.pid_exists(hung))


def test_after_a_value_that_is_not_finite_the_lane_ends_and_no_other(cluster: Path) -> None:
    """F4 (a): the next run meets none of the actors that may hold such a value."""
    first, other = pids(opened()), pids(opened(lane=1))
    with pytest.raises(NonFinite), session.taking_lane(0):
        call(opened().students[0].fail.remote(), 30, "a step")
    assert not set(first) & set(pids(opened()))
    assert pids(opened(lane=1)) == other


@pytest.mark.faults
def test_a_busy_actor_is_waited_for_and_never_killed(cluster: Path) -> None:
    """F14: a run whose driver was killed may still be at work."""
    import ray

    actors = opened()
    first = ray.get(actors.engines[0].ready.remote())
    actors.engines[0].sleep.remote(8)
    with pytest.raises(ActorTimeout, match="busy"):
        opened(load("tiny", {"cluster.start_timeout_s": 2}))
    assert ray.get(opened().engines[0].ready.remote()) == first


@pytest.mark.faults
def test_actors_that_nobody_uses_end_by_themselves(cluster: Path) -> None:
    quick = load("tiny", {"cluster.idle_timeout_s": 2, "cluster.start_timeout_s": 60})
    held = pids(opened(quick))
    time.sleep(6)
    assert pids(opened(quick)) == held, "held"
    session._put_back(0)
    until(lambda: not reservation.reservations() and not reservation.actor_names())


ASKS_TOO_MUCH = """
from artifact.actors import reservation, session
from artifact.actors.placement import Placement
session.connect()
print("asking", flush=True)
try:
    reservation.reserve(Placement({}, ({"CPU": 500.0},), {}), "abc-def-lane0", ["engine-0"], %s)
except Exception as err:
    print(err)
"""


@pytest.mark.faults
def test_a_pending_reservation_ends_with_its_caller(cluster: Path) -> None:
    """F14: after a time-out, and after kill -9."""
    waiting = child(ASKS_TOO_MUCH % 600)
    assert waiting.stdout is not None and waiting.stdout.readline() == "asking\n"
    until(lambda: any(r.state == "PENDING" for r in reservation.reservations()))
    waiting.kill()
    until(lambda: not reservation.reservations())
    told = child(ASKS_TOO_MUCH % 1)
    assert "Ray cannot place" in told.communicate(timeout=60)[0] and not reservation.reservations()


@pytest.mark.faults
def test_a_start_that_fails_leaves_nothing(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> tuple[type, tuple[Any, ...]]:
        class Broken(light()):  # type: ignore[misc]
            def __init__(self) -> None:
                raise MemoryError("no room")

        return Broken, ()

    before = free_cpus()
    monkeypatch.setattr(session, "_class_of", broken)
    with pytest.raises(ArtifactError):
        opened()
    assert not reservation.reservations() and until(lambda: free_cpus() == before)


def test_everything_listens_on_loopback_in_a_folder_of_the_users_own(cluster: Path) -> None:
    """F5, F14."""
    opened()
    state = json.loads((ray_head.state_folder() / "state.json").read_text())
    head = psutil.Process(state["pid"])
    listening = {
        (p.name(), c.laddr.ip)
        for p in [head, *head.children(recursive=True), psutil.Process()]
        for c in p.net_connections("inet")
        if c.status == psutil.CONN_LISTEN
    }
    assert len(listening) > 3
    assert {ip.removeprefix("::ffff:") for _, ip in listening} <= {"127.0.0.1", "::1"}, listening
    private = ray_head.state_folder()
    assert private.stat().st_mode & 0o777 == 0o700
    assert (private / "token").stat().st_mode & 0o777 == 0o600
    sessions = [a for p in head.children(recursive=True) for a in p.cmdline() if "/session_" in a]
    assert sessions and all(f"{private}/ray/session_" in a for a in sessions)


TWO = """
import ray
from artifact.actors import session
session.connect()
print(ray.get_runtime_context().gcs_address, flush=True)
input()
"""


def waiting_child() -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen(
        [sys.executable, "-c", TWO], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.faults
def test_two_starts_at_once_make_one_head_which_no_user_loses(folder: Path) -> None:
    """F10, F11: and stop ends all of it, one whose starter was killed too."""
    from artifact.cli import cluster as cli

    session.stop()
    both = [waiting_child() for _ in range(2)]
    addresses = [p.stdout.readline() for p in both]  # type: ignore[union-attr]
    assert len(set(addresses)) == 1 and addresses[0]
    heads = [p for p in psutil.process_iter() if _is_head(p, folder)]
    assert len(heads) == 1
    assert set(ray_head.users()) == {p.pid for p in both}
    assert not session.stop(only_if_unused=True) and heads[0].is_running()
    with pytest.raises(ArtifactError, match=f"process {both[0].pid}|process {both[1].pid}"):
        cli.cluster("stop", "tiny", None, False)
    for p in both:
        p.communicate("\n", timeout=60)
    assert ray_head.users() == []
    (ray_head.state_folder() / "state.json").unlink()  # as when the starter was killed before it wrote it
    heads[0].kill()
    session.stop()  # the rest of it may have ended by itself already
    until(lambda: not [p for p in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(p.info["cmdline"] or [])])


def _is_head(process: psutil.Process, folder: Path) -> bool:
    try:
        command = process.cmdline()
    except psutil.Error:
        return False
    return "--head" in command and any(a.startswith(f"--temp-dir={folder}") for a in command)


@pytest.mark.faults
def test_on_a_shared_cluster_stop_ends_what_is_ours_and_nothing_else(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    state = json.loads((ray_head.state_folder() / "state.json").read_text())
    opened()
    theirs = ray.remote(light()).options(name="theirs", namespace="somebody", lifetime="detached").remote("x")
    pid = ray.get(theirs.ready.remote())
    monkeypatch.setenv("RAY_ADDRESS", state["address"])
    assert session.stop()
    assert psutil.pid_exists(pid) and psutil.pid_exists(state["pid"])
    monkeypatch.delenv("RAY_ADDRESS")
    session.connect()
    assert not reservation.reservations() and not reservation.actor_names()
    ray.kill(ray.get_actor("theirs", namespace="somebody"))


@pytest.mark.parametrize("listens", [False, True])
def test_an_address_without_a_ray_cluster_is_told_at_once(listens: bool, folder: Path) -> None:
    """F13: nothing there, or something that does not speak Ray."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        if not listens:
            server.close()
        begin = time.monotonic()
        asking = child("from artifact.actors import session\nsession.connect()", RAY_ADDRESS=address)
        err = asking.communicate(timeout=60)[1]
    assert f"no Ray cluster answers at RAY_ADDRESS='{address}'" in err, err[-2000:]
    assert time.monotonic() - begin < 30  # imports included
