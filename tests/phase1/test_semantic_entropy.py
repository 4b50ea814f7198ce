"""Semantic entropy against closed forms, invariants, and the recorded output of two peer libraries."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifact.phase1 import entropy as E

GOLDEN = json.loads(Path(__file__).with_name("golden_semantic_entropy.json").read_text(encoding="utf-8"))

logprob = st.floats(-40, 0)


@st.composite
def samples(draw, lowest=1, highest=12):
    n = draw(st.integers(lowest, highest))
    logps = draw(st.lists(logprob, min_size=n, max_size=n))
    ids = draw(st.lists(st.integers(0, n - 1), min_size=n, max_size=n))
    return np.array(logps), np.array(ids)


# Closed forms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 8, 100])
def test_one_class_has_zero_entropy_and_full_weight_exactly(n):
    logps = np.linspace(-3.3, -0.1, n)
    assert E.semantic_entropy(logps, [7] * n) == 0.0
    assert E.entropy_weight(0.0, n) == 1.0


@pytest.mark.parametrize("n", [2, 3, 8, 100])
def test_all_different_and_equally_likely_is_log_n_and_weight_zero(n):
    h = E.semantic_entropy([-0.4] * n, range(n))
    assert h == pytest.approx(math.log(n), abs=1e-13)
    assert E.entropy_weight(h, n) == pytest.approx(0, abs=1e-13)


def test_two_equal_halves_are_log_2_and_a_third_of_log_8():
    h = E.semantic_entropy([-1.0] * 8, [0, 1] * 4)
    assert h == pytest.approx(math.log(2), abs=1e-14)
    assert E.normalised_entropy(h, 8) == pytest.approx(1 / 3, abs=1e-14)


def test_masses_by_hand():
    # shares 1/2, 1/4, 1/4 with classes {0, 2} and {1}: p = (3/4, 1/4)
    logps = np.log([0.4, 0.2, 0.2])
    p = E.cluster_probabilities(logps, [0, 1, 0])
    np.testing.assert_allclose(p, [0.75, 0.25], atol=1e-15)
    by_hand = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert E.semantic_entropy(logps, [0, 1, 0]) == pytest.approx(by_hand, abs=1e-15)
    by_count = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    assert E.discrete_semantic_entropy([0, 1, 0]) == pytest.approx(by_count, abs=1e-15)


def test_nothing_underflows():
    # exp(-800) is 0 in float64; the ratio e^-1 : 1 is not.
    p = E.cluster_probabilities([-801.0, -800.0], [0, 1])
    np.testing.assert_allclose(p, [1 / (1 + math.e), math.e / (1 + math.e)], rtol=1e-12)
    assert E.semantic_entropy([-5000.0, 0.0], [0, 1]) == 0.0


def test_chain_rule_by_hand():
    # classes {1/2, 0.5, 1/2} and {3}, all equally likely
    d = E.decompose([-1.0] * 4, [0, 0, 0, 1], ["1/2", "0.5", "1/2", "3"])
    within = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    np.testing.assert_allclose(d.intra_C, [within, 0], atol=1e-15)
    assert d.total == pytest.approx(-(0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25)), abs=1e-15)
    assert d.total == pytest.approx(d.inter + 0.75 * within, abs=1e-14)


# Invariants -----------------------------------------------------------------------------------------------------------


@given(samples(), st.randoms())
def test_order_of_samples_changes_no_bit(case, random):
    logps, ids = case
    order = list(range(len(ids)))
    random.shuffle(order)
    assert E.semantic_entropy(logps[order], ids[order]) == E.semantic_entropy(logps, ids)
    assert E.discrete_semantic_entropy(ids[order]) == E.discrete_semantic_entropy(ids)


def test_order_changes_no_bit_among_like_samples():
    """Sums of many terms of one size, where a plain sum rounds differently in another order."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        logps, ids = rng.uniform(-1, 0, 16), rng.integers(0, 3, 16)
        assert E.semantic_entropy(logps[::-1], ids[::-1]) == E.semantic_entropy(logps, ids)


@given(samples(), st.permutations(range(12)))
def test_names_of_classes_change_no_bit(case, names):
    logps, ids = case
    renamed = np.array(names)[ids] * 10 - 5
    assert E.semantic_entropy(logps, renamed) == E.semantic_entropy(logps, ids)


@given(samples(), st.floats(-500, 500))
def test_a_common_factor_on_all_likelihoods_cancels(case, shift):
    logps, ids = case
    np.testing.assert_allclose(
        E.cluster_probabilities(logps + shift, ids), E.cluster_probabilities(logps, ids), atol=1e-10
    )


