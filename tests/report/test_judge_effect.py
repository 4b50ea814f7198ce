"""Tables and sentences about another judge: what they show against the frames they were given."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from artifact.report.judge_effect import effect, format_effect, format_merge_rates, merge_rates

ROW: dict[str, Any] = {
    "teacher": "A",
    "group": "all",
    "n": 1200,
    "n_wrong": 300,
    "changed": 0.25,
    "changed_lower": 0.2,
    "changed_upper": 0.3,
    "merged": 410,
    "split": 0,
    "undecided": 7,
    "accidents": 2,
    "contradicted": 1,
    "entropy_before": 0.5,
    "entropy_after": 0.4,
    "entropy_change": -0.1,
    "entropy_change_lower": -0.12,
    "entropy_change_upper": -0.08,
    "auroc_before": 0.7,
    "auroc_after": 0.75,
    "auroc_change": 0.05,
    "auroc_change_lower": 0.01,
    "auroc_change_upper": 0.09,
}
MERGED = pd.DataFrame({"teacher": ["A", "A", "A", "B"], "by_gold": ["consistent", "consistent", "unknown", "wrong"]})


def told(**changes: Any) -> str:
    (sentence,) = effect(pd.DataFrame([ROW | changes]), MERGED)
    return sentence


def test_the_sentence_says_what_changed_whether_gold_agrees_and_what_the_auroc_does() -> None:
    assert told() == (
        "Teacher A: the classes change on 25.0 (20.0 to 30.0) % of 1,200 problems; mean H / log N moves from 0.500 to "
        "0.400 (change -0.100 (-0.120 to -0.080)); 3 merges of former classes: 2 of right answers with each other, 0 "
        "of a right with a wrong answer, 1 of wrong answers with each other, which gold cannot check; the algebra "
        "failed on 2 pairs of answers; AUROC after is above AUROC before (0.750 against 0.700, difference +0.050 "
        "(+0.010 to +0.090), 300 of 1,200 problems wrong)."
    )
    assert "no significant difference between AUROC after and AUROC before" in told(auroc_change_lower=-0.01)
    assert "AUROC after is below AUROC before" in told(auroc_change_lower=-0.09, auroc_change_upper=-0.01)
    assert told(auroc_before=math.nan).endswith("too few right or wrong answers for an AUROC.")


def test_where_nothing_changes_it_says_so_and_how_much_would_have_been_missed() -> None:
    assert told(changed=0.0, changed_lower=0.0, changed_upper=0.003, accidents=0) == (
        "Teacher A: no class of 1,200 problems changes (95 % interval of the share that changes: 0.0 to 0.3 %), so "
        "entropies, weights and AUROC are what they were."
    )


def test_the_table_holds_every_number() -> None:
    shown = format_effect(pd.DataFrame([ROW, ROW | {"group": "difficulty easy", "auroc_before": math.nan}]))
    assert shown["problems"].tolist() == ["all", "difficulty easy"] and shown["n"].tolist() == ["1,200"] * 2
    assert shown["pairs of samples merged / split"].tolist() == ["410 / 0"] * 2
    assert shown["judgements undecided / failed / overruled"].tolist() == ["7 / 2 / 1"] * 2
    assert shown["AUROC before"].tolist() == ["0.700", "–"]
    assert shown["AUROC change"].tolist() == ["+0.050 (+0.010 to +0.090)"] * 2


RATES = pd.DataFrame(
    [
        {"judge": "rules", "kind": kind, "questions": 9, "equal": 40, "missed": 10, "missed_share": 0.25}
        | {"missed_share_lower": 0.1, "missed_share_upper": 0.4, "different": 1500, "false": 0, "false_share": 0.0}
        | {"false_share_lower": 0.0, "false_share_upper": 0.3, "accidents": 0}
        for kind in ("all", "set")
    ]
)


def test_rates_of_judges_as_table_and_sentence() -> None:
    shown = format_merge_rates(RATES)
    assert shown["missed %"].tolist() == ["25.0 (10.0 to 40.0)"] * 2 and shown["pairs that differ"][0] == "1,500"
    assert merge_rates(RATES) == [
        "Judge `rules`: misses 10 of 40 pairs that mean the same (25.0 (10.0 to 40.0) %) and merges 0 of 1,500 that "
        "differ (0.0 (0.0 to 30.0) %), on 9 questions."
    ]
