"""Paired comparisons against scipy, published power tables, and simulated level."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from artifact.stats.accuracy import accuracy_interval
from artifact.stats.interval import Interval
from artifact.stats.paired import (
    is_significant,
    paired_difference,
    seeds_p_value,
    sign_flip_p_value,
    smallest_detectable_difference,
)


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
    assert result.difference.estimate == pytest.approx(d.mean())
    assert result.sd_problems == pytest.approx(d.std(ddof=1))
    assert result.p_value == 0.5 and result.exact and result.problems == 4
    assert paired_difference(b, a, resamples=500).difference.estimate == pytest.approx(-d.mean())
    assert paired_difference(a, b, resamples=500, seed=7) == paired_difference(a, b, resamples=500, seed=7)


def test_pairing_removes_the_difficulty_of_the_problems():
    rng = np.random.default_rng(8)
    hard = rng.random(400) < 0.5
    a, b = hard * 1.0, hard * 1.0
    b[np.flatnonzero(hard)[:20]] = 0  # 20 of 400 problems lost: tiny spread of differences, large spread of outcomes
    paired = paired_difference(a, b)
    assert paired.difference.low > 0.02 and paired.p_value < 0.001
    assert accuracy_interval(a).low < accuracy_interval(b).high


def test_paired_test_and_interval_hold_their_level_under_the_null():
    """Two equal methods, three seeds each, difficulty shared by problem: about 5 % false alarms of either kind."""
    rng = np.random.default_rng(9)
    alarms = {"test": 0, "interval": 0}
    for i in range(300):
        p = rng.beta(0.6, 0.6, (1, 80))
        result = paired_difference(rng.random((3, 80)) < p, rng.random((3, 80)) < p, resamples=400, seed=i)
        alarms["test"] += result.p_value < 0.05
        alarms["interval"] += not result.difference.low <= 0 <= result.difference.high
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
    assert np.isnan(smallest_detectable_difference(0.0, 30)), "no spread was seen: nothing says what could be found"


def test_random_sign_flips_never_reach_p_of_zero():
    """Forty differences of one sign: 2 of 2⁴⁰ patterns are as far, none is drawn, and the data's own one counts."""
    assert sign_flip_p_value(np.ones(40), resamples=99) == (1 / 100, False)


def test_the_p_value_does_not_depend_on_the_sign():
    up, _ = sign_flip_p_value([1, 1, 1, 1, 1])
    down, _ = sign_flip_p_value([-1, -1, -1, -1, -1])
    assert up == down == 2 / 2**5
    d = np.random.default_rng(13).normal(0.3, 1, 60)
    few = [sign_flip_p_value(sign * d, resamples=20_000)[0] for sign in (1, -1)]
    oracle = scipy.stats.permutation_test(
        (d, np.zeros(60)), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=20_000, rng=1
    )
    assert few == pytest.approx([oracle.pvalue] * 2, abs=0.01)


@pytest.mark.parametrize(
    ("low", "high", "p_value", "level", "claimed"),
    [
        (0.1, 0.3, 0.01, 0.95, True),
        (-0.3, -0.1, 0.01, 0.95, True),
        (0.1, 0.3, 0.125, 0.95, False),  # the interval alone is not enough
        (-0.1, 0.3, 0.01, 0.95, False),  # nor is the test alone
        (0.0, 0.3, 0.01, 0.95, False),  # an interval that ends at 0 holds it
        (0.1, 0.3, 0.03, 0.99, False),
        (0.1, 0.3, 0.08, 0.90, True),
    ],
)
def test_significant_needs_both_interval_and_test(low, high, p_value, level, claimed):
    assert is_significant(Interval((low + high) / 2, low, high, level, "m"), p_value) is claimed


def test_the_interval_of_a_constant_gain_has_no_width_because_the_draws_are_paired():
    a = np.random.default_rng(14).random(50) * 0.5
    result = paired_difference(a + 0.25, a, resamples=200)
    assert (result.difference.low, result.difference.high) == pytest.approx((0.25, 0.25), abs=1e-12)


@pytest.mark.parametrize("problems", [3, 6, 12])
def test_detectable_difference_has_its_power_under_the_noncentral_t(problems):
    """Two-sided power at δ: P(|T| > t_crit) for T ~ t(P − 1, δ√P/sd), at which few problems tell P − 1 from P."""
    shift = smallest_detectable_difference(0.4, problems) * np.sqrt(problems) / 0.4
    critical, noncentral = scipy.stats.t.ppf(0.975, problems - 1), scipy.stats.nct(problems - 1, shift)
    assert noncentral.sf(critical) + noncentral.cdf(-critical) == pytest.approx(0.8, abs=1e-4)


def test_runs_that_share_seeds_are_paired_by_seed():
    """Differences 3.1, 3.7, 4.3 points: t = 3.7 / (0.6 / √3), far beyond what the seeds' own spread would allow."""
    a, b = {0: 0.431, 1: 0.397, 2: 0.463}, {0: 0.400, 1: 0.360, 2: 0.420}
    t_value = 0.037 / (0.006 / np.sqrt(3))
    assert seeds_p_value(a, b) == pytest.approx(2 * scipy.stats.t.sf(t_value, 2))
    assert seeds_p_value(dict(reversed(a.items())), b) == seeds_p_value(a, b), "by seed, not by position"
    renamed = {seed + 10: x for seed, x in b.items()}  # no seed in common: Welch, by the two spreads
    x, y = np.array(list(a.values())), np.array(list(b.values()))
    welch = (x.mean() - y.mean()) / np.sqrt(x.var(ddof=1) / 3 + y.var(ddof=1) / 3)
    assert scipy.stats.t.sf(welch, 4) * 2 < seeds_p_value(a, renamed) < scipy.stats.t.sf(welch, 2) * 2
    assert seeds_p_value(a, renamed) > 0.2 > 0.01 > seeds_p_value(a, b)


def test_an_untrained_model_is_one_number_and_one_seed_says_nothing():
    a, base = {0: 0.5, 1: 0.6, 2: 0.7}, {0: 0.4}
    assert seeds_p_value(a, base, fixed=True) == pytest.approx(2 * scipy.stats.t.sf(0.2 / (0.1 / np.sqrt(3)), 2))
    assert seeds_p_value(a, base) is None and seeds_p_value({0: 0.5}, {0: 0.4}) is None
    assert seeds_p_value({0: 0.5}, base, fixed=True) is None
    assert seeds_p_value({0: 0.5, 1: 0.6}, {0: 0.4, 1: 0.5}) == 0.0, "differences without spread"
    assert seeds_p_value({0: 0.5, 1: 0.6}, {0: 0.5, 1: 0.6}) == 1.0
    assert seeds_p_value({0: 0.5, 1: 0.5}, {2: 0.4, 3: 0.4}) == 0.0
    assert seeds_p_value({0: 0.5, 1: 0.5}, {2: 0.5, 3: 0.5}) == 1.0
