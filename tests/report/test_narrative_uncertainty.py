"""Sentences and tables say the numbers given, and "no significant difference" exactly where 0 is inside."""

from __future__ import annotations

import pandas as pd
import pytest

from artifact.report import narrative_uncertainty as S
from artifact.report import tables_uncertainty as T
from artifact.report.text import SAME

NAN = float("nan")


def by_n_rows() -> pd.DataFrame:
    values = {2: (0.80, -0.11, -0.13, -0.09), 4: (0.86, -0.05, -0.07, -0.03), 8: (0.90, -0.01, -0.02, 0.01)}
    rows = [
        {
            "n": n,
            "auroc": v,
            "lower": v - 0.02,
            "upper": v + 0.02,
            "minus_largest": d,
            "diff_lower": low,
            "diff_upper": high,
        }
        for n, (v, d, low, high) in {**values, 16: (0.91, NAN, NAN, NAN)}.items()
    ]
    return pd.DataFrame(rows).assign(
        teacher="A", estimator="semantic_entropy", normaliser="n", problems=1000, n_wrong=435, left_out=0
    )


def test_what_n_buys() -> None:
    (text,) = S.by_n(by_n_rows())
    assert text.startswith("Teacher A: AUROC of semantic entropy is 0.800 (N = 2), 0.860 (N = 4), 0.900 (N = 8), 0.910")
    assert "on 1000 problems (435 wrong)" in text
    assert "N = 2 is below N = 16 (difference -0.110 (-0.130 to -0.090))" in text
    assert f"{SAME} between N = 8 and N = 16 (" in text and f"{SAME} between N = 4" not in text
    row = T.format_auroc_by_n(by_n_rows()).iloc[0]
    assert row["N = 4"] == "0.860 (0.840 to 0.880)"
    assert row["N = 2 minus N = 16"] == "-0.110 (-0.130 to -0.090)"


@pytest.mark.parametrize(
    ("low", "verdict"), [(-0.01, f"{SAME} between log n_valid and log N"), (0.001, "log n_valid is above log N")]
)
def test_normalisers(low: float, verdict: str) -> None:
    table = pd.DataFrame(
        [
            {
                "teacher": "B",
                "n": 8,
                "problems": 990,
                "left_out": 10,
                "left_out_wrong": 9,
                "auroc_n": 0.87,
                "auroc_n_valid": 0.88,
                "difference": 0.01,
                "lower": low,
                "upper": 0.02,
                "mean_abs_change": 0.003,
            }
        ]
    )
    (text,) = S.normalisers(table)
    assert f"at N = 8, {verdict} (+0.010" in text and "leaves out 10 problems, of which" in text


def test_rejection_and_risk() -> None:
    points = pd.DataFrame(
        [
            {
                "teacher": "A",
                "score": "semantic_entropy",
                "coverage": 0.8,
                "kept": 800,
                "accuracy": 0.70,
                "oracle": 0.75,
                "above_all": 0.10,
                "above_lower": 0.08,
                "above_upper": 0.12,
            }
        ]
    )
    (text,) = S.rejection(points)
    assert "surest 80 % of the problems by semantic entropy (800) moves accuracy from 60.0 % to 70.0 %" in text
    assert "+10.0 points, 95 % interval +8.0 to +12.0" in text and "oracle reaches 75.0 %" in text
    rows = pd.DataFrame(
        [
            {
                "teacher": "A",
                "score": s,
                "problems": 1000,
                "n_wrong": 400,
                "aurc": 0.15,
                "lower": 0.14,
                "upper": 0.16,
                "oracle": 0.1,
                "random": 0.4,
                "excess": 0.05,
                "gain": g,
                "gain_lower": g - 0.02,
                "gain_upper": g + 0.02,
            }
            for s, g in (("semantic_entropy", 0.83), ("negative_mean_logprob", 0.5))
        ]
    )
    (text,) = S.risk(rows)
    assert "is 0.150, between 0.100 (oracle) and 0.400" in text and "realises 0.83 (0.81 to 0.85)" in text
    assert text.endswith("; the others: token entropy, length-normalised 0.50 (0.48 to 0.52).")
    assert T.format_risk(rows)["AURC"][0] == "0.150 (0.140 to 0.160)"


def calibration_rows(low: float) -> pd.DataFrame:
    rows = [
        {
            "group": g,
            "n": n,
            "accuracy": a,
            "mean_weight": w,
            "brier_constant": 0.24,
            "skill": 0.4,
            "over": w - a,
            "over_lower": low,
            "over_upper": 0.12,
            "brier": 0.14,
            "brier_lower": 0.13,
            "brier_upper": 0.15,
            "ece": 0.11,
            "ece_lower": 0.1,
            "ece_upper": 0.12,
            "spearman": NAN if g == "easy" else 0.7,
            "spearman_lower": NAN,
            "spearman_upper": NAN,
        }
        for g, n, a, w in (("all", 1000, 0.5, 0.6), ("easy", 500, 0.9, 0.88), ("hard", 500, 0.1, 0.32))
    ]
    return pd.DataFrame(rows).assign(teacher="A")


