"""Intervals and tests for accuracies on shared problems. Every bar says what it is: SD or interval, over what.

Two sources of variation are kept apart and never added up:
- *problems*: the benchmark's problems are a sample from all problems like them. The k samples and the seeds on one
  problem share its difficulty, so they are one cluster: outcomes are averaged within a problem first, and problems are
  resampled.
- *seeds*: trained runs differ. Their spread is a mean ± SD over seeds, over per-seed accuracies on the same problems.
  With three seeds this SD is itself rough, and it holds only what the seeds vary (data order and sampling, say, not
  the checkpoint).
An interval over problems is conditional on the runs at hand, and an SD over seeds on the problems at hand.

All functions take arrays, are vectorised and depend on `seed` alone. Left out: corrections for many comparisons.
Array axes: S seeds, P problems, N samples of one problem.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
"""Default number of bootstrap resamples and sign flips: a p-value of 0.05 is then good to ± 0.004 (2 SE)."""

EXACT_SIGN_FLIPS = 16
"""Up to so many non-zero differences all 2^n sign patterns are enumerated."""

_CHUNK = 4_000_000  # random numbers held at a time


class StatisticsError(ValueError):
    """The outcomes given do not allow the statistic asked for."""


@dataclass(frozen=True, slots=True)
class Interval:
    """`estimate` with a two-sided interval [`low`, `high`] at `level`; `bar` says by what method, over what units."""

    estimate: float
    low: float
    high: float
    level: float
    bar: str


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """Mean and SD (n − 1) over seeds of the per-seed accuracy; `sd` is None with one seed: one run has no spread."""

    mean: float
    sd: float | None
    per_seed: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Difference of two methods (a − b) on the same P problems, seeds averaged within each problem.

    difference, low, high, level   mean over problems with its percentile bootstrap interval over problems
    p_value       two-sided sign-flip permutation test of "the methods are exchangeable on every problem"
    exact         whether all sign patterns were enumerated
    sd_problems   SD (n − 1) over problems of the per-problem difference; its SE is sd_problems / √P
    smallest_detectable   true difference that a paired t-test on P such problems finds with 80 % power, two-sided 5 %
    problems      P
    """

    difference: float
    low: float
    high: float
    level: float
    p_value: float
    exact: bool
    sd_problems: float
    smallest_detectable: float
    problems: int


