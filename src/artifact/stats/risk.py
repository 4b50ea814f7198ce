"""Risk–coverage and rejection curves of an uncertainty score, averaged over the orders within ties.

Polarity: a high score means that the teacher is *wrong*; the problems with the lowest scores are kept first. With P
problems, of which the k surest are kept,

    risk(k) = E[wrong among the k kept] / k,   coverage = k / P,   rejected = 1 − k / P,   accuracy = 1 − risk
    AURC    = (1/P) Σ_{k=1..P} risk(k)                        Geifman & El-Yaniv 2017; lower is better

Semantic entropy has few distinct values, so which of the tied problems come first would decide the number. The
expectation here is over all orders within ties, in closed form: after M problems with E wrong ones, the next j of a tie
of m, e of them wrong, bring E + j·e/m wrong ones on average, so risk(M + j) = (E + j·e/m) / (M + j). Two references:
the oracle keeps every right one first, risk(k) = max(0, k − P_right)/k; a score without information has risk(k) = error
rate for every k. Excess AURC = AURC − oracle (Geifman, Uziel & El-Yaniv 2019).

A perfect score has the oracle's AURC in every stratified resample, and an accuracy of 1 in what it keeps: bars of no
width, which are false. There the AURC's interval reaches to the largest (and smallest) AURC that any order of these
problems has at the ends of the AUROC's Newcombe interval, and an accuracy has Wilson's interval over what is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from artifact.errors import ArtifactError
from artifact.stats.auroc import auroc, newcombe_interval
from artifact.stats.bootstrap import bootstrap_values, percentile_interval, percentiles
from artifact.stats.checks import Bools, Floats, Ints, check_level, check_scores
from artifact.stats.interval import Interval, wilson_score

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Shares kept in a `rejection_table`."""


@dataclass(frozen=True, slots=True)
class RiskSummary:
    """AURC with its two references; all are means of risks in [0, 1].

    aurc        with a percentile bootstrap interval over problems; `method` says where it is another
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


def _expected_wrong(scores_P: Floats, wrong_P: Bools) -> Floats:
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
    Raises ArtifactError, OneClassOnly.
    """
    scores, wrong = check_scores(score_P, wrong_P, "a risk–coverage curve")
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


def extreme_areas(right: int, wrong: int, low: float, high: float) -> tuple[float, float]:
    """The smallest and the largest AURC of any order of the problems whose AUROC lies in [`low`, `high`].

    An order with AUROC θ has (1 − θ) · wrong · right discordant pairs, a wrong one kept before a right one. A wrong one
    at place i adds Σ_{k ≥ i} 1/k to P · AURC: convex and falling in i. So for a given number of such pairs the area is
    largest with as many wrong ones as possible at the very front, and smallest with all of them in one block.
    """
    fewest = int(np.floor((1 - high) * wrong * right + 1e-9))
    most = int(np.ceil((1 - low) * wrong * right - 1e-9))
    in_front, moved = divmod(most, right)
    worst = [1] * in_front + [0] * right + [1] * (wrong - in_front)
    if moved:  # one more wrong one stands `moved` places before the end of the right ones
        worst = [1] * in_front + [0] * (right - moved) + [1] + [0] * moved + [1] * (wrong - in_front - 1)
    before, later = divmod(wrong * right - fewest, wrong)
    best = [0] * before + [1] * (wrong - later) + [0] * (right - before)
    if later:
        best = [0] * before + [1] * (wrong - later) + [0] + [1] * later + [0] * (right - before - 1)
    return _area(np.cumsum(best, dtype=np.float64)), _area(np.cumsum(worst, dtype=np.float64))


def aurc(score_P: ArrayLike, wrong_P: ArrayLike) -> float:
    """Area under the risk–coverage curve, averaged over ties; the errors are those of `risk_coverage`."""
    return _area(_expected_wrong(*check_scores(score_P, wrong_P, "an AURC")))


