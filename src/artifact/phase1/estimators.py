"""Entropies of class counts that correct the bias of the plug-in estimate, in nats, in float64.

N samples fall into C classes, n_c in class c; f is the number of classes seen once.

    plug-in       H  = −Σ_c (n_c / N) log (n_c / N)                         too small: unseen classes are not in it
    Miller–Madow  H + (C − 1) / 2N                                          Miller 1955
    Chao–Shen     −Σ_c p̃_c log p̃_c / (1 − (1 − p̃_c)^N),  p̃_c = (1 − f/N) n_c / N  Chao & Shen 2003

In Chao–Shen 1 − f/N estimates how much of the mass was seen, and the denominator is the chance of seeing a class at
all; where every class was seen once, f = N − 1 stands for it. Both may exceed log N, and are clipped where a weight is
made of them (`weights.py`). Left out: the probability-weighted entropy (`entropy.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from artifact.errors import ArtifactError


def _check(counts_C: Sequence[int]) -> int:
    if not counts_C or min(counts_C) < 1:
        raise ArtifactError(f"class counts {list(counts_C)}: at least one class, each with a sample, is needed")
    return sum(counts_C)


def miller_madow_entropy(counts_C: Sequence[int]) -> float:
    """Plug-in entropy plus (C − 1) / 2N; ArtifactError without classes, or for a class without a sample."""
    n = _check(counts_C)
    return math.fsum(-c / n * math.log(c / n) for c in sorted(counts_C)) + (len(counts_C) - 1) / (2 * n)


def chao_shen_entropy(counts_C: Sequence[int]) -> float:
    """Coverage-adjusted entropy; ArtifactError without classes, or for a class without a sample."""
    n = _check(counts_C)
    if len(counts_C) == 1:
        return 0.0
    seen_once = sum(c == 1 for c in counts_C)
    coverage = 1 - min(seen_once, n - 1) / n
    shares = [coverage * c / n for c in sorted(counts_C)]
    return math.fsum(-p * math.log(p) / (1 - (1 - p) ** n) for p in shares)