@dataclass(frozen=True, slots=True)
class MethodComparison:
    """Two methods: accuracy of each (interval over problems), spread of each over seeds, and the paired difference."""

    a: Interval
    b: Interval
    seeds_a: SeedSpread
    seeds_b: SeedSpread
    paired: PairedDifference


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Wilson score interval of a proportion of *independent* trials (one outcome a problem: greedy pass@1).

    centre = (p + z²/2n) / (1 + z²/n), half-width = z/(1 + z²/n) · √(p(1−p)/n + z²/4n²). Wilson 1927, JASA 22:209.
    For several samples or seeds a problem use `accuracy_interval`: they are not independent.
    """
    _check_level(level)
    if trials < 1 or not 0 <= successes <= trials:
        raise StatisticsError(f"a proportion needs 0 <= successes <= trials, trials >= 1; got {successes} of {trials}")
    return _wilson(successes / trials, trials, level, "Wilson score interval over problems")


def pass_at_k(correct_P: ArrayLike, samples: ArrayLike, k: int) -> NDArray[np.float64]:
    """Unbiased pass@k of each problem from `correct` of `samples` responses: 1 − C(n−c, k) / C(n, k), shape [P].

    Computed as 1 − Π_{j<k} (n−c−j)/(n−j), without large binomials. Chen et al. 2021, arXiv:2107.03374, Eq. 1.
    `samples` is one number or one per problem. Raises StatisticsError where k > n. The headline averages over problems.
    """
    c, n = np.broadcast_arrays(np.asarray(correct_P, dtype=np.int64), np.asarray(samples, dtype=np.int64))
    if k < 1 or n.size == 0 or n.min() < k:
        raise StatisticsError(f"pass@{k} needs 1 <= k <= n for every problem; the smallest n is {n.min(initial=10**9)}")
    if (c < 0).any() or (c > n).any():
        raise StatisticsError("pass@k got more correct responses than samples, or a negative count")
    failure = np.ones(c.shape)
    for j in range(k):
        failure *= np.maximum(n - c - j, 0) / (n - j)
    return 1.0 - failure


def majority_at_k(classes_PN: ArrayLike, correct_PN: ArrayLike, k: int) -> NDArray[np.float64]:
    """Expected accuracy of a majority vote over k of the N samples, shape [P]; exact, nothing is drawn.

    `classes` numbers the answer class of each sample (from 0; −1 = no answer, never votes), `correct` its verdict.
    The expectation is over all C(N, k) subsets of the samples, and over the winner of a tie: t classes with equally
    many votes, one of them correct, count 1/t. Subsets in which no sample votes count 0.
    Raises StatisticsError where one class holds both correct and incorrect samples: the vote would be ill-defined.
    Self-consistency, Wang et al. 2023, arXiv:2203.11171.
    """
    classes, correct = np.asarray(classes_PN, dtype=np.int64), np.asarray(correct_PN, dtype=bool)
    if classes.ndim != 2 or classes.shape != correct.shape or not 1 <= k <= classes.shape[1] or classes.min() < -1:
        raise StatisticsError(
            f"majority@{k} needs classes >= -1 and verdicts of one shape [P, N] with 1 <= k <= N; "
            f"got {classes.shape} and {correct.shape}"
        )
    problems = classes.shape[0]
    onehot = (classes[:, :, None] == np.arange(classes.max() + 1)).astype(np.int64)  # [P, N, C]
    sizes, right = onehot.sum(1), (onehot * correct[:, :, None]).sum(1)  # [P, C] samples, and correct ones, of a class
    if bad := np.flatnonzero(((right > 0) & (right < sizes)).any(1)).tolist():
        raise StatisticsError(f"problem(s) {bad[:5]} have a cluster that is both correct and wrong; verify by cluster")
    return np.array(
        [
            _majority_share(
                tuple(sorted(sizes[p][right[p] > 0].tolist())),
                tuple(sorted(sizes[p][(right[p] == 0) & (sizes[p] > 0)])),
                int((classes[p] < 0).sum()),
                k,
            )
            for p in range(problems)
        ]
    )


@lru_cache(maxsize=65536)
def _majority_share(correct: tuple[int, ...], wrong: tuple[int, ...], silent: int, k: int) -> float:
    """`majority_at_k` of one problem, from the sizes of its correct and wrong classes and the number without an answer.

    Counts subsets by generating functions in x, the number of samples drawn. Where the winners have v votes, a class of
    n samples contributes Σ_{i<v} C(n, i) xⁱ if it loses and C(n, v) xᵛ if it ties; silent samples and classes smaller
    than v, which can only lose, contribute (1 + x)ⁿ together. The coefficient of xᵏ is read for each number of correct
    and wrong winners. All terms are positive, so nothing cancels; counts fit a float up to N = 1,000.
    """
    subsets, total = math.comb(sum(correct) + sum(wrong) + silent, k), 0.0
    for votes in range(1, min(k, max(correct, default=0)) + 1):
        rest = silent + sum(n for n in (*correct, *wrong) if n < votes)
        table = {(0, 0): _binomials(rest, k)}
        for size, right in [(n, g) for group, g in ((correct, 1), (wrong, 0)) for n in group if n >= votes]:
            losing, grown = _binomials(size, votes - 1), {}
            for (a, b), ways in table.items():
                tied = np.zeros(k + 1)
                tied[votes:] = math.comb(size, votes) * ways[: k + 1 - votes]
                for winners, more in (((a, b), np.convolve(ways, losing)[: k + 1]), ((a + right, b + 1 - right), tied)):
                    grown[winners] = grown[winners] + more if winners in grown else more
            table = {winners: ways for winners, ways in grown.items() if ways.any()}
        total += sum(a / (a + b) * (ways[k] / subsets) for (a, b), ways in table.items() if a)
    return float(total)


def _binomials(n: int, highest: int) -> NDArray[np.float64]:
    """C(n, i) for i = 0 … highest: the coefficients of (1 + x)ⁿ up to x^highest."""
    return np.array([math.comb(n, i) for i in range(highest + 1)], dtype=np.float64)


def cluster_bootstrap(
    values_M: ArrayLike, clusters_M: ArrayLike, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Mean of `values` with a percentile bootstrap interval that resamples whole clusters (problems).

    `clusters` holds the problem of each value. Each resample draws as many problems as there are, with replacement, and
    takes Σ values / number of values. A bootstrap over single values is too narrow when one problem has several.
    Where all problems have the same mean the bootstrap has no spread; a zero-width bar would be false, so for outcomes
    in [0, 1] the Wilson interval over problems is given instead, and `bar` says so.
    """
    _check_level(level)
    values, clusters = np.asarray(values_M, dtype=np.float64).ravel(), np.asarray(clusters_M).ravel()
    if values.size == 0 or values.shape != clusters.shape or not np.isfinite(values).all():
        raise StatisticsError(
            f"cluster_bootstrap needs finite values and one cluster each; got {values.shape} and {clusters.shape}"
        )
    _, index = np.unique(clusters, return_inverse=True)
    sums, sizes = np.bincount(index, weights=values), np.bincount(index)
    estimate = float(values.mean())
    if np.ptp(sums / sizes) < 1e-12:
        if not 0 <= values.min() <= values.max() <= 1:
            raise StatisticsError(f"all {len(sums)} problems have the mean {estimate}: there is no spread to resample")
        bar = "Wilson score interval over problems (all problems have the same mean)"
        return _wilson(estimate, len(sums), level, bar)
    means = np.concatenate([sums[i].sum(1) / sizes[i].sum(1) for i in _resamples(len(sums), resamples, seed)])
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(estimate, float(low), float(high), level, "percentile bootstrap over problems")


