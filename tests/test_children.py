"""A child process ends in order when its parent is told to, and takes its own children with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from artifact.children import run_side_by_side, run_to_end

ROOT = Path(__file__).resolve().parents[1]

TAKING_ORDERS = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
from artifact.children import run_to_end
folder, depth = pathlib.Path(sys.argv[1]), int(sys.argv[2])
try:
    if depth:
        (folder / "up").touch()
        run_to_end([sys.executable, sys.argv[3], str(folder), str(depth - 1), sys.argv[3]])
    else:
        (folder / "child").touch()
        signal.pause()
finally:
    (folder / f"ended-{depth}").touch()
"""


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_what_a_child_had_started_ends_in_order(told: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(TAKING_ORDERS)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    parent = subprocess.Popen([sys.executable, script, str(tmp_path), "2", str(script)], env=environment)
    deadline = time.monotonic() + 60
    while not (tmp_path / "child").exists():
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    below = psutil.Process(parent.pid).children(recursive=True)
    assert len(below) == 2
    parent.send_signal(told)
    parent.wait(60)
    assert {p.name for p in tmp_path.glob("ended-*")} == {"ended-0", "ended-1", "ended-2"}
    assert not any(p.is_running() for p in below)


def test_its_code_and_its_last_words_come_back() -> None:
    said = [sys.executable, "-c", "import sys; sys.stderr.write('why'); sys.exit(7)"]
    assert run_to_end(said, keep_errors=True) == (7, "why")
    assert run_to_end([sys.executable, "-c", ""]) == (0, "")


def test_side_by_side_each_is_heard_behind_its_name(tmp_path: Path) -> None:
    """They run at once, for each waits until the other has begun; one that fails ends none."""
    script = (
        "import pathlib, sys, time\nown, other, code = sys.argv[1:]\npathlib.Path(own).touch()\n"
        "while not pathlib.Path(other).exists(): time.sleep(0.01)\n"
        "print('done')\nsys.stderr.write('why\\n')\nsys.exit(int(code))"
    )
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    heard: list[str] = []
    commands = {
        "one": [sys.executable, "-c", script, one, two, "0"],
        "two": [sys.executable, "-c", script, two, one, "7"],
    }
    assert run_side_by_side(commands, heard.append) == {"one": 0, "two": 7}
    assert sorted(heard) == ["one | done", "one | why", "two | done", "two | why"]


def test_side_by_side_some_at_a_time_and_none_before_it_is_ready(tmp_path: Path) -> None:
    """Each writes when it begins and ends: never more than two at once; `c` begins after `b` has ended."""
    script = (
        "import pathlib, sys, time\nlog = pathlib.Path(sys.argv[1])\n"
        "def say(what):\n    with log.open('a') as f: f.write(what + sys.argv[2] + ' ')\n"
        "say('+'); time.sleep(float(sys.argv[3])); say('-')"
    )
    log, heard = tmp_path / "log", list[str]()
    seconds = {"a": 1.5, "b": 0.3, "c": 0.1, "d": 0.1, "e": 0.1}
    commands = {n: [sys.executable, "-c", script, str(log), n, str(s)] for n, s in seconds.items()}
    codes = run_side_by_side(commands, heard.append, at_once=2, ready=lambda name, ended: name != "c" or "b" in ended)
    assert codes == dict.fromkeys(seconds, 0)
    events, running = log.read_text().split(), 0
    for event in events:
        running += 1 if event.startswith("+") else -1
        assert running <= 2
    assert events.index("+c") > events.index("-b") and set(events[:2]) == {"+a", "+b"}
    log.unlink()
    run_side_by_side({n: commands[n] for n in "de"}, heard.append, at_once=2, ready=lambda name, ended: "d" in ended)
    assert log.read_text().split() == ["+d", "-d", "+e", "-e"], "where nothing runs, the next one begins all the same"


SIDE_BY_SIDE = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
from artifact.children import run_side_by_side
folder, place = pathlib.Path(sys.argv[1]), sys.argv[2]
if place == "all":
    again = [sys.executable, sys.argv[3], str(folder)]
    run_side_by_side({name: [*again, name, sys.argv[3]] for name in ("a", "b")}, print)
else:
    try:
        (folder / f"began-{place}").touch()
        signal.pause()
    finally:
        (folder / f"ended-{place}").touch()
"""


def test_side_by_side_all_end_in_order_where_the_parent_is_told_to(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SIDE_BY_SIDE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    parent = subprocess.Popen([sys.executable, script, str(tmp_path), "all", str(script)], env=environment)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("began-*"))) < 2:
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(signal.SIGTERM)
    parent.wait(60)
    assert {p.name for p in tmp_path.glob("ended-*")} == {"ended-a", "ended-b"}
