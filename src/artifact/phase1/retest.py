"""Would another draw give the same weights? Two annotations of one teacher that differ in their sampling seed.

Test–retest statistics over the problems that both annotate. Correlations and means have percentile bootstrap intervals
over problems (the pair of a problem drawn together), shares have Wilson intervals:

    pearson, spearman   correlation of H / log N
    mean_abs_change     mean |ΔH| / log N;   mean_change the same with its sign, second − first
    moved               share of problems whose weight w = 1 − H / log N changes by more than MOVED
    flipped(τ)          share whose binary weight changes: H / log N on the other side of τ

`split_half` shows what N buys in these terms from one large draw: samples 0 … N−1 against N … 2N−1 are two independent
draws of N, because samples are drawn independently of one another. Left out: sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from artifact.errors import ArtifactError
from artifact.phase1.judge import EquivalenceJudge
from artifact.phase1.subsample import annotate_by_n, estimator_frame
from artifact.records import Problem, Rollout
from artifact.stats.bootstrap import bootstrap_values, percentile_interval
from artifact.stats.checks import Floats, Ints
from artifact.stats.interval import wilson_interval

MOVED = 0.25
"""A change of weight that counts as a move."""

TAUS = (0.3, 0.5)
"""The thresholds of the paper's binary weights (Table 2)."""


def paired_entropies(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """(one row per problem that both annotate, ids that only one of them annotates).

    Takes frames with problem_id, n, normalised and weight, such as `annotation_frame` or one cell of `estimator_frame`.
    Raises ArtifactError when a problem stands twice, N differs, or no problem is shared.
    """
    for name, frame in (("first", first), ("second", second)):
        if frame["problem_id"].duplicated().any():
            twice = frame.loc[frame["problem_id"].duplicated(), "problem_id"].iloc[0]
            raise ArtifactError(f"the {name} annotation has problem {twice!r} twice")
    sizes = sorted({*first["n"], *second["n"]})
    if len(sizes) > 1:
        raise ArtifactError(f"the annotations have N = {sizes}; entropies of different N are not a retest")
    columns = ["problem_id", "normalised", "weight"]
    names = [{"normalised": n, "weight": f"weight_{n}"} for n in ("first", "second")]
    a, b = (f[columns].rename(columns=c) for f, c in zip((first, second), names, strict=True))
    pairs = a.merge(b, on="problem_id", validate="one_to_one")
    if pairs.empty:
        raise ArtifactError("the annotations share no problem; annotate the same training problems twice")
    only_one = sorted(set(first["problem_id"]) ^ set(second["problem_id"]))
    return pairs[["problem_id", "first", "second", "weight_first", "weight_second"]], only_one


def _correlation(a_RP: Floats, b_RP: Floats) -> Floats:
    """Pearson's r along the last axis; NaN where a side is constant."""
    a, b = a_RP - a_RP.mean(-1, keepdims=True), b_RP - b_RP.mean(-1, keepdims=True)
    scale = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        r: Floats = np.where(scale > 0, (a * b).sum(-1) / scale, np.nan)
    return r


STATISTICS: dict[str, Callable[..., Floats]] = {
    "pearson": lambda a, b, axis=-1: _correlation(a, b),
    "spearman": lambda a, b, axis=-1: _correlation(rankdata(a, axis=axis), rankdata(b, axis=axis)),
    "mean_abs_change": lambda a, b, axis=-1: np.abs(a - b).mean(axis),
    "mean_change": lambda a, b, axis=-1: (b - a).mean(axis),
}
"""Functions of (first, second), problems along the last axis."""


def retest(pairs: pd.DataFrame, *, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """The statistics above for `paired_entropies`, one row per statistic.

    A bootstrap interval is missing where some resample has no correlation. Raises ArtifactError when one of the two
    entropies is the same for all problems: there is no correlation.
    """
    a, b = pairs["first"].to_numpy(dtype=np.float64), pairs["second"].to_numpy(dtype=np.float64)
    for name, values in (("first", a), ("second", b)):
        if len(values) < 2 or np.ptp(values) == 0:
            raise ArtifactError(f"the {name} entropies of {len(values)} problems are all equal: nothing to correlate")
    rows = []
    for name, function in STATISTICS.items():

        def statistic(block: Ints, of: Callable[..., Floats] = function) -> Floats:
            return of(a[block], b[block])

        values_R = bootstrap_values(statistic, [np.arange(len(a))], resamples=resamples, seed=seed)
        method = f"percentile bootstrap over problems, {resamples} resamples"
        interval = percentile_interval(float(function(a, b)), values_R, 0.95, method)
        rows.append((name, interval.estimate, interval.low, interval.high, method))
    changes = {"moved": np.abs(pairs["weight_first"] - pairs["weight_second"]).to_numpy() > MOVED}
    changes |= {f"flipped({tau:g})": (a <= tau) != (b <= tau) for tau in TAUS}
    for name, changed in changes.items():
        interval = wilson_interval(int(changed.sum()), len(changed), 0.95)
        rows.append((name, interval.estimate, interval.low, interval.high, interval.method))
    table = pd.DataFrame(rows, columns=["statistic", "value", "lower", "upper", "method"])
    return table.assign(problems=len(a), confidence=0.95)


def split_half(
    problems: Sequence[Problem],
    rollouts: Sequence[Rollout],
    judge: EquivalenceJudge,
    *,
    sizes: Sequence[int] = (2, 4, 8),
    resamples: int = 1000,
) -> pd.DataFrame:
    """Test–retest statistics for each N, from disjoint samples of one draw of at least 2 · max(sizes).

    Normaliser `n` (log N), so that no problem is dropped. An N at which the teacher is as sure of every problem in one
    half is left out; raises ArtifactError where that is so at all of them.
    """
    parts = []
    for n in sizes:
        halves = [
            estimator_frame(annotate_by_n(problems, rollouts, judge, sizes=(n,), normalisers=("n",), start=start))
            for start in (0, n)
        ]
        pairs, _ = paired_entropies(*halves)
        if min(np.ptp(pairs["first"]), np.ptp(pairs["second"])) > 0:
            parts.append(retest(pairs, resamples=resamples).assign(n=n))
    if not parts:
        raise ArtifactError(
            f"at N = {', '.join(map(str, sizes))} the entropies of {len(problems)} problems are all equal in one half "
            "of the samples: nothing to correlate; annotate more problems, or with more samples"
        )
    table = pd.concat(parts, ignore_index=True)
    return table[["n", *(c for c in table.columns if c != "n")]]
