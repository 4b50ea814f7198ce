"""Claims are typed, say what they are judged by, and are judged by their rule: each verdict against numbers by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from artifact.errors import ConfigError
from artifact.report import claim_rules, claims, claims_page
from artifact.report.claim_rules import FAIL, PASS, WITHIN, BrokenEvidence, NoProblems, NotMade
from artifact.report.outputs import save_table

CLAIM: dict[str, Any] = {
    "id": "a-claim",
    "paper": "UOPD",
    "where": "section 1",
    "says": "The score is 0.8.",
    "kind": "number",
    "test": {"rule": "within", "value": 0.8, "tolerance": 0.01, "of": {"table": "numbers", "column": "x"}},
}


def loaded(tmp_path: Path, *items: dict[str, Any], **changed: Any) -> tuple[claims.Claim, ...]:
    path = tmp_path / "claims.yml"
    path.write_text(yaml.safe_dump({"claims": [CLAIM | changed, *items]}))
    return claims.load_claims(path)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"kid": 1}, "unknown key 'kid'; did you mean 'kind'"),
        ({"says": "The score is 0.9."}, "judged by 0.8, which its words do not say"),
        ({"kind": "monotone"}, "cannot be decided by the rule 'within': use monotone"),
        ({"tiers": ["tyni"]}, "'tyni' is no tier"),
        ({"tiers": ["drafts"]}, "where the drafts alone decide"),
        ({"output": "T1"}, "output"),
        ({"test": CLAIM["test"] | {"tolerance": -1}}, "tolerance"),
        ({"test": CLAIM["test"] | {"of": {"column": "x"}}}, "name one of them"),
        ({"test": CLAIM["test"] | {"of": {"table": "a", "figure": "b"}}}, "name one of them"),
        ({"test": CLAIM["test"] | {"of": {"table": "a", "low": "l"}}}, "name both"),
        ({"test": CLAIM["test"] | {"rule": "wihtin"}}, "wihtin"),
        (
            {"mechanisms": [{"says": "It is 0.8.", "tiers": ["paper"], "test": CLAIM["test"]}]},
            "judges the claim itself, not its mechanism",
        ),
    ],
)
def test_a_mistake_in_the_file_is_refused(tmp_path: Path, changed: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=r"claims.yml, claim 'a-claim'") as err:
        loaded(tmp_path, **changed)
    assert told in str(err.value)


def test_one_id_is_one_claim(tmp_path: Path) -> None:
    assert loaded(tmp_path, CLAIM | {"id": "another"})[1].id == "another"
    with pytest.raises(ConfigError, match="two claims 'a-claim'"):
        loaded(tmp_path, CLAIM)


@pytest.mark.parametrize("words", ["0.87 of all", "87 % of them", "from 1,000 to 0.87"])
def test_a_figure_is_said_as_itself_or_in_percent(words: str) -> None:
    assert claims.is_said(0.87, words) and not claims.is_said(0.78, words) and not claims.is_said(7, words)
    assert claims.is_said(8800.0, "8,800 problems") and claims.is_said("one epoch", "for One epoch of")


def cells(**more: Any) -> claims.Cells:
    return claims.Cells.model_validate({"table": "numbers", "column": "x", **more})


def store(**columns: list[Any]) -> None:
    save_table(pd.DataFrame(columns), "numbers", tier="tiny", keys=["k1", "k2"], caption="Numbers.")


def verdict(rule: str, of: claims.Cells, **more: Any) -> claim_rules.Found:
    kind = {"within": claims.Within, "bound": claims.Bound, "difference": claims.Difference}
    kind |= {"equivalent": claims.Equivalent, "monotone": claims.Monotone, "ratio": claims.Ratio}
    return claim_rules.judge(kind[rule].model_validate({"rule": rule, "of": of, **more}), "tiny")


ENDS = {"low": "l", "high": "h"}


@pytest.mark.parametrize(("value", "expected"), [(0.805, PASS), (0.84, WITHIN), (0.75, WITHIN), (0.86, FAIL)])
def test_within(results: Path, value: float, expected: str) -> None:
    store(x=[0.8], l=[0.75], h=[0.85], problems=[40], seeds=[3])
    found = verdict("within", cells(**ENDS), value=value, tolerance=0.01)
    assert (found.verdict, found.n, found.seeds, found.keys) == (expected, 40, 3, ("k1", "k2"))
    alone = verdict("within", cells(), value=value, tolerance=0.01)
    assert alone.verdict == (PASS if expected == PASS else FAIL), "without an interval nothing lies within one"


@pytest.mark.parametrize(
    ("side", "value", "expected"),
    [
        ("above", 0.7, PASS),
        ("above", 0.77, WITHIN),
        ("above", 0.8, WITHIN),
        ("above", 0.9, FAIL),
        ("below", 0.9, PASS),
        ("below", 0.7, FAIL),
    ],
)
def test_bound(results: Path, side: str, value: float, expected: str) -> None:
    store(x=[0.8, 0.81], l=[0.75, 0.76], h=[0.85, 0.86])
    assert verdict("bound", cells(**ENDS), side=side, value=value).verdict == expected
    alone = PASS if (side == "above") == (value < 0.8) else FAIL
    assert verdict("bound", cells(), side=side, value=value).verdict == alone


def test_every_row_must_hold(results: Path) -> None:
    store(x=[0.8, 0.4], l=[0.75, 0.35], h=[0.85, 0.45], cell=["a", "b"])
    assert verdict("bound", cells(**ENDS), side="above", value=0.6).verdict == FAIL
    assert verdict("bound", cells(**ENDS, where={"cell": "a"}), side="above", value=0.6).verdict == PASS
    assert verdict("bound", cells(sum=True), side="above", value=1.19).verdict == PASS
    assert verdict("bound", cells(sum=True), side="above", value=1.21).verdict == FAIL


SAME = "no significant difference"


@pytest.mark.parametrize(
    ("claimed", "low", "high", "expected"),
    [
        ("higher", 0.01, 0.05, PASS),
        (SAME, -0.01, 0.05, WITHIN),
        (SAME, 0.01, 0.05, WITHIN),
        (SAME, -0.05, -0.01, FAIL),
        ("lower", -0.05, -0.01, FAIL),
    ],
)
def test_difference(results: Path, claimed: str, low: float, high: float, expected: str) -> None:
    store(x=[(low + high) / 2], l=[low], h=[high], verdict=[claimed], p_holm=[0.01], seeds_agreeing=["3/3"])
    assert verdict("difference", cells(**ENDS), direction="higher").verdict == expected
    mirrored = verdict("difference", cells(**ENDS), direction="lower").verdict
    assert mirrored == {"higher": FAIL, "lower": PASS}.get(claimed, FAIL if low > 0 else WITHIN)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-0.009, 0.01, PASS), (-0.009, 0.011, WITHIN), (0.011, 0.02, FAIL), (-0.02, -0.011, FAIL), (0.002, 0.005, PASS)],
)
def test_equivalent(results: Path, low: float, high: float, expected: str) -> None:
    store(x=[(low + high) / 2], l=[low], h=[high])
    assert verdict("equivalent", cells(**ENDS), margin=0.01).verdict == expected


@pytest.mark.parametrize(
    ("series", "half", "expected"),
    [
        ([0.9, 0.7, 0.5, 0.1], 0.01, PASS),
        ([0.9, 0.7, 0.71, 0.1], 0.01, WITHIN),
        ([0.9, 0.7, 0.75, 0.1], 0.01, FAIL),
        ([0.5, 0.5, 0.5, 0.5], 0.01, PASS),
        ([0.50, 0.51, 0.52, 0.53], 0.5, FAIL),
    ],
)
def test_monotone(results: Path, series: list[float], half: float, expected: str) -> None:
    order = [2, 0, 3, 1]  # rows may lie in any order
    bins = [[0.0, 0.1, 0.2, 0.3][i] for i in order]
    values = [series[i] for i in order]
    store(bin=bins, x=values, l=[v - half for v in values], h=[v + half for v in values], sd=[half / 2] * 4)
    assert verdict("monotone", cells(**ENDS), along="bin", direction="decreasing").verdict == expected
    assert verdict("monotone", cells(spread="sd"), along="bin", direction="decreasing").verdict == expected
    rises = verdict("monotone", cells(**ENDS), along="bin", direction="increasing").verdict
    assert rises == (PASS if half == 0.5 or len(set(series)) == 1 else FAIL)


def test_of_several_splits_each_is_a_series_and_is_named(results: Path) -> None:
    """The papers' tier measures four benchmarks: what is claimed holds where it holds on each."""
    store(split=["math", "amo"] * 2, N=[2, 2, 8, 8], x=[0.5, 0.1, 0.6, 0.2], l=[0.4, 0, 0.5, 0], h=[0.6, 0.2, 0.7, 0.3])
    found = verdict("monotone", cells(**ENDS), along="N", direction="increasing")
    assert found.verdict == PASS and "math: 2 points from 0.5 to 0.6" in found.numbers and "amo: 2" in found.numbers
    store(
        split=["math", "amo"] * 2, N=[2, 2, 8, 8], x=[0.5, 0.3, 0.6, 0.1], l=[0.4, 0.2, 0.5, 0], h=[0.6, 0.4, 0.7, 0.15]
    )
    assert verdict("monotone", cells(**ENDS), along="N", direction="increasing").verdict == FAIL, "on one it falls"
    store(split=["math"] * 2 + ["amo"], N=[2, 8, 2], x=[0.5, 0.6, 0.3])
    with pytest.raises(BrokenEvidence, match="no series along 'N'"):
        verdict("monotone", cells(), along="N", direction="increasing")
    store(split=["math", "amo"], x=[0.5, 0.7])
    assert verdict("bound", cells(), side="above", value=0.4).numbers.startswith("math: 0.5; amo: 0.7")
    store(split=["math", "math"], x=[0.5, 0.7])
    assert verdict("bound", cells(), side="above", value=0.4).numbers.startswith("0.5; 0.7")


