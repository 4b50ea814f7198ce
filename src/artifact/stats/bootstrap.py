"""The one resampler: every percentile interval of the artifact is made here.

A resample is a list of row numbers. In each stratum of n rows, n are drawn with replacement,

    rows_r = (n₁ draws from stratum 1, n₂ draws from stratum 2, …),   r = 1 … R
    interval = quantiles (1 − level)/2 and (1 + level)/2 of statistic(rows_r) over r

- *clusters*: a row is a whole cluster (a problem with all its samples and seeds), see `cluster_bootstrap`.
- *strata*: right and wrong problems are drawn apart where an AUROC or AURC holds their numbers fixed.
- *pairs*: the statistic reads all columns at the same row numbers, so two scores of a problem stay together.

`scipy.stats.bootstrap(paired=True)` makes the same draws from one stratum (a test compares the values bit for bit), but
it has no strata, no clusters and no rule for resamples in which the statistic does not exist, and its quantile rounds
the last bit differently. Left out: bias-corrected (BCa) and studentised intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from artifact.errors import ArtifactError
from artifact.stats.checks import Bools, Floats, Ints, check_level
from artifact.stats.interval import Interval, wilson_score

RESAMPLES = 10_000
"""Default number of bootstrap resamples and sign flips: a p-value of 0.05 is then good to ± 0.004 (2 SE)."""

CHUNK = 4_000_000
"""Random numbers held at a time."""


def draw_rows(
    strata: Sequence[ArrayLike], resamples: int, seed: int, accept: Callable[[Ints], Bools] | None = None
) -> Iterator[Ints]:
    """Blocks [r, P] of `resamples` resamples in all; each row holds the row numbers of one.

    strata  the row numbers of each stratum; a resample lists the draws from the first, then from the second, …
    accept  takes a block [r, P] and says which of its resamples to keep; the others are drawn again

    Raises ArtifactError for less than one resample or an empty stratum.
    """
    parts = [np.asarray(rows, dtype=np.int64) for rows in strata]
    sizes = [len(rows) for rows in parts]
    if resamples < 1 or not sizes or min(sizes) < 1:
        raise ArtifactError(
            f"the number of resamples must be positive and no stratum empty; got {resamples} and {sizes}"
        )
    rng, order, left = np.random.default_rng(seed), np.concatenate(parts), resamples
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    ends = sizes[0] if len(sizes) == 1 else np.repeat(sizes, sizes)  # a scalar draws faster; the numbers are the same
    while left:
        rows = order[starts + rng.integers(0, ends, (min(left, max(1, CHUNK // len(order))), len(order)))]
        kept = rows if accept is None else rows[accept(rows)]
        left -= len(kept)
        yield kept


def bootstrap_values(
    statistic: Callable[[Ints], ArrayLike],
    strata: Sequence[ArrayLike],
    *,
    resamples: int,
    seed: int,
    accept: Callable[[Ints], Bools] | None = None,
) -> Floats:
    """`statistic` of each resample, [R] or [R, K]: it takes a block of row numbers [r, P] and gives [r] or [r, K]."""
    blocks = [np.asarray(statistic(rows), dtype=np.float64) for rows in draw_rows(strata, resamples, seed, accept)]
    return np.concatenate([block for block in blocks if len(block)])


def percentiles(values_R: Floats, level: float) -> tuple[Floats, Floats]:
    """The two ends of the percentile interval of resampled values: [R] gives scalars, [R, K] gives [K] each."""
    check_level(level)
    low, high = np.quantile(values_R, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    return low, high


def percentile_interval(estimate: float, values_R: Floats, level: float, method: str) -> Interval:
    """`estimate` with the percentile interval of its resampled values [R]."""
    low, high = percentiles(values_R, level)
    return Interval(estimate, float(low), float(high), level, method)


def cluster_bootstrap(
    values_M: ArrayLike, clusters_M: ArrayLike, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Mean of `values` with a percentile bootstrap interval that resamples whole clusters (problems).

    `clusters` holds the problem of each value. Each resample draws as many problems as there are, with replacement, and
    takes Σ values / number of values. Where all problems have the same mean the bootstrap has no spread; a zero-width
    bar would be false, so for outcomes in [0, 1] the Wilson interval over problems is given instead, and `method` says
    so. Raises ArtifactError for values that are not finite or have no cluster, and without spread outside [0, 1].
    """
    check_level(level)
    values, clusters = np.asarray(values_M, dtype=np.float64).ravel(), np.asarray(clusters_M).ravel()
    if values.size == 0 or values.shape != clusters.shape or not np.isfinite(values).all():
        raise ArtifactError(
            f"cluster_bootstrap needs finite values and one cluster each; got {values.shape} and {clusters.shape}"
        )
    _, index = np.unique(clusters, return_inverse=True)
    sums, sizes = np.bincount(index, weights=values), np.bincount(index)
    estimate = float(values.mean())
    if np.ptp(sums / sizes) < 1e-12:
        if not 0 <= values.min() <= values.max() <= 1:
            raise ArtifactError(f"all {len(sums)} problems have the mean {estimate}: there is no spread to resample")
        method = "Wilson score interval over problems (all problems have the same mean)"
        return wilson_score(estimate, len(sums), level, method)
    means = bootstrap_values(
        lambda rows: sums[rows].sum(1) / sizes[rows].sum(1), [np.arange(len(sums))], resamples=resamples, seed=seed
    )
    return percentile_interval(estimate, means, level, "percentile bootstrap over problems")
