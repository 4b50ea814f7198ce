"""Statistics against closed forms, brute force, scipy, published power tables, and simulated level and coverage."""

from __future__ import annotations

import itertools
from collections import Counter
from math import comb

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact.stats.accuracy import (
    StatisticsError,
    accuracy_interval,
    cluster_bootstrap,
    compare_methods,
    majority_at_k,
    paired_difference,
    pass_at_k,
    seed_spread,
    sign_flip_p_value,
    smallest_detectable_difference,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "trials", "level"), [(0, 30, 0.95), (3, 30, 0.95), (30, 30, 0.9), (812, 1319, 0.99)]
)
def test_wilson_equals_scipy(successes, trials, level):
    ours = wilson_interval(successes, trials, level)
    oracle = scipy.stats.binomtest(successes, trials).proportion_ci(level, method="wilson")
    assert ours.estimate == successes / trials
    assert (ours.low, ours.high) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


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
    with pytest.raises(StatisticsError):
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
    with pytest.raises(StatisticsError, match=r"\[1\]"):
        majority_at_k([[0, 1], [0, 0]], [[1, 0], [1, 0]], 2)


def test_bootstrap_over_single_clusters_equals_scipy_percentile():
    values = np.random.default_rng(1).random(80)
    ours = cluster_bootstrap(values, np.arange(80), resamples=20_000)
    scipys = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=2)
    oracle = scipys.confidence_interval
    assert (ours.low, ours.high) == pytest.approx((oracle.low, oracle.high), abs=0.004)
    assert ours.estimate == pytest.approx(values.mean())


def test_bootstrap_weighs_unequal_clusters_as_a_ratio_of_sums():
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(60), rng.integers(1, 9, 60))
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
    """Ten samples a problem, success probability Beta(0.5, 0.5) per problem, true mean 0.5; level 5 %, 300 sets."""
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


def test_accuracy_interval_averages_seeds_within_problems():
    one = np.random.default_rng(6).random((1, 50)) < 0.4
    thrice = np.repeat(one, 3, axis=0)  # copies of a seed carry no information, so the bar must not shrink
    assert accuracy_interval(thrice) == accuracy_interval(one)


def test_zero_of_thirty_is_no_zero_width_bar():
    interval = accuracy_interval(np.zeros((3, 30)))
    oracle = scipy.stats.binomtest(0, 30).proportion_ci(method="wilson")
    assert (interval.low, interval.high) == pytest.approx((oracle.low, oracle.high))
    assert "Wilson" in interval.bar and "bootstrap" in accuracy_interval(np.eye(5)[:1]).bar


def test_seed_spread_is_mean_and_sample_sd():
    spread = seed_spread([[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    assert (spread.mean, spread.sd, spread.per_seed) == (0.75, 0.25, (0.5, 0.75, 1.0))
    assert seed_spread([1, 0]).sd is None


@pytest.mark.parametrize("d", [[1, 1, 1, 1, 1], [1, -1, 0, 0, 1], [0.5, 0.25, -0.125, 1, 1, 1]])
def test_sign_flip_enumeration_equals_scipy(d):
    d = np.array(d, dtype=float)
    samples = (d, np.zeros_like(d))
    oracle = scipy.stats.permutation_test(samples, lambda a, b: np.mean(a - b), permutation_type="samples")
    assert sign_flip_p_value(d) == (pytest.approx(oracle.pvalue), True)


def test_sign_flip_of_binary_outcomes_is_the_exact_mcnemar_test():
    d = np.array([1] * 25 + [-1] * 11 + [0] * 100)  # only discordant pairs matter: Binomial(36, 1/2)
    p, exact = sign_flip_p_value(d, resamples=40_000)
    assert not exact
    assert p == pytest.approx(scipy.stats.binomtest(11, 36).pvalue, abs=0.003)
    assert sign_flip_p_value(np.zeros(9)) == (1.0, True)


def test_paired_difference_of_known_arrays():
    a, b = np.array([[1, 1, 1, 0], [1, 1, 0, 0]]), np.array([[0, 1, 0, 0]])
    result = paired_difference(a, b, resamples=500)
    d = np.array([1, 0, 0.5, 0])
    assert result.difference == pytest.approx(d.mean())
    assert result.sd_problems == pytest.approx(d.std(ddof=1))
    assert result.p_value == 0.5 and result.exact and result.problems == 4
    assert paired_difference(b, a, resamples=500).difference == pytest.approx(-d.mean())
    assert paired_difference(a, b, resamples=500, seed=7) == paired_difference(a, b, resamples=500, seed=7)


def test_pairing_removes_the_difficulty_of_the_problems():
    rng = np.random.default_rng(8)
    hard = rng.random(400) < 0.5
    a, b = hard * 1.0, hard * 1.0
    b[np.flatnonzero(hard)[:20]] = 0  # 20 of 400 problems lost: tiny spread of differences, large spread of outcomes
    paired = paired_difference(a, b)
    assert paired.low > 0.02 and paired.p_value < 0.001
    assert accuracy_interval(a).low < accuracy_interval(b).high


def test_paired_test_and_interval_hold_their_level_under_the_null():
    """Two equal methods, three seeds each, difficulty shared by problem: about 5 % false alarms of either kind."""
    rng = np.random.default_rng(9)
    alarms = {"test": 0, "interval": 0}
    for i in range(300):
        p = rng.beta(0.6, 0.6, (1, 80))
        result = paired_difference(rng.random((3, 80)) < p, rng.random((3, 80)) < p, resamples=400, seed=i)
        alarms["test"] += result.p_value < 0.05
        alarms["interval"] += not result.low <= 0 <= result.high
    assert alarms["test"] / 300 < 0.09 and alarms["interval"] / 300 < 0.10
    assert alarms["interval"] / 300 > 0.01  # not so wide as to never miss


@pytest.mark.parametrize(("effect", "problems"), [(0.5, 34), (0.2, 199), (0.8, 15)])
def test_detectable_difference_agrees_with_published_sample_sizes(effect, problems):
    """G*Power, paired t-test, two-sided 5 %, power 80 %: effect sizes 0.2, 0.5, 0.8 need 199, 34, 15 pairs."""
    assert smallest_detectable_difference(1.0, problems) <= effect < smallest_detectable_difference(1.0, problems - 1)


def test_detectable_difference_is_detected_in_four_of_five_experiments():
    delta = smallest_detectable_difference(0.4, 30)
    data = np.random.default_rng(10).normal(delta, 0.4, (4000, 30))
    assert (scipy.stats.ttest_1samp(data, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.025)
    normal = (scipy.stats.norm.ppf(0.975) + scipy.stats.norm.ppf(0.8)) * 0.4 / np.sqrt(5000)
    assert smallest_detectable_difference(0.4, 5000) == pytest.approx(normal, rel=1e-3)
    assert smallest_detectable_difference(0.0, 30) == 0


def test_compare_methods_puts_the_parts_together():
    rng = np.random.default_rng(11)
    a, b = rng.random((3, 60)) < 0.7, rng.random((2, 60)) < 0.4
    both = compare_methods(a, b, resamples=500)
    assert both.a == accuracy_interval(a, resamples=500) and both.seeds_b == seed_spread(b)
    assert both.paired.difference == pytest.approx(both.a.estimate - both.b.estimate)


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
    with pytest.raises(StatisticsError):
        call()
