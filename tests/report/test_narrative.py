"""Sentences made from numbers: what is claimed where no verdict differs."""

from __future__ import annotations

import pandas as pd

from artifact.report import narrative as S
from artifact.report.text import SAME


def test_unchanged_verdicts_claim_no_power() -> None:
    """Zero changes on 64 problems: at most 1 − 0.05^(1/64) = 4.57 % change, not a detectable difference of 0."""
    row = {
        "split": "s",
        "teacher": "t",
        "label": "OPD",
        "reference": "Base",
        "scope": "all",
        "problems": 64,
        "seeds": 1,
        "difference": 0.0,
        "low": 0.0,
        "high": 0.0,
        "p_value": 1.0,
        "p_holm": 1.0,
        "smallest_detectable": float("nan"),
        "seeds_agreeing": None,
        "verdict": SAME,
        "p_seeds": None,
    }
    other = row | {"label": "CORE", "difference": 0.05, "low": -0.01, "high": 0.1, "smallest_detectable": 0.08}
    unchanged, changed = S.differences(pd.DataFrame([row, other]))
    assert "no verdict differs between OPD and Base on 64 problems, so at most 4.6 %" in unchanged
    assert "true difference of 8.0 points would be found" in changed
    assert changed.startswith("Teacher t: no significant difference between CORE and Base (+5.0 points, 95 % interval ")


def test_costs_name_the_extremes_and_take_seconds_from_their_own_frame() -> None:
    budget = pd.DataFrame({"teacher": ["A"] * 3, "label": ["x", "y", "z"], "response_tokens": [2000.0, 1000.0, 3000.0]})
    times = pd.DataFrame({"teacher": ["A", "A", "B"], "label": ["x", "y", "x"], "seconds": [9.6, 20.0, 99.0]})
    assert S.costs(budget, times) == [
        "Teacher A: at equal steps, sampled tokens per run go from 1,000 (y) to 3,000 (z), and training time from "
        "10 to 20 s."
    ]
    (equal,) = S.costs(budget.assign(response_tokens=500.0), times)
    assert equal == "Teacher A: every method sampled 500 tokens per run, and trained from 10 to 20 s."


def test_a_difference_is_above_or_below_and_says_how_many_seeds_agree() -> None:
    row = {
        "split": "s",
        "teacher": "t",
        "label": "CORE",
        "reference": "OPD",
        "scope": "hard",
        "problems": 1500,
        "p_holm": 0.004,
        "p_seeds": 0.02,
        "smallest_detectable": 0.03,
        "seeds_agreeing": "2/3",
    }
    up = row | {"difference": 0.05, "low": 0.01, "high": 0.09, "verdict": "higher"}
    down = row | {"difference": -0.05, "low": -0.09, "high": -0.01, "verdict": "lower"}
    down |= {"seeds_agreeing": None, "p_seeds": None}
    assert S.differences(pd.DataFrame([up, down])) == [
        "Teacher t: CORE is 5.0 points above OPD on hard problems (95 % interval +1.0 to +9.0, p = 0.004 by Holm, "
        "n = 1,500; p = 0.020 over seeds; same sign in 2/3 seeds).",
        "Teacher t: CORE is 5.0 points below OPD on hard problems (95 % interval -9.0 to -1.0, p = 0.004 by Holm, "
        "n = 1,500).",
    ]
    one, two = S.differences(pd.DataFrame([up, down | {"split": "math-500"}]))
    assert one.startswith("Teacher t, s: CORE is 5.0 points above") and two.startswith("Teacher t, math-500: CORE is")


def test_accuracy_falls_over_the_bins_or_the_rises_are_counted() -> None:
    bins = pd.DataFrame({"n": [5, 0, 3, 2], "accuracy": [0.9, None, 0.6, 0.7], "teacher": "A"})
    falling = bins.assign(accuracy=[0.9, None, 0.7, 0.6], teacher="B")
    ends = "from the bin of least entropy to the bin of most, accuracy goes from 90.0 % (n = 5) to"
    assert S.monotone(pd.concat([bins, falling])) == [
        f"Teacher A: {ends} 70.0 % (n = 2); from bin to bin it rises in 1 of 2 steps.",
        f"Teacher B: {ends} 60.0 % (n = 2); from bin to bin it falls in every step.",
    ]


def test_scores_above_below_and_not_different_from_semantic_entropy() -> None:
    rows = [
        ("semantic_entropy", 0.90, 0.88, 0.92, None, None, None),
        ("better", 0.95, 0.93, 0.97, 0.05, 0.01, 0.09),
        ("much_worse", 0.60, 0.55, 0.65, -0.30, -0.35, -0.25),
        ("alike", 0.89, 0.87, 0.91, -0.01, -0.03, 0.01),
    ]
    columns = ["score", "auroc", "lower", "upper", "minus_reference", "diff_lower", "diff_upper"]
    table = pd.DataFrame(rows, columns=columns).assign(teacher="A", n=100, n_wrong=40)
    assert S.aurocs(table) == [
        "Teacher A: AUROC of semantic entropy 0.900 (0.880 to 0.920, 40 of 100 problems wrong); above it: better "
        f"(0.950); below it: much worse (0.600); {SAME} from it: alike (0.890)."
    ]


def test_the_largest_blind_spot_is_the_group_with_most_sure_errors() -> None:
    columns = ["group", "n", "sure_and_wrong", "weight", "greedy_accuracy"]
    rows = [("all", 300, 0.9, 0.5, 0.5), ("easy", 100, 0.02, 0.9, 0.95), ("hard", 1200, 0.25, 0.61, 0.4)]
    (said,) = S.blind_spots(pd.DataFrame(rows, columns=columns).assign(teacher="A"))
    assert said.startswith("Teacher A: the largest blind spot is `hard`: 25.0 % of its 1,200 problems have low entropy")
    assert "mean weight 0.61, accuracy 40.0 %" in said
