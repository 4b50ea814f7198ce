"""Bias-corrected entropies against closed forms in fractions, and against what they are for: the bias itself."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from artifact.errors import ArtifactError
from artifact.phase1.entropy import discrete_semantic_entropy
from artifact.phase1.estimators import chao_shen_entropy, miller_madow_entropy


@pytest.mark.parametrize(
    ("counts", "miller_madow", "chao_shen"),
    [
        ([5], 0.0, 0.0),
        # 1/2 each: H = log 2, two classes of four samples; nothing seen once, 1 − (1/2)^4 = 15/16.
        ([2, 2], math.log(2) + 1 / 8, math.log(2) * 16 / 15),
        # coverage 3/4, so p̃ = 9/16 and 3/16; the chances of being seen are 1 − (7/16)^4 and 1 − (13/16)^4.
        (
            [3, 1],
            0.75 * math.log(4 / 3) + 0.25 * math.log(4) + 1 / 8,
            9 / 16 * math.log(16 / 9) / (1 - 2401 / 65536) + 3 / 16 * math.log(16 / 3) / (1 - 28561 / 65536),
        ),
        # all seen once: coverage 1/2 by f = N − 1, p̃ = 1/4 twice, seen with chance 1 − (3/4)^2 = 7/16.
        ([1, 1], math.log(2) + 1 / 4, 2 * 0.25 * math.log(4) * 16 / 7),
    ],
)
def test_closed_forms(counts: list[int], miller_madow: float, chao_shen: float) -> None:
    assert miller_madow_entropy(counts) == pytest.approx(miller_madow, abs=1e-12)
    assert chao_shen_entropy(counts) == pytest.approx(chao_shen, abs=1e-12)
    assert miller_madow_entropy(counts[::-1]) == miller_madow_entropy(counts)


def test_both_are_nearer_to_the_truth_than_the_plug_in() -> None:
    """Eight samples of six equally likely classes, 4,000 times: the means beside log 6."""
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, 6, 8).tolist() for _ in range(4000)]
    counts = [list(Counter(d).values()) for d in draws]
    plain = np.mean([discrete_semantic_entropy(d) for d in draws])
    truth = math.log(6)
    for estimate in (miller_madow_entropy, chao_shen_entropy):
        assert abs(np.mean([estimate(c) for c in counts]) - truth) < 0.5 * (truth - plain)


@pytest.mark.parametrize("counts", [[], [2, 0]])
@pytest.mark.parametrize("estimate", [miller_madow_entropy, chao_shen_entropy])
def test_counts_without_a_sample_are_refused(estimate, counts) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ArtifactError, match="at least one class, each with a sample"):
        estimate(counts)
