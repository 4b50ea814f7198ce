"""The report and the appendix: nothing is left out, everything they name is there, and they can be set."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from artifact.book import experiments, paper
from artifact.errors import ArtifactError
from artifact.paths import project_root
from artifact.report.latex import SETTINGS, latex_table
from artifact.report.outputs import save_table

ROOT = project_root()
OWED = """U-F1 U-T1 U-T2 U-A1 U-A2 U-A3 U-F2 U-F3 U-F4a U-F4b U-T3 U-D1 U-S1 U-C1
C-T1 C-A1 C-A2 C-A3 C-A4 C-F1 C-F2 C-S1 C-C1 C-X1""".split()


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A project with the configuration, notebooks and paper of this one, and no outputs."""
    for folder in ("configs", "notebooks", "requirements"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    shutil.copytree(ROOT / "paper", tmp_path / "paper", ignore=shutil.ignore_patterns("outputs", "*.pdf"))
    monkeypatch.setenv("ARTIFACT_ROOT", str(tmp_path))
    monkeypatch.setenv("ARTIFACT_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("ARTIFACT_FIGURES", str(tmp_path / "figures"))
    return tmp_path


def test_the_report_asks_once_for_every_output_that_the_drafts_name() -> None:
    assert sorted(paper.asked_for()) == sorted([*OWED, "claims", paper.WITHOUT_ID])


def test_every_kept_output_is_shown_once() -> None:
    """Of the outputs kept in the repository, with paths that lead to them."""
    named = []
    for place in paper.asked_for():
        path = ROOT / "paper" / "outputs" / f"{place}.tex"
        if path.is_file():
            named += re.findall(r"\\output(?:figure|table)\{(.+?)\}", path.read_text(encoding="utf-8"))
    there = [f"../{p.relative_to(ROOT)}" for tier in ("tiny", "cpu-llm") for p in _kept(tier)]
    assert sorted(named) == sorted(there) and named


def _kept(tier: str) -> list[Path]:
    return [*(ROOT / "figures" / tier).glob("*.pdf"), *(ROOT / "results" / "tables" / tier).glob("*.tex")]


def test_every_sign_can_be_set() -> None:
    """LaTeX knows ASCII, what `preamble.tex` declares, and Latin letters; any other sign would stop it."""
    head = (ROOT / "paper" / "preamble.tex").read_text(encoding="utf-8")
    known = set(re.findall(r"\\newunicodechar\{(.)\}", head))
    written = list((ROOT / "paper" / "outputs").glob("*.tex"))
    text = "".join(p.read_text(encoding="utf-8") for p in [*written, *(ROOT / "results" / "tables").glob("*/*.tex")])
    assert {c for c in text if ord(c) > 255} <= known
    assert all(rf"\{macro}" in head for macro in set(re.findall(r"\\(output[a-z]+)", text)))


def test_no_number_is_typed_by_hand() -> None:
    """The words of report and appendix hold no digit: whatever is counted or measured is included."""
    for name in ("report", "appendix"):
        body = (ROOT / "paper" / f"{name}.tex").read_text(encoding="utf-8").split(r"\begin{document}")[1]
        body = re.sub(r"%.*|\\(?:outputs|input|IfFileExists)\{[^}]*\}|x86-64|Apache-2.0", "", body)
        assert not re.search(r"\d", body), re.findall(r".*\d.*", body)


def test_a_table_is_included_and_a_lost_file_is_named(project: Path) -> None:
    assert paper.outputs("tiny") == [] and paper.write_paper() == []
    save_table(pd.DataFrame({"x": [1]}), "one", tier="tiny", keys=["k"], caption="50 % of a_b.", output="C-T1")
    (found,) = paper.outputs("tiny")
    assert (found.output, found.caption, found.is_figure) == ("C-T1", "50 % of a_b.", False)
    written = {path.stem: path.read_text(encoding="utf-8") for path in paper.write_paper()}
    assert set(written) == {"C-T1", "experiments", "facts"}
    assert written["C-T1"].splitlines()[1:] == [r"\outputtable{../results/tables/tiny/one.tex}"]
    figure = paper.Output(project / "figures" / "f.pdf", "tiny", "U-F2", "50 % of a_b.")
    assert r"\outputfigure{../figures/f.pdf}{50 \% of a\_b. (tier: tiny" in paper.lines_of([figure], project / "paper")
    (project / "paper" / "outputs" / "C-T9.tex").write_text("of an earlier run", encoding="utf-8")
    paper.write_paper()
    assert not (project / "paper" / "outputs" / "C-T9.tex").exists()
    found.path.unlink()
    with pytest.raises(ArtifactError, match=r"stamps one\.tex, which is not there"):
        paper.outputs("tiny")


def test_an_output_without_a_place_is_told(project: Path) -> None:
    save_table(pd.DataFrame({"x": [1]}), "one", tier="tiny", keys=["k"], caption="c", output="U-Z9")
    with pytest.raises(ArtifactError, match=r"output U-Z9 has no place in paper/report.tex: add \\outputs\{U-Z9\}"):
        paper.write_paper()
    report = project / "paper" / "report.tex"
    report.write_text(report.read_text(encoding="utf-8") + "\n\\outputs{U-T1}\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match="asks twice for U-T1"):
        paper.asked_for()


def test_differences_are_said_in_words(project: Path) -> None:
    shutil.copytree(ROOT / "results" / "tables" / "tiny", project / "results" / "tables" / "tiny")
    paper.write_paper()
    table = pd.read_csv(project / "results" / "tables" / "tiny" / "uopd_differences.csv")
    words = (project / "paper" / "outputs" / "U-T2.tex").read_text(encoding="utf-8")
    alike = int((table["verdict"] == "no significant difference").sum())
    assert f"No significant difference in {alike} of {len(table)} rows." in words
    assert words.count(r"\item Teacher") >= len(table) - alike > 0


@pytest.mark.parametrize(
    ("columns", "text", "setting"),
    [(3, "ab", 0), (8, 15 * "x", 1), (9, 16 * "x", 2), (9, 20 * "x", 3), (4, 99 * "w ", 3)],
)
def test_a_table_is_set_as_large_as_it_fits(columns: int, text: str, setting: int) -> None:
    """By a count of characters against the width of the page; long texts become paragraphs."""
    cells = pd.DataFrame({f"c{i}": [text, f"{text[:-1]}{i}"] for i in range(columns)})
    made = latex_table(cells, "A caption.", "tier: x", "name")
    assert rf"\begingroup\{SETTINGS[setting].size}" in made
    assert (r"\begin{landscape}" in made) == SETTINGS[setting].sideways
    assert ("p{" in made) == (len(text) > 100)


def test_what_every_row_says_is_said_once() -> None:
    wide = {f"column {i}": [f"some longer text {i + j}" for j in range(3)] for i in range(6)}
    made = latex_table(pd.DataFrame({"split": ["test"] * 3, **wide}), "A caption.", "tier: x", "name")
    assert "A caption. In every row: split test. (tier: x)" in made
    narrow = latex_table(pd.DataFrame({"split": ["test"] * 3, "n": list("123")}), "A caption.", "tier: x", "name")
    assert "In every row" not in narrow and narrow.count("test") == 3


def test_the_experiments_are_those_of_the_notebooks() -> None:
    frame = experiments.frame(["U-F4a", "C-T1", "C-X1"]).set_index("output")
    assert frame.loc["U-F4a", "command"] == "./run_all.sh --only 03,04"
    assert frame.loc["C-T1", "command"].startswith("./run_all.sh --only 08") and "core" in frame.loc["C-T1", "studies"]
    saved = {one for path in (ROOT / "notebooks").glob("*.ipynb") for one in experiments.ids_of(path)}
    assert ("C-X1" in saved) == (frame.loc["C-X1", "command"] != "not made yet")


@pytest.mark.skipif(shutil.which("latexmk") is None, reason="latexmk is not installed")
def test_report_and_appendix_are_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By LaTeX itself, from the kept outputs; the appendix has at most two pages and no line leaves the paper."""
    for folder in ("configs", "notebooks", "requirements", "figures", "results"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    shutil.copytree(ROOT / "paper", tmp_path / "paper")
    monkeypatch.setenv("ARTIFACT_ROOT", str(tmp_path))
    for name, pages in (("report", 200), ("appendix", 2)):
        assert paper.compile_pdf(name).is_file()
        log = (tmp_path / "paper" / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        written = re.search(r"Output written on \w+\.pdf \((\d+) pages?", log)
        assert written and int(written[1]) <= pages
        too_wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log)]
        assert not [points for points in too_wide if points > 56], "that is more than the margin"
        assert "undefined" not in log


def test_a_missing_latexmk_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ArtifactError, match="latexmk is not installed; on Debian: apt-get install"):
        paper.compile_pdf("report")
