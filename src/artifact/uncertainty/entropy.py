"""Probability-weighted semantic entropy and its relatives (UOPD, Eq. 4–6), in float64 NumPy.

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
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class EntropyError(ValueError):
    """The samples do not define an entropy, or not the one asked for."""


def _classes(cluster_ids_N: ArrayLike, n: int | None = None) -> tuple[int, Ints]:
    """(C, index_N): classes renumbered 0 … C−1 in the sorted order of their ids."""
    ids_N = np.asarray(cluster_ids_N)
    if ids_N.ndim != 1 or ids_N.size == 0:
        raise EntropyError(f"cluster ids have shape {ids_N.shape}; one id for each of N ≥ 1 samples is needed")
    if n is not None and ids_N.size != n:
        raise EntropyError(
            f"{n} mean log-probabilities but {ids_N.size} cluster ids; there must be one of each a sample"
        )
    unique, index_N = np.unique(ids_N, return_inverse=True)
    return len(unique), index_N.astype(np.int64)


def sample_weights(mean_logprobs_N: ArrayLike) -> Floats:
    """exp(ℓ_n/|y_n|) up to a common factor (the largest is 1), so that nothing overflows and not all underflow.

    Raises EntropyError on an empty list and on values that are not finite.
    """
    values_N = np.asarray(mean_logprobs_N, dtype=np.float64)
    if values_N.ndim != 1 or values_N.size == 0:
        raise EntropyError(
            f"mean log-probabilities have shape {values_N.shape}; one for each of N ≥ 1 samples is needed"
        )
    if not np.isfinite(values_N).all():
        bad = int(np.flatnonzero(~np.isfinite(values_N))[0])
        raise EntropyError(
            f"mean log-probability of sample {bad} is {values_N[bad]}; the sampler must return finite ones"
        )
    weights_N: Floats = np.exp(values_N - values_N.max())
    return weights_N


def _class_masses(weights_N: Floats, classes: int, index_N: Ints) -> Floats:
    return np.array([math.fsum(weights_N[index_N == c]) for c in range(classes)])


def cluster_probabilities(mean_logprobs_N: ArrayLike, cluster_ids_N: ArrayLike) -> Floats:
    """p(c), Eq. 4: shape C, float64, sums to 1, in the sorted order of the cluster ids.

    mean_logprobs_N  ℓ_n/|y_n|, natural log; cluster_ids_N  class of each sample, any sortable labels.
    """
    weights_N = sample_weights(mean_logprobs_N)
    masses_C = _class_masses(weights_N, *_classes(cluster_ids_N, weights_N.size))
    return masses_C / math.fsum(masses_C)


def cluster_frequencies(cluster_ids_N: ArrayLike) -> Floats:
    """Share of the samples in each class: Eq. 4 with every sample counting the same. Shape C."""
    classes, index_N = _classes(cluster_ids_N)
    return np.bincount(index_N, minlength=classes) / index_N.size


def entropy(probabilities_C: ArrayLike) -> float:
    """−Σ p log p in nats, with 0 log 0 = 0 (Eq. 5). The probabilities must be ≥ 0 and sum to 1 within 1e-9."""
    p_C = np.sort(np.asarray(probabilities_C, dtype=np.float64))
    if p_C.size == 0 or not (p_C[0] >= 0 and abs(math.fsum(p_C) - 1) < 1e-9):
        raise EntropyError(f"{p_C.tolist()} is not a probability distribution: entries must be ≥ 0 and sum to 1")
    return max(0.0, math.fsum(entr(p_C)))


def semantic_entropy(mean_logprobs_N: ArrayLike, cluster_ids_N: ArrayLike) -> float:
    """Probability-weighted semantic entropy H in nats (Eq. 4 and 5)."""
    return entropy(cluster_probabilities(mean_logprobs_N, cluster_ids_N))


def discrete_semantic_entropy(cluster_ids_N: ArrayLike) -> float:
    """Semantic entropy of the class *counts* in nats: what Eq. 5 gives when all samples are equally likely."""
    return entropy(cluster_frequencies(cluster_ids_N))


def normalised_entropy(entropy_nats: float, n: int) -> float:
    """H / log N, clipped to [0, 1]. N is the number of samples behind H; N < 2 is an error, since log 1 = 0."""
    if n < 2:
        raise EntropyError(f"entropy cannot be normalised by log {n}: at least 2 samples a prompt are needed, got {n}")
    if not entropy_nats >= 0:
        raise EntropyError(f"entropy {entropy_nats} is negative or not a number")
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
    EntropyError names the string.
    """
    weights_N = sample_weights(mean_logprobs_N)
    classes, index_N = _classes(cluster_ids_N, weights_N.size)
    forms = {s: f for f, s in enumerate(dict.fromkeys(strings_N))}
    form_N = [forms[s] for s in strings_N]
    if len(form_N) != weights_N.size:
        raise EntropyError(f"{weights_N.size} samples but {len(form_N)} strings; there must be one a sample")
    owner: dict[int, int] = {}
    for form, c, string in zip(form_N, index_N.tolist(), strings_N, strict=True):
        if owner.setdefault(form, c) != c:
            raise EntropyError(f"answer {string!r} lies in two classes; equal strings must share one")
    probabilities_C = cluster_probabilities(mean_logprobs_N, cluster_ids_N)
    form_array_N = np.array(form_N)
    logprobs_N = np.asarray(mean_logprobs_N, dtype=np.float64)
    intra_C = np.array([semantic_entropy(logprobs_N[index_N == c], form_array_N[index_N == c]) for c in range(classes)])
    return Decomposition(semantic_entropy(logprobs_N, form_array_N), entropy(probabilities_C), probabilities_C, intra_C)
