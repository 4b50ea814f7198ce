"""Is the distillation weight w = 1 − H / log N also the probability that the teacher is right? (UOPD, Eq. 6)

The method needs only that w is larger where the teacher is right; it does not claim that w is a probability. Read as
one, its faults can be seen and compared between teachers and difficulties:

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
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from artifact.stats.auroc import LengthMismatch, NotFinite, ScoreError
from artifact.stats.validation import accuracy_by_bin

Floats = NDArray[np.float64]


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


def _check(weight_P: ArrayLike, correct_P: ArrayLike) -> tuple[Floats, Floats]:
    weights, correct = np.asarray(weight_P, dtype=np.float64), np.asarray(correct_P)
    if weights.ndim != 1 or weights.shape != correct.shape or weights.size == 0:
        raise LengthMismatch(
            f"weights have shape {weights.shape} and labels {correct.shape}; one of each a problem is needed"
        )
    if not np.isfinite(weights).all():
        raise NotFinite(f"weight {int(np.flatnonzero(~np.isfinite(weights))[0])} is not finite")
    if weights.min() < 0 or weights.max() > 1:
        raise ScoreError(f"weights must lie in [0, 1], got {weights.min():g} to {weights.max():g}")
    if not np.isin(correct, (0, 1)).all():
        raise ScoreError(f"labels must be 0 or 1 (1 = the teacher is right), got {sorted(set(correct.tolist()))[:5]}")
    return weights, correct.astype(np.float64)


def _bins(weights_P: Floats, bins: int) -> NDArray[np.int64]:
    edges = np.linspace(0, 1, bins + 1)
    return np.minimum(np.searchsorted(edges, weights_P, side="right") - 1, bins - 1)


def reliability_bins(
    weight_P: ArrayLike, correct_P: ArrayLike, *, bins: int = 10, confidence: float = 0.95
) -> pd.DataFrame:
    """Accuracy in bins of w: columns low, high, n, correct, accuracy, lower, upper (Wilson), mean_weight, gap.

    gap = accuracy − mean_weight, positive where the teacher is better than its weight. Every bin has a row; an empty
    one has n = 0 and missing values.
    """
    weights, correct = _check(weight_P, correct_P)
    table = accuracy_by_bin(weights, 1 - correct, bins=bins, confidence=confidence)
    sums = np.bincount(_bins(weights, bins), weights=weights, minlength=bins)
    table["mean_weight"] = sums / table["n"].where(table["n"] > 0)
    table["gap"] = table["accuracy"] - table["mean_weight"]
    return table


def _ece(weights_P: Floats, correct_P: Floats, bins: int) -> float:
    # n_b |accuracy_b − mean w_b| = |Σ_{i in b} (right_i − w_i)|
    sums = np.bincount(_bins(weights_P, bins), weights=correct_P - weights_P, minlength=bins)
    return float(np.abs(sums).sum() / len(weights_P))


def _spearman(weights_P: Floats, correct_P: Floats) -> float:
    """Correlation of the mid-ranks; NaN where one side is constant."""
    a, b = rankdata(weights_P), rankdata(correct_P)
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else math.nan


def calibration(weight_P: ArrayLike, correct_P: ArrayLike, *, bins: int = 10) -> Calibration:
    """The statistics of one set of problems; `correct` is 1 where the teacher is right.

    Raises LengthMismatch, NotFinite, ScoreError (weights outside [0, 1], labels other than 0 and 1, bins < 1).
    """
    if bins < 1:
        raise ScoreError(f"bins = {bins}: at least one bin is needed")
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


def calibration_table(
    frame: pd.DataFrame,
    *,
    correct: str = "greedy_correct",
    by: str = "difficulty",
    bins: int = 10,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """`calibration` over all problems of an `annotation_frame` and in each group of column `by`, with intervals.

    Columns: group (`all` first, then in order of first appearance), n, accuracy, mean_weight, over (mean_weight −
    accuracy), brier, brier_constant, skill (1 − brier / brier_constant; missing where the constant is 0), ece,
    spearman, and `<name>_lower`, `<name>_upper` of over, brier, ece and spearman: percentile bootstrap over problems of
    the group. Resamples in which Spearman does not exist leave its interval missing.
    """
    rows = []
    for name in ("all", *dict.fromkeys(frame[by])):
        part = frame if name == "all" else frame[frame[by] == name]
        weights, right = _check(part["weight"], part[correct].astype(bool))
        own = calibration(weights, right, bins=bins)
        rng, n = np.random.default_rng(seed), len(part)
        draws = np.empty((resamples, 4))
        for r in range(resamples):
            i = rng.integers(0, n, n)
            w, c = weights[i], right[i]
            draws[r] = w.mean() - c.mean(), np.mean((w - c) ** 2), _ece(w, c, bins), _spearman(w, c)
        low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
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
