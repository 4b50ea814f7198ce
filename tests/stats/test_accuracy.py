"""Accuracy over problems and seeds against scipy and hand-made cases; impossible requests of every module."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from artifact.errors import ArtifactError
from artifact.stats.accuracy import accuracy_interval, seed_spread
from artifact.stats.bootstrap import cluster_bootstrap
from artifact.stats.interval import wilson_interval
from artifact.stats.paired import paired_difference, smallest_detectable_difference
from artifact.stats.pass_at_k import majority_at_k


def test_accuracy_interval_averages_seeds_within_problems():
    one = np.random.default_rng(6).random((1, 50)) < 0.4
    thrice = np.repeat(one, 3, axis=0)  # copies of a seed carry no information, so the bar must not shrink
    assert accuracy_interval(thrice) == accuracy_interval(one)


def test_zero_of_thirty_is_no_zero_width_bar():
    interval = accuracy_interval(np.zeros((3, 30)))
    oracle = scipy.stats.binomtest(0, 30).proportion_ci(method="wilson")
    assert (interval.low, interval.high) == pytest.approx((oracle.low, oracle.high))
    assert "Wilson" in interval.method and "bootstrap" in accuracy_interval(np.eye(5)[:1]).method


def test_seed_spread_is_mean_and_sample_sd():
    spread = seed_spread([[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    assert (spread.mean, spread.sd, spread.per_seed) == (0.75, 0.25, (0.5, 0.75, 1.0))
    assert seed_spread([1, 0]).sd is None


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson_interval(3, 2),
        lambda: wilson_interval(1, 2, level=95),
        lambda: accuracy_interval([[np.nan, 1]]),
        lambda: accuracy_interval([[2, 1]]),
        lambda: accuracy_interval(np.zeros((2, 0))),
        lambda: paired_difference([[1, 0, 1]], [[1, 0]]),
        lambda: paired_difference([[1]], [[0]]),
        lambda: cluster_bootstrap([1.0, 2.0], [0]),
        lambda: cluster_bootstrap([5.0, 5.0], [0, 1]),
        lambda: smallest_detectable_difference(0.3, 1),
        lambda: majority_at_k([[0, 1]], [[1, 0]], 3),
    ],
)
def test_impossible_requests_are_errors(call):
    with pytest.raises(ArtifactError):
        call()
