"""Errors planted in results, claims and captions are found: nothing that is judged or shown can be changed by hand."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure
from tests.studies.stored import seal as sealed_result
from typer.testing import CliRunner

from artifact.book import paper
from artifact.book.claims import check
from artifact.cli.main import app
from artifact.errors import ConfigError
from artifact.paths import project_root
from artifact.provenance import seal
from artifact.report.claims_page import table
from artifact.report.notebook import SHOWN
from artifact.report.outputs import save_figure, save_table
from artifact.studies.claims import BROKEN, check_claims

ROOT = project_root()

DIFFERENCES = pd.DataFrame(
    {
        "teacher": ["A", "B"],
        "cell": ["uopd-soft"] * 2,
        "label": ["UOPD (soft)"] * 2,
        "reference": ["OPD (uniform)"] * 2,
        "reference_cell": ["opd"] * 2,
        "problems": [1600] * 2,
        "seeds": [6] * 2,
        "difference": [-0.003, 0.037],
        "low": [-0.009, 0.025],
        "high": [0.002, 0.049],
        "p_holm": [0.79, 0.0008],
        "seeds_agreeing": ["3/6", "6/6"],
        "verdict": ["no significant difference", "higher"],
    }
)
BINS = pd.DataFrame({"teacher": ["A"] * 3, "low": [0.0, 0.1, 0.2], "n": [9] * 3, "accuracy": [0.9, 0.5, 0.1]})


def difference(teacher: str) -> dict[str, Any]:
    where = {"teacher": teacher, "cell": "uopd-soft", "reference_cell": "opd"}
    return {
        "rule": "difference",
        "direction": "higher",
        "of": {"table": "uopd_claimed", "where": where, "low": "low", "high": "high"},
    }


def accuracy(teacher: str, **more: Any) -> dict[str, Any]:
    return {"of": {"figure": "se_accuracy", "where": {"teacher": teacher}, "column": "accuracy"}, **more}


FALLS = {"rule": "monotone", "along": "low", "direction": "decreasing"}
CLAIMS: list[dict[str, Any]] = [
    {
        "id": "better",
        "paper": "UOPD",
        "where": "abstract",
        "says": "It is better.",
        "kind": "ordering",
        "output": "U-T1",
        "test": difference("qwen3-8b"),
        "mechanisms": [
            {"says": "It is better under B.", "test": difference("B")},
            {"says": "It is better under A.", "test": difference("A")},
        ],
    },
    {
        "id": "falls",
        "paper": "UOPD",
        "where": "figure 2",
        "says": "Accuracy falls.",
        "kind": "monotone",
        "output": "U-F4a",
        "test": accuracy("qwen3-8b", **FALLS),
        "mechanisms": [{"says": "It falls under A.", "test": accuracy("A", **FALLS)}],
    },
    {
        "id": "two-figures",
        "paper": "CORE",
        "where": "sections 3 and A",
        "says": "It saves 300 times and 150 times.",
        "kind": "contradiction",
        "tiers": ["drafts"],
        "test": {"rule": "agree", "first": {"says": 300, "where": "3"}, "second": {"says": 150, "where": "A"}},
    },
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two outputs, the run behind them, three claims, their page, an executed notebook, and LaTeX."""
    root = tmp_path_factory.mktemp("whole")
    for folder in ("configs", "notebooks", "requirements"):
        (root / folder).symlink_to(ROOT / folder)
    shutil.copytree(ROOT / "paper", root / "paper", ignore=shutil.ignore_patterns("outputs", "*.pdf"))
    (root / "paper" / "claims.yml").write_text(yaml.safe_dump({"claims": CLAIMS}))
    run = root / "results" / "runs" / "k1"
    run.mkdir(parents=True)
    (run / "metrics.json").write_text("{}")
    sealed_result(run, {"kind": "runs", "key": "k1", "tier": "tiny"})
    with pytest.MonkeyPatch.context() as patch:
        at(root, patch)
        facts: dict[str, Any] = {"tier": "tiny", "keys": ["k1"]}
        save_table(DIFFERENCES, "uopd_claimed", caption="Six seeds.", output="U-T1", **facts)
        figure = Figure(layout="constrained")
        figure.subplots().plot(BINS["low"], BINS["accuracy"])
        png = save_figure(figure, "se_accuracy", BINS, caption="Accuracy in bins.", output="U-F4a", **facts)
        page(root)
    image = {"image/png": base64.b64encode(png.read_bytes()).decode()}
    shown = {"anchor": "figure-se_accuracy", "output": "U-F4a", "caption": "Accuracy in bins."}
    output = {"output_type": "display_data", "data": image, "metadata": {SHOWN: shown}}
    executed = root / "results" / "notebooks" / "tiny" / "03_semantic_entropy.ipynb"
    executed.parent.mkdir(parents=True)
    executed.write_text(json.dumps({"cells": [{"cell_type": "code", "outputs": [output]}]}))
    return root


