"""Who has a lane next: the kind that was there goes on, the other waits until its turn is over, or nobody comes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from artifact.actors import turns
from artifact.actors.turns import GAP_S, TURN_S, Kind, Turn, next_turn, taking_turn

LAST = Turn("engine", began=1000.0, left=1100.0)
SOON, LATE = LAST.left + 0.9 * GAP_S, LAST.left + GAP_S
OVER = Turn("engine", began=1000.0, left=1000.0 + TURN_S)


@pytest.mark.parametrize(
    ("last", "kind", "now", "expected"),
    [
        (None, "sampler", 5.0, Turn("sampler", 5.0, 5.0)),  # nobody was there
        (LAST, "engine", SOON, Turn("engine", LAST.began, SOON)),  # the turn goes on
        (LAST, "sampler", SOON, None),  # the next of the series may come
        (LAST, "sampler", LATE, Turn("sampler", LATE, LATE)),  # nobody came
        (LAST, "engine", LATE, Turn("engine", LATE, LATE)),  # nor waited: a new turn
        (OVER, "engine", OVER.left + 0.1, None),  # over: whoever waits is let in
        (OVER, "sampler", OVER.left + 0.1, Turn("sampler", OVER.left + 0.1, OVER.left + 0.1)),
        (OVER, "engine", OVER.left + GAP_S, Turn("engine", OVER.left + GAP_S, OVER.left + GAP_S)),  # nobody waited
        (LAST, "sampler", 7.0, Turn("sampler", 7.0, 7.0)),  # the machine started since
    ],
)
def test_whose_turn_it_is(last: Turn | None, kind: Kind, now: float, expected: Turn | None) -> None:
    assert next_turn(last, kind, now) == expected


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "GAP_S", 0.5)
    monkeypatch.setattr(turns, "LOOK_S", 0.01)


def series(path: Path, kind: Kind, jobs: int, took: list[str], pause_s: float = 0.05) -> threading.Thread:
    """A thread that takes the lane `jobs` times, and works on other things between."""

    def work() -> None:
        for _ in range(jobs):
            with taking_turn(path, kind):
                took.append(kind)
                time.sleep(0.05)
            time.sleep(pause_s)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def two_series(path: Path, sampling: int, training: int) -> list[str]:
    """The order in which the jobs of two series have the lane; sampling begins."""
    took: list[str] = []
    first = series(path, "sampler", sampling, took)
    while not took:
        time.sleep(0.01)
    second = series(path, "engine", training, took)
    first.join(30)
    second.join(30)
    return took


def test_two_series_change_turns_once(tmp_path: Path, quick: None) -> None:
    assert two_series(tmp_path / "lane", 4, 4) == ["sampler"] * 4 + ["engine"] * 4


def test_a_turn_that_is_over_lets_the_other_kind_in(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "TURN_S", 0.0)
    took = two_series(tmp_path / "lane", 4, 2)
    assert took[:2] == ["sampler", "engine"] and sorted(took) == ["engine"] * 2 + ["sampler"] * 4


def test_within_a_turn_nobody_is_kept_waiting_by_a_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook that needs the engines which the queue trains with comes between two of its runs: it is woken when the
    lane is free, and does not look from time to time.
    """
    monkeypatch.setattr(turns, "LOOK_S", 5.0)
    took: list[str] = []
    queue = series(tmp_path / "lane", "engine", 40, took, pause_s=0.0005)
    while not took:
        time.sleep(0.01)
    with taking_turn(tmp_path / "lane", "engine"):
        before = len(took)
    assert before <= 5
    queue.join(30)
    assert len(took) == 40


HOLDER = """
import sys
from pathlib import Path
from artifact.actors.turns import taking_turn
with taking_turn(Path(sys.argv[1]), "sampler"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_killed_holder_is_waited_for_no_longer_than_a_moment(tmp_path: Path) -> None:
    """Nor does a half-written note of its turn stand in anybody's way."""
    path = tmp_path / "lane"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    took: list[str] = []
    thread = series(path, "engine", 1, took)
    thread.join(0.3)
    assert thread.is_alive() and not took
    process.kill()
    process.wait()
    thread.join(GAP_S + 5)
    assert took == ["engine"]
    path.write_text('{"kind": "sam', encoding="utf-8")
    with taking_turn(path, "sampler"):
        pass
    assert '"kind": "sampler"' in path.read_text(encoding="utf-8")


def test_an_error_ends_a_use_and_not_the_turn(tmp_path: Path) -> None:
    path = tmp_path / "lane"
    with pytest.raises(RuntimeError, match="broke"), taking_turn(path, "engine"):
        raise RuntimeError("broke")
    began = time.monotonic()
    with taking_turn(path, "engine"):
        assert time.monotonic() - began < GAP_S
