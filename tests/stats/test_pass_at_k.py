"""pass@k and maj@k against all subsets and closed forms."""

from __future__ import annotations

import itertools
from collections import Counter
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact.errors import ArtifactError
from artifact.stats.pass_at_k import majority_at_k, pass_at_k


@given(st.integers(1, 9), st.data())
@settings(max_examples=60, deadline=None)
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_sample(n, data):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    subsets = list(itertools.combinations([1] * c + [0] * (n - c), k))
    assert pass_at_k([c], n, k)[0] == pytest.approx(np.mean([max(s) for s in subsets]))


def test_pass_at_k_is_vectorised_and_stable_for_many_samples():
    assert pass_at_k([0, 5, 200], 200, 100) == pytest.approx([0, 1 - comb(195, 100) / comb(200, 100), 1])
    assert pass_at_k([3, 1], [3, 4], 1) == pytest.approx([1, 0.25])


@pytest.mark.parametrize(("c", "n", "k"), [([1], 4, 5), ([5], 4, 1), ([-1], 4, 1), ([1], 4, 0)])
def test_pass_at_k_refuses_impossible_counts(c, n, k):
    with pytest.raises(ArtifactError):
        pass_at_k(c, n, k)


def test_majority_by_hand():
    classes = [[0, 0, 1, 1], [0, 0, 0, 1], [0, 1, 1, 1], [-1, -1, -1, 2], [-1, -1, -1, -1], [0, 1, 2, 3]]
    correct = [[1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]
    assert majority_at_k(classes, correct, 4) == pytest.approx([0.5, 1, 0, 1, 0, 0.25])


@given(st.integers(1, 7), st.data())
@settings(max_examples=50, deadline=None)
def test_majority_is_the_mean_over_all_subsets_with_ties_shared_out(n, data):
    classes = data.draw(st.lists(st.integers(-1, 3), min_size=n, max_size=n))
    right, k = data.draw(st.sets(st.integers(0, 3))), data.draw(st.integers(1, n))
    scores = []
    for subset in itertools.combinations(classes, k):
        votes = Counter(c for c in subset if c >= 0)
        winners = [c for c, v in votes.items() if v == max(votes.values())]
        scores.append(sum(c in right for c in winners) / len(winners) if winners else 0)
    got = majority_at_k([classes], [[c in right for c in classes]], k)
    assert got == pytest.approx([np.mean(scores)], abs=1e-12)


def test_majority_over_one_sample_is_the_mean_and_over_three_the_binomial_sum():
    correct = np.random.default_rng(0).random((20, 64)) < 0.6
    classes = np.where(correct, 0, 1)
    c = correct.sum(1)
    assert majority_at_k(classes, correct, 1) == pytest.approx(c / 64)
    three = [(comb(i, 2) * (64 - i) + comb(i, 3)) / comb(64, 3) for i in c]  # two or three of three are correct
    assert majority_at_k(classes, correct, 3) == pytest.approx(three)
    odd = [sum(comb(i, j) * comb(64 - i, 33 - j) for j in range(17, 34)) / comb(64, 33) for i in c]
    assert majority_at_k(classes, correct, 33) == pytest.approx(odd)


def test_majority_refuses_a_cluster_with_two_verdicts():
    with pytest.raises(ArtifactError, match=r"\[1\]"):
        majority_at_k([[0, 1], [0, 0]], [[1, 0], [1, 0]], 2)
