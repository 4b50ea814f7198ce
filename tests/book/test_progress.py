"""The view of a series: what it says, what the index page shows in between, where the costs come from."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.book.toys import write

from artifact.book import costs as book_costs
from artifact.book import progress as book_progress
from artifact.book.background import Background
from artifact.book.costs import committed_costs, costs, seconds_of_runs, stored_seconds
from artifact.book.forecast import Cost
from artifact.book.notebooks import target_of
from artifact.book.progress import Progress, View, execute_all
from artifact.book.summary import write_summary
from artifact.config import ConfigError, tier_names
from artifact.escape import terminal

ROOT = Path(__file__).resolve().parents[2]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def series(clock: Clock) -> Progress:
    return Progress({"01_a": Cost(10), "02_b": Cost(20, 4, 10), "03_c": Cost(30)}, clock)


def said(number: int, size: int, seconds: int = 14) -> str:
    return f"[{number}/{size}] UOPD, teacher base, seed 1: {seconds} s, run key-{number}"


def test_it_says_what_is_done_running_and_left(series: Progress, clock: Clock) -> None:
    assert series.line(0.0).startswith("0 of 3 notebooks and 0 of 4 runs done; 3 left; about 1 min 30 s left, until ")
    series.begin("01_a")
    clock.now = 20
    series.end()  # twice what it should have taken
    series.begin("02_b")
    clock.now = 80
    assert series.hear(said(1, 4)) and not series.hear("made: figures/x")
    line = series.line(0.0)
    assert line.startswith(
        "1 of 3 notebooks and 1 of 4 runs done; 1 left; about 2 min 40 s left, until "
    )  # 3 · 20 + 40 + 60 s
    assert line.endswith("; waiting for 02_b, 1 min 0 s so far, 3 of its runs to be trained")
    standing = series.standing(0.0)
    assert standing.of["02_b"].startswith("Running since") and standing.of["03_c"] == "Left to do, usually 30 s."
    series.end(failed=True)
    assert series.counts() == "1 of 3 notebooks and 1 of 4 runs done, 1 failed"
    assert series.standing(0.0).of["02_b"] == "Failed after 1 min 0 s."


def test_runs_of_the_queue_count_before_their_notebook_begins(series: Progress, clock: Clock) -> None:
    series.begin("01_a")
    for number in (1, 2, 2, 3):  # one is told by the queue, and by a notebook that made it
        clock.now += 10
        series.hear(said(number, 4))
    assert series.counts() == "0 of 3 notebooks and 3 of 4 runs done"
    assert series.runs_left() == {"01_a": 0, "02_b": 1, "03_c": 0}
    clock.now = 41
    series.hear(said(4, 4))
    series.end()
    series.begin("02_b")
    clock.now = 45
    assert series.waiting() == "waiting for 02_b, 4 s so far, usually 20 s"


def test_stored_runs_are_not_waited_for(series: Progress) -> None:
    series.hear("training queue: 3 runs are stored, 1 to train and 2 annotations of phase 1 to make")
    assert series.counts() == "0 of 3 notebooks and 0 of 1 runs done" and series.runs_left()["02_b"] == 1
    assert series.remaining_s() == 60


def test_the_time_a_notebook_waited_is_not_its_own(series: Progress, clock: Clock) -> None:
    series.begin("02_b")
    for number in range(1, 5):
        clock.now += 10
        series.hear(said(number, 4))
    clock.now += 20
    series.end(waited_s=40)
    assert series.remaining_s() == 10 + 30, "its own 20 s took 20 s: the machine is as fast as it was"


def test_what_is_up_to_date_is_no_part_of_it(series: Progress, clock: Clock) -> None:
    series.begin("00_fresh")
    assert "waiting for 00_fresh" in series.line(0.0)
    clock.now = 5
    series.end()
    assert series.counts() == "0 of 3 notebooks and 0 of 4 runs done" and series.remaining_s() == 90


def test_an_unknown_end_is_said_to_be_unknown(clock: Clock) -> None:
    series = Progress({"01_a": None, "02_b": Cost(1)}, clock)
    assert "the end is not known" in series.line(0.0)
    series.begin("01_a")
    assert "the end is not known" in series.line(0.0)
    series.end()
    assert "about 1 s left" in series.line(0.0)


def test_plain_lines_come_at_most_once_a_minute(series: Progress, monkeypatch: pytest.MonkeyPatch) -> None:
    now, out = [0.0], io.StringIO()
    monkeypatch.setattr(book_progress.time, "monotonic", lambda: now[0])
    view = View(series, terminal(file=out, soft_wrap=True, width=40), live=False)
    series.begin("02_b")
    for i, at in enumerate((10, 59, 61, 70, 122), 1):
        now[0] = at
        view.hear(said(i, 9))
    lines = out.getvalue().splitlines()
    assert len(lines) == 2 and all(line.startswith("  progress: 0 of 3 notebooks") for line in lines)
    assert "\x1b" not in out.getvalue() and "1 of its runs to be trained" in lines[0] and "usually 20 s" in lines[1]


def test_on_a_terminal_the_output_goes_above_a_live_line(series: Progress) -> None:
    out = io.StringIO()
    view = View(series, terminal(file=out, force_terminal=True, width=200), live=True)
    with view.shown():
        view.tell()
        print("    | from a notebook")
    text = out.getvalue()
    assert "from a notebook" in text and "0 of 3 notebooks and 0 of 4 runs done" in text and "progress:" not in text


def test_the_index_shows_the_first_figures_while_the_rest_is_left(
    tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "notebooks"
    body = (
        "from artifact.paths import figures_dir\nfrom artifact.report.output_manifest import record_made, say\n"
        "figures_dir().mkdir(parents=True, exist_ok=True)\np = figures_dir() / 'plot.svg'\np.write_text('<svg/>')\n"
        "record_made(p, title='A plot', output='U-F2')\nsay('[1/1] UOPD, teacher base, seed 1: 14 s, run abc')"
    )
    first = write(folder, "01_a.ipynb", body)
    second = write(folder, "02_b.ipynb", "print('between')")
    third = write(folder, "03_c.ipynb", "raise ValueError")
    pages = []

    def kept(tier: str, **how: object) -> tuple[Path, Path]:
        summary, index = write_summary(tier, folder, **how)  # type: ignore[arg-type]
        pages.append(index.read_text())
        return summary, index

    monkeypatch.setattr(book_progress, "write_summary", kept)
    out = io.StringIO()
    failed = execute_all([first, second, third], "tiny", None, terminal(file=out, soft_wrap=True))
    assert failed == ["03_c"] and len(pages) == 4
    assert pages[0].count("Left to do") == 2 and pages[0].count("Running since") == 1 and "plot.svg" not in pages[0]
    assert "plot.svg" in pages[1] and "notebooks/tiny/01_a.html" in pages[1] and "http-equiv=refresh" in pages[1]
    assert "1 of 3 notebooks and 1 of 1 runs done" in pages[1] and pages[1].count("Left to do") == 1
    assert "refresh" not in pages[3] and "Left to do" not in pages[3] and pages[3].count("Not executed") == 1
    assert out.getvalue().count("progress: ") == 3 and "[1/3] 01_a" in out.getvalue()
    assert "progress" not in (results / "notebooks" / "tiny" / "01_a.ipynb").read_text()


def record(source: Path, seconds: float, waited: float) -> None:
    """An account of an execution that waited so long for runs."""
    path = target_of(source, "tiny").with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(
            {"fingerprint": {}, "files": [], "stored": [], "seconds": seconds, "waited_seconds": waited, "made": []}
        )
    )


def store_run(results: Path, key: str, seconds: float, tier: str = "tiny") -> None:
    """A finished run that took so long."""
    (results / "runs" / key).mkdir(parents=True)
    (results / "runs" / key / "manifest.json").write_text(json.dumps({"tier": tier}))
    (results / "runs" / key / "run_info.json").write_text(json.dumps({"seconds": {"total": seconds}}))


def test_the_last_execution_tells_what_is_a_notebooks_own(results: Path) -> None:
    source = Path("01_a.ipynb")
    assert stored_seconds(source, "tiny") is None
    record(source, 100, 45)
    assert stored_seconds(source, "tiny") == 55


def test_stored_runs_tell_what_a_run_takes(results: Path) -> None:
    assert seconds_of_runs("tiny", 2) is None
    for key, seconds in (("a", 40), ("b", 20)):
        store_run(results, key, seconds)
    store_run(results, "c", 900, "paper")
    (results / "runs" / "a" / "run_info.json").unlink()
    assert (seconds_of_runs("tiny", 1), seconds_of_runs("tiny", 2)) == (20, 10)


def test_the_committed_costs_are_scaled_to_this_machine(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = (Path(f"{n}.ipynb") for n in ("01_a", "02_b", "03_c"))
    monkeypatch.setattr(book_costs, "committed_costs", lambda tier: {"01_a": Cost(10), "02_b": Cost(4, 3, 2)})
    assert costs({a: 0, b: 5, c: 0}, "tiny", 2) == {a: Cost(10, 0, 2), b: Cost(4, 5, 2), c: None}
    record(a, 40, 10)
    assert costs({a: 0, b: 5, c: 0}, "tiny", 2) == {a: Cost(30, 0, 6), b: Cost(12, 5, 6), c: None}
    store_run(results, "k", 8)
    assert costs({b: 5}, "tiny", 2) == {b: Cost(4, 5, 4)}


def test_the_time_of_runs_that_were_never_measured_is_not_guessed(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_costs, "committed_costs", lambda tier: {"01_a": Cost(10)})
    a = Path("01_a.ipynb")
    assert costs({a: 3}, "tiny", 2) == {a: None} and costs({a: 0}, "tiny", 2) == {a: Cost(10)}


QUEUE = """
import pathlib, sys, time
while not pathlib.Path("begun").exists():
    time.sleep(0.1)
