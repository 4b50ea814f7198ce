"""The actors of a lane belong to one user at a time: over threads, over processes, and again when the user is gone."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from artifact.studies import store

HOLDER = """
import sys
from pathlib import Path
from artifact.studies import store
store.state_folder = lambda: Path(sys.argv[1])
with store.actors_of(0):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Locks of this test's own, not those of runs that may be going on."""
    monkeypatch.setattr(store, "state_folder", lambda: tmp_path)
    return tmp_path


def in_a_thread(lane: int) -> tuple[threading.Event, threading.Event, threading.Thread]:
    """A thread that takes the actors of `lane`: (it has them, it may give them back, the thread)."""
    taken, release = threading.Event(), threading.Event()

    def use() -> None:
        with store.actors_of(lane):
            taken.set()
            release.wait(30)

    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    return taken, release, thread


def test_a_second_thread_waits_and_another_lane_does_not(locks: Path) -> None:
    with store.actors_of(0):
        waiting, release, thread = in_a_thread(0)
        other, release_other, _ = in_a_thread(1)
        assert other.wait(10), "another lane has actors of its own"
        assert not waiting.wait(0.3), "two users share the actors of a lane"
        release_other.set()
    assert waiting.wait(10)
    release.set()
    thread.join(10)
    with store.actors_of(0):  # given back
        pass


def test_another_process_is_waited_for_and_a_killed_one_holds_nothing(locks: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(locks)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    taken, release, thread = in_a_thread(0)
    assert not taken.wait(0.3), "two processes share the actors of a lane"
    process.kill()
    process.wait()
    assert taken.wait(10)
    release.set()
    thread.join(10)


def test_an_error_gives_the_actors_back(locks: Path) -> None:
    with pytest.raises(RuntimeError, match="broke"), store.actors_of(0):
        raise RuntimeError("broke")
    taken, release, thread = in_a_thread(0)
    assert taken.wait(10)
    release.set()
    thread.join(10)
