"""Weighting schemes: annotations → one weight w(x) in [0, 1] per problem (UOPD, Eq. 6 and 9, and controls).

    uniform       w = 1: standard on-policy distillation
    binary        w = 1 if H / log N ≤ τ, else 0
    soft          w = 1 − H / log N (the method)
    majority      the share of the N samples that lie in the largest class (self-consistency)
    miller_madow  w = 1 − H / log N, clipped at 0, with the entropy of the counts corrected for its bias,
    chao_shen     in two ways (`estimators.py`)
    similarity    w = 1 − H_s / log N, from how alike the answers are by the metric that grades the task, without
                  classes and so without a judge (`similarity.py`)
    shuffled      the soft weights, permuted across problems: same weights, no information (control)
    verified      the soft weight where the teacher's majority answer is right, else 0: needs labels
    gold          w = 1 if the teacher's majority answer is right, else 0: needs labels (oracle)

A weight of 0 is a weight, not a dropped problem: Eq. 9 counts it in the denominator.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import get_args

import numpy as np

from artifact.phase1.estimators import chao_shen_entropy, miller_madow_entropy
from artifact.phase1.records import Annotation
from artifact.phase1.similarity import normalised_similarity_entropy
from artifact.tasks.metrics import Metric
from artifact.train.methods.base import Scheme, Weighting

SCHEMES: tuple[str, ...] = get_args(Scheme)

CORRECTED = {"miller_madow": miller_madow_entropy, "chao_shen": chao_shen_entropy}
"""Scheme → the entropy of class counts behind it."""


MetricOf = Callable[[str], Metric]
"""A problem's id → the metric by which answers to it are compared."""


def weights_for(
    weighting: Weighting, annotations: Iterable[Annotation], metric_of: MetricOf | None = None
) -> dict[str, float]:
    """Weight of each problem under `weighting`, by problem id, in the order of `annotations`.

    Each annotation is read once, and its weight alone is kept. `metric_of` is what `similarity` asks.
    Raises ValueError for a scheme without its parameter, an unknown scheme, a problem annotated twice, or annotations
    that do not say what the scheme needs to know.
    """
    weight, weights = _scheme(weighting, metric_of), {}
    for a in annotations:
        if a.problem_id in weights:
            raise ValueError(f"problem {a.problem_id!r} is annotated twice; keep one annotation per problem")
        weights[a.problem_id] = weight(a)
    _require_known(weighting.scheme, weights)
    return _permuted(weights, weighting.seed) if weighting.scheme == "shuffled" else weights


def _scheme(weighting: Weighting, metric_of: MetricOf | None) -> Callable[[Annotation], float]:
    """The weight of one annotation; NaN where it does not say what the scheme needs to know."""
    match weighting.scheme:
        case "uniform":
            return lambda a: 1.0
        case "soft":
            return lambda a: a.weight
        case "binary":
            tau = weighting.tau
            if tau is None or not 0 <= tau <= 1:
                raise ValueError(f"scheme 'binary' needs a threshold 0 ≤ tau ≤ 1 on H / log N, got tau = {tau}")
            return lambda a: float(a.normalised <= tau)
        case "shuffled":
            if weighting.seed is None:
                raise ValueError("scheme 'shuffled' needs a seed for its permutation")
            return lambda a: a.weight
        case "majority":
            return lambda a: a.majority_share
        case "miller_madow" | "chao_shen" as scheme:
            return lambda a: _corrected_weight(scheme, a)
        case "similarity":
            if metric_of is None:
                raise ValueError(
                    "scheme 'similarity' compares answers by the metric of their task, and this task is graded by "
                    "none: use soft"
                )
            return lambda a: 1.0 - normalised_similarity_entropy(a, metric_of(a.problem_id))
        case "verified":
            return lambda a: _majority_right(a) * a.weight
        case "gold":
            return _majority_right
        case _:
            raise ValueError(f"unknown weighting scheme {weighting.scheme!r}; use one of {', '.join(SCHEMES)}")


def _corrected_weight(scheme: str, a: Annotation) -> float:
    """1 − H / log N of the counted samples' classes, clipped at 0."""
    counted = [c for c, parsed in zip(a.cluster_ids, a.parsed, strict=True) if parsed or a.normaliser == "n"]
    return max(0.0, 1.0 - CORRECTED[scheme](list(Counter(counted).values())) / math.log(len(counted)))


def _majority_right(a: Annotation) -> float:
    """1 where the teacher's majority answer is right, 0 where it is wrong, NaN where the annotation does not say."""
    return float(a.majority_correct) if a.majority_correct in (0, 1) else math.nan


def _require_known(scheme: str, weights: Mapping[str, float]) -> None:
    """ValueError where the teacher's majority answer is neither known to be right nor to be wrong."""
    unknown = sorted(problem for problem, weight in weights.items() if math.isnan(weight))
    if unknown:
        raise ValueError(
            f"scheme {scheme!r} needs to know whether the majority answer is right; {len(unknown)} of "
            f"{len(weights)} annotations do not say, first {unknown[0]!r}: verify those teacher samples "
            "again or leave them out"
        )


def _permuted(weights: dict[str, float], seed: int | None) -> dict[str, float]:
    """The same weights for other problems; which, `seed` and the ids decide, not their order."""
    ordered = sorted(weights)
    order = np.random.default_rng(seed).permutation(len(ordered))
    given = {problem: weights[ordered[i]] for problem, i in zip(ordered, order, strict=True)}
    return {problem: given[problem] for problem in weights}
