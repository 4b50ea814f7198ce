"""Weighting schemes: annotations → one weight w(x) in [0, 1] per problem (UOPD, Eq. 6 and 9, and controls).

    uniform       w = 1: standard on-policy distillation
    binary        w = 1 if H / log N ≤ τ, else 0
    soft          w = 1 − H / log N (the method)
    majority      the share of the N samples that lie in the largest class (self-consistency)
    miller_madow  w = 1 − H / log N, clipped at 0, with the entropy of the counts corrected for its bias,
    chao_shen     in two ways (`estimators.py`)
    shuffled      the soft weights, permuted across problems: same weights, no information (control)
    verified      the soft weight where the teacher's majority answer is right, else 0: needs labels
    gold          w = 1 if the teacher's majority answer is right, else 0: needs labels (oracle)

A weight of 0 is a weight, not a dropped problem: Eq. 9 counts it in the denominator.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import get_args

import numpy as np

from artifact.phase1.estimators import chao_shen_entropy, miller_madow_entropy
from artifact.phase1.records import Annotation
from artifact.train.methods.base import Scheme, Weighting

SCHEMES: tuple[str, ...] = get_args(Scheme)

CORRECTED = {"miller_madow": miller_madow_entropy, "chao_shen": chao_shen_entropy}
"""Scheme → the entropy of class counts behind it."""


def weights_for(weighting: Weighting, annotations: Sequence[Annotation]) -> dict[str, float]:
    """Weight of each problem under `weighting`, by problem id, in the order of `annotations`.

    Raises ValueError for a scheme without its parameter, an unknown scheme, or a problem annotated twice.
    """
    ordered = sorted(annotations, key=lambda a: a.problem_id)
    for before, after in pairwise(ordered):
        if before.problem_id == after.problem_id:
            raise ValueError(f"problem {after.problem_id!r} is annotated twice; keep one annotation per problem")
    by_id = dict(zip([a.problem_id for a in ordered], _weights(weighting, ordered), strict=True))
    return {a.problem_id: by_id[a.problem_id] for a in annotations}


def _weights(weighting: Weighting, annotations: Sequence[Annotation]) -> list[float]:
    match weighting.scheme:
        case "uniform":
            return [1.0] * len(annotations)
        case "soft":
            return [a.weight for a in annotations]
        case "binary":
            tau = weighting.tau
            if tau is None or not 0 <= tau <= 1:
                raise ValueError(f"scheme 'binary' needs a threshold 0 ≤ tau ≤ 1 on H / log N, got tau = {tau}")
            return [float(a.normalised <= tau) for a in annotations]
        case "shuffled":
            if weighting.seed is None:
                raise ValueError("scheme 'shuffled' needs a seed for its permutation")
            order = np.random.default_rng(weighting.seed).permutation(len(annotations))
            return [annotations[i].weight for i in order]
        case "majority":
            return [a.majority_share for a in annotations]
        case "miller_madow" | "chao_shen" as scheme:
            return [_corrected_weight(scheme, a) for a in annotations]
        case "verified" | "gold" as scheme:
            right = _majority_right(scheme, annotations)
            return [w * a.weight if scheme == "verified" else w for w, a in zip(right, annotations, strict=True)]
        case _:
            raise ValueError(f"unknown weighting scheme {weighting.scheme!r}; use one of {', '.join(SCHEMES)}")


def _corrected_weight(scheme: str, a: Annotation) -> float:
    """1 − H / log N of the counted samples' classes, clipped at 0."""
    counted = [c for c, parsed in zip(a.cluster_ids, a.parsed, strict=True) if parsed or a.normaliser == "n"]
    return max(0.0, 1.0 - CORRECTED[scheme](list(Counter(counted).values())) / math.log(len(counted)))


def _majority_right(scheme: str, annotations: Sequence[Annotation]) -> list[float]:
    """1 where the teacher's majority answer is right, else 0; ValueError where an annotation does not say."""
    unknown = [a.problem_id for a in annotations if a.majority_correct not in (0, 1)]
    if unknown:
        raise ValueError(
            f"scheme {scheme!r} needs to know whether the majority answer is right; {len(unknown)} of "
            f"{len(annotations)} annotations do not say, first {unknown[0]!r}: verify those teacher samples "
            "again or leave them out"
        )
    return [float(a.majority_correct) for a in annotations]
