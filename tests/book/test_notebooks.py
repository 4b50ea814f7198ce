"""Notebooks run headless in this interpreter, refuse unknown parameters, and are skipped only when nothing changed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from tests.book.toys import write

from artifact.book import notebooks
from artifact.book.execute import Lines, NotebookFailed
from artifact.book.notebooks import (
    check,
    check_parameters,
    declared_parameters,
    discover,
    left_out,
    reads,
    run_notebook,
    target_of,
    title_of,
)
from artifact.book.summary import Standing, entries, write_summary
from artifact.config import ConfigError, load_tier, tier_names
from artifact.errors import ArtifactError
from artifact.provenance import file_hash
from artifact.report.output_manifest import VARIABLE, read_made, record_made
from artifact.report.text import duration


@pytest.fixture
def folder(tmp_path: Path, results: Path) -> Path:
    return tmp_path / "notebooks"


def test_discovery_is_ordered_and_refuses_unknown_names(folder: Path) -> None:
    for name in ("02_b.ipynb", "01_a.ipynb", "scratch.ipynb"):
        write(folder, name)
    assert [p.stem for p in discover(folder)] == ["01_a", "02_b"]
    assert [p.stem for p in discover(folder, ["b"])] == ["02_b"]
    assert [p.stem for p in discover(folder, ["2", "01_a"])] == ["01_a", "02_b"]
    with pytest.raises(ArtifactError, match="no notebook 'c'; the notebooks are: 01_a, 02_b"):
        discover(folder, ["c"])
    with pytest.raises(ArtifactError, match="no notebook"):
        discover(folder / "empty")


def leave_out(monkeypatch: pytest.MonkeyPatch, **reasons: str) -> None:
    """Have every tier leave out the notebooks named, for the reasons given."""
    said = load_tier("tiny").model_copy(update={"leaves_out": {f"0{k[1:]}": why for k, why in reasons.items()}})
    monkeypatch.setattr(notebooks, "load_tier", lambda tier: said)


def test_a_tier_leaves_out_what_its_file_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = (write(folder, name) for name in ("01_a.ipynb", "02_b.ipynb", "03_c.ipynb"))
    leave_out(monkeypatch, n2_b="it is about one world")
    assert discover(folder) == [a, b, c]
    assert discover(folder, tier="cpu-llm") == [a, c]
    assert left_out("cpu-llm", folder) == {b: "not part of tier cpu-llm: it is about one world"}
    assert [e.source for e in entries("cpu-llm", folder)] == [a, c]
    with pytest.raises(ArtifactError, match=r"02_b: not part of tier cpu-llm: .* of this tier are: 01_a, 03_c"):
        discover(folder, ["1", "b"], "cpu-llm")


def test_nothing_to_run_is_an_error_that_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "01_a.ipynb")
    leave_out(monkeypatch, n1_a="no reason")
    with pytest.raises(ArtifactError, match=r"no notebook belongs to tier tiny: .* take a line from its `leaves_out`"):
        discover(folder, tier="tiny")
    with pytest.raises(ArtifactError, match="the list of notebooks is empty; name some of 01_a"):
        discover(folder, [])


def test_what_a_tier_leaves_out_must_be_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out(monkeypatch, n9_gone="renamed long ago")
    with pytest.raises(ArtifactError, match=r"tiers/tiny.yaml leaves out '09_gone', which is no notebook"):
        left_out("tiny")


def test_every_tier_has_an_overview_and_results() -> None:
    """No tier of the project is left without notebooks, and the language model's is the cpu-llm tier's alone."""
    numbers = {tier: [p.stem[:2] for p in discover(tier=tier)] for tier in tier_names()}
    assert numbers["cpu-llm"] == ["01", "09", "13", "14", "16"]
    assert numbers["tiny"] == [f"{i:02d}" for i in range(1, 16) if i != 9]
    assert numbers["tiny-text"] == ["01", "12", "14"]
    assert all(n[0] == "01" and len(n) > 1 for n in numbers.values())
    for source, reason in left_out("cpu-llm").items():
        assert ": " in reason, f"{source.stem} does not say why"


def test_parameters_are_those_assigned_at_top_level(folder: Path) -> None:
    path = write(
        folder,
        "01_a.ipynb",
        "hidden = 1",
        parameters='tier = "tiny"  # size\nseeds: list[int] = [1]\nif True:\n    inner = 3\n',
    )
    assert declared_parameters(path) == ["tier", "seeds"]
    assert title_of(path) == "A title"


def test_unknown_parameter_is_refused_with_the_nearest_name(folder: Path) -> None:
    path = write(folder, "01_a.ipynb")
    with pytest.raises(ArtifactError, match="no parameter 'tiers'; did you mean 'tier'"):
        check_parameters(path, {"tiers": 1})
    only_tier = write(folder, "02_b.ipynb", parameters='tier = "tiny"')
    with pytest.raises(ArtifactError, match="no parameter 'overrides'"):
        run_notebook(only_tier, "tiny", ["train.steps=3"])


def test_a_notebook_needs_one_parameters_cell(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="has 0 cells tagged"):
        run_notebook(write(folder, "01_a.ipynb", parameters=None), "tiny")


def test_configuration_mistakes_come_before_any_execution(folder: Path, results: Path) -> None:
    path = write(folder, "01_a.ipynb")
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        run_notebook(path, "tiny", ["train.step=3"])
    assert not results.exists()


def test_execution_then_skip_then_again_for_each_reason(
    folder: Path, results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = results / "figures" / "dot.png"
    path = write(
        folder,
        "01_a.ipynb",
        "import sys, os\nprint('running', tier, overrides)\nprint(sys.executable, file=sys.stderr)",
        "from pathlib import Path\nimport matplotlib\nmatplotlib.use('agg')\nimport matplotlib.pyplot as plt\n"
        f"path = Path({str(image)!r}); path.parent.mkdir(parents=True, exist_ok=True)\n"
        "fig, ax = plt.subplots(figsize=(1, 1)); ax.plot([0, 1]); fig.savefig(path)\n"
        "from IPython.display import Image\nImage(path)",
        "from artifact.report.output_manifest import record_made\n"
        "record_made(path, title='A dot', output='U-F1', runs=('abc123',))",
    )
    outcome = run_notebook(path, "tiny", ["train.steps=3"])
    assert outcome.executed and outcome.reason == "never executed" and outcome.record
    shown = capsys.readouterr().out
    assert "    | running tiny ['train.steps=3']\n" in shown
    assert f"    | {sys.executable}\n" in shown, "the kernel is not this interpreter"

    target = target_of(path, "tiny")
    facts = json.loads(target.with_suffix(".json").read_text())
    assert {"commit", "dirty", "source", "lock", "fingerprint", "seconds", "tier", "parameters"} <= facts.keys()
    assert "configuration" in facts["fingerprint"]
    page = target.with_suffix(".html").read_text()
    assert "data:image/png;base64," in page
    assert [m["title"] for m in outcome.record["made"]] == ["A dot"]
    assert not list(target.parent.glob("*.partial*"))
    assert "running tiny" in (results / "logs" / "01_a.tiny.log").read_text()
    assert VARIABLE not in os.environ

    again = run_notebook(path, "tiny", ["train.steps=3"])
    assert not again.executed and again.record == outcome.record

    def reason(overrides: list[str]) -> str | None:
        return check(path, "tiny", overrides)[2]

    module, same = sys.modules["artifact.book.notebooks"], file_hash
    for name, other, parts in (
        ("source_hash", lambda: "0", "source"),
        ("tree_hash", lambda *a: "0", "configuration"),
        ("model_hash", lambda *a: "0", "models"),
        ("file_hash", lambda p: "0" if p.suffix == ".lock" else same(p), "lock"),
    ):
        with monkeypatch.context() as changed:
            changed.setattr(module, name, other)
            assert reason(["train.steps=3"]) == f"changed: {parts}"

    assert reason(["train.steps=4"]) == "changed: parameters, configuration"
    image.write_bytes(image.read_bytes() + b"x")
    assert reason(["train.steps=3"]).startswith("altered: ")  # type: ignore[union-attr]
    image.unlink()
    assert reason(["train.steps=3"]).startswith("missing: ")  # type: ignore[union-attr]
    image.write_bytes(b"")
    target.with_suffix(".json").write_text('{"half')
    assert reason(["train.steps=3"]) == "never executed"
    write(folder, "01_a.ipynb", "pass")
    assert run_notebook(path, "tiny", ["train.steps=3"]).executed


def test_failing_cell_is_shown_and_results_stay(folder: Path, results: Path) -> None:
    path = write(folder, "01_a.ipynb", "value = 6 * 7")
    run_notebook(path, "tiny")
    target = target_of(path, "tiny")
    good = target.read_bytes()
    write(folder, "01_a.ipynb", "value = 1", "def inner():\n    raise KeyError('no such run')\ninner()", "never = 1")
    with pytest.raises(NotebookFailed) as caught:
        run_notebook(path, "tiny")
    message = str(caught.value)
    assert "raised KeyError: 'no such run'" in message and "inner()" in message and "\x1b" not in message
    assert len(message.splitlines()) < 30
    assert not caught.value.interrupted
    assert target.read_bytes() == good, "the last good copy must stay"
    failed = target.with_name("01_a.failed.ipynb")
    assert failed.is_file() and not list(target.parent.glob("*.partial*"))
    assert check(path, "tiny", [])[2] == "never executed"
    write(folder, "01_a.ipynb", "value = 2")
    assert run_notebook(path, "tiny").executed and not failed.exists()


def test_time_out_and_dead_kernel(folder: Path) -> None:
    slow = write(folder, "01_a.ipynb", "import time\ntime.sleep(60)")
    with pytest.raises(NotebookFailed, match="--cell-timeout"):
        run_notebook(slow, "tiny", cell_timeout_s=1)
    dead = write(folder, "02_b.ipynb", "import os\nos._exit(9)")
    with pytest.raises(NotebookFailed, match="kernel ended") as caught:
        run_notebook(dead, "tiny")
    assert caught.value.interrupted


def test_summary_links_lead_to_files(folder: Path, results: Path) -> None:
    body = (
        "from artifact.paths import figures_dir\nfrom artifact.report.output_manifest import record_made\n"
        "figures_dir().mkdir(parents=True, exist_ok=True)\n"
        "for s in ('svg', 'pdf'):\n    p = figures_dir() / f'plot.{s}'; p.write_text('<svg/>')\n"
        "    record_made(p, title='A <plot>', output='U-F2', runs=('k1',))"
    )
    run_notebook(write(folder, "01_a.ipynb", body), "tiny")
    write(folder, "02_b.ipynb")
    summary, index = write_summary("tiny", folder)
    text, page = summary.read_text(), index.read_text()
    assert "tier `tiny`" in text and "never stands for a paper number" in text.lower()
    assert "Not executed" in text and "`k1`" in text and r"[U-F2](notebooks/tiny/01_a.html#U-F2): A \<plot\>" in text
    assert "A &lt;plot&gt;" in page and "<img" in page and "http" not in page
    import re

    links = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'(?:href|src)="([^"]+)"', page)
    assert len(links) >= 9
    assert [link for link in links if not (results / link.split("#")[0]).is_file()] == []


def test_announcements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.csv"
    with pytest.raises(FileNotFoundError, match="announce it after writing"):
        record_made(file)
    file.write_text("1")
    assert record_made(file) == file.resolve()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "made.jsonl"))
    record_made(file, title="first")
    record_made(file, title="second")
    assert [e["title"] for e in read_made(tmp_path / "made.jsonl")] == ["second"]
    assert read_made(tmp_path / "none.jsonl") == []


def test_progress_bars_keep_their_last_state(tmp_path: Path) -> None:
    import io

    log, terminal = io.StringIO(), io.StringIO()
    lines = Lines(log, terminal)
    for piece in ("a\nb", "c\n", "\r10%\r50%", "\r100%\nend\n"):
        lines.write(piece)
    assert log.getvalue() == "a\nbc\n100%\nend\n"
    assert terminal.getvalue() == "    | a\n    | bc\n    | 100%\n    | end\n"


def test_durations() -> None:
    assert [duration(s) for s in (0.4, 59, 60, 3599, 3600, 7500)] == [
        "0 s",
        "59 s",
        "1 min 0 s",
        "59 min 59 s",
        "1 h 0 min",
        "2 h 5 min",
    ]


def test_source_notebooks_of_the_project() -> None:
    """Every notebook of the repository declares `tier` and `overrides` and stores no output."""
    root = Path(__file__).resolve().parents[2] / "notebooks"
    for path in sorted(root.glob("[0-9][0-9]_*.ipynb")):
        assert {"tier", "overrides"} <= set(declared_parameters(path)), path.name
        cells = json.loads(path.read_text())["cells"]
        assert not [c for c in cells if c.get("outputs")], f"{path.name} stores outputs"


def test_what_a_notebook_reads_of_others_makes_it_run_again(folder: Path, results: Path) -> None:
    path = write(folder, "01_a.ipynb")
    assert reads(path, "tiny") == [] and "reads" not in check(path, "tiny", [])[1]
    notebook = json.loads(path.read_text())
    patterns = ["configs/tiers/tiny.yaml", "results/tables/{tier}/*.json", "figures/{tier}/*"]
    patterns.append("!results/tables/{tier}/own*")
    notebook["metadata"]["artifact"] = {"reads": patterns}
    path.write_text(json.dumps(notebook))
    for name in ("tables/tiny/other.json", "tables/tiny/own.json", "tables/paper/other.json", "figures/tiny/f.csv"):
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).write_text(name)
    found = [p.name for p in reads(path, "tiny")]
    assert sorted(found) == ["f.csv", "other.json", "tiny.yaml"]
    before = check(path, "tiny", [])[1]
    (results / "tables" / "tiny" / "own.json").write_text("made by itself")
    assert check(path, "tiny", [])[1] == before
    (results / "tables" / "tiny" / "other.json").write_text("made anew")
    after = check(path, "tiny", [])[1]
    assert {part for part in before if before[part] != after[part]} == {"reads"}


def test_the_summary_says_how_the_run_compares(folder: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "01_a.ipynb")
    said = ["reproduction of tier tiny: 1 outside", "  outside: table <t>, accuracy: 0.5"]
    monkeypatch.setattr("artifact.report.reference.lines", lambda tier: (said, True))
    summary, index = write_summary("tiny", folder)
    assert "- outside: table \\<t\\>, accuracy: 0.5" in summary.read_text()
    page = index.read_text()
    assert '<details open id="reproduction">' in page and "<li>outside: table &lt;t&gt;, accuracy: 0.5</li>" in page
    running = write_summary("tiny", folder, now=Standing("At 10:00: 0 of 1", {}))[1].read_text()
    assert "outside" not in running


def test_a_notebook_whose_run_was_deleted_is_executed_again(folder: Path, results: Path) -> None:
    """What it shows is known from what it announced; a key without a stored result is no reason."""
    run = results / "runs" / "abc123" / "manifest.json"
    run.parent.mkdir(parents=True)
    run.write_text("{}")
    code = (
        "from pathlib import Path; from artifact.report.output_manifest import record_made\n"
        f"stamp = Path({str(results)!r}) / 'x.json'\n"
        "stamp.write_text('{}')\n"
        "record_made(stamp, runs=('abc123', 'never-stored'))"
    )
    source = write(folder, "01_a.ipynb", code)
    run_notebook(source, "tiny")
    assert check(source, "tiny", [])[2] is None
    run.unlink()
    assert check(source, "tiny", [])[2] == "no longer stored: runs/abc123"