def risk_summary(
    score_P: ArrayLike, wrong_P: ArrayLike, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> RiskSummary:
    """AURC, its references and its intervals, resampled within the right and within the wrong problems."""
    check_level(level)
    scores, wrong = check_scores(score_P, wrong_P, "an AURC")
    n, n_wrong = len(wrong), int(wrong.sum())
    oracle, random = _area(_oracle_wrong(n, n_wrong)), n_wrong / n
    value = _area(_expected_wrong(scores, wrong))
    strata = [np.flatnonzero(wrong), np.flatnonzero(~wrong)]
    labels = np.arange(n) < n_wrong  # a resample lists the wrong ones first
    values_R = bootstrap_values(
        lambda block: [_area(_expected_wrong(scores[rows], labels)) for rows in block],
        strata,
        resamples=resamples,
        seed=seed,
    )
    method = f"stratified bootstrap over problems, percentile, {resamples} resamples"
    own = percentile_interval(value, values_R, level, method)
    if own.low == own.high:
        ends = newcombe_interval(auroc(scores, wrong), n_wrong, n - n_wrong, level)
        low, high = extreme_areas(n - n_wrong, n_wrong, ends.low, ends.high)
        method = f"extreme orders within {ends.method}"
        own = Interval(value, min(low, value), max(high, value), level, method)

    def gain(area: float) -> float:
        return (random - area) / (random - oracle)

    return RiskSummary(
        own, oracle, random, value - oracle, Interval(gain(value), gain(own.high), gain(own.low), level, method)
    )


def rejection_table(
    score_P: ArrayLike, wrong_P: ArrayLike, *, coverages: Sequence[float] = COVERAGES, resamples: int = 1000
) -> pd.DataFrame:
    """Accuracy of what is kept at chosen coverages, with percentile bootstrap intervals over problems (not stratified).

    Wilson's interval over the problems kept where the bootstrap has no spread.

    Columns: coverage (as asked), kept (= ⌈coverage · P⌉), accuracy, lower, upper, oracle, above_all (accuracy minus
    that of keeping all), above_lower, above_upper (paired: both from the same resample).
    """
    scores, wrong = check_scores(score_P, wrong_P, "a rejection curve")
    if not coverages or not all(0 < c <= 1 for c in coverages):
        raise ArtifactError(f"coverages {list(coverages)} must be shares of the problems in (0, 1]")
    n = len(scores)
    kept = np.ceil(np.asarray(coverages) * n - 1e-9).astype(int)

    def accuracies(rows: Ints) -> Floats:
        expected = _expected_wrong(scores[rows], wrong[rows])
        return np.append(1 - expected[kept - 1] / kept, 1 - expected[-1] / n)

    values_RK = bootstrap_values(
        lambda block: [accuracies(rows) for rows in block], [np.arange(n)], resamples=resamples, seed=0
    )
    own = accuracies(np.arange(n))
    lower, upper = percentiles(values_RK[:, :-1], 0.95)
    for k in np.flatnonzero(lower == upper):
        bar = wilson_score(float(own[k]), int(kept[k]), 0.95, "Wilson score interval over the problems kept")
        lower[k], upper[k] = bar.low, bar.high
    above_lower, above_upper = percentiles(values_RK[:, :-1] - values_RK[:, -1:], 0.95)
    return pd.DataFrame(
        {
            "coverage": list(coverages),
            "kept": kept,
            "accuracy": own[:-1],
            "lower": lower,
            "upper": upper,
            "oracle": 1 - _oracle_wrong(n, int(wrong.sum()))[kept - 1] / kept,
            "above_all": own[:-1] - own[-1],
            "above_lower": above_lower,
            "above_upper": above_upper,
        }
    )


def compare_risk(table: pd.DataFrame, scores: Sequence[str], *, resamples: int = 1000) -> pd.DataFrame:
    """`risk_summary` for several score columns of a `score_table` (column `wrong`)."""
    rows = []
    for score in scores:
        s = risk_summary(table[score], table["wrong"], resamples=resamples)
        rows.append(
            (
                score,
                len(table),
                int(table["wrong"].sum()),
                s.aurc.estimate,
                s.aurc.low,
                s.aurc.high,
                s.oracle,
                s.random,
                s.excess,
                s.gain.estimate,
                s.gain.low,
                s.gain.high,
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
