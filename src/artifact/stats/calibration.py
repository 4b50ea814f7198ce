"""Is the distillation weight w = 1 − H / log N also the probability that the teacher is right? (UOPD, Eq. 6)

Read as one, its faults can be seen and compared between teachers and difficulties:

    bin b     problems with low_b ≤ w < low_{b+1} (equal width, the last closed): equal weights share a bin
    ECE       Σ_b (n_b / P) |accuracy_b − mean w_b|            Naeini et al. 2015; biased upwards when bins are small
    Brier     (1/P) Σ (w − right)²;   constant: the Brier score of always saying the accuracy, p(1 − p)
    Spearman  rank correlation of w with right (0/1), mid-ranks

Left out: recalibration, and everything that depends on the order of w alone (`auroc.py`, `risk.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from artifact.errors import ArtifactError
from artifact.stats.bootstrap import bootstrap_values, percentiles
from artifact.stats.checks import Floats, Ints, check_scores
from artifact.stats.interval import wilson_interval


@dataclass(frozen=True, slots=True)
class Calibration:
    """The statistics above; `spearman` is None where w or the label is constant."""

    n: int
    accuracy: float
    mean_weight: float
    ece: float
    brier: float
    brier_constant: float
    spearman: float | None


def bin_index(values_P: ArrayLike, bins: int) -> Ints:
    """Equal-width bins of [0, 1]: [0, 1/b), …, [1 − 1/b, 1], the last closed; the bin of each value, [P].

    Raises ArtifactError for less than one bin or values outside [0, 1].
    """
    values = np.asarray(values_P, dtype=np.float64)
    if bins < 1:
        raise ArtifactError(f"bins = {bins}: at least one bin is needed")
    if not ((values >= 0) & (values <= 1)).all():
        raise ArtifactError(
            f"binned values must lie in [0, 1], got {values.min():g} to {values.max():g}; of an entropy pass H / log N"
        )
    return np.minimum(np.searchsorted(np.linspace(0, 1, bins + 1), values, side="right") - 1, bins - 1)


def accuracy_by_bin(
    normalised_P: ArrayLike, wrong_P: ArrayLike, *, bins: int = 10, level: float = 0.95
) -> pd.DataFrame:
    """Teacher accuracy per bin of H / log N: columns low, high, n, correct, accuracy, lower, upper (Wilson).

    Every bin has a row; an empty one has n = 0 and no accuracy (missing, not 0).
    """
    values, wrong = check_scores(normalised_P, wrong_P, "an accuracy per bin", name="entropy", one_class=True)
    index, edges = bin_index(values, bins), np.linspace(0, 1, bins + 1)
    rows = []
    for b in range(bins):
        n = int((index == b).sum())
        correct = n - int(wrong[index == b].sum())
        bounds = (math.nan, math.nan)
        if n:
            interval = wilson_interval(correct, n, level)
            bounds = (interval.low, interval.high)
        rows.append((edges[b], edges[b + 1], n, correct, correct / n if n else math.nan, *bounds))
    return pd.DataFrame(rows, columns=["low", "high", "n", "correct", "accuracy", "lower", "upper"])


def _check(weight_P: ArrayLike, correct_P: ArrayLike) -> tuple[Floats, Floats]:
    weights, correct = check_scores(weight_P, correct_P, "a calibration", name="weight", one_class=True)
    return weights, correct.astype(np.float64)


def reliability_bins(weight_P: ArrayLike, correct_P: ArrayLike, *, bins: int = 10) -> pd.DataFrame:
    """Accuracy in bins of w: columns low, high, n, correct, accuracy, lower, upper (Wilson), mean_weight, gap.

    gap = accuracy − mean_weight, positive where the teacher is better than its weight.
    """
    weights, correct = _check(weight_P, correct_P)
    table = accuracy_by_bin(weights, 1 - correct, bins=bins)
    sums = np.bincount(bin_index(weights, bins), weights=weights, minlength=bins)
    table["mean_weight"] = sums / table["n"].where(table["n"] > 0)
    table["gap"] = table["accuracy"] - table["mean_weight"]
    return table


def _ece(weights_P: Floats, correct_P: Floats, bins: int) -> float:
    # n_b |accuracy_b − mean w_b| = |Σ_{i in b} (right_i − w_i)|
    sums = np.bincount(bin_index(weights_P, bins), weights=correct_P - weights_P, minlength=bins)
    return float(np.abs(sums).sum() / len(weights_P))


def _spearman(weights_P: Floats, correct_P: Floats) -> float:
    """Correlation of the mid-ranks; NaN where one side is constant."""
    a, b = rankdata(weights_P), rankdata(correct_P)
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else math.nan


def calibration(weight_P: ArrayLike, correct_P: ArrayLike, *, bins: int = 10) -> Calibration:
    """The statistics of one set of problems; `correct` is 1 where the teacher is right."""
    weights, correct = _check(weight_P, correct_P)
    accuracy, rank = float(correct.mean()), _spearman(weights, correct)
    return Calibration(
        len(weights),
        accuracy,
        float(weights.mean()),
        _ece(weights, correct, bins),
        float(np.mean((weights - correct) ** 2)),
        accuracy * (1 - accuracy),
        None if math.isnan(rank) else rank,
    )


def calibration_table(frame: pd.DataFrame, *, resamples: int = 1000) -> pd.DataFrame:
    """`calibration` over all problems of an `annotation_frame` and in each difficulty, with intervals.

    Columns: group (`all` first, then in order of first appearance), n, accuracy, mean_weight, over (mean_weight −
    accuracy), brier, brier_constant, skill (1 − brier / brier_constant; missing where the constant is 0), ece,
    spearman, and `<name>_lower`, `<name>_upper` of over, brier, ece and spearman: percentile bootstrap over problems of
    the group.
    """
    rows = []
    for name in ("all", *dict.fromkeys(frame["difficulty"])):
        part = frame if name == "all" else frame[frame["difficulty"] == name]
        weights, right = _check(part["weight"], part["greedy_correct"].astype(bool))
        own = calibration(weights, right)

        def statistics(block: Ints, weights: Floats = weights, right: Floats = right) -> list[tuple[float, ...]]:
            pairs = ((weights[rows], right[rows]) for rows in block)
            return [
                (float(w.mean() - c.mean()), float(np.mean((w - c) ** 2)), _ece(w, c, 10), _spearman(w, c))
                for w, c in pairs
            ]

        values_RK = bootstrap_values(statistics, [np.arange(len(part))], resamples=resamples, seed=0)
        low, high = percentiles(values_RK, 0.95)
        values = (own.mean_weight - own.accuracy, own.brier, own.ece, own.spearman)
        row = {
            "group": name,
            "n": own.n,
            "accuracy": own.accuracy,
            "mean_weight": own.mean_weight,
            "brier_constant": own.brier_constant,
            "skill": 1 - own.brier / own.brier_constant if own.brier_constant > 0 else math.nan,
        }
        for k, (statistic, value) in enumerate(zip(("over", "brier", "ece", "spearman"), values, strict=True)):
            row |= {
                statistic: math.nan if value is None else value,
                f"{statistic}_lower": low[k],
                f"{statistic}_upper": high[k],
            }
        rows.append(row)
    return pd.DataFrame(rows)
