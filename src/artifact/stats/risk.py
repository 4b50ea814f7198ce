"""Risk–coverage and rejection curves of an uncertainty score, averaged over the orders within ties.

Polarity: a high score means that the teacher is *wrong*; the problems with the lowest scores are kept first. With P
problems, of which the k surest are kept,

    risk(k) = E[wrong among the k kept] / k,   coverage = k / P,   rejected = 1 − k / P,   accuracy = 1 − risk
    AURC    = (1/P) Σ_{k=1..P} risk(k)                        Geifman & El-Yaniv 2017; lower is better

Semantic entropy has few distinct values, so which of the tied problems come first would decide the number. The
expectation here is over all orders within ties, in closed form: after M problems with E wrong ones, the next j of a tie
of m, e of them wrong, bring E + j·e/m wrong ones on average, so risk(M + j) = (E + j·e/m) / (M + j). Nothing is
simulated. Two references: the oracle keeps every right one first, risk(k) = max(0, k − P_right)/k; a score without
information has risk(k) = error rate for every k. Excess AURC = AURC − oracle (Geifman, Uziel & El-Yaniv 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from artifact.stats.auroc import Interval, ScoreError, check_labels

Floats = NDArray[np.float64]

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Shares kept in a `rejection_table`."""


@dataclass(frozen=True, slots=True)
class RiskSummary:
    """AURC with its two references; all are means of risks in [0, 1].

    aurc        with a percentile bootstrap interval over problems
    oracle      the lowest possible, at this error rate
    random      without information: the error rate
    excess      aurc − oracle
    gain        (random − aurc) / (random − oracle): 0 without information, 1 for the oracle, negative when misleading,
                with an interval over the same resamples
    """

    aurc: Interval
    oracle: float
    random: float
    excess: float
    gain: Interval


def _expected_wrong(scores_P: Floats, wrong_P: NDArray[np.bool_]) -> Floats:
    """E[wrong among the k kept] for k = 1 … P, the expectation over all orders within ties."""
    _, level_P, size_L = np.unique(scores_P, return_inverse=True, return_counts=True)
    rate_L = np.bincount(level_P, weights=wrong_P) / size_L
    expected: Floats = np.cumsum(np.repeat(rate_L, size_L))
    return expected


def _oracle_wrong(n: int, wrong: int) -> Floats:
    return np.maximum(0.0, np.arange(1, n + 1) - (n - wrong))


def risk_coverage(score_P: ArrayLike, wrong_P: ArrayLike) -> pd.DataFrame:
    """The curve, one row for each k = 1 … P: kept, coverage, rejected, threshold, risk, accuracy, oracle.

    `threshold` is the score of the k-th kept problem, `oracle` the oracle's accuracy.
    Raises LengthMismatch, NotFinite, OneClassOnly.
    """
    scores, wrong = check_labels(score_P, wrong_P, "a risk–coverage curve")
    n = len(scores)
    kept = np.arange(1, n + 1)
    risk = _expected_wrong(scores, wrong) / kept
    return pd.DataFrame(
        {
            "kept": kept,
            "coverage": kept / n,
            "rejected": 1 - kept / n,
            "threshold": np.sort(scores),
            "risk": risk,
            "accuracy": 1 - risk,
            "oracle": 1 - _oracle_wrong(n, int(wrong.sum())) / kept,
        }
    )


def _area(expected_wrong_P: Floats) -> float:
    return float((expected_wrong_P / np.arange(1, len(expected_wrong_P) + 1)).mean())


def aurc(score_P: ArrayLike, wrong_P: ArrayLike) -> float:
    """Area under the risk–coverage curve, averaged over ties; the errors are those of `risk_coverage`."""
    return _area(_expected_wrong(*check_labels(score_P, wrong_P, "an AURC")))


def _check(confidence: float, resamples: int) -> None:
    if not 0 < confidence < 1 or resamples < 1:
        raise ScoreError(f"confidence {confidence} must lie in (0, 1) and resamples {resamples} be at least 1")