def test_calibration() -> None:
    (text,) = S.calibration(calibration_rows(0.08))
    assert "the weight is too high: mean weight 60.0 % against accuracy 50.0 %" in text
    assert "furthest off on `hard`: 32.0 % weight, 10.0 % right (n = 500)" in text
    assert SAME in S.calibration(calibration_rows(-0.01))[0]
    low = calibration_rows(0.08).replace({"group": {"easy": "rare"}})
    low.loc[low["group"] == "rare", ["mean_weight", "over"]] = [0.5, -0.4]
    assert "furthest off on `rare`: 50.0 % weight, 90.0 % right" in S.calibration(low)[0], "too low is off as well"
    shown = T.format_calibration(calibration_rows(0.08))
    assert shown["Spearman of w and right"].tolist() == ["0.700", "–", "0.700"]


def test_label_sources() -> None:
    row = {
        "case": "B by A",
        "score": "semantic_entropy",
        "problems": 1000,
        "unlabelled": 3,
        "wrong_gold": 600,
        "wrong_model": 640,
        "differ": 0.12,
        "gold_only": 40,
        "model_only": 80,
        "auroc_gold": 0.87,
        "auroc_model": 0.85,
        "difference": -0.02,
        "lower": -0.03,
        "upper": -0.01,
    }
    (moves,) = S.label_sources(pd.DataFrame([row]))
    assert "differ from gold on 12.0 % of 1,000 problems (40 wrong by gold alone, 80 wrong by the model" in moves
    assert "it falls (-0.020 (-0.030 to -0.010))" in moves
    assert f"labels: {SAME} (" in S.label_sources(pd.DataFrame([row | {"upper": 0.01}]))[0]
    assert T.format_sources(pd.DataFrame([row]))["of them gold / model alone says wrong"][0] == "40 / 80"


def retest_rows() -> pd.DataFrame:
    values = {
        "pearson": (0.9, 0.88, 0.92),
        "spearman": (0.91, 0.9, 0.92),
        "mean_abs_change": (0.08, 0.07, 0.09),
        "mean_change": (0.001, -0.004, 0.006),
        "moved": (0.05, 0.04, 0.07),
        "flipped(0.3)": (0.09, 0.07, 0.11),
    }
    return pd.DataFrame(
        [
            {
                "teacher": "A",
                "statistic": s,
                "value": v,
                "lower": low,
                "upper": high,
                "problems": 1000,
                "method": "Wilson over problems" if s[:4] in ("move", "flip") else "percentile bootstrap over problems",
            }
            for s, (v, low, high) in values.items()
        ]
    )


def test_retest() -> None:
    (text,) = S.retest(retest_rows())
    assert "correlate at 0.900 (0.880 to 0.920) (ranks 0.910 (0.900 to 0.920), n = 1,000)" in text
    assert "5.0 % of the weights (4.0 to 7.0) move by more than 0.25" in text and f"two draws show {SAME}" in text
    shown = T.format_retest(retest_rows())
    assert shown["statistic"].tolist()[-1] == "binary weights that flip, τ = 0.3, %"
    assert shown["teacher A"].tolist()[-2:] == ["5.0 (4.0 to 7.0)", "9.0 (7.0 to 11.0)"]
    halves = pd.concat([retest_rows().assign(n=2), retest_rows().assign(n=4)])
    assert S.split_half(halves)[0].endswith("0.910 and 5.0 % at N = 2; 0.910 and 5.0 % at N = 4.")
    assert list(T.format_retest(halves).columns) == ["statistic", "teacher A, N = 2", "teacher A, N = 4"]


def test_within() -> None:
    rows = pd.DataFrame(
        [
            {
                "teacher": "A",
                "group": g,
                "n": 100,
                "n_wrong": w,
                "pairs": w * (100 - w),
                "auroc": v,
                "lower": v - 0.02,
                "upper": v + 0.02,
            }
            for g, w, v in (("all", 40, 0.9), ("within", 40, 0.8), ("easy", 0, NAN), ("hard", 40, 0.75))
        ]
    )
    (text,) = S.within(rows)
    assert "0.900 (0.880 to 0.920) over all problems, 0.800" in text and "lowest in `hard`" in text


def test_confidently_wrong() -> None:
    rows = pd.DataFrame(
        {
            "teacher": "B",
            "family": ["mod", "eq"],
            "n": [200, 200],
            "sure": [100, 50],
            "sure_and_wrong": [80, 10],
            "share_of_sure": [0.8, 0.2],
        }
    )
    (text,) = S.confidently_wrong(rows, 0.1)
    assert "90 of the 150 problems with H / log N ≤ 0.1 are wrong (60.0 %)" in text
    assert "80 of them are `mod` problems, of which 80.0 % of the sure ones are wrong" in text
    (none,) = S.confidently_wrong(rows.assign(sure=0, sure_and_wrong=0), 0.1)
    assert none == "Teacher B: 0 of the 0 problems with H / log N ≤ 0.1 are wrong (– %)."


def test_weighted_against_counted() -> None:
    table = pd.DataFrame({"teacher": "A", "semantic_entropy": [0.0, 0.5, 1.0], "discrete_entropy": [0.0, 0.6, 1.0]})
    (text,) = S.weighted_against_counted(table)
    assert "differ by 0.0333 on average and 0.100 at most; rank correlation 1.0000 (n = 3)" in text
