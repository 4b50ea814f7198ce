"""Does semantic entropy predict the teacher's errors? Tidy tables behind the validation figures (UOPD, Section 4.6).

Polarity: positive = the teacher is *wrong*; every score is an uncertainty, higher = less sure. By default the teacher's
answer is the majority answer of the same samples; pass `wrong` to use other labels, such as the greedy answer's (the
paper). Left out: drawing, and the statistics themselves (`stats/`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from artifact.phase1.records import Annotation
from artifact.stats.auroc import auroc, auroc_bootstrap, auroc_resamples, compare_auroc, newcombe_interval
from artifact.stats.bootstrap import percentile_interval
from artifact.stats.checks import OneClassOnly
from artifact.stats.interval import Interval

SCORES = (
    "semantic_entropy",
    "discrete_entropy",
    "one_minus_majority_share",
    "answer_string_entropy",
    "negative_mean_logprob",
)
"""The uncertainty scores compared; the three entropies are divided by log N of their problem."""


def _labels(annotations: Sequence[Annotation], wrong: Mapping[str, bool] | None) -> list[bool]:
    if wrong is None:
        unknown = [a.problem_id for a in annotations if a.majority_correct not in (0, 1)]
        if unknown:
            raise ValueError(
                f"{len(unknown)} of {len(annotations)} annotations do not say whether the majority answer is right, "
                f"first {unknown[0]!r}: leave them out by name, or pass `wrong`"
            )
        return [a.majority_correct == 0 for a in annotations]
    missing = [a.problem_id for a in annotations if a.problem_id not in wrong]
    if missing:
        raise ValueError(
            f"`wrong` has no label for {len(missing)} of {len(annotations)} problems, first {missing[0]!r}"
        )
    return [bool(wrong[a.problem_id]) for a in annotations]


def score_values(a: Annotation) -> dict[str, float]:
    """The value of each of SCORES for one annotation."""
    log_n = math.log(a.n_counted)
    values = (
        a.normalised,
        a.discrete_entropy / log_n,
        1 - a.majority_share,
        a.answer_string_entropy / log_n,
        -a.mean_logprob,
    )
    return dict(zip(SCORES, values, strict=True))


def score_table(annotations: Sequence[Annotation], wrong: Mapping[str, bool] | None = None) -> pd.DataFrame:
    """One row per problem: problem_id, wrong, normalised (H / log N), and a column for each of SCORES."""
    rows = []
    for a, is_wrong in zip(annotations, _labels(annotations, wrong), strict=True):
        rows.append((a.problem_id, is_wrong, a.normalised, *score_values(a).values()))
    table = pd.DataFrame(rows, columns=["problem_id", "wrong", "normalised", *SCORES])
    if table["problem_id"].duplicated().any():
        twice = table.loc[table["problem_id"].duplicated(), "problem_id"].iloc[0]
        raise ValueError(f"problem {twice!r} is annotated twice; its rows would count as independent")
    return table


def compare_scores(
    table: pd.DataFrame, *, reference: str = "semantic_entropy", scores: Sequence[str] = SCORES, resamples: int = 2000
) -> pd.DataFrame:
    """How well each of `scores`, columns of a `score_table`, finds the teacher's errors, and how it differs from
    `reference`.

    Intervals: stratified bootstrap over problems.
    """
    if reference not in scores:
        raise ValueError(f"unknown reference score {reference!r}; use one of {tuple(scores)}")
    wrong = table["wrong"].to_numpy(dtype=bool)
    rows = []
    for score in scores:
        own = auroc_bootstrap(table[score], wrong, resamples=resamples)
        paired: tuple[float, ...] = (math.nan,) * 4
        if score != reference:
            c = compare_auroc(table[score], table[reference], wrong, resamples=resamples)
            paired = (c.difference.estimate, c.difference.low, c.difference.high, c.p_value)
        rows.append((score, len(wrong), int(wrong.sum()), own.estimate, own.low, own.high, *paired, 0.95))
    columns = [
        "score",
        "n",
        "n_wrong",
        "auroc",
        "lower",
        "upper",
        "minus_reference",
        "diff_lower",
        "diff_upper",
        "p_value",
        "confidence",
    ]
    return pd.DataFrame(rows, columns=columns)


def auroc_by_group(table: pd.DataFrame, groups: Mapping[str, str], *, resamples: int = 2000) -> pd.DataFrame:
    """AUROC of one score over all problems, within pairs of one group, and inside each group (difficulty, family).

    `within` counts only pairs (wrong, right) of the same group: Σ_g n_g⁺ n_g⁻ AUROC_g / Σ_g n_g⁺ n_g⁻, with an interval
    over resamples within groups and classes; where no resample differs, from the groups' own Newcombe intervals, the
    squares of their weighted arms added. `groups` maps problem id → group. Columns: group (`all`, `within`, then
    the groups in order of first appearance), n, n_wrong, pairs, auroc, lower, upper (missing in a group where the
    teacher is only right or only wrong).
    """
    missing = [i for i in table["problem_id"] if i not in groups]
    if missing:
        raise ValueError(f"{len(missing)} problems of the score table have no group, first {missing[0]!r}")
    of_problem = table["problem_id"].map(groups)

    def row(name: str, part: pd.DataFrame) -> tuple[object, ...]:
        n, wrong = len(part), int(part["wrong"].sum())
        try:
            own = auroc_bootstrap(part["semantic_entropy"], part["wrong"], resamples=resamples)
        except OneClassOnly:
            return name, n, wrong, 0, math.nan, math.nan, math.nan
        return name, n, wrong, wrong * (n - wrong), own.estimate, own.low, own.high

    parts = [(str(name), table[of_problem == name]) for name in dict.fromkeys(of_problem)]
    inside = [(name, part) for name, part in parts if 0 < part["wrong"].sum() < len(part)]
    if not inside:
        raise OneClassOnly("no group holds problems that the teacher gets wrong and problems that it gets right")
    pairs_G = np.array([part["wrong"].sum() * (~part["wrong"]).sum() for _, part in inside], dtype=np.float64)
    values_GR = np.stack(
        [
            auroc_resamples(part["semantic_entropy"], part["wrong"], resamples=resamples, seed=g)
            for g, (_, part) in enumerate(inside)
        ]
    )
    own_G = [auroc(part["semantic_entropy"], part["wrong"]) for _, part in inside]
    share_G = pairs_G / pairs_G.sum()
    value = pairs_G @ own_G / pairs_G.sum()
    interval = percentile_interval(value, pairs_G @ values_GR / pairs_G.sum(), 0.95, "stratified bootstrap")
    if interval.low == interval.high:
        ends = [
            newcombe_interval(own, int(part["wrong"].sum()), int((~part["wrong"]).sum()))
            for own, (_, part) in zip(own_G, inside, strict=True)
        ]
        below = float(np.linalg.norm(share_G * [e.estimate - e.low for e in ends]))
        above = float(np.linalg.norm(share_G * [e.high - e.estimate for e in ends]))
        interval = Interval(value, value - below, value + above, 0.95, ends[0].method)
    within = (
        "within",
        sum(len(p) for _, p in inside),
        sum(int(p["wrong"].sum()) for _, p in inside),
        int(pairs_G.sum()),
        interval.estimate,
        interval.low,
        interval.high,
    )
    rows = [row("all", table), within, *(row(name, part) for name, part in parts)]
    return pd.DataFrame(rows, columns=["group", "n", "n_wrong", "pairs", "auroc", "lower", "upper"])


def confidently_wrong(frame: pd.DataFrame, *, at_most: float = 0.1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The problems with H / log N ≤ `at_most` whose answer is wrong: the errors that entropy cannot see.

    `frame` is `studies.results.annotation_frame`. Returns (the rows, surest first,
    ties by majority share and then by id; a summary by family: family, n, sure, sure_and_wrong, share_of_sure).
    """
    sure = frame["normalised"] <= at_most
    bad = sure & ~frame["greedy_correct"].astype(bool)
    rows = frame[bad].sort_values(["normalised", "majority_share", "problem_id"], ascending=[True, False, True])
    counts = frame.assign(sure=sure, bad=bad).groupby("family", sort=False)
    summary = counts.agg(n=("sure", "size"), sure=("sure", "sum"), sure_and_wrong=("bad", "sum")).reset_index()
    summary["share_of_sure"] = summary["sure_and_wrong"] / summary["sure"].where(summary["sure"] > 0)
    return rows.reset_index(drop=True), summary.sort_values("sure_and_wrong", ascending=False, ignore_index=True)
