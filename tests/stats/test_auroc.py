"""AUROC, its intervals and comparisons against brute force, definitions and scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from artifact.errors import ArtifactError
from artifact.stats import auroc as A

RNG = np.random.default_rng(7)
WRONG = RNG.random(300) < 0.3
NOISY = RNG.normal(size=300) + 0.8 * WRONG
COARSE = np.round(NOISY)  # many ties
USELESS = RNG.normal(size=300)


def pair_count(scores, wrong):
    """AUROC by its definition: over all (wrong, right) pairs, a tie counts one half."""
    pairs = [
        (s, t) for s, w in zip(scores, wrong, strict=True) if w for t, v in zip(scores, wrong, strict=True) if not v
    ]
    return sum(1.0 if s > t else 0.5 if s == t else 0.0 for s, t in pairs) / len(pairs)


scored = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=25).filter(
    lambda rows: len({w for _, w in rows}) == 2
)


@given(scored)
def test_auroc_counts_pairs_with_ties_one_half(rows):
    scores, wrong = zip(*rows, strict=True)
    assert A.auroc(scores, wrong) == pytest.approx(pair_count(scores, wrong), abs=1e-12)
    assert A.auroc(scores, wrong) == pytest.approx(roc_auc_score(wrong, scores), abs=1e-12)


@given(scored, st.randoms())
def test_auroc_ignores_row_order_and_flips_with_polarity(rows, random):
    scores, wrong = map(np.array, zip(*rows, strict=True))
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert A.auroc(*zip(*shuffled, strict=True)) == A.auroc(scores, wrong)
    assert A.auroc(-scores, wrong) == pytest.approx(1 - A.auroc(scores, wrong))
    assert A.auroc(np.exp(scores), wrong) == A.auroc(scores, wrong)


def test_polarity_a_score_that_is_high_on_wrong_answers_is_good():
    assert A.auroc([0.9, 0.8, 0.1], [1, 1, 0]) == 1.0
    assert A.auroc([0.5, 0.5, 0.5], [1, 0, 0]) == 0.5


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1]])
@pytest.mark.parametrize("function", [A.auroc, A.auroc_bootstrap, A.auroc_delong, A.roc_points])
def test_one_class_only_is_an_error_not_nan(function, labels):
    with pytest.raises(ArtifactError, match=f"all 3 labels are {'wrong' if labels[0] else 'right'}"):
        function([0.1, 0.2, 0.3], labels)


def test_bad_input_is_refused():
    with pytest.raises(ArtifactError, match="score 1 is not finite"):
        A.auroc([0.1, float("nan")], [0, 1])
    with pytest.raises(ArtifactError, match="labels must be 0 or 1"):
        A.auroc([0.1, 0.2], [-1, 1])
    with pytest.raises(ArtifactError, match="one of each per problem"):
        A.auroc([0.1, 0.2], [1])
    with pytest.raises(ArtifactError, match="level"):
        A.auroc_bootstrap([0.1, 0.2], [0, 1], level=95)
    with pytest.raises(ArtifactError, match="at least 2 problems of each class, got 1 wrong"):
        A.auroc_delong([0.1, 0.2, 0.3], [0, 1, 0])


@pytest.mark.parametrize("scores", [NOISY, COARSE])
def test_delong_against_its_definition(scores):
    """Placement values by double loop, then their sample variances."""
    pos, neg = scores[WRONG], scores[~WRONG]
    kernel = (pos[:, None] > neg[None]) + 0.5 * (pos[:, None] == neg[None])
    variance = kernel.mean(axis=1).var(ddof=1) / len(pos) + kernel.mean(axis=0).var(ddof=1) / len(neg)
    interval = A.auroc_delong(scores, WRONG)
    assert interval.estimate == pytest.approx(kernel.mean(), abs=1e-12)
    assert interval.high - interval.estimate == pytest.approx(1.959963984540054 * math.sqrt(variance), rel=1e-9)
    assert interval.estimate - interval.low == pytest.approx(interval.high - interval.estimate, rel=1e-9)


def test_bootstrap_agrees_with_delong_and_is_fixed_by_its_seed():
    boot, delong = A.auroc_bootstrap(NOISY, WRONG), A.auroc_delong(NOISY, WRONG)
    assert boot.estimate == pytest.approx(delong.estimate)
    assert boot.low == pytest.approx(delong.low, abs=0.015) and boot.high == pytest.approx(delong.high, abs=0.015)
    assert A.auroc_bootstrap(NOISY, WRONG) == boot != A.auroc_bootstrap(NOISY, WRONG, seed=1)
    assert "stratified" in boot.method


def test_paired_difference():
    c = A.compare_auroc(NOISY, USELESS, WRONG)
    assert c.difference.estimate == pytest.approx(pair_count(NOISY, WRONG) - pair_count(USELESS, WRONG))
    assert 0 < c.difference.low < c.difference.estimate < c.difference.high and c.p_value < 0.001
    same = A.compare_auroc(NOISY, 3 * NOISY + 1, WRONG)
    assert (same.difference.estimate, same.difference.low, same.difference.high, same.p_value) == (0, 0, 0, 1)


def test_pairing_narrows_the_interval_of_two_like_scores():
    nearly = NOISY + 0.05 * USELESS
    paired = A.compare_auroc(NOISY, nearly, WRONG).difference
    single = A.auroc_bootstrap(NOISY, WRONG)
    assert paired.high - paired.low < 0.3 * (single.high - single.low)


@given(scored)
def test_area_under_the_roc_points_is_the_auroc(rows):
    scores, wrong = zip(*rows, strict=True)
    points = A.roc_points(scores, wrong)
    x, y = points["false_positive_rate"].to_numpy(), points["true_positive_rate"].to_numpy()
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1) and (np.diff(x) >= 0).all() and (np.diff(y) >= 0).all()
    assert len(points) == len(set(scores)) + 1
    assert np.trapezoid(y, x) == pytest.approx(pair_count(scores, wrong), abs=1e-12)


def test_paired_p_value_is_delongs_with_its_covariance():
    """z = ΔAUROC / √(Var A + Var B − 2 Cov(A, B)), each term from placement values by double loop."""
    other = NOISY + 0.5 * USELESS
    placements = []
    for scores in (NOISY, other):
        kernel = (scores[WRONG][:, None] > scores[~WRONG][None]).astype(float)
        placements.append((kernel.mean(1), kernel.mean(0)))
    (a_pos, a_neg), (b_pos, b_neg) = placements
    variance = (a_pos - b_pos).var(ddof=1) / len(a_pos) + (a_neg - b_neg).var(ddof=1) / len(a_neg)
    z = abs(a_pos.mean() - b_pos.mean()) / math.sqrt(variance)
    assert A.compare_auroc(NOISY, other, WRONG, resamples=5).p_value == pytest.approx(math.erfc(z / math.sqrt(2)))


def test_every_stratified_resample_keeps_both_class_sizes():
    """One wrong problem of four: unstratified resamples often hold none of it and have no AUROC."""
    values = A.auroc_resamples([1, 2, 3, 4], [0, 0, 1, 0], resamples=400)
    assert set(np.round(3 * values)) <= {0, 1, 2, 3} and np.isfinite(values).all()
    assert values.mean() == pytest.approx(2 / 3, abs=0.05)


@pytest.mark.parametrize(("wrong", "right"), [(1, 1), (3, 5), (5, 3), (40, 200), (3000, 3000)])
@pytest.mark.parametrize("value", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_newcombes_ends_solve_his_equation(value, wrong, right):
    """|value − θ| = z √V(θ) at either end, inside (0, 1) or at an end where value itself is 0 or 1."""
    i, n = A.newcombe_interval(value, wrong, right), (wrong + right) / 2 - 1
    for theta in (i.low, i.high):
        v = theta * (1 - theta) * (1 + n * (1 - theta) / (2 - theta) + n * theta / (1 + theta)) / (wrong * right)
        assert abs(value - theta) == pytest.approx(1.959963985 * math.sqrt(v), abs=1e-7)
    assert 0 <= i.low <= value <= i.high <= 1 and i.low < i.high
    assert (i.low == 0) == (value == 0) and (i.high == 1) == (value == 1)
    turned = A.newcombe_interval(1 - value, right, wrong)
    assert (turned.low, turned.high) == pytest.approx((1 - i.high, 1 - i.low), abs=1e-9)


def test_a_perfect_score_has_a_bar_by_every_method():
    wrong = np.arange(30) < 5
    for perfect, value in ((wrong.astype(float), 1.0), (-wrong.astype(float), 0.0), (np.zeros(30), 0.5)):
        bar = A.newcombe_interval(value, 5, 25)
        for found in (A.auroc_bootstrap(perfect, wrong, resamples=50), A.auroc_delong(perfect, wrong)):
            assert (found.estimate, found.low, found.high) == (value, bar.low, bar.high)
            assert "Newcombe" in found.method
    more = A.newcombe_interval(1.0, 50, 250)
    assert 1 > more.low > A.newcombe_interval(1.0, 5, 25).low > 0.6, "more problems, a narrower bar"


def test_newcombes_interval_covers_where_the_bootstrap_has_no_width():
    """Normal scores 2.4 SD apart, 5 against 12: a perfect ranking is common, and its bar must hold the true AUROC."""
    rng, truth = np.random.default_rng(5), 0.5 * (1 + math.erf(2.4 / 2))  # Φ(2.4 / √2)
    inside = perfect = 0
    for _ in range(1500):
        value = pair_count([*rng.normal(2.4, 1, 5), *rng.normal(0, 1, 12)], [1] * 5 + [0] * 12)
        i = A.newcombe_interval(value, 5, 12)
        inside += i.low <= truth <= i.high
        perfect += value == 1
    assert perfect > 200 and inside / 1500 > 0.93


def test_scores_that_are_both_perfect_may_still_differ():
    wrong = np.arange(30) < 5
    a, b = wrong.astype(float), wrong + np.arange(30) / 100
    c = A.compare_auroc(a, b, wrong, resamples=50)
    arm = 1 - A.newcombe_interval(1.0, 5, 25).low
    assert (c.difference.estimate, c.difference.low, c.difference.high) == pytest.approx((0.0, -arm, arm))
    assert c.p_value == 1.0
    same = A.compare_auroc(b, np.exp(b), wrong, resamples=50).difference
    assert same.low == same.high == 0.0, "one ranking has one AUROC, whatever the sample"
    opposite = A.compare_auroc(a, -b, wrong, resamples=50)
    assert opposite.difference.estimate == 1.0 and opposite.difference.low > 0 and math.isnan(opposite.p_value)
