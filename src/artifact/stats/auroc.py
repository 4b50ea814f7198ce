"""AUROC with ties at one half, its intervals, and paired comparisons.

Polarity, everywhere: *positive = the teacher is wrong*, and the score is an uncertainty, so a good score is high on the
wrong ones and AUROC > 0.5.

    AUROC = P(score of a wrong > score of a right) + ½ P(equal)      (= the Mann-Whitney statistic by mid-ranks)

One row is one problem; several rows of one problem are a cluster, for which these intervals are too narrow. One class
only has no AUROC: an error, not NaN.

Where no resample differs (a perfect score, above all) bootstrap and DeLong give a bar of no width, which is false: five
wrong problems ranked perfectly do not prove that all are. There `newcombe_interval` stands, and `method` says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import norm, rankdata
from sklearn.metrics import roc_curve

from artifact.errors import ArtifactError
from artifact.stats.bootstrap import bootstrap_values, percentile_interval
from artifact.stats.checks import Bools, Floats, Ints, check_level, check_scores
from artifact.stats.interval import Interval


@dataclass(frozen=True, slots=True)
class LabelComparison:
    """AUROC of one score under labels A minus its AUROC under labels B, on the same problems."""

    auroc_a: float
    auroc_b: float
    difference: Interval


@dataclass(frozen=True, slots=True)
class ScoreComparison:
    """AUROC of score A minus AUROC of score B on the same problems; `p_value` two-sided, DeLong.

    `p_value` is NaN where DeLong's variance is 0 and the AUROCs differ (one score perfect, the other perfectly wrong).
    """

    auroc_a: float
    auroc_b: float
    difference: Interval
    p_value: float


def _auroc(levels_P: Ints, positive: Ints, negative: Ints) -> float:
    """The formula above for the problems listed in `positive` and `negative`, by counting them at each score level."""
    n_levels = int(levels_P.max()) + 1
    pos_L = np.bincount(levels_P[positive], minlength=n_levels)
    neg_L = np.bincount(levels_P[negative], minlength=n_levels)
    twice = pos_L @ (2 * np.cumsum(neg_L) - neg_L)  # 2 · (wrong above right) + ties: an integer
    return float(twice) / (2 * len(positive) * len(negative))


def _levels(scores_P: Floats) -> Ints:
    """Scores as ranks of their distinct values, 0 … L−1: all that an AUROC depends on."""
    return np.unique(scores_P, return_inverse=True)[1].astype(np.int64)


def auroc(score_P: ArrayLike, wrong_P: ArrayLike) -> float:
    """AUROC of an uncertainty score for the teacher's errors, ties counted one half; the errors of `check_scores`."""
    scores, wrong = check_scores(score_P, wrong_P, "an AUROC")
    return _auroc(_levels(scores), np.flatnonzero(wrong), np.flatnonzero(~wrong))


def roc_points(score_P: ArrayLike, wrong_P: ArrayLike) -> pd.DataFrame:
    """The ROC curve: columns threshold, false_positive_rate, true_positive_rate; positive = score ≥ threshold."""
    scores, wrong = check_scores(score_P, wrong_P, "an ROC curve")
    fpr, tpr, thresholds = roc_curve(wrong, scores, drop_intermediate=False)
    return pd.DataFrame({"threshold": thresholds, "false_positive_rate": fpr, "true_positive_rate": tpr})


def _resampled(scores_SP: Floats, wrong: Bools, resamples: int, seed: int) -> Floats:
    """AUROCs [R, S] of S scores on stratified resamples: right and wrong drawn apart, one draw for all scores."""
    strata, levels_S = [np.flatnonzero(wrong), np.flatnonzero(~wrong)], [_levels(scores_P) for scores_P in scores_SP]
    n = len(strata[0])
    return bootstrap_values(
        lambda block: [[_auroc(levels_P, rows[:n], rows[n:]) for levels_P in levels_S] for rows in block],
        strata,
        resamples=resamples,
        seed=seed,
    )