def test_an_empty_bin_says_nothing(results: Path) -> None:
    """A strong teacher may be unsure of no problem at all: that is no fault of the claim, nor of its output."""
    bins = {"bin": [0.1, 0.5, 0.9], "n": [40, 0, 10], "x": [0.9, None, 0.4], "l": [0.8, None, 0.2], "h": [1, None, 0.6]}
    store(**bins)
    found = verdict("monotone", cells(**ENDS), along="bin", direction="decreasing")
    assert found.verdict == PASS and found.n == 10 and found.numbers.startswith("2 points from 0.9 to 0.4")
    assert verdict("bound", cells(where={"bin": 0.9}), side="below", value=0.5).verdict == PASS
    with pytest.raises(NoProblems, match="no problem lies in 1 of the rows of table numbers"):
        verdict("bound", cells(where={"bin": 0.5}), side="below", value=0.5)
    store(**bins | {"n": [40, 0, 0]})
    with pytest.raises(NoProblems, match="in 2 of the rows"):
        verdict("monotone", cells(**ENDS), along="bin", direction="decreasing")
    with pytest.raises(BrokenEvidence, match="holds what is no number"):
        store(**bins | {"n": [40, 3, 10]})
        verdict("monotone", cells(**ENDS), along="bin", direction="decreasing")