print("training queue: 0 runs are stored, 2 to train", flush=True)
print("[1/2] UOPD, teacher base, seed 1: 14 s, run abc", flush=True)
"""


@pytest.mark.parametrize("failing", [False, True])
def test_a_series_stops_where_its_runs_cannot_be_trained(
    tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failing: bool
) -> None:
    """The notebook at work comes to its end; the next is not begun, and the series fails with the run's own words."""
    begun = tmp_path / "begun"
    cell = f"import pathlib, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(3)"
    sources = [write(tmp_path / "notebooks", f"0{i}_x.ipynb", cell) for i in (1, 2)]
    body = QUEUE.replace('"begun"', repr(str(begun))) + (
        "sys.exit('error: run abd: the loss is not finite')" if failing else ""
    )

    @contextmanager
    def queue(
        studies: object, tier: str, sets: object, log: Path, heard: Callable[[str], None]
    ) -> Iterator[Background]:
        made = Background([sys.executable, "-c", body], log, heard)
        yield made
        made.end()

    monkeypatch.setattr(book_progress, "training", queue)
    monkeypatch.setattr(book_progress, "write_summary", lambda *a, **k: None)
    out = io.StringIO()
    failed = execute_all(sources, "tiny", None, terminal(file=out, soft_wrap=True))
    assert "    | [1/2] UOPD" in capsys.readouterr().out
    text = out.getvalue()
    if failing:
        assert failed == ["02_x"] and "[2/2]" not in text
        assert "failed run abd: the loss is not finite (training queue; its output:" in text
    else:
        assert failed == [] and "[2/2] 02_x" in text


def test_committed_files_name_tiers_and_notebooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted((ROOT / "configs" / "costs").glob("*.yaml"))
    assert {"tiny", "tiny-quick"} <= {f.stem for f in files} <= set(tier_names())
    known = {p.stem for p in (ROOT / "notebooks").glob("*.ipynb")}
    for file in files:
        assert set(committed_costs(file.stem)) <= known and all(
            c.seconds() > 0 for c in committed_costs(file.stem).values()
        )
    assert committed_costs("paper") == {}
    (tmp_path / "configs" / "costs").mkdir(parents=True)
    (tmp_path / "configs" / "costs" / "tiny.yaml").write_text(
        "machine: m\nmeasured: today\nwhole_seconds: 1\nnotebooks: {a: {second: 1}}\n"
    )
    monkeypatch.setattr(book_costs, "project_root", lambda: tmp_path)
    with pytest.raises(ConfigError, match="seconds"):
        committed_costs("tiny")