@given(samples(lowest=2))
def test_bounds(case):
    logps, ids = case
    p = E.cluster_probabilities(logps, ids)
    h = E.entropy(p)
    assert math.fsum(p) == pytest.approx(1, abs=1e-12)
    assert 0 <= h <= math.log(len(p)) + 1e-12
    assert 0 <= E.normalised_entropy(h, len(ids)) <= 1
    assert 0 <= E.entropy_weight(h, len(ids)) <= 1


@given(samples(lowest=2), st.data())
def test_merging_two_classes_never_increases_entropy(case, data):
    logps, ids = case
    classes = sorted(set(ids.tolist()))
    a, b = data.draw(st.sampled_from(classes)), data.draw(st.sampled_from(classes))
    merged = np.where(ids == b, a, ids)
    assert E.semantic_entropy(logps, merged) <= E.semantic_entropy(logps, ids) + 1e-12


@given(samples(), st.data())
def test_chain_rule(case, data):
    logps, ids = case
    forms = [(int(c), data.draw(st.integers(0, 2))) for c in ids]
    d = E.decompose(logps, ids, forms)
    assert d.total == pytest.approx(d.inter + float(d.probabilities_C @ d.intra_C), abs=1e-10)
    assert d.inter == E.semantic_entropy(logps, ids)


@given(st.lists(st.integers(0, 7), min_size=1, max_size=12))
def test_discrete_is_the_weighted_form_with_equal_likelihoods(ids):
    assert E.discrete_semantic_entropy(ids) == pytest.approx(E.semantic_entropy([-0.7] * len(ids), ids), abs=1e-13)


def test_equal_count_multisets_tie_exactly():
    assert E.discrete_semantic_entropy([0] * 5 + [1] * 2 + [2]) == E.discrete_semantic_entropy([0] + [1] * 2 + [2] * 5)


# Traps ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1])
def test_one_sample_is_an_error_not_a_division_by_zero(n):
    with pytest.raises(E.ArtifactError, match="at least 2 samples"):
        E.normalised_entropy(0.0, n)
    with pytest.raises(E.ArtifactError, match="at least 2 samples"):
        E.entropy_weight(0.0, n)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_log_probabilities_must_be_finite(bad):
    with pytest.raises(E.ArtifactError, match="sample 1 is"):
        E.semantic_entropy([-1.0, bad], [0, 1])


def test_shapes_must_agree():
    with pytest.raises(E.ArtifactError, match="2 mean log-probabilities but 3 cluster ids"):
        E.semantic_entropy([-1.0, -1.0], [0, 1, 2])
    with pytest.raises(E.ArtifactError, match="N ≥ 1"):
        E.semantic_entropy([], [])


@pytest.mark.parametrize("p", [[0.5, 0.6], [-0.1, 1.1], [], [float("nan"), 1.0]])
def test_only_distributions_have_an_entropy(p):
    with pytest.raises(E.ArtifactError, match="not a probability distribution"):
        E.entropy(p)


def test_decompose_needs_a_string_and_an_id_a_sample():
    with pytest.raises(E.ArtifactError, match="2 samples but 1 strings"):
        E.decompose([-1.0, -1.0], [0, 0], ["3"])
    with pytest.raises(E.ArtifactError, match="2 mean log-probabilities but 1 cluster ids"):
        E.decompose([-1.0, -1.0], [0], ["3", "3"])


def test_a_string_in_two_classes_is_refused():
    with pytest.raises(E.ArtifactError, match="'3' lies in two classes"):
        E.decompose([-1.0, -1.0], [0, 1], ["3", "3"])


# Peers: lm-polygraph and uqlm, recorded by make_golden.py -------------------------------------------------------------


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=range(len(GOLDEN["cases"])))
def test_agrees_with_peer_libraries(case):
    ids = case["cluster_ids"]
    logps = [math.fsum(tokens) / len(tokens) for tokens in case["token_logprobs"]]
    np.testing.assert_allclose(np.exp(logps), case["uqlm_response_probabilities"], rtol=1e-12)
    probs = E.cluster_probabilities(logps, ids)
    np.testing.assert_allclose(probs, case["uqlm_cluster_probabilities"], rtol=0, atol=1e-12)
    assert E.semantic_entropy(logps, ids) == pytest.approx(case["uqlm_semantic_entropy"], abs=1e-12)
    assert E.discrete_semantic_entropy(ids) == pytest.approx(case["uqlm_discrete_entropy"], abs=1e-12)
    assert E.discrete_semantic_entropy(ids) == pytest.approx(case["lm_polygraph_frequency"], abs=1e-12)


def test_the_recorded_cases_are_varied():
    assert len(GOLDEN["cases"]) >= 30
    assert any(max(c["cluster_ids"]) == 0 for c in GOLDEN["cases"])
    assert any(max(c["cluster_ids"]) >= 5 for c in GOLDEN["cases"])
    assert max(abs(c["uqlm_semantic_entropy"] - c["uqlm_discrete_entropy"]) for c in GOLDEN["cases"]) > 0.3
