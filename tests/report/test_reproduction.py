"""Every value beside the reference: identical, inside its interval, outside; a run overwrites no reference."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from artifact.cli.main import app
from artifact.errors import ArtifactError
from artifact.paths import project_root
from artifact.report import reference, reproduction
from artifact.report.outputs import save_table
from artifact.report.reproduction import IDENTICAL, NO_INTERVAL, OUTSIDE, WITHIN, compare, intervals, spreads

ROOT = project_root()


def frame(text: str) -> pd.DataFrame:
    """A table written as CSV, every cell text."""
    from io import StringIO

    return pd.read_csv(StringIO(text), dtype=str, keep_default_na=False)


BEFORE = """label,problems,accuracy,sd,low,high,p_value,verdict,run
OPD,1600,0.48,0.01,0.46,0.50,0.03,higher,k1
CORE,1600,0.52,,0.50,0.54,,lower,k2
"""


def classes(old: str, new: str) -> dict[str, int]:
    """Where one cell changes: how many values are of each class, those of none left out."""
    assert old in BEFORE
    counts = compare({"table t": frame(BEFORE.replace(old, new, 1))}, {"table t": frame(BEFORE)}).counts
    return {c: n for c, n in counts.items() if n}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("0.48", "0.49", {WITHIN: 1, IDENTICAL: 15}),
        ("0.48", "0.50", {WITHIN: 1, IDENTICAL: 15}),
        ("0.48", "0.51", {OUTSIDE: 1, IDENTICAL: 15}),
        ("0.46", "0.45", {WITHIN: 1, IDENTICAL: 15}),
        ("0.48,0.01,0.46,0.50", "0.49,0.02,0.47,0.51", {WITHIN: 4, IDENTICAL: 12}),
        ("0.48,0.01,0.46,0.50", "0.55,0.01,0.53,0.57", {OUTSIDE: 3, IDENTICAL: 13}),
        ("1600", "1599", {OUTSIDE: 1, IDENTICAL: 15}),
        ("0.03", "0.04", {NO_INTERVAL: 1, IDENTICAL: 15}),
        ("0.03", "0.03002", {WITHIN: 1, IDENTICAL: 15}),
        ("higher", "lower", {NO_INTERVAL: 1, IDENTICAL: 15}),
        ("k1", "k9", {IDENTICAL: 16}),
        ("label", "label", {IDENTICAL: 16}),
        ("OPD,1600", "GRPO,1600", {NO_INTERVAL: 1, IDENTICAL: 15}),
        ("CORE,1600,0.52,,0.50,0.54,,lower,k2\n", "", {OUTSIDE: 16}),
        (",sd", ",spread", {OUTSIDE: 16}),
    ],
)
def test_each_value_has_its_class(old: str, new: str, expected: dict[str, int]) -> None:
    assert classes(old, new) == expected


def test_a_value_outside_is_named_with_its_place_and_what_is_allowed() -> None:
    here = frame(BEFORE.replace("0.48", "0.51"))
    (value,) = compare({"table t": here}, {"table t": frame(BEFORE)}).values
    assert value.in_words() == "table t, OPD / higher, accuracy: 0.51, reference 0.48 (0.46 to 0.5)"


def test_rows_may_be_other_ones_where_the_data_decide_how_many_there_are() -> None:
    before, after = frame("teacher,threshold\nA,0.1\nA,0.2\n"), frame("teacher,threshold\nA,0.1\nA,0.2\nA,0.3\n")
    assert compare({"figure roc": after}, {"figure roc": before}).counts[NO_INTERVAL] == 4
    lost = frame("teacher,threshold\nB,0.1\n")
    assert compare({"figure roc": lost}, {"figure roc": before}).counts[OUTSIDE] == 4


def test_ends_belong_to_the_estimate_before_them_and_bins_to_none() -> None:
    bins = frame("teacher,low,high,n,accuracy,lower,upper\nA,0,0.1,9,0.9,0.8,0.95\n")
    assert intervals(bins) == {"accuracy": ("lower", "upper")}
    two = frame("auroc,lower,upper,minus,diff_lower,diff_upper\n0.9,0.8,0.95,-0.1,-0.2,-0.05\n0.9,0.8,0.95,,,\n")
    assert intervals(two) == {"auroc": ("lower", "upper"), "minus": ("diff_lower", "diff_upper")}
    assert intervals(frame("a,low,high\n5,1,2\n")) == {}, "an interval that does not hold the estimate is another's"
    assert spreads(["mean", "sd", "difficulty:easy", "sd:easy"]) == {"mean": "sd", "difficulty:easy": "sd:easy"}
    curve = "step,mean,sd\n0,0.30,0.02\n"
    for mean, expected in (("0.33", WITHIN), ("0.35", OUTSIDE)):
        assert compare({"f": frame(curve.replace("0.30", mean))}, {"f": frame(curve)}).counts[expected] == 1


def test_every_kept_output_is_identical_to_itself() -> None:
    """And each estimate of the kept outputs lies inside its own interval: no column is taken for another's end."""
    kept = {p.stem: frame(p.read_text()) for p in (ROOT / "results" / "tables" / "tiny").glob("*.csv")}
    compared = compare(kept, kept)
    assert compared.values == () and compared.outputs == len(kept) > 20 and not compared.is_outside
    assert {"accuracy", "auroc", "difference"} <= {e for f in kept.values() for e in intervals(f)}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without outputs."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.setenv("ARTIFACT_ROOT", str(tmp_path))
    monkeypatch.delenv("ARTIFACT_RESULTS", raising=False)
    monkeypatch.delenv("ARTIFACT_FIGURES", raising=False)
    return tmp_path


