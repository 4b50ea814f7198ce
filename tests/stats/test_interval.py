"""Wilson's interval against its closed form, published examples and scipy."""

from __future__ import annotations

import math

import pytest
import scipy.stats

from artifact.errors import ArtifactError
from artifact.stats.interval import wilson_interval


@pytest.mark.parametrize(
    ("successes", "trials", "level"), [(0, 30, 0.95), (3, 30, 0.95), (30, 30, 0.9), (812, 1319, 0.99)]
)
def test_wilson_equals_scipy(successes, trials, level):
    ours = wilson_interval(successes, trials, level)
    oracle = scipy.stats.binomtest(successes, trials).proportion_ci(level, method="wilson")
    assert ours.estimate == successes / trials
    assert (ours.low, ours.high) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


# Wilson: closed form, and the worked examples of Newcombe (1998), Statistics in Medicine 17, Table I


@pytest.mark.parametrize(
    ("successes", "n", "lower", "upper"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson(successes, n, lower, upper):
    wilson = wilson_interval(successes, n)
    interval = (wilson.low, wilson.high)
    assert interval == pytest.approx((lower, upper), abs=5e-5)
    z, p = 1.959963984540054, successes / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert interval == pytest.approx(((middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)), abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"), [(lambda: wilson_interval(3, 2), "3 of 2"), (lambda: wilson_interval(1, 2, 95), "got 95")]
)
def test_impossible_proportions_are_errors(call, message):
    with pytest.raises(ArtifactError, match=message):
        call()