def test_ratio_and_agreement(results: Path) -> None:
    store(x=[30.0, 20.0], cell=["a", "b"])
    a, b = cells(where={"cell": "a"}), cells(where={"cell": "b"})
    assert verdict("ratio", a, over=b, value=1.5, tolerance=0.01).verdict == PASS
    assert verdict("ratio", a, over=b, value=1.6, tolerance=0.01).verdict == FAIL
    bytes_ = claims.Product(product=(151936, 4)), claims.Product(product=(512, 8))
    test = claims.Ratio(rule="ratio", of=bytes_[0], over=bytes_[1], value=150, tolerance=0.02)
    assert claim_rules.judge(test, "tiny").verdict == PASS
    for second, expected in ((8800, FAIL), (16330, PASS)):
        stated = claims.Stated(says=16330, where="here"), claims.Stated(says=second, where="there")
        found = claim_rules.judge(claims.Agree(rule="agree", first=stated[0], second=stated[1]), "tiny")
        assert found.verdict == expected and "16,330 (here)" in found.numbers


def test_evidence_that_is_not_there_is_no_verdict(results: Path) -> None:
    with pytest.raises(NotMade):
        verdict("bound", cells(), side="above", value=0)
    store(x=[1.0, None, 3.0], cell=["a", "b", "c"], word=["u", "v", "w"])
    for of, told in (
        (cells(where={"cel": "a"}), "no column 'cel'; did you mean 'cell'"),
        (cells(where={"cell": ["a", "d"]}), "no row with cell = 'd'"),
        (cells(where={"cell": "b"}), "holds what is no number"),
        (claims.Cells(table="numbers", column="word"), "holds what is no number"),
    ):
        with pytest.raises(BrokenEvidence, match=told):
            verdict("bound", of, side="above", value=0)
    for rule, more, told in (
        ("within", {"value": 1, "tolerance": 1}, "finds 2 rows"),
        ("difference", {"direction": "higher"}, "no column 'verdict'"),
        ("monotone", {"along": "word", "direction": "increasing"}, ""),
    ):
        if told:
            with pytest.raises(BrokenEvidence, match=told):
                verdict(rule, cells(where={"cell": ["a", "c"]}), **more)


