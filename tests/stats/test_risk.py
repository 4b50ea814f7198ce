"""Risk–coverage against brute force over all orders of the ties, closed forms, and invariances."""

from __future__ import annotations

from itertools import groupby, permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifact.errors import ArtifactError
from artifact.stats.auroc import auroc, newcombe_interval
from artifact.stats.checks import OneClassOnly
from artifact.stats.interval import wilson_interval
from artifact.stats.risk import aurc, compare_risk, extreme_areas, rejection_table, risk_coverage, risk_summary

scored = st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=2, max_size=7).filter(
    lambda rows: len({w for _, w in rows}) == 2
)
RNG = np.random.default_rng(3)
WRONG = RNG.random(200) < 0.4
SCORE = np.round(RNG.random(200) + 0.5 * WRONG, 1)


def orders_within_ties(rows):
    """Every sequence of labels that sorting by the score allows, one for each order within each tie."""
    ties = [[w for _, w in tie] for _, tie in groupby(sorted(rows, key=lambda r: r[0]), key=lambda r: r[0])]
    for choice in product(*(list(permutations(tie)) for tie in ties)):
        yield [w for tie in choice for w in tie]


def risks(labels):
    """Selective risk of one order, by definition."""
    return [sum(labels[:k]) / k for k in range(1, len(labels) + 1)]


@given(scored)
def test_curve_and_area_are_the_mean_over_all_orders_within_ties(rows):
    scores, wrong = zip(*rows, strict=True)
    every = np.array([risks(order) for order in orders_within_ties(rows)])
    curve = risk_coverage(scores, wrong)
    np.testing.assert_allclose(curve["risk"], every.mean(axis=0), atol=1e-12)
    assert aurc(scores, wrong) == pytest.approx(every.mean(), abs=1e-12)


@given(scored, st.randoms())
def test_row_order_and_monotone_transforms_change_nothing(rows, random):
    scores, wrong = zip(*rows, strict=True)
    shuffled = list(rows)
    random.shuffle(shuffled)
    before = aurc(scores, wrong)
    assert aurc(*zip(*shuffled, strict=True)) == pytest.approx(before, abs=1e-15)
    assert aurc(3 * np.exp(scores) - 7, wrong) == before


@given(scored)
def test_bounds(rows):
    scores, wrong = zip(*rows, strict=True)
    s = risk_summary(scores, wrong, resamples=5)
    worst = aurc([-w for w in wrong], wrong)
    assert s.oracle - 1e-12 <= s.aurc.estimate <= worst + 1e-12
    assert s.oracle == pytest.approx(aurc([float(w) for w in wrong], wrong), abs=1e-12)
    assert aurc([0.0] * len(wrong), wrong) == pytest.approx(s.random) == pytest.approx(np.mean(wrong))
    assert s.gain.estimate == pytest.approx((s.random - s.aurc.estimate) / (s.random - s.oracle))


def test_a_case_by_hand():
    """Scores 1, 1, 2, labels right, wrong, wrong: risks ½, ½, ⅔."""
    curve = risk_coverage([1, 1, 2], [0, 1, 1])
    assert curve["risk"].tolist() == pytest.approx([1 / 2, 1 / 2, 2 / 3])
    assert curve["accuracy"].tolist() == pytest.approx([1 / 2, 1 / 2, 1 / 3])
    assert curve["oracle"].tolist() == pytest.approx([1, 1 / 2, 1 / 3])
    assert curve["coverage"].tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert curve["rejected"].tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    assert curve["threshold"].tolist() == [1, 1, 2]
    s = risk_summary([1, 1, 2], [0, 1, 1], resamples=5)
    assert (s.aurc.estimate, s.oracle, s.random) == pytest.approx((5 / 9, 7 / 18, 2 / 3))
    assert (s.excess, s.gain.estimate) == pytest.approx((1 / 6, 2 / 5))


@pytest.mark.parametrize("function", [aurc, risk_coverage, risk_summary, rejection_table])
def test_bad_input_has_a_name(function):
    with pytest.raises(OneClassOnly, match="all 3 labels are right"):
        function([1, 2, 3], [0, 0, 0])
    with pytest.raises(ArtifactError, match="score 1 is not finite"):
        function([1, float("nan")], [0, 1])
    with pytest.raises(ArtifactError, match="one of each per problem"):
        function([1, 2, 3], [0, 1])
    with pytest.raises(ArtifactError, match="labels must be 0 or 1"):
        function([1, 2], [2, 1])


