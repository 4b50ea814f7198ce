"""What does N buy? The annotations of one large draw, and of its first 2, 4, 8 … samples (UOPD ablation of N, U-A1).

The samples of a smaller N are the first ones of the larger N (sample number < N), so the curves over N are nested: they
differ by the samples that were added, not by another draw. `intra_cluster_entropy` is the part of the answer-string
entropy that clustering removes,

    H(strings) = H(classes) + Σ_c p(c) H(strings in c)        total = inter (semantic entropy) + intra.

Left out: sampling; downstream accuracy against N, which takes training runs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from artifact.errors import ArtifactError
from artifact.phase1.annotate import annotate_all
from artifact.phase1.judge import EquivalenceJudge
from artifact.phase1.records import NORMALISERS, Annotation
from artifact.phase1.validation import SCORES, score_values
from artifact.records import Problem, Rollout
from artifact.stats.auroc import auroc_delong, compare_auroc

SIZES = (2, 4, 8, 16)
"""The N of the paper's ablation."""

ESTIMATORS = (*SCORES, "intra_cluster_entropy")
"""The uncertainty estimators side by side, all as scores (high = unsure); entropies are divided by log N.
`semantic_entropy` is the paper's, `discrete_entropy` the same from counts, `negative_mean_logprob` the token-level
length-normalised entropy −(1/N) Σ_n ℓ_n/|y_n|, in nats per token."""


@dataclass(frozen=True, slots=True)
class Draw:
    """The annotations from samples start … start + n − 1 of each problem, under one normaliser.

    dropped  problems with too few answers, id → why (`min_valid`, under `n_valid` only)
    """

    n: int
    normaliser: str
    start: int
    annotations: tuple[Annotation, ...]
    dropped: dict[str, str]


def take_samples(rollouts: Iterable[Rollout], n: int, *, start: int = 0) -> list[Rollout]:
    """The rollouts with sample number start ≤ i < start + n, in the order given.

    Raises ArtifactError, naming the problem, when one of the problems lacks a sample: its N would be another.
    """
    if n < 2 or start < 0:
        raise ArtifactError(f"samples {start} to {start + n - 1} were asked for; N ≥ 2 and a start ≥ 0 are needed")
    wanted = range(start, start + n)
    numbers: dict[str, list[int]] = defaultdict(list)
    taken = []
    for r in rollouts:
        numbers[r.problem_id] += [r.sample] if r.sample in wanted else []
        if r.sample in wanted:
            taken.append(r)
    for problem_id, have in numbers.items():
        if sorted(have) != list(wanted):
            raise ArtifactError(
                f"problem {problem_id!r} has samples {sorted(have)} between {start} and {start + n - 1}, each of which "
                f"is needed once; draw at least {start + n} samples per problem (annotation.samples)"
            )
    return taken


def annotate_by_n(
    problems: Sequence[Problem],
    rollouts: Sequence[Rollout],
    judge: EquivalenceJudge,
    *,
    sizes: Sequence[int] = SIZES,
    normalisers: Sequence[str] = NORMALISERS,
    start: int = 0,
) -> list[Draw]:
    """One `Draw` for each N of `sizes` and each normaliser, in that order, from one list of verified rollouts.

    Under `n_valid` a problem needs two valid answers (below, log n_valid would be 0); under `n` none is dropped.
    """
    done: dict[tuple[int, str], Draw] = {}
    for n in sorted(set(sizes), reverse=True):
        part = take_samples(rollouts, n, start=start)
        for normaliser in normalisers:
            least = 2 if normaliser == "n_valid" else 0
            kept, dropped = annotate_all(problems, part, judge, normaliser=normaliser, min_valid=least)
            done[n, normaliser] = Draw(n, normaliser, start, tuple(kept), dropped)
    return [done[n, normaliser] for n in sizes for normaliser in normalisers]


def intra_entropy(a: Annotation) -> float:
    """Σ_c p(c) H(strings in c) in nats: the variety of wording within the classes of one problem (aleatoric part)."""
    return math.fsum(p * h for p, h in zip(a.cluster_probs, a.intra_entropy, strict=True))


def estimator_frame(draws: Iterable[Draw]) -> pd.DataFrame:
    """One row for each N, normaliser and problem."""
    rows = [
        {
            "n": d.n,
            "normaliser": d.normaliser,
            "start": d.start,
            "problem_id": a.problem_id,
            "n_counted": a.n_counted,
            "clusters": a.clusters,
            "majority_correct": a.majority_correct,
            "entropy": a.entropy,
            "normalised": a.normalised,
            "weight": a.weight,
            **score_values(a),
            "intra_cluster_entropy": intra_entropy(a) / math.log(a.n_counted),
        }
        for d in draws
        for a in d.annotations
    ]
    if not rows:
        raise ArtifactError("no problem was annotated: there is nothing to compare")
    return pd.DataFrame(rows)