def test_the_claims_of_the_papers_are_whole() -> None:
    """Both papers, each kind, and what the requirements name: an order, a series, the two ratios, the overhead."""
    found = {c.id: c for c in claims.load_claims()}
    assert {c.paper for c in found.values()} == {"UOPD", "CORE", "both"}
    assert {c.kind for c in found.values()} == set(claims.RULES)
    assert {"uopd-auroc", "uopd-monotone", "uopd-zero-overhead", "topk-150", "topk-300"} <= set(found)
    assert sum(c.kind == "contradiction" for c in found.values()) >= 15
    judged_by_runs = [c for c in found.values() if c.tiers != (claims.DRAFTS,)]
    assert all(c.tiers == ("paper",) for c in judged_by_runs), "a number of the papers needs the papers' settings"


class Told:
    """A judgement as the page reads it."""

    def __init__(self, part: str, verdict: str, paper: str = "UOPD", **more: Any) -> None:
        values = {"id": "c", "where": "w", "output": "U-T1", "says": "s", "tier": "tiny", "numbers": "1", "reason": ""}
        values |= {"cost": "", "kind": "number", "evidence": ("table t",), "n": None, "seeds": None, "keys": ()}
        self.__dict__ |= values | {"part": part, "verdict": verdict, "paper": paper} | more


def test_the_page_counts_each_part_apart() -> None:
    judged: list[Any] = [Told("claim", "NOT RUN", reason="needs tier paper", cost="15 runs", numbers="")]
    judged += [Told("mechanism", "PASS", n=1600, seeds=3), Told("mechanism", "FAIL", paper="CORE")]
    judged.append(Told("draft", "FAIL"))
    counts = claims_page.counts(judged, "tiny")
    assert counts[["part", "paper", "claims", "PASS", "FAIL", "NOT RUN"]].to_numpy().tolist() == [
        ["claim", "UOPD", 1, 0, 0, 1],
        ["mechanism", "UOPD", 1, 1, 0, 0],
        ["mechanism", "CORE", 1, 0, 1, 0],
        ["draft", "UOPD", 1, 0, 1, 0],
    ]
    assert "BROKEN" in claims_page.counts([*judged, Told("mechanism", "BROKEN")], "tiny")
    short = claims_page.in_short(judged, "tiny")
    assert short[1] == "What tier tiny shows of it, no number of the papers: 1 PASS, 1 FAIL of 2."
    shown = claims_page.format_table(claims_page.table(judged))
    assert shown["n"].tolist() == ["–", "1,600", "–", "–"] and shown["what was found"][0] == "needs tier paper"
    nobody = Told("claim", "NOT RUN", reason="no problem lies in 1 of the rows of figure f", numbers="")
    assert claims_page.costs([*judged, nobody]) == ["c: needs tier paper; 15 runs."], "nothing would make them"
    links = claims_page.evidence_links(judged, {"t": "07_uopd"})
    assert links == "- [table t](07_uopd.html#table-t): c"