def test_rejection_table_reads_the_curve():
    table, curve = rejection_table(SCORE, WRONG, resamples=50), risk_coverage(SCORE, WRONG).set_index("kept")
    assert table["kept"].tolist() == [200, 180, 160, 140, 120, 100, 80, 60, 40, 20]
    assert table["accuracy"].tolist() == pytest.approx(curve.loc[table["kept"], "accuracy"].tolist())
    assert table["oracle"].tolist() == pytest.approx(curve.loc[table["kept"], "oracle"].tolist())
    assert table["above_all"].tolist() == pytest.approx((table["accuracy"] - (~WRONG).mean()).tolist())
    assert (table["above_lower"][0], table["above_upper"][0]) == (0, 0)
    with pytest.raises(ArtifactError, match=r"coverages \[0\]"):
        rejection_table(SCORE, WRONG, coverages=[0])


def test_rejection_interval_of_keeping_all_is_the_binomial_one():
    """Without rejecting, the bootstrap of a mean: half-width ≈ 1.96 √(p (1 − p) / n)."""
    table = rejection_table(SCORE, WRONG, coverages=[1.0], resamples=4000)
    p = float((~WRONG).mean())
    half = 1.96 * np.sqrt(p * (1 - p) / 200)
    assert table["upper"][0] - p == pytest.approx(half, rel=0.1) and p - table["lower"][0] == pytest.approx(
        half, rel=0.1
    )


def test_summary_interval_holds_the_value_and_follows_the_seed():
    s = risk_summary(SCORE, WRONG, resamples=300)
    assert s.aurc.low < s.aurc.estimate < s.aurc.high and s.gain.low < s.gain.estimate < s.gain.high
    assert risk_summary(SCORE, WRONG, resamples=300) == s != risk_summary(SCORE, WRONG, resamples=300, seed=1)
    with pytest.raises(ArtifactError, match="got 95"):
        risk_summary(SCORE, WRONG, level=95)


def test_compare_risk_has_a_row_per_score():
    import pandas as pd

    table = compare_risk(pd.DataFrame({"wrong": WRONG, "a": SCORE, "b": -SCORE}), ["a", "b"], resamples=20)
    assert table["aurc"].tolist() == [aurc(SCORE, WRONG), aurc(-SCORE, WRONG)]
    assert table["gain"][0] > 0 > table["gain"][1]


@given(st.integers(1, 4), st.integers(1, 4), st.floats(0, 1), st.floats(0, 1))
def test_extreme_areas_are_those_of_all_orders(right, wrong, one, other):
    """All orders of up to eight problems whose AUROC lies in the interval, rounded out to what an order can have."""
    low, high = min(one, other), max(one, other)
    pairs = right * wrong
    low, high = np.floor(low * pairs) / pairs, np.ceil(high * pairs) / pairs
    areas = []
    for order in set(permutations([0] * right + [1] * wrong)):
        if low - 1e-9 <= auroc(np.arange(right + wrong), order) <= high + 1e-9:
            areas.append(np.mean(risks(order)))
    assert extreme_areas(right, wrong, low, high) == pytest.approx((min(areas), max(areas)))


def test_a_perfect_score_has_bars():
    wrong = np.arange(40) < 8
    s = risk_summary(wrong.astype(float), wrong, resamples=50)
    end = newcombe_interval(1.0, 8, 32)
    assert s.aurc.estimate == s.aurc.low == pytest.approx(s.oracle)
    assert s.aurc.high == pytest.approx(extreme_areas(32, 8, end.low, 1.0)[1]) and s.aurc.high > s.oracle + 0.02
    assert s.gain.high == pytest.approx(1.0) and s.gain.low < s.gain.estimate == pytest.approx(1.0)
    assert "Newcombe" in s.aurc.method
    misled = risk_summary(-wrong.astype(float), wrong, resamples=50)
    assert misled.aurc.low < misled.aurc.estimate == misled.aurc.high
    table = rejection_table(wrong.astype(float), wrong, coverages=(1.0, 0.5), resamples=200).set_index("coverage")
    assert table.loc[0.5, ["accuracy", "lower", "upper"]].tolist() == pytest.approx(
        [1.0, wilson_interval(20, 20).low, 1.0]
    )
    assert table.loc[1.0, "lower"] < 0.8 < table.loc[1.0, "upper"]
