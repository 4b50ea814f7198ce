"""Does semantic entropy predict the teacher's errors? Tidy tables behind the validation figures (UOPD, Section 4.6).

Polarity: positive = the teacher is *wrong*; every score is an uncertainty, higher = less sure. By default the
teacher's answer is the majority answer of the same samples; pass `wrong` to use other labels, such as the greedy
answer's (the paper). Ground truth that a model produced is fallible: keep its source beside the numbers. All tables
are pandas frames, one row an observation. Left out: drawing, and statistics of the AUROC (`auroc.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import binomtest
from sklearn.metrics import roc_curve

from artifact.phase1.records import Annotation
from artifact.stats.auroc import OneClassOnly, auroc, auroc_bootstrap, auroc_resamples, check_labels, compare_auroc

SCORES = (
    "semantic_entropy",
    "discrete_entropy",
    "one_minus_majority_share",
    "answer_string_entropy",
    "negative_mean_logprob",
)
"""The uncertainty scores compared; the three entropies are divided by log N of their problem."""


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion; n ≥ 1."""
    interval = binomtest(successes, n).proportion_ci(confidence_level=confidence, method="wilson")
    return float(interval.low), float(interval.high)


def _bin_index(values_P: np.ndarray, bins: int) -> np.ndarray:
    """Equal-width bins of [0, 1]: [0, 1/b), …, [1 − 1/b, 1], the last closed. ValueError outside [0, 1]."""
    if bins < 1:
        raise ValueError(f"bins = {bins}: at least one bin is needed")
    if not ((values_P >= 0) & (values_P <= 1)).all():
        raise ValueError("normalised entropies must lie in [0, 1]; pass H / log N, not H in nats")
    edges = np.linspace(0, 1, bins + 1)
    return np.minimum(np.searchsorted(edges, values_P, side="right") - 1, bins - 1)


def accuracy_by_bin(
    normalised_P: ArrayLike, wrong_P: ArrayLike, *, bins: int = 10, confidence: float = 0.95
) -> pd.DataFrame:
    """Teacher accuracy per bin of H / log N: columns low, high, n, correct, accuracy, lower, upper (Wilson).

    Every bin has a row; an empty one has n = 0 and no accuracy (missing, not 0).
    """
    values, wrong = np.asarray(normalised_P, dtype=np.float64), np.asarray(wrong_P)
    if values.ndim != 1 or values.shape != wrong.shape or not np.isin(wrong, (0, 1)).all():
        raise ValueError(
            f"one entropy and one 0/1 label a problem are needed, got shapes {values.shape} and {wrong.shape}"
        )
    index = _bin_index(values, bins)
    edges = np.linspace(0, 1, bins + 1)
    rows = []
    for b in range(bins):
        n = int((index == b).sum())
        correct = n - int(wrong[index == b].sum())
        low, high = wilson_interval(correct, n, confidence) if n else (math.nan, math.nan)
        rows.append((edges[b], edges[b + 1], n, correct, correct / n if n else math.nan, low, high))
    return pd.DataFrame(rows, columns=["low", "high", "n", "correct", "accuracy", "lower", "upper"])


def roc_points(score_P: ArrayLike, wrong_P: ArrayLike) -> pd.DataFrame:
    """The ROC curve: columns threshold, false_positive_rate, true_positive_rate; positive = score ≥ threshold.

    One point for each distinct score (ties move together), from (0, 0) at threshold ∞ to (1, 1).
    """
    scores, wrong = check_labels(score_P, wrong_P)
    fpr, tpr, thresholds = roc_curve(wrong, scores, drop_intermediate=False)
    return pd.DataFrame({"threshold": thresholds, "false_positive_rate": fpr, "true_positive_rate": tpr})


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
    """One row a problem: problem_id, wrong, normalised (H / log N), and a column for each of SCORES."""
    rows = []
    for a, is_wrong in zip(annotations, _labels(annotations, wrong), strict=True):
        rows.append((a.problem_id, is_wrong, a.normalised, *score_values(a).values()))
    table = pd.DataFrame(rows, columns=["problem_id", "wrong", "normalised", *SCORES])
    if table["problem_id"].duplicated().any():
        twice = table.loc[table["problem_id"].duplicated(), "problem_id"].iloc[0]
        raise ValueError(f"problem {twice!r} is annotated twice; its rows would count as independent")
    return table


