"""Seeds and problems as samples at once: against an analysis of variance by hand, known power, and simulated level."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.stats

from artifact.errors import ArtifactError
from artifact.stats.crossed import Components, components, crossed_difference, power
from artifact.stats.paired import detectable_effect


def layouts(of: Components, seeds: int, problems: int, rounds: int, seed: int = 0) -> np.ndarray:
    """Differences [rounds, S, P] with these variances."""
    rng = np.random.default_rng(seed)
    shapes = ((rounds, seeds, 1), (rounds, 1, problems), (rounds, seeds, problems))
    parts = zip((of.seeds, of.problems, of.rest), shapes, strict=True)
    return of.mean + sum(np.sqrt(variance) * rng.standard_normal(shape) for variance, shape in parts)


def outcomes(d_SP: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two methods within [0, 1] that differ by `d_SP`."""
    return np.clip(0.5 + d_SP / 2, 0, 1), np.clip(0.5 - d_SP / 2, 0, 1)


def test_two_seeds_and_three_problems_by_hand() -> None:
    d = np.array([[0.4, 0.1, 0.1], [0.2, 0.1, 0.3]])
    # seeds .2, .2 (MS 0); problems .3, .1, .2 (MS 2·.01 = .02); rest ±.1, 0, ∓.1 (MS .04/2 = .02), all over SP = 6
    of = crossed_difference(*outcomes(d), paired=True)
    assert of is not None
    assert of.difference == pytest.approx(0.2) and of.se_seeds == pytest.approx(0.0, abs=1e-12)
    assert of.se_problems**2 == pytest.approx(0.02 / 6) and of.standard_error == pytest.approx(of.se_problems)
    assert of.degrees_of_freedom == pytest.approx(2)
    assert of.p_value == pytest.approx(2 * scipy.stats.t.sf(0.2 / np.sqrt(0.02 / 6), 2))
    parts = components(d)
    assert (parts.mean, parts.seeds, parts.problems, parts.rest) == pytest.approx((0.2, 0, 0, 0.02), abs=1e-12)


def test_seeds_problems_and_their_interaction_by_hand() -> None:
    d = np.array([[0.6, 0.2], [0.2, 0.0]])
    # mean .25; seeds .4, .1 and problems .4, .1: V = .045/2 each; rest ±.05: MS .01, over SP = 4
    V_S = V_P = 0.0225
    V = V_S + V_P - 0.0025
    of = crossed_difference(*outcomes(d), paired=True)
    assert of is not None
    assert (of.se_seeds**2, of.se_problems**2) == pytest.approx((V_S, V_P)) and of.standard_error**2 == pytest.approx(V)
    df = V**2 / (V_S**2 / 1 + V_P**2 / 1)
    assert of.degrees_of_freedom == pytest.approx(df)
    assert of.p_value == pytest.approx(2 * scipy.stats.t.sf(0.25 / np.sqrt(V), df))
    parts = components(d)
    assert (parts.seeds, parts.problems, parts.rest) == pytest.approx((2 * (V_S - 0.0025), 2 * (V_P - 0.0025), 0.01))


def test_with_one_source_of_error_it_is_the_t_test_over_that_source() -> None:
    rng = np.random.default_rng(1)
    seeds, problems = rng.normal(0.1, 0.05, (5, 1)), rng.normal(0.05, 0.1, (1, 40))
    for d, values in ((seeds + np.zeros((5, 40)), seeds[:, 0]), (problems + np.zeros((5, 40)), problems[0])):
        of = crossed_difference(*outcomes(d), paired=True)
        assert of is not None and of.p_value == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue)


def test_seeds_that_differ_are_compared_by_both_their_spreads() -> None:
    """Every problem alike within a seed, so that V_P = V_R = 0: Welch's test of the seeds."""
    a, b = np.array([0.5, 0.6, 0.8]), np.array([0.2, 0.3, 0.5, 0.45])
    of = crossed_difference(np.repeat(a[:, None], 6, 1), np.repeat(b[:, None], 6, 1), paired=False)
    assert of is not None
    assert of.p_value == pytest.approx(scipy.stats.ttest_ind(a, b, equal_var=False).pvalue)
    base = crossed_difference(np.repeat(a[:, None], 6, 1), np.full((1, 6), 0.4), paired=True)
    assert base is not None and base.p_value == pytest.approx(scipy.stats.ttest_1samp(a, 0.4).pvalue)


