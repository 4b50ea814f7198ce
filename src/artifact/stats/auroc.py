"""AUROC with ties at one half, its intervals, and paired comparisons.

Polarity, everywhere: *positive = the teacher is wrong*, and the score is an uncertainty, so a good score is high on the
wrong ones and AUROC > 0.5.

    AUROC = P(score of a wrong > score of a right) + ½ P(equal)      (= the Mann-Whitney statistic by mid-ranks)

One row is one problem; several rows of one problem are a cluster, for which these intervals are too narrow. One class
only has no AUROC: an error, not NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A point estimate with its interval; `method` says which kind and over what."""

    value: float
    lower: float
    upper: float
    confidence: float
    method: str


@dataclass(frozen=True, slots=True)
class LabelComparison:
    """AUROC of one score under labels A minus its AUROC under labels B, on the same problems."""

    auroc_a: float
    auroc_b: float
    difference: Interval


@dataclass(frozen=True, slots=True)
class Comparison:
    """AUROC of score A minus AUROC of score B on the same problems; `p_value` two-sided, DeLong."""

    auroc_a: float
    auroc_b: float
    difference: Interval
    p_value: float


class ScoreError(ValueError):
    """Scores and labels do not allow the statistic asked for; the subclasses say why."""


class LengthMismatch(ScoreError):
    """There is not one score and one label for each problem."""


class NotFinite(ScoreError):
    """A score is NaN or infinite."""


class OneClassOnly(ScoreError):
    """The teacher is right everywhere, or wrong everywhere: nothing can be told apart."""


def check_labels(
    score_P: ArrayLike, wrong_P: ArrayLike, statistic: str = "an AUROC"
) -> tuple[Floats, NDArray[np.bool_]]:
    """Scores as float64 and labels as bool (True = wrong).

    Raises LengthMismatch, NotFinite, OneClassOnly, or ScoreError for labels other than 0 and 1. `statistic` is what
    the messages say they are needed for.
    """
    scores, labels = np.asarray(score_P, dtype=np.float64), np.asarray(wrong_P)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise LengthMismatch(
            f"scores have shape {scores.shape} and labels {labels.shape}; one of each a problem is needed"
        )
    if not np.isfinite(scores).all():
        raise NotFinite(
            f"score {int(np.flatnonzero(~np.isfinite(scores))[0])} is not finite; {statistic} needs finite scores"
        )
    if not np.isin(labels, (0, 1)).all():
        raise ScoreError(f"labels must be 0 or 1 (1 = the teacher is wrong), got {sorted(set(labels.tolist()))[:5]}")
    wrong = labels.astype(bool)
    if wrong.all() or not wrong.any():
        raise OneClassOnly(
            f"all {len(wrong)} labels are {'wrong' if len(wrong) and wrong.all() else 'right'}: {statistic} needs "
            "problems that the teacher gets wrong and problems that it gets right; use more problems or a harder set"
        )
    return scores, wrong


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
    """AUROC of an uncertainty score for the teacher's errors, ties counted one half."""
    scores, wrong = check_labels(score_P, wrong_P)
    return _auroc(_levels(scores), np.flatnonzero(wrong), np.flatnonzero(~wrong))


def _check_confidence(confidence: float, resamples: int = 1) -> None:
    if not 0 < confidence < 1 or resamples < 1:
        raise ValueError(f"confidence {confidence} must lie in (0, 1) and resamples {resamples} be at least 1")


def _resampled(scores_SP: Floats, wrong: NDArray[np.bool_], resamples: int, seed: int) -> Floats:
    """AUROCs of S scores on `resamples` stratified resamples (right and wrong drawn apart, one draw for all scores)."""
    rng = np.random.default_rng(seed)
    pos, neg = np.flatnonzero(wrong), np.flatnonzero(~wrong)
    levels_S = [_levels(scores_P) for scores_P in scores_SP]
    out_RS = np.empty((resamples, len(scores_SP)))
    for r in range(resamples):
        p, n = rng.choice(pos, len(pos)), rng.choice(neg, len(neg))
        out_RS[r] = [_auroc(levels_P, p, n) for levels_P in levels_S]
    return out_RS


def auroc_resamples(score_P: ArrayLike, wrong_P: ArrayLike, *, resamples: int = 2000, seed: int = 0) -> Floats:
    """The AUROCs of stratified resamples, shape [resamples]: what `auroc_bootstrap` takes its quantiles of."""
    scores, wrong = check_labels(score_P, wrong_P)
    return _resampled(scores[None], wrong, resamples, seed)[:, 0]


