"""The training queue beside a series: what it says is heard, its failure is told, and it never outlives the series."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.processes import alive, until

from artifact.book.background import Background, training

HERE = "import sys, time\nfrom artifact.book.background import end_with_input\n"


def script(body: str) -> list[str]:
    return [sys.executable, "-u", "-c", HERE + body]


def test_what_it_says_is_heard_and_kept(tmp_path: Path) -> None:
    lines: list[str] = []
    body = "print('one \\x1b[31m'); print('two'); print('three', file=sys.stderr)"
    queue = Background(script(body), tmp_path / "a" / "log", lines.append)
    until(lambda: len(lines) == 2)
    assert lines[1] == "two" and "\x1b" not in lines[0] and queue.failure() is None
    queue.end()
    assert {"two", "three"} <= set((tmp_path / "a" / "log").read_text().splitlines())


TOLD = "print('error: run abc: the loss is not finite', file=sys.stderr); print('noise'); sys.exit(2)"
TRACE = (
    "import threading, time\nend_with_input()\nprint('before')\n"
    "try: {}[7]\nexcept KeyError as err: raise RuntimeError('seven is missing\\nand more') from err"
)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (TOLD, "run abc: the loss is not finite"),
        (TRACE, "RuntimeError: seven is missing"),
        ("sys.exit(3)", "it ended with code 3"),
    ],
)
def test_a_failure_is_told_in_its_own_words(tmp_path: Path, body: str, said: str) -> None:
    lines: list[str] = []
    queue = Background(script(body), tmp_path / "log", lines.append)
    until(lambda: queue.failure())
    assert lines[-1] == f"the training queue stopped; the series ends after this notebook: {said}"
    assert "Fatal" not in queue.log_path.read_text(), "the thread that waits for the input holds nothing up"
    assert str(queue.failure()).startswith(f"{said} (training queue; its output: {tmp_path / 'log'})")
    queue.end()


def test_it_is_ended_in_order(tmp_path: Path) -> None:
    """SIGTERM reaches it first: it leaves its locks as an interruption does."""
    body = (
        "import signal\ndef bye(*_): print('in order'); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, bye)\nprint('up')\ntime.sleep(60)"
    )
    lines: list[str] = []
    queue = Background(script(body), tmp_path / "log", lines.append)
    until(lambda: lines)
    queue.end()
    assert lines == ["up", "in order"]


def test_a_series_that_is_killed_leaves_none(tmp_path: Path) -> None:
    child, log = script("end_with_input(); print(1); time.sleep(60)"), str(tmp_path / "log")
    body = (
        "from pathlib import Path\nfrom artifact.book.background import Background\n"
        f"q = Background({child!r}, Path({log!r}), print)\nprint('pid', q._process.pid)\ntime.sleep(60)"
    )
    series = subprocess.Popen(script(body), stdout=subprocess.PIPE, text=True)
    assert series.stdout is not None
    pid = int(next(line for line in series.stdout if line.startswith("pid")).split()[1])
    assert series.stdout.readline() == "1\n" and alive(pid)
    series.send_signal(signal.SIGKILL)
    series.wait()
    until(lambda: not alive(pid), 20)


def test_without_studies_nothing_is_started(tmp_path: Path) -> None:
    with training([], "tiny", [], tmp_path / "log", print) as queue:
        assert queue is None
    assert not (tmp_path / "log").exists()


def test_it_is_the_verb_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []

    class Told:
        def __init__(self, command: list[str], log_path: Path, heard: object) -> None:
            commands.append(command[1:])

        def end(self) -> None:
            commands.append(["ended"])

    monkeypatch.setattr("artifact.book.background.Background", Told)
    with pytest.raises(KeyError), training(["uopd", "core"], "tiny", ["train.steps=2"], tmp_path / "log", print):
        raise KeyError
    assert commands == [
        "-m artifact.cli.main train-all --tier tiny --study uopd,core --set train.steps=2 --until-input-ends".split(),
        ["ended"],
    ]
