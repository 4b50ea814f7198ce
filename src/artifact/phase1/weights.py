"""Weighting schemes: annotations → one weight w(x) in [0, 1] a problem (UOPD, Eq. 6 and 9, and two controls).

    uniform   w = 1: standard on-policy distillation
    binary    w = 1 if H / log N ≤ τ, else 0
    soft      w = 1 − H / log N (the method)
    shuffled  the soft weights, permuted across problems: same weights, no information (control)
    gold      w = 1 if the teacher's majority answer is right, else 0: needs labels (oracle)

A weight of 0 is a weight, not a dropped problem: Eq. 9 counts it in the denominator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from artifact.phase1.records import Annotation

Scheme = Callable[[Sequence[Annotation], float | None, int | None], list[float]]


def _uniform(annotations: Sequence[Annotation], tau: float | None, seed: int | None) -> list[float]:
    return [1.0] * len(annotations)


def _binary(annotations: Sequence[Annotation], tau: float | None, seed: int | None) -> list[float]:
    if tau is None or not 0 <= tau <= 1:
        raise ValueError(f"scheme 'binary' needs a threshold 0 ≤ tau ≤ 1 on H / log N, got tau = {tau}")
    return [float(a.normalised <= tau) for a in annotations]


def _soft(annotations: Sequence[Annotation], tau: float | None, seed: int | None) -> list[float]:
    return [a.weight for a in annotations]


def _shuffled(annotations: Sequence[Annotation], tau: float | None, seed: int | None) -> list[float]:
    if seed is None:
        raise ValueError("scheme 'shuffled' needs a seed for its permutation")
    order = np.random.default_rng(seed).permutation(len(annotations))
    return [annotations[i].weight for i in order]


def _gold(annotations: Sequence[Annotation], tau: float | None, seed: int | None) -> list[float]:
    unknown = [a.problem_id for a in annotations if a.majority_correct not in (0, 1)]
    if unknown:
        raise ValueError(
            f"scheme 'gold' needs to know whether the majority answer is right; {len(unknown)} of {len(annotations)} "
            f"annotations do not say, first {unknown[0]!r}: verify those teacher samples again or leave them out"
        )
    return [float(a.majority_correct) for a in annotations]


SCHEMES: dict[str, Scheme] = {
    "uniform": _uniform,
    "binary": _binary,
    "soft": _soft,
    "shuffled": _shuffled,
    "gold": _gold,
}


def weights_for(
    scheme: str, annotations: Sequence[Annotation], *, tau: float | None = None, seed: int | None = None
) -> dict[str, float]:
    """Weight of each problem, by problem id, in the order of `annotations`.

    `tau` is read by `binary` and `seed` by `shuffled`, which raise ValueError without it; the others ignore both.
    The permutation depends on the seed and the set of problems, not on their order. Raises ValueError on an unknown
    scheme or a problem annotated twice.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"unknown weighting scheme {scheme!r}; use one of {', '.join(SCHEMES)}")
    ordered = sorted(annotations, key=lambda a: a.problem_id)
    for before, after in pairwise(ordered):
        if before.problem_id == after.problem_id:
            raise ValueError(f"problem {after.problem_id!r} is annotated twice; keep one annotation a problem")
    by_id = dict(zip([a.problem_id for a in ordered], SCHEMES[scheme](ordered, tau, seed), strict=True))
    return {a.problem_id: by_id[a.problem_id] for a in annotations}
