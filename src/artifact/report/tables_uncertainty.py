"""The uncertainty tables as a reader sees them (`format_*`), from frames with a `teacher` column.

Intervals are 95 % over problems. Left out: computing anything.
"""

from __future__ import annotations

import pandas as pd

from artifact.report.figures_uncertainty import NAMES
from artifact.report.text import SAME, interval, intervals, number, percent


def format_auroc_by_n(table: pd.DataFrame) -> pd.DataFrame:
    """`subsample.auroc_by_n`: one row per estimator, one column per N, and what the smallest N lacks to the largest."""
    rows = []
    for (teacher, estimator, normaliser), part in table.groupby(["teacher", "estimator", "normaliser"], sort=False):
        part = part.sort_values("n")
        first = part.iloc[0]
        row = {
            "teacher": teacher,
            "estimator": NAMES[str(estimator)],
            "normaliser": f"log {normaliser}",
            "problems": str(first["problems"]),
            "wrong": str(first["n_wrong"]),
        }
        row |= {f"N = {r.n}": interval(r.auroc, r.lower, r.upper) for r in part.itertuples()}
        row[f"N = {first['n']} minus N = {part['n'].max()}"] = interval(
            first["minus_largest"], first["diff_lower"], first["diff_upper"], sign=True
        )
        rows.append(row)
    return pd.DataFrame(rows)


def format_risk(table: pd.DataFrame) -> pd.DataFrame:
    """`risk.compare_risk`."""
    return pd.DataFrame(
        {
            "teacher": table["teacher"],
            "score": table["score"].map(NAMES),
            "problems": table["problems"].astype(str),
            "wrong": table["n_wrong"].astype(str),
            "AURC": intervals(table, "aurc"),
            "oracle": table["oracle"].map(number),
            "without information": table["random"].map(number),
            "excess": table["excess"].map(number),
            "gain, 0 to 1": intervals(table, "gain", "gain_lower", "gain_upper"),
        }
    )


def format_calibration(table: pd.DataFrame) -> pd.DataFrame:
    """`calibration.calibration_table`."""
    return pd.DataFrame(
        {
            "teacher": table["teacher"],
            "problems": table["group"],
            "n": table["n"].astype(str),
            "accuracy %": table["accuracy"].map(percent),
            "mean weight %": table["mean_weight"].map(percent),
            "weight − accuracy": intervals(table, "over", "over_lower", "over_upper", sign=True),
            "ECE": intervals(table, "ece", "ece_lower", "ece_upper"),
            "Brier (constant)": [f"{number(r.brier)} ({number(r.brier_constant)})" for r in table.itertuples()],
            "Spearman of w and right": intervals(table, "spearman", "spearman_lower", "spearman_upper"),
        }
    )


def format_sources(table: pd.DataFrame) -> pd.DataFrame:
    """`labels.source_table`."""
    return pd.DataFrame(
        {
            "case": table["case"],
            "problems": table["problems"].astype(str),
            "without model label": table["unlabelled"].astype(str),
            "wrong by gold": table["wrong_gold"].astype(str),
            "wrong by model": table["wrong_model"].astype(str),
            "labels that differ %": table["differ"].map(percent),
            "of them gold / model alone says wrong": [f"{r.gold_only} / {r.model_only}" for r in table.itertuples()],
            "AUROC, gold": table["auroc_gold"].map(number),
            "AUROC, model": table["auroc_model"].map(number),
            "model − gold": [
                interval(r.difference, r.lower, r.upper, sign=True) + (f", {SAME}" if r.lower <= 0 <= r.upper else "")
                for r in table.itertuples()
            ],
        }
    )


RETEST_NAMES = {
    "pearson": "correlation of H",
    "spearman": "rank correlation of H",
    "mean_abs_change": "mean |ΔH| / log N",
    "mean_change": "mean ΔH / log N (second − first)",
    "moved": "weights that move by more than 0.25, %",
}


def format_retest(table: pd.DataFrame) -> pd.DataFrame:
    """`retest.retest` or `split_half`: one row per statistic, one column per teacher (and N)."""
    keys = ["teacher", "n"] if "n" in table.columns else ["teacher"]
    shown: dict[str, dict[str, str]] = {}
    for r in table.to_dict("records"):
        name, is_share = str(r["statistic"]), r["method"].startswith("Wilson")
        label = RETEST_NAMES.get(name) or f"binary weights that flip, τ = {name[8:-1]}, %"
        column = ", ".join(f"N = {r[k]}" if k == "n" else f"teacher {r[k]}" for k in keys)
        text = interval(r["value"], r["lower"], r["upper"], percent if is_share else number)
        shown.setdefault(label, {"statistic": label})[column] = text
    return pd.DataFrame(list(shown.values()))
