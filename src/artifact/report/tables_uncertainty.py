"""The uncertainty tables as a reader sees them (`show_*`), from frames with a `teacher` column.

The numbers come from `phase1/` (one frame a teacher, joined by `figures_uncertainty.by_teacher`); here they only
get words, brackets and digits. Intervals are 95 % over problems. Left out: computing anything.
"""

from __future__ import annotations

import pandas as pd

from artifact.report.figures_uncertainty import NAMES
from artifact.report.tables import SAME, percent


def interval(value: float, low: float, high: float, digits: int = 3, sign: bool = False) -> str:
    """`0.902 (0.883 to 0.921)`; a dash where there is no value, the value alone where there is no interval."""

    def form(number: float) -> str:
        rounded = round(number, digits) + 0.0  # −0.0 + 0.0 = 0.0: no "-0.000"
        return f"{rounded:{'+' if sign else ''}.{digits}f}"

    if value != value:
        return "–"
    return form(value) if low != low else f"{form(value)} ({form(low)} to {form(high)})"


def _percents(value: float, low: float, high: float) -> str:
    return f"{percent(value)} ({percent(low)} to {percent(high)})"


def show_auroc_by_n(table: pd.DataFrame) -> pd.DataFrame:
    """`subsample.auroc_by_n`: one row an estimator, one column an N, and what the smallest N lacks to the largest."""
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


def show_risk(table: pd.DataFrame) -> pd.DataFrame:
    """`risk.compare_risk`."""
    return pd.DataFrame(
        {
            "teacher": table["teacher"],
            "score": table["score"].map(NAMES),
            "problems": table["problems"].astype(str),
            "wrong": table["n_wrong"].astype(str),
            "AURC": [interval(r.aurc, r.lower, r.upper) for r in table.itertuples()],
            "oracle": table["oracle"].map("{:.3f}".format),
            "without information": table["random"].map("{:.3f}".format),
            "excess": table["excess"].map("{:.3f}".format),
            "gain, 0 to 1": [interval(r.gain, r.gain_lower, r.gain_upper) for r in table.itertuples()],
        }
    )


def show_calibration(table: pd.DataFrame) -> pd.DataFrame:
    """`calibration.calibration_table`."""
    return pd.DataFrame(
        {
            "teacher": table["teacher"],
            "problems": table["group"],
            "n": table["n"].astype(str),
            "accuracy %": table["accuracy"].map(percent),
            "mean weight %": table["mean_weight"].map(percent),
            "weight − accuracy": [interval(r.over, r.over_lower, r.over_upper, sign=True) for r in table.itertuples()],
            "ECE": [interval(r.ece, r.ece_lower, r.ece_upper) for r in table.itertuples()],
            "Brier (constant)": [f"{r.brier:.3f} ({r.brier_constant:.3f})" for r in table.itertuples()],
            "Spearman of w and right": [
                interval(r.spearman, r.spearman_lower, r.spearman_upper) for r in table.itertuples()
            ],
        }
    )


def show_sources(table: pd.DataFrame) -> pd.DataFrame:
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
            "AUROC, gold": table["auroc_gold"].map("{:.3f}".format),
            "AUROC, model": table["auroc_model"].map("{:.3f}".format),
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


def show_retest(table: pd.DataFrame) -> pd.DataFrame:
    """`retest.retest` or `split_half`: one row a statistic, one column a teacher (and N)."""
    keys = ["teacher", "n"] if "n" in table.columns else ["teacher"]
    shown: dict[str, dict[str, str]] = {}
    for r in table.to_dict("records"):
        name, is_share = str(r["statistic"]), r["method"].startswith("Wilson")
        label = RETEST_NAMES.get(name) or f"binary weights that flip, τ = {name[8:-1]}, %"
        column = ", ".join(f"N = {r[k]}" if k == "n" else f"teacher {r[k]}" for k in keys)
        text = _percents if is_share else lambda v, low, high: interval(v, low, high)
        shown.setdefault(label, {"statistic": label})[column] = text(r["value"], r["lower"], r["upper"])
    return pd.DataFrame(list(shown.values()))
