"""pass@k and maj@k of one problem from N sampled responses: unbiased and exact, nothing is drawn.

Left out: which responses are correct, and which answers are the same. Array axes: P problems, N samples of one problem.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from artifact.errors import ArtifactError
from artifact.stats.checks import Floats


def pass_at_k(correct_P: ArrayLike, samples: ArrayLike, k: int) -> Floats:
    """Unbiased pass@k of each problem from `correct` of `samples` responses: 1 − C(n−c, k) / C(n, k), shape [P].

    Computed as 1 − Π_{j<k} (n−c−j)/(n−j), without large binomials. Chen et al. 2021, arXiv:2107.03374, Eq. 1. `samples`
    is one number or one per problem. Raises ArtifactError where k > n.
    """
    c, n = np.broadcast_arrays(np.asarray(correct_P, dtype=np.int64), np.asarray(samples, dtype=np.int64))
    if k < 1 or n.size == 0 or n.min() < k:
        raise ArtifactError(f"pass@{k} needs 1 <= k <= n for every problem; the smallest n is {n.min(initial=10**9)}")
    if (c < 0).any() or (c > n).any():
        raise ArtifactError("pass@k got more correct responses than samples, or a negative count")
    failure = np.ones(c.shape)
    for j in range(k):
        failure *= np.maximum(n - c - j, 0) / (n - j)
    return 1.0 - failure


def majority_at_k(classes_PN: ArrayLike, correct_PN: ArrayLike, k: int) -> Floats:
    """Expected accuracy of a majority vote over k of the N samples, shape [P]; exact, nothing is drawn.

    `classes` numbers the answer class of each sample (from 0; −1 = no answer, never votes), `correct` its verdict. The
    expectation is over all C(N, k) subsets of the samples, and over the winner of a tie: t classes with equally many
    votes, one of them correct, count 1/t. Raises ArtifactError where one class holds both correct and incorrect
    samples: the vote would be ill-defined. Self-consistency, Wang et al. 2023, arXiv:2203.11171.
    """
    classes, correct = np.asarray(classes_PN, dtype=np.int64), np.asarray(correct_PN, dtype=bool)
    if classes.ndim != 2 or classes.shape != correct.shape or not 1 <= k <= classes.shape[1] or classes.min() < -1:
        raise ArtifactError(
            f"majority@{k} needs classes >= -1 and verdicts of one shape [P, N] with 1 <= k <= N; "
            f"got {classes.shape} and {correct.shape}"
        )
    problems = classes.shape[0]
    onehot = (classes[:, :, None] == np.arange(classes.max() + 1)).astype(np.int64)  # [P, N, C]
    sizes, right = onehot.sum(1), (onehot * correct[:, :, None]).sum(1)  # [P, C] samples, and correct ones, of a class
    if bad := np.flatnonzero(((right > 0) & (right < sizes)).any(1)).tolist():
        raise ArtifactError(f"problem(s) {bad[:5]} have a cluster that is both correct and wrong; verify by cluster")
    return np.array(
        [
            _majority_share(
                tuple(sorted(sizes[p][right[p] > 0].tolist())),
                tuple(sorted(sizes[p][(right[p] == 0) & (sizes[p] > 0)])),
                int((classes[p] < 0).sum()),
                k,
            )
            for p in range(problems)
        ]
    )


@lru_cache(maxsize=65536)
def _majority_share(correct: tuple[int, ...], wrong: tuple[int, ...], silent: int, k: int) -> float:
    """`majority_at_k` of one problem, from the sizes of its correct and wrong classes and the number without an answer.

    Counts subsets by generating functions in x, the number of samples drawn. Where the winners have v votes, a class of
    n samples contributes Σ_{i<v} C(n, i) xⁱ if it loses and C(n, v) xᵛ if it ties; silent samples and classes smaller
    than v, which can only lose, contribute (1 + x)ⁿ together. The coefficient of xᵏ is read for each number of correct
    and wrong winners.
    """
    subsets, total = math.comb(sum(correct) + sum(wrong) + silent, k), 0.0
    for votes in range(1, min(k, max(correct, default=0)) + 1):
        rest = silent + sum(n for n in (*correct, *wrong) if n < votes)
        table = {(0, 0): _binomials(rest, k)}
        for size, right in [(n, g) for group, g in ((correct, 1), (wrong, 0)) for n in group if n >= votes]:
            losing = _binomials(size, votes - 1)
            grown: dict[tuple[int, int], Floats] = {}
            for (a, b), ways in table.items():
                tied = np.zeros(k + 1)
                tied[votes:] = math.comb(size, votes) * ways[: k + 1 - votes]
                lost = np.asarray(np.convolve(ways, losing)[: k + 1], dtype=np.float64)
                for winners, more in (((a, b), lost), ((a + right, b + 1 - right), tied)):
                    grown[winners] = more + grown.get(winners, 0.0)
            table = {winners: ways for winners, ways in grown.items() if ways.any()}
        total += sum(a / (a + b) * (ways[k] / subsets) for (a, b), ways in table.items() if a)
    return float(total)


def _binomials(n: int, highest: int) -> Floats:
    """C(n, i) for i = 0 … highest: the coefficients of (1 + x)ⁿ up to x^highest."""
    return np.array([math.comb(n, i) for i in range(highest + 1)], dtype=np.float64)
