"""Saved figures and tables: stamped, whole or absent, the same bytes for the same data."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from artifact.report import output_manifest as announcements
from artifact.report import outputs as provenance

DATA = pd.DataFrame({"x": [1, 2], "y": [0.1, 1 / 3]})
FACTS = {"tier": "tiny", "keys": ["bbb", "aaa"], "caption": "What, over what."}


def figure() -> Figure:
    fig = Figure(layout="constrained")
    fig.subplots().plot(DATA["x"], DATA["y"])
    return fig


def test_a_figure_is_saved_with_its_data_and_facts(results: Path) -> None:
    png = provenance.save_figure(figure(), "some_figure", DATA, output="U-F2", **FACTS)
    folder = results / "figures" / "tiny"
    assert png == folder / "some_figure.png"
    assert sorted(p.name for p in folder.iterdir()) == [f"some_figure.{s}" for s in ("csv", "json", "pdf", "png")]
    facts = json.loads((folder / "some_figure.json").read_text())
    assert (facts["tier"], facts["keys"], facts["output"]) == ("tiny", ["aaa", "bbb"], "U-F2")
    assert "not a paper number" in facts["note"]
    for name, digest in facts["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    pd.testing.assert_frame_equal(pd.read_csv(folder / "some_figure.csv"), DATA, rtol=1e-9)


def test_the_same_data_give_the_same_bytes_and_true_type_fonts(results: Path) -> None:
    first = provenance.save_figure(figure(), "one", DATA, **FACTS)
    pdf, image = first.with_suffix(".pdf").read_bytes(), first.read_bytes()
    second = provenance.save_figure(figure(), "one", DATA, **FACTS)
    assert second.with_suffix(".pdf").read_bytes() == pdf and second.read_bytes() == image
    assert b"/Type3" not in pdf and b"(D:20260101000000Z)" in pdf


def test_the_stamp_names_tier_and_keys_and_is_put_once(results: Path) -> None:
    fig = figure()
    provenance.save_figure(fig, "one", DATA, **FACTS)
    provenance.save_figure(fig, "one", DATA, **{**FACTS, "keys": ["ccc"]})
    stamps = [t.get_text() for t in fig.texts]
    expected = hashlib.sha256(b"ccc").hexdigest()[:8]
    assert stamps == [f"tier: tiny — embedded CPU tier, not a paper number · runs {expected}"]


def test_a_table_in_four_forms(results: Path) -> None:
    shown = pd.DataFrame({"a_b": ["50 % ± 1", "x|y", "2*3*4, _so_ <b>"]})
    path = provenance.save_table(DATA, "some_table", shown=shown, **FACTS)
    folder = results / "tables" / "tiny"
    assert path == folder / "some_table.md"
    lines = path.read_text().splitlines()
    assert lines[:4] == ["| a_b |", "| --- |", "| 50 % ± 1 |", r"| x\|y |"]
    assert lines[4] == r"| 2\*3\*4, \_so\_ \<b\> |", "no sign of a cell is read as markup"
    assert "not a paper number" in path.read_text() and "What, over what." in path.read_text()
    tex = (folder / "some_table.tex").read_text()
    assert r"a\_b \\" in tex and r"50 \% $\pm$ 1 \\" in tex and "not a paper number" in tex
    pd.testing.assert_frame_equal(pd.read_csv(folder / "some_table.csv"), DATA, rtol=1e-9)
    assert json.loads((folder / "some_table.json").read_text())["rows"][0] == {"x": 1, "y": 0.1}


def test_missing_values_are_a_dash_not_a_nan(results: Path) -> None:
    path = provenance.save_table(pd.DataFrame({"n": [1, 2], "sd": [0.123456, None]}), "gaps", **FACTS)
    assert "| 1 | 0.1235 |" in path.read_text() and "| 2 | – |" in path.read_text()


def test_what_was_made_is_announced(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(announcements.VARIABLE, str(tmp_path / "made.jsonl"))
    path = provenance.save_table(DATA, "told", output="U-T2", **FACTS)
    entries = announcements.read_made(tmp_path / "made.jsonl")
    assert [Path(e["path"]).suffix for e in entries] == [".md", ".csv", ".tex", ".json"]
    assert entries[0]["runs"] == ["aaa", "bbb"] and entries[0]["output"] == "U-T2"
    assert path == Path(entries[0]["path"]) and capsys.readouterr().out == "", "a notebook's page says nothing of it"


@pytest.mark.parametrize(
    ("change", "message"), [({"tier": "huge"}, "unknown tier"), ({"caption": " "}, "caption is missing")]
)
def test_wrong_facts_are_refused(results: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(provenance.ArtifactError, match=message):
        provenance.save_table(DATA, "some", **{**FACTS, **change})
    with pytest.raises(provenance.ArtifactError, match="lower-case"):
        provenance.save_table(DATA, "Some Name", **FACTS)
    with pytest.raises(provenance.ArtifactError, match="no numbers"):
        provenance.save_table(DATA.iloc[:0], "some", **FACTS)
    seconds = DATA.rename(columns={"y": "seconds"})
    with pytest.raises(provenance.ArtifactError, match=r"some holds results and \['seconds'\].*as some_times"):
        provenance.save_table(seconds, "some", **FACTS)
    with pytest.raises(provenance.ArtifactError, match="some_times holds nothing that the machine decides"):
        provenance.save_table(DATA, "some_times", **FACTS)
    assert not (results / "tables").exists()
    assert provenance.save_table(seconds, "some_times", **FACTS).is_file()


def test_a_failed_write_leaves_the_old_file(results: Path) -> None:
    path = provenance.save_table(DATA, "kept", **FACTS)
    before = path.with_suffix(".csv").read_bytes()

    class Broken(Figure):
        def savefig(self, *args: object, **kwargs: object) -> None:
            raise OSError("disk full")

    target = provenance.save_figure(figure(), "kept", DATA, **FACTS)
    image = target.read_bytes()
    with pytest.raises(OSError, match="disk full"):
        provenance.save_figure(Broken(layout="constrained"), "kept", DATA, **FACTS)
    assert target.read_bytes() == image and path.with_suffix(".csv").read_bytes() == before