def compare_scores(
    table: pd.DataFrame,
    *,
    reference: str = "semantic_entropy",
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """How well each score of a `score_table` finds the teacher's errors, and how it differs from `reference`.

    Columns: score, n, n_wrong, auroc, lower, upper, minus_reference, diff_lower, diff_upper, p_value (paired; missing
    on the reference's own row), confidence. Intervals: stratified bootstrap over problems.
    """
    if reference not in SCORES:
        raise ValueError(f"unknown reference score {reference!r}; use one of {SCORES}")
    wrong = table["wrong"].to_numpy(dtype=bool)
    settings = {"confidence": confidence, "resamples": resamples, "seed": seed}
    rows = []
    for score in SCORES:
        own = auroc_bootstrap(table[score], wrong, confidence=confidence, resamples=resamples, seed=seed)
        paired: tuple[float, ...] = (math.nan,) * 4
        if score != reference:
            c = compare_auroc(table[score], table[reference], wrong, **settings)  # type: ignore[arg-type]
            paired = (c.difference.value, c.difference.lower, c.difference.upper, c.p_value)
        rows.append((score, len(wrong), int(wrong.sum()), own.value, own.lower, own.upper, *paired, confidence))
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


def auroc_by_group(
    table: pd.DataFrame,
    groups: Mapping[str, str],
    *,
    score: str = "semantic_entropy",
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """AUROC of one score over all problems, within pairs of one group, and inside each group (difficulty, family).

    A score can reach a high AUROC by telling easy from hard problems only. `within` counts only pairs (wrong, right) of
    the same group: Σ_g n_g⁺ n_g⁻ AUROC_g / Σ_g n_g⁺ n_g⁻, with an interval over resamples within groups and classes.
    `groups` maps problem id → group. Columns: group (`all`, `within`, then the groups in order of first appearance), n,
    n_wrong, pairs, auroc, lower, upper (missing in a group where the teacher is only right or only wrong).
    """
    missing = [i for i in table["problem_id"] if i not in groups]
    if missing:
        raise ValueError(f"{len(missing)} problems of the score table have no group, first {missing[0]!r}")
    of_problem = table["problem_id"].map(groups)
    settings = {"confidence": confidence, "resamples": resamples, "seed": seed}

    def row(name: str, part: pd.DataFrame) -> tuple[object, ...]:
        n, wrong = len(part), int(part["wrong"].sum())
        try:
            own = auroc_bootstrap(part[score], part["wrong"], **settings)  # type: ignore[arg-type]
        except OneClassOnly:
            return name, n, wrong, 0, math.nan, math.nan, math.nan
        return name, n, wrong, wrong * (n - wrong), own.value, own.lower, own.upper

    parts = [(str(name), table[of_problem == name]) for name in dict.fromkeys(of_problem)]
    inside = [(name, part) for name, part in parts if 0 < part["wrong"].sum() < len(part)]
    if not inside:
        raise OneClassOnly("no group holds problems that the teacher gets wrong and problems that it gets right")
    pairs_G = np.array([part["wrong"].sum() * (~part["wrong"]).sum() for _, part in inside], dtype=np.float64)
    values_GR = np.stack(
        [
            auroc_resamples(part[score], part["wrong"], resamples=resamples, seed=seed + g)
            for g, (_, part) in enumerate(inside)
        ]
    )
    value = pairs_G @ [auroc(part[score], part["wrong"]) for _, part in inside] / pairs_G.sum()
    lower, upper = np.quantile(pairs_G @ values_GR / pairs_G.sum(), [(1 - confidence) / 2, (1 + confidence) / 2])
    within = (
        "within",
        sum(len(p) for _, p in inside),
        sum(int(p["wrong"].sum()) for _, p in inside),
        int(pairs_G.sum()),
        value,
        lower,
        upper,
    )
    rows = [row("all", table), within, *(row(name, part) for name, part in parts)]
    return pd.DataFrame(rows, columns=["group", "n", "n_wrong", "pairs", "auroc", "lower", "upper"])


def confidently_wrong(
    frame: pd.DataFrame, *, correct: str = "greedy_correct", at_most: float = 0.1
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The problems with H / log N ≤ `at_most` whose answer is wrong: the errors that entropy cannot see.

    `frame` is `studies.results.annotation_frame`; `correct` names its label column. Returns (the rows, surest first,
    ties by majority share and then by id; a summary by family: family, n, sure, sure_and_wrong, share_of_sure).
    """
    sure = frame["normalised"] <= at_most
    bad = sure & ~frame[correct].astype(bool)
    rows = frame[bad].sort_values(["normalised", "majority_share", "problem_id"], ascending=[True, False, True])
    counts = frame.assign(sure=sure, bad=bad).groupby("family", sort=False)
    summary = counts.agg(n=("sure", "size"), sure=("sure", "sum"), sure_and_wrong=("bad", "sum")).reset_index()
    summary["share_of_sure"] = summary["sure_and_wrong"] / summary["sure"].where(summary["sure"] > 0)
    return rows.reset_index(drop=True), summary.sort_values("sure_and_wrong", ascending=False, ignore_index=True)


def entropy_histogram(
    annotations: Sequence[Annotation], difficulty_of: Mapping[str, str], *, bins: int = 10
) -> pd.DataFrame:
    """Distribution of H / log N by difficulty: columns difficulty, low, high, n, share (of its difficulty).

    `difficulty_of` is keyed by problem id; rows come in order of first appearance. A problem without one is a
    ValueError.
    """
    missing = [a.problem_id for a in annotations if a.problem_id not in difficulty_of]
    if missing:
        raise ValueError(f"{len(missing)} annotated problems have no difficulty, first {missing[0]!r}")
    index = _bin_index(np.array([a.normalised for a in annotations], dtype=np.float64), bins)
    edges = np.linspace(0, 1, bins + 1)
    of_problem = [difficulty_of[a.problem_id] for a in annotations]
    rows = []
    for difficulty in dict.fromkeys(of_problem):
        inside = np.bincount(index[[d == difficulty for d in of_problem]], minlength=bins)
        rows += [(difficulty, edges[b], edges[b + 1], int(inside[b]), inside[b] / inside.sum()) for b in range(bins)]
    return pd.DataFrame(rows, columns=["difficulty", "low", "high", "n", "share"])