def accuracy_interval(
    outcomes_SP: ArrayLike, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Mean outcome with its interval over problems; outcomes [S, P] (or [P]), 0/1 or means over samples in [0, 1].

    Seeds are averaged within each problem. The bar says how the mean would move with other problems, same runs.
    """
    outcomes = _outcomes(outcomes_SP, "outcomes")
    problems = np.broadcast_to(np.arange(outcomes.shape[1]), outcomes.shape)
    return cluster_bootstrap(outcomes, problems, level, resamples, seed)


def seed_spread(outcomes_SP: ArrayLike) -> SeedSpread:
    """Mean ± SD (n − 1) over seeds of the accuracy over problems; outcomes [S, P]. Not an SE, not an interval."""
    per_seed = _outcomes(outcomes_SP, "outcomes").mean(axis=1)
    sd = float(per_seed.std(ddof=1)) if len(per_seed) > 1 else None
    return SeedSpread(float(per_seed.mean()), sd, tuple(per_seed.tolist()))


def smallest_detectable_difference(sd_problems: float, problems: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """The true mean difference that a two-sided paired t-test on `problems` problems detects with the given power.

    `sd_problems` is the SD over problems of the per-problem difference. Solves P(T² > t_crit²) = power for the
    non-centrality λ = δ²P/sd² of T² ~ F(1, P − 1, λ), so it holds for 30 problems as well as for thousands.
    """
    from scipy.optimize import brentq
    from scipy.stats import ncf, t

    if problems < 2 or sd_problems < 0 or not 0 < alpha < power < 1:
        raise StatisticsError(
            f"needs problems >= 2, sd >= 0, 0 < alpha < power < 1; got {problems}, {sd_problems}, {alpha}, {power}"
        )
    critical = float(t.ppf(1 - alpha / 2, problems - 1))

    def excess(shift: float) -> float:  # shift = δ√P/sd
        return float(ncf.sf(critical**2, 1, problems - 1, shift**2)) - power

    shift = float(brentq(excess, 1e-6, 3 * critical + 5))
    return shift * sd_problems / float(np.sqrt(problems))


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
        rows = min(resamples - done, max(1, _CHUNK // d.size))
        flips = rng.integers(0, 2, (rows, d.size), dtype=np.int8)
        hits += int((np.abs(d.sum() - 2 * (flips @ d)) >= observed).sum())
        done += rows
    return (1 + hits) / (1 + resamples), False


def paired_difference(
    a_SP: ArrayLike, b_SP: ArrayLike, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> PairedDifference:
    """Method a minus method b on the same problems, column p being the same problem in both.

    Outcomes [S, P] (or [P]), 0/1 or means over samples; the numbers of seeds may differ. See `PairedDifference`.
    """
    _check_level(level)
    a, b = _outcomes(a_SP, "a"), _outcomes(b_SP, "b")
    if a.shape[1] != b.shape[1] or a.shape[1] < 2:
        raise StatisticsError(
            f"a paired difference needs the same problems, at least 2; a has {a.shape[1]} and b has {b.shape[1]}"
        )
    d = a.mean(axis=0) - b.mean(axis=0)
    means = np.concatenate([d[i].mean(1) for i in _resamples(d.size, resamples, seed)])
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    p_value, exact = sign_flip_p_value(d, resamples, seed + 1)
    sd = float(d.std(ddof=1))
    return PairedDifference(
        float(d.mean()),
        float(low),
        float(high),
        level,
        p_value,
        exact,
        sd,
        smallest_detectable_difference(sd, d.size),
        d.size,
    )


def told_apart(low: float, high: float, p_value: float, level: float) -> bool:
    """Whether a difference may be claimed: its interval leaves out 0 and its test rejects at the same level.

    On few problems a percentile bootstrap alone claims too much: four of 32 that all favour one side have p = 0.125.
    """
    return not low <= 0 <= high and p_value <= 1 - level


def compare_methods(
    a_SP: ArrayLike, b_SP: ArrayLike, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> MethodComparison:
    """All that a table row about two methods needs, from 0/1 outcomes [seeds, problems] of each."""
    return MethodComparison(
        accuracy_interval(a_SP, level, resamples, seed),
        accuracy_interval(b_SP, level, resamples, seed),
        seed_spread(a_SP),
        seed_spread(b_SP),
        paired_difference(a_SP, b_SP, level, resamples, seed),
    )


def _resamples(clusters: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Bootstrap draws in chunks [rows, clusters]: each row holds indices of clusters drawn with replacement."""
    if resamples < 1:
        raise StatisticsError(f"the number of resamples must be positive, got {resamples}")
    rng, rows = np.random.default_rng(seed), max(1, _CHUNK // clusters)
    for start in range(0, resamples, rows):
        yield rng.integers(0, clusters, (min(rows, resamples - start), clusters))


def _outcomes(outcomes: ArrayLike, name: str) -> NDArray[np.float64]:
    array = np.atleast_2d(np.asarray(outcomes, dtype=np.float64))
    if array.ndim != 2 or array.size == 0 or not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
        raise StatisticsError(f"{name}: give a non-empty [seeds, problems] array within [0, 1]; got {array.shape}")
    return array


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise StatisticsError(f"the level of an interval lies between 0 and 1 (0.95, say), got {level}")


def _wilson(p: float, trials: int, level: float, bar: str) -> Interval:
    from scipy.stats import norm

    z2 = float(norm.ppf(0.5 + level / 2)) ** 2
    centre = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = float(np.sqrt(z2 * (p * (1 - p) / trials + z2 / (4 * trials**2)))) / (1 + z2 / trials)
    return Interval(p, 0.0 if p <= 0 else centre - half, 1.0 if p >= 1 else centre + half, level, bar)