def _cells(frame: pd.DataFrame, wrong: Mapping[str, bool]) -> tuple[dict[tuple[int, str], pd.DataFrame], list[str]]:
    """(cell → its rows by problem id, problems present in every cell), both in the order of the frame."""
    cells = {}
    for (n, normaliser), part in frame.groupby(["n", "normaliser"], sort=False):
        if part["problem_id"].duplicated().any():
            raise ArtifactError(f"N = {n}, normaliser {normaliser!r}: a problem stands twice; pass one draw of each")
        cells[int(n), str(normaliser)] = part.set_index("problem_id")
    common = [i for i in dict.fromkeys(frame["problem_id"]) if all(i in part.index for part in cells.values())]
    missing = [i for i in common if i not in wrong]
    if missing:
        raise ArtifactError(f"`wrong` has no label for {len(missing)} of {len(common)} problems, first {missing[0]!r}")
    return cells, common


def auroc_by_n(frame: pd.DataFrame, wrong: Mapping[str, bool], *, resamples: int = 1000) -> pd.DataFrame:
    """AUROC of each estimator for the teacher's errors at each N, with what is missing to the largest N.

    `wrong` (problem id → the teacher is wrong) is one label for all N, such as the greedy answer's: the curves then
    differ by the score alone. Columns: estimator, normaliser, n, problems, n_wrong, left_out, auroc, lower, upper
    (DeLong), minus_largest, diff_lower, diff_upper (paired stratified bootstrap; missing on the largest N itself),
    confidence.
    """
    rows = []
    for normaliser, part in frame.groupby("normaliser", sort=False):
        cells, common = _cells(part, wrong)
        labels = np.array([bool(wrong[i]) for i in common])
        largest = max(n for n, _ in cells)
        left_out = part["problem_id"].nunique() - len(common)
        for estimator in ESTIMATORS:
            best = cells[largest, str(normaliser)].loc[common, estimator]
            for n, rule in cells:
                values = cells[n, rule].loc[common, estimator]
                own = auroc_delong(values, labels)
                difference: tuple[float, ...] = (math.nan,) * 3
                if n != largest:
                    d = compare_auroc(values, best, labels, resamples=resamples).difference
                    difference = (d.estimate, d.low, d.high)
                rows.append(
                    (
                        estimator,
                        rule,
                        n,
                        len(common),
                        int(labels.sum()),
                        left_out,
                        own.estimate,
                        own.low,
                        own.high,
                        *difference,
                        0.95,
                    )
                )
    return pd.DataFrame(
        rows,
        columns=[
            "estimator",
            "normaliser",
            "n",
            "problems",
            "n_wrong",
            "left_out",
            "auroc",
            "lower",
            "upper",
            "minus_largest",
            "diff_lower",
            "diff_upper",
            "confidence",
        ],
    )


def compare_normalisers(frame: pd.DataFrame, wrong: Mapping[str, bool], *, resamples: int = 1000) -> pd.DataFrame:
    """AUROC of semantic entropy under `n_valid` minus under `n`, for each N, on the problems that both annotate.

    Columns: n, problems, left_out (dropped under `n_valid`), left_out_wrong (of them the teacher gets wrong), auroc_n,
    auroc_n_valid, difference, lower, upper, mean_abs_change (mean |ΔH / log N|).
    """
    rows = []
    for n, part in frame.groupby("n", sort=True):
        cells, common = _cells(part, wrong)
        if len(cells) != len(NORMALISERS):
            raise ArtifactError(f"N = {n} holds {[c for _, c in cells]}; both normalisers {NORMALISERS} are needed")
        plain, valid = (cells[int(n), rule].loc[common, "normalised"] for rule in NORMALISERS)
        labels = np.array([bool(wrong[i]) for i in common])
        c = compare_auroc(valid, plain, labels, resamples=resamples)
        out = [i for i in dict.fromkeys(part["problem_id"]) if i not in set(common)]
        rows.append(
            (
                n,
                len(common),
                len(out),
                sum(bool(wrong[i]) for i in out),
                c.auroc_b,
                c.auroc_a,
                c.difference.estimate,
                c.difference.low,
                c.difference.high,
                float((valid - plain).abs().mean()),
            )
        )
    return pd.DataFrame(
        rows,
        columns=[
            "n",
            "problems",
            "left_out",
            "left_out_wrong",
            "auroc_n",
            "auroc_n_valid",
            "difference",
            "lower",
            "upper",
            "mean_abs_change",
        ],
    )