def risk_summary(
    score_P: ArrayLike, wrong_P: ArrayLike, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> RiskSummary:
    """AURC, its references and its intervals, resampled within the right and within the wrong problems.

    The error rate, hence oracle and random, is the same in every resample: the intervals are about the score.
    """
    _check(confidence, resamples)
    scores, wrong = check_labels(score_P, wrong_P, "an AURC")
    n, n_wrong = len(wrong), int(wrong.sum())
    oracle, random = _area(_oracle_wrong(n, n_wrong)), n_wrong / n
    value = _area(_expected_wrong(scores, wrong))
    rng, bad, good = np.random.default_rng(seed), np.flatnonzero(wrong), np.flatnonzero(~wrong)
    labels = np.repeat([True, False], [len(bad), len(good)])
    values_R = np.empty(resamples)
    for r in range(resamples):
        rows = np.concatenate([rng.choice(bad, len(bad)), rng.choice(good, len(good))])
        values_R[r] = _area(_expected_wrong(scores[rows], labels))
    low, high = (float(q) for q in np.quantile(values_R, [(1 - confidence) / 2, (1 + confidence) / 2]))
    method = f"stratified bootstrap over problems, percentile, {resamples} resamples"

    def gain(area: float) -> float:
        return (random - area) / (random - oracle)

    return RiskSummary(
        Interval(value, low, high, confidence, method),
        oracle,
        random,
        value - oracle,
        Interval(gain(value), gain(high), gain(low), confidence, method),
    )


def rejection_table(
    score_P: ArrayLike,
    wrong_P: ArrayLike,
    *,
    coverages: Sequence[float] = COVERAGES,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Accuracy of what is kept at chosen coverages, with percentile bootstrap intervals over problems (not stratified).

    Columns: coverage (as asked), kept (= ⌈coverage · P⌉), accuracy, lower, upper, oracle, above_all (accuracy minus
    that of keeping all), above_lower, above_upper (paired: both from the same resample).
    """
    _check(confidence, resamples)
    scores, wrong = check_labels(score_P, wrong_P, "a rejection curve")
    if not coverages or not all(0 < c <= 1 for c in coverages):
        raise ScoreError(f"coverages {list(coverages)} must be shares of the problems in (0, 1]")
    n = len(scores)
    kept = np.ceil(np.asarray(coverages) * n - 1e-9).astype(int)

    def accuracies(rows: NDArray[np.int64]) -> Floats:
        expected = _expected_wrong(scores[rows], wrong[rows])
        return np.append(1 - expected[kept - 1] / kept, 1 - expected[-1] / n)

    rng = np.random.default_rng(seed)
    values_RK = np.stack([accuracies(rng.integers(0, n, n)) for _ in range(resamples)])
    bounds = [(1 - confidence) / 2, (1 + confidence) / 2]
    (lower, upper), own = np.quantile(values_RK[:, :-1], bounds, axis=0), accuracies(np.arange(n))
    above = np.quantile(values_RK[:, :-1] - values_RK[:, -1:], bounds, axis=0)
    return pd.DataFrame(
        {
            "coverage": list(coverages),
            "kept": kept,
            "accuracy": own[:-1],
            "lower": lower,
            "upper": upper,
            "oracle": 1 - _oracle_wrong(n, int(wrong.sum()))[kept - 1] / kept,
            "above_all": own[:-1] - own[-1],
            "above_lower": above[0],
            "above_upper": above[1],
        }
    )


def compare_risk(table: pd.DataFrame, scores: Sequence[str], *, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """`risk_summary` for several score columns of a `score_table` (column `wrong`).

    Columns: score, problems, n_wrong, aurc, lower, upper, oracle, random, excess, gain, gain_lower, gain_upper.
    """
    rows = []
    for score in scores:
        s = risk_summary(table[score], table["wrong"], resamples=resamples, seed=seed)
        rows.append(
            (
                score,
                len(table),
                int(table["wrong"].sum()),
                s.aurc.value,
                s.aurc.lower,
                s.aurc.upper,
                s.oracle,
                s.random,
                s.excess,
                s.gain.value,
                s.gain.lower,
                s.gain.upper,
            )
        )
    return pd.DataFrame(
        rows,
        columns=[
            "score",
            "problems",
            "n_wrong",
            "aurc",
            "lower",
            "upper",
            "oracle",
            "random",
            "excess",
            "gain",
            "gain_lower",
            "gain_upper",
        ],
    )