@pytest.fixture
def project(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `whole` to be damaged."""
    root = tmp_path / "project"
    shutil.copytree(whole, root, symlinks=True)
    at(root, monkeypatch)
    return root


def at(root: Path, patch: pytest.MonkeyPatch) -> None:
    """Everything lies below `root`."""
    patch.setenv("ARTIFACT_ROOT", str(root))
    patch.delenv("ARTIFACT_RESULTS", raising=False)
    patch.delenv("ARTIFACT_FIGURES", raising=False)


def page(root: Path) -> None:
    """What notebook 14 and `artifact paper` leave."""
    judged = table(check_claims("tiny").judgements)
    save_table(judged, "claims", tier="tiny", keys=["k1"], caption="Every claim.", output="claims")
    paper.write_paper()


def test_what_nobody_touched_is_judged(project: Path) -> None:
    checked = check("tiny")
    assert not checked.broken, checked
    told = [(j.id, j.part, j.tier, j.verdict) for j in checked.judgements]
    assert told == [
        ("better", "claim", "paper", "NOT RUN"),
        ("better", "mechanism", "tiny", "PASS"),
        ("better", "mechanism", "tiny", "WITHIN INTERVAL"),
        ("falls", "claim", "paper", "NOT RUN"),
        ("falls", "mechanism", "tiny", "PASS"),
        ("two-figures", "draft", "drafts", "FAIL"),
    ]
    best = checked.judgements[1]
    assert (best.n, best.seeds, best.keys, best.evidence) == (1600, 6, ("k1",), ("table uopd_claimed",))
    needs = checked.judgements[0]
    assert needs.reason == "needs tier paper" and "artifact plan --tier paper --output U-T1" in needs.cost
    assert "runs on 4 GPUs" in needs.cost
    result = CliRunner().invoke(app, ["check-claims", "--json", str(project / "out.json")])
    assert result.exit_code == 0, result.output
    assert "FAIL" in result.output and "n = 1,600, 6 seeds, 1 runs k1" in result.output
    rows = json.loads((project / "out.json").read_text())["judgements"]
    assert [r["verdict"] for r in rows] == [verdict for *_, verdict in told]


def test_one_claim_alone(project: Path) -> None:
    result = CliRunner().invoke(app, ["check-claims", "--only", "falls"])
    assert result.exit_code == 0 and "Accuracy falls" in result.output and "better" not in result.output
    with pytest.raises(ConfigError, match=r"no claim 'fals' in paper/claims\.yml; did you mean 'falls'"):
        check("tiny", "fals")


def swap(path: Path, old: str, new: str) -> None:
    """Change a file by hand."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def restamped(path: Path, **changed: Any) -> None:
    """A stamp with other facts and the checksum that fits them: forged with the artifact's own means."""
    path.write_text(json.dumps(seal(json.loads(path.read_text()) | changed)))


def reclaimed(root: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Other claims in `paper/claims.yml`."""
    path = root / "paper" / "claims.yml"
    claims = yaml.safe_load(path.read_text())["claims"]
    change(claims)
    path.write_text(yaml.safe_dump({"claims": claims}))


def where(claims: list[dict[str, Any]]) -> dict[str, Any]:
    selected: dict[str, Any] = claims[0]["mechanisms"][0]["test"]["of"]["where"]
    return selected


TABLE, FIGURE = "results/tables/tiny/uopd_claimed", "figures/tiny/se_accuracy"

PLANTED: dict[str, tuple[Callable[[Path], object], str]] = {
    # in results
    "a better number": (lambda r: swap(r / f"{TABLE}.csv", "0.037", "0.047"), "uopd_claimed.csv was altered"),
    "a row less": (lambda r: (r / f"{TABLE}.csv").write_text("a\n1\n"), "uopd_claimed.csv was altered"),
    "a claimed difference": (lambda r: swap(r / f"{TABLE}.csv", "no significant difference", "higher"), "was altered"),
    "a number in print": (lambda r: swap(r / f"{TABLE}.tex", "0.037", "0.047"), "uopd_claimed.tex was altered"),
    "a number of a figure": (lambda r: swap(r / f"{FIGURE}.csv", "0.5", "0.6"), "se_accuracy.csv was altered"),
    "rows in the stamp": (lambda r: swap(r / f"{TABLE}.json", "0.037", "0.047"), "uopd_claimed.json was altered"),
    "other runs": (lambda r: swap(r / f"{TABLE}.json", '"k1"', '"k2"'), "uopd_claimed.json was altered"),
    "a tier that it is not": (lambda r: restamped(r / f"{TABLE}.json", tier="paper"), "of tier paper"),
    "a run of another tier": (
        lambda r: sealed_result(r / "results" / "runs" / "k1", {"kind": "runs", "key": "k1", "tier": "cpu-llm"}),
        "is of tier cpu-llm",
    ),
    "a manifest": (lambda r: swap(r / "results/runs/k1/manifest.json", '"tiny"', '"mine"'), "was altered"),
    "no stamp": (lambda r: (r / f"{FIGURE}.json").unlink(), "nothing vouches for it"),
    # in claims
    "a claim in other words": (lambda r: swap(r / "paper/claims.yml", "under B", "everywhere"), "from other claims"),
    "a claim the other way": (lambda r: swap(r / "paper/claims.yml", "higher", "lower"), "from other claims"),
    "a claim less": (lambda r: reclaimed(r, lambda c: c.pop()), "from other claims"),
    "a row that is not there": (
        lambda r: reclaimed(r, lambda c: where(c).update(teacher="C")),
        "no row with teacher = 'C'",
    ),
    "a column that is not there": (lambda r: reclaimed(r, lambda c: where(c).update(cel="x")), "did you mean 'cell'"),
    "an output nobody makes": (lambda r: swap(r / "paper/claims.yml", "uopd_claimed", "uopd_claimd"), "did you mean"),
    "a verdict on the page": (
        lambda r: swap(r / "results/tables/tiny/claims.csv", "WITHIN INTERVAL", "PASS"),
        "claims.csv was altered",
    ),
    "an old page": (
        lambda r: save_table(
            DIFFERENCES.assign(difference=0.02, low=0.01, high=0.03),
            "uopd_claimed",
            tier="tiny",
            keys=["k1"],
            caption="Six seeds.",
            output="U-T1",
        ),
        "from other claims or other outputs",
    ),
    # in captions
    "a caption in the stamp": (lambda r: swap(r / f"{TABLE}.json", "Six seeds", "Ten seeds"), "was altered"),
    "a caption below the table": (lambda r: swap(r / f"{TABLE}.md", "Six seeds", "Ten seeds"), "uopd_claimed.md was"),
    "a forged caption": (
        lambda r: restamped(r / f"{FIGURE}.json", caption="Accuracy of the paper."),
        "another caption than its stamp",
    ),
    "a caption of the notebook": (
        lambda r: swap(r / "results/notebooks/tiny/03_semantic_entropy.ipynb", "in bins", "in tens"),
        "figure se_accuracy has another caption",
    ),
    "a picture of the notebook": (
        lambda r: swap(r / "results/notebooks/tiny/03_semantic_entropy.ipynb", "iVBOR", "iVBOT"),
        "figure se_accuracy is another picture",
    ),
    "a caption in the report": (
        lambda r: swap(r / "paper/outputs/U-F4a.tex", "in bins", "in tens"),
        "U-F4a.tex: not what",
    ),
    "a verdict in the appendix": (
        lambda r: swap(r / "paper/outputs/verdicts.tex", "NOT RUN", "PASS"),
        "verdicts.tex: not",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_error_is_found(project: Path, name: str) -> None:
    plant, told = PLANTED[name]
    plant(project)
    result = CliRunner().invoke(app, ["check-claims"])
    assert result.exit_code == 1, result.output
    assert told in result.output.replace("\n", "")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("says: It saves 300", "says: It saves 310", "judged by 300.0, which its words do not say"),
        ("  kind: monotone", "  kind: ordering", "cannot be decided by the rule 'monotone'"),
        ("paper: CORE", "papers: CORE", "unknown key 'papers'"),
        ("id: falls", "id: better", "two claims 'better'"),
    ],
)
def test_a_claim_that_contradicts_itself_is_refused(project: Path, old: str, new: str, told: str) -> None:
    swap(project / "paper" / "claims.yml", old, new)
    with pytest.raises(ConfigError, match=told):
        check("tiny")


def test_what_was_not_made_is_not_run_and_no_error(project: Path) -> None:
    for path in (project / "figures" / "tiny").iterdir():
        path.unlink()
    (project / "results" / "notebooks" / "tiny" / "03_semantic_entropy.ipynb").unlink()
    page(project)
    checked = check("tiny")
    (missing,) = (j for j in checked.judgements if (j.id, j.part) == ("falls", "mechanism"))
    assert not checked.broken and missing.verdict == "NOT RUN"
    assert missing.reason == "figure se_accuracy was not made; `./run_all.sh --tier tiny --only 03` makes it"


def test_bins_without_a_problem_are_not_run_and_nothing_would_make_them(project: Path) -> None:
    """A teacher that is unsure of no problem fills one bin: neither its claim nor its figure is broken."""
    figure = Figure(layout="constrained")
    empty = BINS.assign(n=[int(i == 0) for i in range(len(BINS))])
    save_figure(figure, "se_accuracy", empty, tier="tiny", keys=["k1"], caption="Accuracy in bins.", output="U-F4a")
    (told,) = (j for j in check_claims("tiny").judgements if (j.id, j.part) == ("falls", "mechanism"))
    assert (told.verdict, told.cost) == ("NOT RUN", "") and told.reason.startswith("no problem lies in")


def test_a_number_of_this_tier_stands_for_none_of_the_papers(project: Path) -> None:
    """The claim itself is judged on its own tier alone, from that tier's folder, and what lies there must be of it."""
    shutil.copytree(project / "results" / "tables" / "tiny", project / "results" / "tables" / "paper")
    at_paper = [j for j in check_claims("paper").judgements if j.id == "better"]
    assert [(j.part, j.verdict) for j in at_paper] == [
        ("claim", BROKEN),
        ("mechanism", "NOT RUN"),
        ("mechanism", "NOT RUN"),
    ]
    assert "is the stamp of uopd_claimed of tier tiny" in at_paper[0].reason