def auroc_bootstrap(
    score_P: ArrayLike, wrong_P: ArrayLike, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """AUROC with a percentile interval over problems, resampled within the right and within the wrong ones."""
    _check_confidence(confidence, resamples)
    values_R = auroc_resamples(score_P, wrong_P, resamples=resamples, seed=seed)
    lower, upper = np.quantile(values_R, [(1 - confidence) / 2, (1 + confidence) / 2])
    method = f"stratified bootstrap over problems, percentile, {resamples} resamples"
    return Interval(auroc(score_P, wrong_P), float(lower), float(upper), confidence, method)


def _delong(scores_SP: Floats, wrong: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """AUROCs (S) and their covariance (S × S), DeLong, DeLong & Clarke-Pearson 1988, by mid-ranks (Sun & Xu 2014).

    V10_i = share of negatives below positive i (ties ½), V01_j = share of positives above negative j;
    covariance = cov(V10)/n_+ + cov(V01)/n_−.
    """
    pos, neg = scores_SP[:, wrong], scores_SP[:, ~wrong]
    n_pos, n_neg = pos.shape[1], neg.shape[1]
    if min(n_pos, n_neg) < 2:
        raise ValueError(f"DeLong needs at least 2 problems of each class, got {n_pos} wrong and {n_neg} right")
    ranks = rankdata(np.concatenate([pos, neg], axis=1), axis=1)
    v10 = (ranks[:, :n_pos] - rankdata(pos, axis=1)) / n_neg
    v01 = 1 - (ranks[:, n_pos:] - rankdata(neg, axis=1)) / n_pos
    covariance_SS = np.atleast_2d(np.cov(v10)) / n_pos + np.atleast_2d(np.cov(v01)) / n_neg
    return v10.mean(axis=1), covariance_SS


def auroc_delong(score_P: ArrayLike, wrong_P: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """AUROC with DeLong's normal interval, clipped to [0, 1]. A large-sample approximation; needs no resampling."""
    _check_confidence(confidence)
    scores, wrong = check_labels(score_P, wrong_P)
    values_S, covariance_SS = _delong(scores[None], wrong)
    value, half = float(values_S[0]), float(norm.ppf((1 + confidence) / 2) * np.sqrt(covariance_SS[0, 0]))
    return Interval(value, max(0.0, value - half), min(1.0, value + half), confidence, "DeLong, normal")


def compare_auroc(
    score_a_P: ArrayLike,
    score_b_P: ArrayLike,
    wrong_P: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """AUROC(A) − AUROC(B) on the same problems, paired: each resample draws the same problems for both scores."""
    _check_confidence(confidence, resamples)
    (a, wrong), (b, _) = check_labels(score_a_P, wrong_P), check_labels(score_b_P, wrong_P)
    both_SP = np.stack([a, b])
    values_RS = _resampled(both_SP, wrong, resamples, seed)
    bounds: Sequence[float] = [(1 - confidence) / 2, (1 + confidence) / 2]
    lower, upper = np.quantile(values_RS[:, 0] - values_RS[:, 1], bounds)
    values_S, cov = _delong(both_SP, wrong)
    difference = float(values_S[0] - values_S[1])
    variance = float(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1])
    if variance > 1e-18:
        p_value = float(2 * norm.sf(abs(difference) / np.sqrt(variance)))
    else:  # the two scores rank every pair alike
        p_value = 1.0 if abs(difference) < 1e-12 else 0.0
    method = f"paired stratified bootstrap over problems, percentile, {resamples} resamples"
    interval = Interval(difference, float(lower), float(upper), confidence, method)
    return Comparison(float(values_S[0]), float(values_S[1]), interval, p_value)


def compare_labels(
    score_P: ArrayLike,
    wrong_a_P: ArrayLike,
    wrong_b_P: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> LabelComparison:
    """AUROC under labels A − AUROC under labels B for one score, paired: each resample draws the same problems.

    Not stratified, unlike the other intervals here: how many labels differ is itself a matter of chance, and holding it
    fixed would make the interval too narrow. A resample with one class only, under either label, is drawn again.
    """
    _check_confidence(confidence, resamples)
    (scores, a), (_, b) = check_labels(score_P, wrong_a_P), check_labels(score_P, wrong_b_P)
    levels, n = _levels(scores), len(scores)
    rng, values_R = np.random.default_rng(seed), np.empty(resamples)
    for r in range(resamples):
        rows = rng.integers(0, n, n)
        while any(not 0 < wrong[rows].sum() < n for wrong in (a, b)):
            rows = rng.integers(0, n, n)
        under_a, under_b = (_auroc(levels, rows[wrong[rows]], rows[~wrong[rows]]) for wrong in (a, b))
        values_R[r] = under_a - under_b
    lower, upper = np.quantile(values_R, [(1 - confidence) / 2, (1 + confidence) / 2])
    value_a, value_b = auroc(scores, a), auroc(scores, b)
    method = f"paired bootstrap over problems, percentile, {resamples} resamples"
    interval = Interval(value_a - value_b, float(lower), float(upper), confidence, method)
    return LabelComparison(value_a, value_b, interval)