def test_one_seed_says_nothing_and_other_problems_are_refused() -> None:
    assert crossed_difference([[1, 0, 1]], [[0, 0, 1]], paired=True) is None
    assert crossed_difference([[1, 0], [1, 1]], [[0, 0]], paired=False) is None
    for a, b, paired in (
        ([[1, 0]], [[1, 0, 1]], True),
        ([[1, 0]] * 3, [[1, 0]] * 2, True),
        ([[1]] * 2, [[0]] * 2, True),
    ):
        with pytest.raises(ArtifactError, match="same problems"):
            crossed_difference(a, b, paired=paired)
    with pytest.raises(ArtifactError, match="at least 2 seeds"):
        components([[0.1, 0.2]])
    same = crossed_difference([[1, 0]] * 2, [[1, 0]] * 2, paired=True)
    assert same is not None and same.p_value == 1.0 and np.isnan(same.smallest_detectable)


def test_components_are_those_that_were_put_in() -> None:
    put = Components(0.03, 0.02**2, 0.2**2, 0.1**2)
    found = [components(d) for d in layouts(put, 8, 200, 300)]
    for name in ("mean", "seeds", "problems", "rest"):
        assert np.mean([getattr(c, name) for c in found]) == pytest.approx(getattr(put, name), rel=0.06)


@pytest.mark.parametrize("seeds", [3, 6])
@pytest.mark.parametrize("of", [(0.0, 0.18), (0.01, 0.18), (0.01, 0.28), (0.005, 0.0)], ids=str)
def test_no_true_difference_is_found_in_at_most_one_of_twenty_where_each_source_alone_finds_more(
    seeds: int, of: tuple[float, float]
) -> None:
    """Variances like those of this artifact's runs; its 1,600 problems are 100, the SD of seeds four times as large."""
    problems, rounds = 100, 600
    null = Components(0, (4 * of[0]) ** 2, of[1] ** 2, 0.27**2)
    found = {"both": 0, "problems": 0}
    for d in layouts(null, seeds, problems, rounds):
        both = crossed_difference(*outcomes(d), paired=True)
        assert both is not None
        found["both"] += both.p_value <= 0.05
        found["problems"] += bool(scipy.stats.ttest_1samp(d.mean(axis=0), 0).pvalue <= 0.05)
    assert 0.01 <= found["both"] / rounds <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / rounds)
    if of[0] > 0.005:
        assert found["problems"] / rounds > 0.08, "which is what counting problems alone would have claimed"


def test_power_is_the_share_that_is_found() -> None:
    of = Components(0, 0.008**2, 0.2**2, 0.2**2)
    for effect in (0.02, 0.035):
        shifted = Components(effect, of.seeds, of.problems, of.rest)
        tests = [crossed_difference(*outcomes(d), paired=True) for d in layouts(shifted, 6, 400, 600, seed=3)]
        found = np.mean([x is not None and x.p_value <= 0.05 for x in tests])
        assert power(of, effect, 6, 400) == pytest.approx(found, abs=0.06)
    # one source left: the one-sample t-test of known power, d = 0.5 and n = 34 (G*Power: 0.8)
    assert power(Components(0, 0, 0.04, 0), 0.1, 6, 34) == pytest.approx(0.808, abs=0.002)
    assert all(low < high for low, high in pairwise(power(of, 0.02, s, 400) for s in (2, 3, 6, 12)))
    assert power(of, 0.02, 6, 400, alpha=0.01) < power(of, 0.02, 6, 400)


@pytest.mark.parametrize(("sd_seeds", "gate"), [(0.001, "both"), (0.03, "seeds")])
def test_the_smallest_detectable_difference_holds_for_both_tests(sd_seeds: float, gate: str) -> None:
    d = layouts(Components(0.02, sd_seeds**2, 0.1**2, 0.05**2), 3, 200, 1)[0]
    of = crossed_difference(*outcomes(d), paired=True)
    assert of is not None
    gates = {
        "both": detectable_effect(of.standard_error, of.degrees_of_freedom),
        "seeds": detectable_effect(of.se_seeds, 2),
    }
    assert of.smallest_detectable == max(gates.values()) == gates[gate]
