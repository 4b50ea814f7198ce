"""The LaTeX of all outputs: nothing is left out, everything it names is there, and every sign can be set."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from artifact.book import supplement
from artifact.errors import ArtifactError
from artifact.paths import project_root
from artifact.report.outputs import save_table

ROOT = project_root()


def test_every_kept_output_is_shown_once() -> None:
    """Of the outputs kept in the repository, in the order of their ids, with paths that lead to them."""
    for tier in ("tiny", "cpu-llm"):
        text = supplement.document(supplement.outputs(tier), ROOT / "paper")
        named = re.findall(r"\\output(?:figure|table)\{(.+?)\}", text)
        there = {f"../figures/{tier}/{p.name}" for p in (ROOT / "figures" / tier).glob("*.pdf")}
        there |= {f"../results/tables/{tier}/{p.name}" for p in (ROOT / "results" / "tables" / tier).glob("*.tex")}
        assert sorted(named) == sorted(there) and named
        ids = re.findall(r"\\outputid\{(.+?)\}", text)
        assert ids == sorted(ids, key=lambda i: (i[0] != "U", i))


def test_every_sign_can_be_set() -> None:
    """LaTeX knows ASCII, what `supplement.tex` declares, and Latin letters; any other sign would stop it."""
    head = (ROOT / "paper" / "supplement.tex").read_text(encoding="utf-8")
    known = set(re.findall(r"\\newunicodechar\{(.)\}", head))
    for tier in ("tiny", "cpu-llm"):
        found = supplement.outputs(tier)
        text = supplement.document(found, ROOT / "paper")
        text += "".join(o.path.read_text(encoding="utf-8") for o in found if not o.is_figure)
        assert {c for c in text if ord(c) > 255} <= known
        assert all(rf"\{macro}" in head for macro in set(re.findall(r"\\(output[a-z]+)", text)))


def test_a_table_is_included_and_a_lost_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ARTIFACT_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("ARTIFACT_FIGURES", str(tmp_path / "figures"))
    assert supplement.outputs("tiny") == []
    save_table(pd.DataFrame({"x": [1]}), "one", tier="tiny", keys=["k"], caption="50 % of a_b.", output="C-T1")
    (found,) = supplement.outputs("tiny")
    assert (found.output, found.caption, found.is_figure) == ("C-T1", "50 % of a_b.", False)
    text = supplement.document([found], tmp_path / "paper")
    assert text.splitlines()[1:] == [r"\section{Outputs of CORE}", r"\outputtable{../results/tables/tiny/one.tex}"]
    figure = supplement.Output(tmp_path / "figures" / "f.pdf", "U-F2", "50 % of a_b.")
    shown = r"\outputfigure{../figures/f.pdf}{\outputid{U-F2}50 \% of a\_b.}{fig:f}"
    assert shown in supplement.document([figure], tmp_path / "paper")
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.setenv("ARTIFACT_ROOT", str(tmp_path))
    (written,) = supplement.write_supplement()
    assert written == tmp_path / "paper" / "outputs-tiny.tex" and written.read_text(encoding="utf-8") == text
    found.path.unlink()
    with pytest.raises(ArtifactError, match=r"stamps one\.tex, which is not there"):
        supplement.outputs("tiny")
