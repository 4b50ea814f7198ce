"""Calibration of the weight against closed forms, scikit-learn and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import brier_score_loss

from artifact.errors import ArtifactError
from artifact.stats.calibration import accuracy_by_bin, calibration, calibration_table, reliability_bins
from artifact.stats.interval import wilson_interval

RNG = np.random.default_rng(5)
WEIGHT = np.round(RNG.random(400), 2)
RIGHT = RNG.random(400) < WEIGHT

weighted = st.lists(st.tuples(st.sampled_from([0, 0.1, 0.25, 0.5, 0.95, 1.0]), st.booleans()), min_size=1, max_size=30)


def test_a_case_by_hand():
    c = calibration([0.1, 0.1, 0.9, 0.9], [0, 1, 1, 1], bins=2)
    # lower half: |0.5 − 0.1| · 2/4, upper half: |1 − 0.9| · 2/4
    assert c.ece == pytest.approx(0.25)
    assert c.brier == pytest.approx((0.01 + 0.81 + 0.01 + 0.01) / 4) and c.brier_constant == pytest.approx(0.1875)
    assert (c.n, c.accuracy, c.mean_weight) == (4, 0.75, 0.5)


@given(weighted, st.randoms())
def test_ece_by_definition_whatever_the_order(rows, random):
    weights, right = map(np.array, zip(*rows, strict=True))
    expected = 0.0
    for b in range(10):  # equal weights share a bin; the last bin is closed
        inside = (weights >= b / 10 - 1e-12) & ((weights < (b + 1) / 10 - 1e-12) | (b == 9))
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - weights[inside].mean())
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert calibration(weights, right).ece == pytest.approx(expected, abs=1e-12)
    again = calibration(*zip(*shuffled, strict=True))
    assert again.ece == pytest.approx(expected, abs=1e-12) and 0 <= again.ece <= 1


def test_brier_and_spearman_against_peers():
    c = calibration(WEIGHT, RIGHT)
    assert c.brier == pytest.approx(brier_score_loss(RIGHT, WEIGHT), abs=1e-12)
    assert c.spearman == pytest.approx(spearmanr(WEIGHT, RIGHT).statistic, abs=1e-12)
    assert c.ece < 0.1 < calibration(WEIGHT, ~RIGHT).ece
    assert calibration(WEIGHT**3, RIGHT).spearman == pytest.approx(c.spearman, abs=1e-12)


def test_a_constant_side_has_no_rank_correlation():
    assert calibration([0.5, 0.5], [0, 1]).spearman is None
    assert calibration([0.1, 0.5], [1, 1]).spearman is None


def test_reliability_bins():
    table = reliability_bins([0.0, 0.5, 0.6, 1.0], [0, 1, 0, 1], bins=2)
    assert table["n"].tolist() == [1, 3] and table["correct"].tolist() == [0, 2]
    assert table["mean_weight"].tolist() == pytest.approx([0, 0.7])
    assert table["gap"].tolist() == pytest.approx([0, 2 / 3 - 0.7])
    interval = wilson_interval(2, 3)
    assert (table["lower"][1], table["upper"][1]) == (interval.low, interval.high)
    empty = reliability_bins([0.9], [1], bins=2)
    assert empty["n"].tolist() == [0, 1] and math.isnan(empty["mean_weight"][0])


def test_table_by_difficulty():
    frame = pd.DataFrame({"weight": WEIGHT, "greedy_correct": RIGHT, "difficulty": ["easy", "hard"] * 200})
    table = calibration_table(frame, resamples=200).set_index("group")
    assert table.index.tolist() == ["all", "easy", "hard"] and table["n"].tolist() == [400, 200, 200]
    easy = calibration(WEIGHT[::2], RIGHT[::2])
    assert table.loc["easy", ["ece", "brier", "spearman"]].tolist() == pytest.approx(
        [easy.ece, easy.brier, easy.spearman]
    )
    assert table.loc["all", "over"] == pytest.approx(WEIGHT.mean() - RIGHT.mean())
    assert table.loc["all", "skill"] == pytest.approx(
        1 - table.loc["all", "brier"] / table.loc["all", "brier_constant"]
    )
    for name in ("over", "brier", "spearman"):
        assert (table[f"{name}_lower"] < table[name]).all() and (table[name] < table[f"{name}_upper"]).all()


def test_a_group_that_is_always_right_has_missing_values_not_an_error():
    frame = pd.DataFrame({"weight": [0.5, 0.9, 0.2], "greedy_correct": True, "difficulty": "easy"})
    row = calibration_table(frame, resamples=20).iloc[1]
    assert row["group"] == "easy" and math.isnan(row["spearman"]) and math.isnan(row["skill"])


def test_bad_input_has_a_name():
    with pytest.raises(ArtifactError, match="one of each per problem"):
        calibration([0.1, 0.2], [1])
    with pytest.raises(ArtifactError, match="weight 1"):
        calibration([0.1, float("inf")], [1, 0])
    with pytest.raises(ArtifactError, match=r"must lie in \[0, 1\], got 0.1 to 1.5"):
        calibration([0.1, 1.5], [1, 0])
    with pytest.raises(ArtifactError, match="labels must be 0 or 1"):
        calibration([0.1, 0.5], [1, -1])
    with pytest.raises(ArtifactError, match="at least one bin"):
        calibration([0.1, 0.5], [1, 0], bins=0)


def test_accuracy_by_bin():
    table = accuracy_by_bin([0, 0.1, 0.19, 0.2, 0.99, 1.0], [0, 0, 1, 1, 1, 0], bins=5)
    assert table["n"].tolist() == [3, 1, 0, 0, 2]
    assert table["correct"].tolist() == [2, 0, 0, 0, 1]
    np.testing.assert_allclose(table["accuracy"], [2 / 3, 0, np.nan, np.nan, 0.5])
    np.testing.assert_allclose(table[["low", "high"]], [[b / 5, (b + 1) / 5] for b in range(5)])
    interval = wilson_interval(2, 3)
    assert (table["lower"][0], table["upper"][0]) == (interval.low, interval.high)
    assert table["lower"].isna().tolist() == [False, False, True, True, False]


def test_bins_refuse_entropies_in_nats_and_odd_labels():
    with pytest.raises(ArtifactError, match="pass H / log N"):
        accuracy_by_bin([0.2, 1.6], [0, 1])
    with pytest.raises(ArtifactError, match="at least one bin"):
        accuracy_by_bin([0.2], [0], bins=0)
    with pytest.raises(ArtifactError, match="labels must be 0 or 1"):
        accuracy_by_bin([0.2], [-1])
