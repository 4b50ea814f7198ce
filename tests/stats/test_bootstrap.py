"""The resampler against scipy, simulated coverage, and single strata."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from artifact.errors import ArtifactError
from artifact.stats.bootstrap import bootstrap_values, cluster_bootstrap, draw_rows, percentile_interval


def test_bootstrap_over_single_clusters_equals_scipy_percentile():
    values = np.random.default_rng(1).random(80)
    ours = cluster_bootstrap(values, np.arange(80), resamples=20_000)
    scipys = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=2)
    oracle = scipys.confidence_interval
    assert (ours.low, ours.high) == pytest.approx((oracle.low, oracle.high), abs=0.004)
    assert ours.estimate == pytest.approx(values.mean())


def test_bootstrap_weighs_unequal_clusters_as_a_ratio_of_sums():
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(60), np.sort(rng.integers(1, 9, 60)))  # large clusters have large values
    values = rng.random(clusters.size) + clusters / 60
    sums, sizes = np.bincount(clusters, values), np.bincount(clusters)

    def ratio(s, n, axis=-1):
        return s.sum(axis) / n.sum(axis)

    oracle = scipy.stats.bootstrap(
        (sums, sizes), ratio, paired=True, vectorized=True, n_resamples=20_000, method="percentile", rng=4
    ).confidence_interval
    names = np.array([f"problem-{i}" for i in clusters])
    ours = cluster_bootstrap(values, names, resamples=20_000)
    assert (ours.low, ours.high) == pytest.approx((oracle.low, oracle.high), abs=0.01)


def test_clustered_bootstrap_holds_its_level_and_the_naive_one_does_not():
    """Ten samples per problem, success probability Beta(0.5, 0.5) per problem, true mean 0.5; level 5 %, 300 sets."""
    rng = np.random.default_rng(5)
    misses = {"clustered": 0, "naive": 0}
    problems = np.repeat(np.arange(60), 10)
    for i in range(300):
        outcomes = (rng.random((60, 10)) < rng.beta(0.5, 0.5, (60, 1))).ravel()
        for name, clusters in (("clustered", problems), ("naive", np.arange(600))):
            interval = cluster_bootstrap(outcomes, clusters, resamples=400, seed=i)
            misses[name] += not interval.low <= 0.5 <= interval.high
    assert misses["clustered"] / 300 < 0.10  # 5 % + 4 SE of the simulation
    assert misses["naive"] / 300 > 0.30


def test_one_stratum_draws_what_scipy_draws():
    """Bit for bit: the same rows in the same order, both columns of a row together."""
    a, b = np.random.default_rng(12).random((2, 30))

    def difference(x, y, axis=-1):
        return x.mean(axis) - y.mean(axis)

    oracle = scipy.stats.bootstrap(
        (a, b), difference, paired=True, vectorized=True, n_resamples=250, method="percentile", rng=3
    )
    values = bootstrap_values(lambda rows: difference(a[rows], b[rows]), [np.arange(30)], resamples=250, seed=3)
    np.testing.assert_array_equal(values, oracle.bootstrap_distribution)
    interval = percentile_interval(0.0, values, 0.95, "percentile")
    assert (interval.low, interval.high) == pytest.approx(tuple(oracle.confidence_interval), abs=1e-12)
    assert interval.low < interval.high


def test_strata_keep_their_sizes_and_follow_the_generators_own_choice():
    strata = [np.array([2, 5, 7]), np.array([1]), np.array([0, 3, 4, 6, 8])]
    rng = np.random.default_rng(4)
    expected = [np.concatenate([rng.choice(rows, len(rows)) for rows in strata]) for _ in range(40)]
    (drawn,) = draw_rows(strata, 40, 4)
    np.testing.assert_array_equal(drawn, expected)
    assert len({tuple(row) for row in drawn}) > 30


def test_the_block_size_changes_nothing(monkeypatch):
    whole = np.concatenate(list(draw_rows([np.arange(9), np.arange(9, 13)], 25, 1)))
    monkeypatch.setattr("artifact.stats.bootstrap.CHUNK", 40)
    parts = list(draw_rows([np.arange(9), np.arange(9, 13)], 25, 1))
    assert len(parts) > 5
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_refused_resamples_are_drawn_again_in_order():
    every = np.concatenate(list(draw_rows([np.arange(4)], 300, 2)))
    wanted = every[(every == 0).any(1)][:100]
    kept = np.concatenate(list(draw_rows([np.arange(4)], 100, 2, accept=lambda rows: (rows == 0).any(1))))
    np.testing.assert_array_equal(kept, wanted)


def test_percentiles_of_known_values():
    interval = percentile_interval(7.0, np.arange(101.0), 0.9, "m")  # 0 … 100: the 5th and the 95th
    assert (interval.estimate, interval.level, interval.method) == (7.0, 0.9, "m")
    assert (interval.low, interval.high) == pytest.approx((5, 95))


@pytest.mark.parametrize("call", [lambda: list(draw_rows([[0, 1]], 0, 0)), lambda: list(draw_rows([[0], []], 5, 0))])
def test_nothing_to_draw_is_an_error(call):
    with pytest.raises(ArtifactError, match="must be positive and no stratum empty"):
        call()