def auroc_resamples(score_P: ArrayLike, wrong_P: ArrayLike, *, resamples: int = 2000, seed: int = 0) -> Floats:
    """The AUROCs of stratified resamples, shape [resamples]: what `auroc_bootstrap` takes its quantiles of."""
    scores, wrong = check_scores(score_P, wrong_P, "an AUROC")
    return _resampled(scores[None], wrong, resamples, seed)[:, 0]


def newcombe_interval(value: float, wrong: int, right: int, level: float = 0.95) -> Interval:
    """Score-type interval of an AUROC from the numbers of both classes alone; never of width 0.

    All θ with |value − θ| ≤ z √V(θ), where V is Hanley & McNeil's variance with both sample sizes at their mean,

        V(θ) = θ(1 − θ) [1 + N ((1 − θ)/(2 − θ) + θ/(1 + θ))] / (wrong · right),   N = (wrong + right)/2 − 1

    Newcombe 2006, Statistics in Medicine 25:559, method 5. Raises ArtifactError unless 0 ≤ value ≤ 1 and both classes
    have a problem.
    """
    check_level(level)
    if not 0 <= value <= 1 or min(wrong, right) < 1:
        raise ArtifactError(f"an AUROC in [0, 1] of two classes; got {value} of {wrong} wrong and {right} right")
    z, n = float(norm.ppf((1 + level) / 2)), (wrong + right) / 2 - 1

    def lower(estimate: float) -> float:
        def gap(theta: float) -> float:
            spread = 1 + n * ((1 - theta) / (2 - theta) + theta / (1 + theta))
            return estimate - theta - z * float(np.sqrt(theta * (1 - theta) * spread / (wrong * right)))

        end = min(estimate, 1 - 1e-12)  # at 1 itself the variance is 0, and 1 a root that says nothing
        return 0.0 if estimate == 0 else float(brentq(gap, 0.0, end))

    # V(θ) = V(1 − θ): the upper end is the lower end of the score turned round.
    return Interval(value, lower(value), 1 - lower(1 - value), level, "Newcombe's score interval (no resample differs)")


def _with_width(interval: Interval, wrong: Bools) -> Interval:
    """`interval`, or Newcombe's where it has no width."""
    if interval.low < interval.high:
        return interval
    n_wrong = int(wrong.sum())
    return newcombe_interval(interval.estimate, n_wrong, len(wrong) - n_wrong, interval.level)


def difference_of(a: Interval, b: Interval, method: str) -> Interval:
    """a − b from the two intervals, squares of their arms added (Newcombe 1998; Zou & Donner 2008, "MOVER").

    For independent estimates; too wide for positively correlated ones, such as two scores of the same problems.
    """
    d = a.estimate - b.estimate
    low = d - float(np.hypot(a.estimate - a.low, b.high - b.estimate))
    high = d + float(np.hypot(a.high - a.estimate, b.estimate - b.low))
    return Interval(d, low, high, a.level, method)