def made(x: float, name: str = "numbers") -> Path:
    data = pd.DataFrame({"label": ["a"], "x": [x], "low": [0.4], "high": [0.6]})
    return save_table(data, name, tier="tiny", keys=["k"], caption="A number.")


def test_the_reference_of_the_repository_is_as_it_was_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every full run ends in exit code 3 before a value is looked at."""
    monkeypatch.setenv("ARTIFACT_RESULTS", str(ROOT / "results"))
    for folder in sorted((ROOT / "results" / "reference").iterdir()):
        compared = reference.compare_with_reference(folder.name)
        assert compared is not None and compared[0].outputs > 100, folder.name


def test_the_verbs(project: Path) -> None:
    run = CliRunner().invoke
    nothing = run(app, ["reference", "accept"])
    assert nothing.exit_code == 1 and isinstance(nothing.exception, ArtifactError)
    assert "no figures or tables to accept" in str(nothing.exception)
    made(0.5)
    save_table(pd.DataFrame({"seconds": [1.0]}), "run_times", tier="tiny", keys=["k"], caption="Seconds.")
    unknown = run(app, ["compare"])
    assert unknown.exit_code == 0 and "no reference for tier tiny: nothing compared" in unknown.output
    accepted = run(app, ["reference", "accept"])
    assert accepted.exit_code == 0 and "1 outputs" in accepted.output
    made(0.55)
    save_table(pd.DataFrame({"seconds": [9.0]}), "run_times", tier="tiny", keys=["k"], caption="Seconds.")
    inside = run(app, ["compare"])
    assert inside.exit_code == 0 and "0 outside, 0 no interval, 1 within interval, 3 identical" in inside.output
    assert "here:      the same" in inside.output and "torch" in inside.output
    made(0.7)
    made(0.5, "another")
    outside = run(app, ["compare"])
    assert outside.exit_code == 3
    first = outside.output.splitlines()[1]
    assert first == "  outside: table numbers, a, x: 0.7, reference 0.5 (0.4 to 0.6)"
    assert "without a reference: table another" in outside.output
    assert "2 outputs" in run(app, ["reference", "accept", "--tier", "tiny"]).output
    assert run(app, ["compare"]).exit_code == 0


def test_a_partial_run_is_compared_as_far_as_it_goes(project: Path) -> None:
    path = made(0.5)
    made(0.5, "another")
    reference.accept("tiny")
    for file in path.parent.glob("another.*"):
        file.unlink()
    lines, outside = reference.lines("tiny")
    assert not outside and "4 identical, of the values of 1 outputs" in lines[0]
    assert "  not made here: table another" in lines


def test_a_reference_is_not_changed_by_hand(project: Path) -> None:
    made(0.7)
    reference.accept("tiny")
    folder = reference.folder_of("tiny")
    csv, account = folder / "table-numbers.csv", folder / "reference.json"
    kept = {p: p.read_text() for p in (csv, account)}
    csv.write_text(kept[csv].replace("0.7", "0.5"))
    assert reference.lines("tiny")[1] and "was altered" in reference.lines("tiny")[0][0]
    csv.write_text(kept[csv])
    account.write_text(json.dumps(json.loads(kept[account]) | {"tier": "paper"}))
    assert reference.lines("tiny")[1] and "its own checksum" in reference.lines("tiny")[0][0]
    account.write_text(kept[account])
    assert not reference.lines("tiny")[1]
    shutil.copy(csv, folder / "table-more.csv")
    assert reference.lines("tiny")[1]


def test_a_damaged_output_becomes_no_reference(project: Path) -> None:
    path = made(0.5)
    path.with_suffix(".csv").write_text("label,x\na,0.9\n")
    with pytest.raises(ArtifactError, match=r"numbers\.csv was altered"):
        reference.accept("tiny")
    assert not reference.folder_of("tiny").exists() and reproduction.CLASSES[0] == OUTSIDE
