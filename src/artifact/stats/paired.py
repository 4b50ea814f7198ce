"""Two methods on the same problems: difference, test, and the difference that could have been found.

Seeds are averaged within a problem, so one problem gives one difference; problems are what is resampled and flipped.
Whether the difference outlasts other seeds is another question, with a test of its own (`seeds_p_value`); both at once
are counted in `crossed.py`. Left out: corrections for many comparisons (`report/differences.py`). Array axes: S seeds,
P problems.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import ncf, t, ttest_1samp, ttest_ind

from artifact.errors import ArtifactError
from artifact.stats.accuracy import check_outcomes
from artifact.stats.bootstrap import CHUNK, RESAMPLES, bootstrap_values, percentile_interval
from artifact.stats.checks import check_level
from artifact.stats.interval import Interval

EXACT_SIGN_FLIPS = 16
"""Up to so many non-zero differences all 2^n sign patterns are enumerated."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Difference of two methods (a − b) on the same P problems, seeds averaged within each problem.

    difference    mean over problems with its percentile bootstrap interval over problems
    p_value       two-sided sign-flip permutation test of "the methods are exchangeable on every problem"
    exact         whether all sign patterns were enumerated
    sd_problems   SD (n − 1) over problems of the per-problem difference; its SE is sd_problems / √P
    smallest_detectable   true difference that a paired t-test on P such problems finds with 80 % power, two-sided 5 %;
                          NaN where sd_problems is 0: no spread was seen, which is not a spread of 0
    problems      P
    """

    difference: Interval
    p_value: float
    exact: bool
    sd_problems: float
    smallest_detectable: float
    problems: int


def is_significant(difference: Interval, p_value: float) -> bool:
    """Whether a difference may be claimed: its interval leaves out 0 and its test rejects at the interval's level."""
    return not difference.low <= 0 <= difference.high and p_value <= 1 - difference.level


def smallest_detectable_difference(sd_problems: float, problems: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """The true mean difference that a two-sided paired t-test on `problems` problems detects with the given power.

    `detectable_effect` at SE = sd/√P on P − 1 degrees of freedom, so it holds for 30 problems as well as for thousands.
    """
    if problems < 2:
        raise ArtifactError(f"a paired t-test needs problems >= 2; got {problems}")
    return detectable_effect(sd_problems / float(np.sqrt(problems)), problems - 1, power, alpha)


def detectable_effect(standard_error: float, df: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """The true difference δ that a two-sided t-test with this standard error detects with the given power.

    Solves P(T² > t_crit²) = power for the non-centrality λ = (δ/SE)² of T² ~ F(1, df, λ). NaN for a standard error of
    0, from which no power follows. Raises ArtifactError unless df > 0, SE >= 0 and 0 < alpha < power < 1.
    """
    if df <= 0 or standard_error < 0 or not 0 < alpha < power < 1:
        raise ArtifactError(
            f"needs df > 0, a standard error >= 0, 0 < alpha < power < 1; got {df}, {standard_error}, {alpha}, {power}"
        )
    if standard_error == 0:
        return float("nan")
    critical = float(t.ppf(1 - alpha / 2, df))

    def excess(shift: float) -> float:  # shift = δ/SE
        return float(ncf.sf(critical**2, 1, df, shift**2)) - power

    return float(brentq(excess, 1e-6, 3 * critical + 5)) * standard_error


def sign_flip_p_value(difference_P: ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, bool]:
    """Two-sided p-value of mean difference 0, and whether it is exact.

    Null: for each problem the two methods' labels may be swapped, d_p ~ −d_p. p = share of sign patterns whose
    |Σ ± d_p| reaches the observed |Σ d_p|. All 2^n patterns where n <= 16 differences are non-zero; else
    (1 + hits) / (1 + resamples) over random patterns.
    """
    d = np.asarray(difference_P, dtype=np.float64)
    d = d[np.abs(d) > 1e-12]
    if d.size == 0:
        return 1.0, True
    observed = abs(d.sum()) - 1e-9 * np.abs(d).sum()  # equal sums must compare equal in spite of rounding
    if d.size <= EXACT_SIGN_FLIPS:
        signs = 1 - 2 * ((np.arange(2**d.size)[:, None] >> np.arange(d.size)) & 1)
        return float((np.abs(signs @ d) >= observed).mean()), True
    rng, hits, done = np.random.default_rng(seed), 0, 0
    while done < resamples:
        rows = min(resamples - done, max(1, CHUNK // d.size))
        flips = rng.integers(0, 2, (rows, d.size), dtype=np.int8)
        hits += int((np.abs(d.sum() - 2 * (flips @ d)) >= observed).sum())
        done += rows
    return (1 + hits) / (1 + resamples), False


def seeds_p_value(a_S: Mapping[int, float], b_S: Mapping[int, float], *, fixed: bool = False) -> float | None:
    """Two-sided p-value of "both methods have the same expected accuracy over training seeds"; None if unknown.

    a_S, b_S are accuracies by seed, over the same problems. Runs of one seed share their prompts and their order, so
    where both have the same seeds they are paired and a t-test of the differences is taken; else Welch's. `fixed` says
    that b is an untrained model, which no seed varies: a t-test of a against it. One seed has no spread: None.
    Differences that are all equal give 0, or 1 where they are 0.
    """
    a, b = np.array(list(a_S.values())), np.array(list(b_S.values()))
    if fixed or a_S.keys() == b_S.keys():
        d = a - (b.mean() if fixed else np.array([b_S[seed] for seed in a_S]))
        if len(d) < 2:
            return None
        if np.ptp(d) < 1e-12:
            return float(abs(d[0]) < 1e-12)
        return float(ttest_1samp(d, 0.0).pvalue)
    if min(len(a), len(b)) < 2:
        return None
    if np.ptp(a) < 1e-12 and np.ptp(b) < 1e-12:
        return float(abs(a[0] - b[0]) < 1e-12)
    return float(ttest_ind(a, b, equal_var=False).pvalue)


def paired_difference(
    a_SP: ArrayLike, b_SP: ArrayLike, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> PairedDifference:
    """Method a minus method b on the same problems, column p being the same problem in both.

    Outcomes [S, P] (or [P]), 0/1 or means over samples; the numbers of seeds may differ.
    """
    check_level(level)
    a, b = check_outcomes(a_SP, "a"), check_outcomes(b_SP, "b")
    if a.shape[1] != b.shape[1] or a.shape[1] < 2:
        raise ArtifactError(
            f"a paired difference needs the same problems, at least 2; a has {a.shape[1]} and b has {b.shape[1]}"
        )
    d = a.mean(axis=0) - b.mean(axis=0)
    means = bootstrap_values(lambda rows: d[rows].mean(1), [np.arange(d.size)], resamples=resamples, seed=seed)
    p_value, exact = sign_flip_p_value(d, resamples, seed + 1)
    sd = float(d.std(ddof=1))
    return PairedDifference(
        percentile_interval(float(d.mean()), means, level, "paired percentile bootstrap over problems"),
        p_value,
        exact,
        sd,
        smallest_detectable_difference(sd, d.size),
        d.size,
    )