def auroc_bootstrap(
    score_P: ArrayLike, wrong_P: ArrayLike, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """AUROC with a percentile interval over problems, resampled within the right and within the wrong ones."""
    check_level(level)
    scores, wrong = check_scores(score_P, wrong_P, "an AUROC")
    values_R = auroc_resamples(scores, wrong, resamples=resamples, seed=seed)
    method = f"stratified bootstrap over problems, percentile, {resamples} resamples"
    return _with_width(percentile_interval(auroc(scores, wrong), values_R, level, method), wrong)


def _delong(scores_SP: Floats, wrong: Bools) -> tuple[Floats, Floats]:
    """AUROCs (S) and their covariance (S × S), DeLong, DeLong & Clarke-Pearson 1988, by mid-ranks (Sun & Xu 2014).

    V10_i = share of negatives below positive i (ties ½), V01_j = share of positives above negative j;
    covariance = cov(V10)/n_+ + cov(V01)/n_−.
    """
    pos, neg = scores_SP[:, wrong], scores_SP[:, ~wrong]
    n_pos, n_neg = pos.shape[1], neg.shape[1]
    if min(n_pos, n_neg) < 2:
        raise ArtifactError(f"DeLong needs at least 2 problems of each class, got {n_pos} wrong and {n_neg} right")
    ranks = rankdata(np.concatenate([pos, neg], axis=1), axis=1)
    v10 = (ranks[:, :n_pos] - rankdata(pos, axis=1)) / n_neg
    v01 = 1 - (ranks[:, n_pos:] - rankdata(neg, axis=1)) / n_pos
    covariance_SS = np.atleast_2d(np.cov(v10)) / n_pos + np.atleast_2d(np.cov(v01)) / n_neg
    return v10.mean(axis=1), covariance_SS


def auroc_delong(score_P: ArrayLike, wrong_P: ArrayLike, *, level: float = 0.95) -> Interval:
    """AUROC with DeLong's normal interval, clipped to [0, 1]. A large-sample approximation; needs no resampling."""
    check_level(level)
    scores, wrong = check_scores(score_P, wrong_P, "an AUROC")
    values_S, covariance_SS = _delong(scores[None], wrong)
    value, half = float(values_S[0]), float(norm.ppf((1 + level) / 2) * np.sqrt(covariance_SS[0, 0]))
    return _with_width(Interval(value, max(0.0, value - half), min(1.0, value + half), level, "DeLong, normal"), wrong)


def compare_auroc(
    score_a_P: ArrayLike,
    score_b_P: ArrayLike,
    wrong_P: ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> ScoreComparison:
    """AUROC(A) − AUROC(B) on the same problems, paired: each resample draws the same problems for both scores."""
    check_level(level)
    (a, wrong), (b, _) = (check_scores(score_P, wrong_P, "an AUROC") for score_P in (score_a_P, score_b_P))
    both_SP = np.stack([a, b])
    values_RS = _resampled(both_SP, wrong, resamples, seed)
    values_S, cov = _delong(both_SP, wrong)
    difference = float(values_S[0] - values_S[1])
    variance = float(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1])
    if variance > 1e-18:
        p_value = float(2 * norm.sf(abs(difference) / np.sqrt(variance)))
    else:  # the two scores rank every pair alike, or each is perfect or perfectly wrong
        p_value = 1.0 if abs(difference) < 1e-12 else float("nan")
    method = f"paired stratified bootstrap over problems, percentile, {resamples} resamples"
    interval = percentile_interval(difference, values_RS[:, 0] - values_RS[:, 1], level, method)
    if interval.low == interval.high and not np.array_equal(_levels(a), _levels(b)):
        n_wrong = int(wrong.sum())
        of_a, of_b = (newcombe_interval(float(v), n_wrong, len(wrong) - n_wrong, level) for v in values_S)
        interval = difference_of(of_a, of_b, "difference of Newcombe's score intervals (no resample differs)")
    return ScoreComparison(float(values_S[0]), float(values_S[1]), interval, p_value)


def compare_labels(
    score_P: ArrayLike,
    wrong_a_P: ArrayLike,
    wrong_b_P: ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> LabelComparison:
    """AUROC under labels A − AUROC under labels B for one score, paired: each resample draws the same problems.

    Not stratified, unlike the other intervals here: how many labels differ is itself a matter of chance, and holding it
    fixed would make the interval too narrow. A resample with one class only, under either label, is drawn again.
    """
    check_level(level)
    (scores, a), (_, b) = (check_scores(score_P, wrong_P, "an AUROC") for wrong_P in (wrong_a_P, wrong_b_P))
    levels, n = _levels(scores), len(scores)

    def both_classes(block: Ints) -> Bools:
        counts = np.stack([a[block].sum(1), b[block].sum(1)])
        return np.logical_and.reduce((counts > 0) & (counts < n))

    def difference(rows: Ints) -> float:
        under_a, under_b = (_auroc(levels, rows[wrong[rows]], rows[~wrong[rows]]) for wrong in (a, b))
        return under_a - under_b

    values_R = bootstrap_values(
        lambda block: [difference(rows) for rows in block],
        [np.arange(n)],
        resamples=resamples,
        seed=seed,
        accept=both_classes,
    )
    value_a, value_b = auroc(scores, a), auroc(scores, b)
    method = f"paired bootstrap over problems, percentile, {resamples} resamples"
    return LabelComparison(value_a, value_b, percentile_interval(value_a - value_b, values_R, level, method))
