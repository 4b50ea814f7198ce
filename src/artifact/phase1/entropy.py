"""Probability-weighted semantic entropy and its relatives (UOPD, Eq. 4–6), in float64.

    q_n  = exp(ℓ_n / |y_n|) / Σ_m exp(ℓ_m / |y_m|)          share of sample n (ℓ_n: natural log, temperature 1)
    p(c) = Σ_{n ∈ c} q_n                                     mass of class c             Eq. 4
    H    = −Σ_c p(c) log p(c)                                semantic entropy, nats      Eq. 5
    w    = 1 − H / log N, clipped to [0, 1]                  distillation weight         Eq. 6

Sums are exactly rounded (`math.fsum`) and terms are added in sorted order, so the order of samples and the names of
classes change no bit: equal situations tie exactly, which rank statistics such as the AUROC need. The greedy answer is
not among the N samples. Left out: who is in which class (`clustering.py`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from artifact.errors import ArtifactError

Floats = NDArray[np.float64]


def _class_ids(cluster_ids_N: ArrayLike, n: int | None = None) -> list[Any]:
    """The ids as a list, one for each of the n samples."""
    ids_N = np.asarray(cluster_ids_N)
    if ids_N.ndim != 1 or ids_N.size == 0:
        raise ArtifactError(f"cluster ids have shape {ids_N.shape}; one id for each of N ≥ 1 samples is needed")
    if n is not None and ids_N.size != n:
        raise ArtifactError(
            f"{n} mean log-probabilities but {ids_N.size} cluster ids; there must be one of each a sample"
        )
    ids: list[Any] = ids_N.tolist()
    return ids


def _grouped(ids_N: Sequence[Any]) -> list[list[int]]:
    """Positions of the samples of each class, classes in the sorted order of their ids."""
    members: dict[Any, list[int]] = {}
    for n, c in enumerate(ids_N):
        members.setdefault(c, []).append(n)
    return [members[c] for c in sorted(members)]


def sample_weights(mean_logprobs_N: ArrayLike) -> Floats:
    """exp(ℓ_n/|y_n|) up to a common factor (the largest is 1), so that nothing overflows and not all underflow.

    Raises ArtifactError on an empty list and on values that are not finite.
    """
    values_N = np.asarray(mean_logprobs_N, dtype=np.float64)
    if values_N.ndim != 1 or values_N.size == 0:
        raise ArtifactError(
            f"mean log-probabilities have shape {values_N.shape}; one for each of N ≥ 1 samples is needed"
        )
    if not np.isfinite(values_N).all():
        bad = int(np.flatnonzero(~np.isfinite(values_N))[0])
        raise ArtifactError(
            f"mean log-probability of sample {bad} is {values_N[bad]}; the sampler must return finite ones"
        )
    weights_N: Floats = np.exp(values_N - values_N.max())
    return weights_N


def _probabilities(weights_N: Sequence[float], members_C: Sequence[Sequence[int]]) -> list[float]:
    masses_C = [math.fsum([weights_N[n] for n in members]) for members in members_C]
    total = math.fsum(masses_C)
    return [mass / total for mass in masses_C]


def _entropy(probabilities_C: Sequence[float]) -> float:
    """−Σ p log p of a distribution, terms added from the smallest p up."""
    return max(0.0, math.fsum([-p * math.log(p) if p else 0.0 for p in sorted(probabilities_C)]))


def cluster_probabilities(mean_logprobs_N: ArrayLike, cluster_ids_N: ArrayLike) -> Floats:
    """p(c), Eq. 4: shape C, float64, sums to 1, in the sorted order of the cluster ids.

    mean_logprobs_N  ℓ_n/|y_n|, natural log; cluster_ids_N  class of each sample, any sortable labels.
    """
    weights_N = sample_weights(mean_logprobs_N).tolist()
    return np.array(_probabilities(weights_N, _grouped(_class_ids(cluster_ids_N, len(weights_N)))))


def cluster_frequencies(cluster_ids_N: ArrayLike) -> Floats:
    """Share of the samples in each class: Eq. 4 with every sample counting the same. Shape C."""
    counts = Counter(_class_ids(cluster_ids_N))
    return np.array([counts[c] for c in sorted(counts)]) / counts.total()


def entropy(probabilities_C: ArrayLike) -> float:
    """−Σ p log p in nats, with 0 log 0 = 0 (Eq. 5). The probabilities must be ≥ 0 and sum to 1 within 1e-9."""
    p_C = sorted(np.asarray(probabilities_C, dtype=np.float64).tolist())
    if not p_C or not (p_C[0] >= 0 and abs(math.fsum(p_C) - 1) < 1e-9):
        raise ArtifactError(f"{p_C} is not a probability distribution: entries must be ≥ 0 and sum to 1")
    return _entropy(p_C)


def semantic_entropy(mean_logprobs_N: ArrayLike, cluster_ids_N: ArrayLike) -> float:
    """Probability-weighted semantic entropy H in nats (Eq. 4 and 5)."""
    return entropy(cluster_probabilities(mean_logprobs_N, cluster_ids_N))


def discrete_semantic_entropy(cluster_ids_N: ArrayLike) -> float:
    """Semantic entropy of the class *counts* in nats: what Eq. 5 gives when all samples are equally likely."""
    return entropy(cluster_frequencies(cluster_ids_N))


def normalised_entropy(entropy_nats: float, n: int) -> float:
    """H / log N, clipped to [0, 1]. N is the number of samples behind H; N < 2 is an error, since log 1 = 0."""
    if n < 2:
        raise ArtifactError(
            f"entropy cannot be normalised by log {n}: at least 2 samples per prompt are needed, got {n}"
        )
    if not entropy_nats >= 0:
        raise ArtifactError(f"entropy {entropy_nats} is negative or not a number")
    return min(1.0, entropy_nats / math.log(n))


def entropy_weight(entropy_nats: float, n: int) -> float:
    """Distillation weight w = 1 − H / log N, clipped to [0, 1] (Eq. 6)."""
    return 1.0 - normalised_entropy(entropy_nats, n)


@dataclass(frozen=True, slots=True)
class Decomposition:
    """Chain rule: total = inter + Σ_c p(c) intra(c), all in nats.

    total    entropy over surface strings (lexical and semantic variety together)
    inter    entropy over classes: the semantic entropy
    probabilities_C, intra_C  mass of each class, and the entropy over the strings within it (the aleatoric part)
    """

    total: float
    inter: float
    probabilities_C: Floats
    intra_C: Floats


def decompose(mean_logprobs_N: ArrayLike, cluster_ids_N: ArrayLike, strings_N: Sequence[Hashable]) -> Decomposition:
    """Split the entropy over surface strings into its parts between and within classes (Section 3.1).

    strings_N holds the surface form of each sample. Equal strings must share a class, else the parts would not add up:
    ArtifactError names the string.
    """
    logprobs_N = np.asarray(mean_logprobs_N, dtype=np.float64)
    weights_N: list[float] = sample_weights(logprobs_N).tolist()
    ids_N = _class_ids(cluster_ids_N, len(weights_N))
    if len(strings_N) != len(weights_N):
        raise ArtifactError(f"{len(weights_N)} samples but {len(strings_N)} strings; there must be one per sample")
    owner: dict[Hashable, Any] = {}
    for string, c in zip(strings_N, ids_N, strict=True):
        if owner.setdefault(string, c) != c:
            raise ArtifactError(f"answer {string!r} lies in two classes; equal strings must share one")
    number = {string: form for form, string in enumerate(owner)}
    forms_N = [number[string] for string in strings_N]
    members_C = _grouped(ids_N)
    probabilities_C = _probabilities(weights_N, members_C)
    intra_C = []
    for members in members_C:
        forms = [forms_N[n] for n in members]
        one_form = len(set(forms)) == 1  # entropy 0, exactly
        intra_C.append(0.0 if one_form else semantic_entropy(logprobs_N[members], forms))
    total = _entropy(_probabilities(weights_N, _grouped(forms_N)))
    return Decomposition(total, _entropy(probabilities_C), np.array(probabilities_C), np.array(intra_C))
