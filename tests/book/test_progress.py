"""The view of a series: what it says, what the index page shows in between, where the costs come from."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from tests.book.toys import write

from artifact.book import costs as book_costs
from artifact.book import progress as book_progress
from artifact.book.costs import committed_costs, costs, stored_cost
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


def test_it_says_what_is_done_running_and_left(series: Progress, clock: Clock) -> None:
    assert series.line(0.0).startswith("0 of 3 notebooks and 0 of 4 runs done; 3 left; about 1 min 40 s left, until ")
    series.begin("01_a")
    clock.now = 20
    series.end()  # twice what it should have taken
    series.begin("02_b")
    clock.now = 80
    assert series.hear("[1/4] UOPD, teacher base, seed 1: 14 s, run abc") and not series.hear("made: figures/x")
    line = series.line(0.0)
    assert line.startswith(
        "1 of 3 notebooks and 1 of 4 runs done; 1 left; about 2 min 0 s left, until "
    )  # 3 · 20 + 60 s
    assert line.endswith("; waiting for 02_b, 1 min 0 s so far, run 2 of 4")
    standing = series.standing(0.0)
    assert standing.of["02_b"].startswith("Running since") and standing.of["03_c"] == "Left to do, usually 30 s."
    series.end(failed=True)
    assert series.counts() == "1 of 3 notebooks and 1 of 1 runs done, 1 failed"
    assert series.standing(0.0).of["02_b"] == "Failed after 1 min 0 s."


def test_what_is_up_to_date_is_no_part_of_it(series: Progress, clock: Clock) -> None:
    series.begin("00_fresh")
    assert "waiting for 00_fresh" in series.line(0.0)
    clock.now = 5
    series.end()
    assert series.counts() == "0 of 3 notebooks and 0 of 4 runs done" and series.remaining_s() == 100


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
        view.hear(f"[{i}/9] UOPD, teacher base, seed 1: 14 s, run abc")
    lines = out.getvalue().splitlines()
    assert len(lines) == 2 and all(line.startswith("  progress: 0 of 3 notebooks") for line in lines)
    assert "\x1b" not in out.getvalue() and "run 4 of 4" in lines[0] and "run 6 of 9" in lines[1]


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


def record(source: Path, seconds: float, runs: dict[str, float]) -> None:
    """An account of an execution that showed these runs, each with its seconds."""
    folder = target_of(source, "tiny").parents[2]
    for key, total in runs.items():
        (folder / "runs" / key).mkdir(parents=True, exist_ok=True)
        (folder / "runs" / key / "run_info.json").write_text(json.dumps({"seconds": {"total": total}}))
    path = target_of(source, "tiny").with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"fingerprint": {}, "files": [], "seconds": seconds, "made": [{"path": "x", "runs": list(runs)}]}
    path.write_text(json.dumps(facts))


def test_the_last_execution_tells_the_cost(results: Path) -> None:
    source = Path("01_a.ipynb")
    assert stored_cost(source, "tiny", 2) is None
    record(source, 100, {"a": 40, "b": 20, "c": 30})
    assert stored_cost(source, "tiny", 2) == Cost(55, 3, 15)
    record(source, 12, {"a": 40, "b": 20, "c": 30})  # its runs came from the store
    assert stored_cost(source, "tiny", 2) == Cost(12, 0, 15)
    record(source, 100, {"a": 40, "b": 20, "c": 30})
    assert stored_cost(source, "tiny", 2, frozenset("a")) == Cost(75, 2, 12.5)  # a notebook before it makes that one


def test_the_committed_costs_are_scaled_to_this_machine(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = (Path(f"{n}.ipynb") for n in ("01_a", "02_b", "03_c"))
    monkeypatch.setattr(book_costs, "committed_costs", lambda tier: {"01_a": Cost(10), "02_b": Cost(4, 3, 2)})
    assert costs([a, b, c], "tiny", 2) == {a: Cost(10), b: Cost(4, 3, 2), c: None}
    record(a, 30, {})
    assert costs([a, b, c], "tiny", 2) == {a: Cost(30), b: Cost(12, 3, 6), c: None}
    for key, tier in (("k1", "tiny"), ("k2", "tiny"), ("k3", "paper")):  # an attempt was interrupted after two runs
        (results / "runs" / key).mkdir(parents=True)
        (results / "runs" / key / "manifest.json").write_text(json.dumps({"tier": tier}))
    assert costs([a, b, c], "tiny", 2)[b] == Cost(12, 1, 6)


def test_an_execution_whose_runs_were_deleted_tells_nothing(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path("01_a.ipynb")
    monkeypatch.setattr(book_costs, "committed_costs", lambda tier: {"01_a": Cost(10, 3, 20)})
    record(source, 12, {"a": 40})
    assert costs([source], "tiny", 2) == {source: Cost(12, 0, 20)}
    (results / "runs" / "a" / "run_info.json").unlink()
    assert costs([source], "tiny", 2) == {source: Cost(10, 3, 20)}


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
        "machine: m\nmeasured: today\nnotebooks: {a: {second: 1}}\n"
    )
    monkeypatch.setattr(book_costs, "project_root", lambda: tmp_path)
    with pytest.raises(ConfigError, match="seconds"):
        committed_costs("tiny")
