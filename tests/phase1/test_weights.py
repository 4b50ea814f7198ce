"""Weighting schemes: each against its definition."""

import math
from collections import Counter
from dataclasses import replace

import pytest

from artifact.phase1.records import Annotation
from artifact.phase1.weights import SCHEMES, weights_for
from artifact.tasks.metrics import Metric
from artifact.train.methods.base import Weighting


def annotation(problem_id, normalised, correct=1):
    return Annotation(
        problem_id=problem_id,
        n=2,
        n_valid=2,
        normaliser="n",
        entropy=0.0,
        discrete_entropy=0.0,
        normalised=normalised,
        weight=1 - normalised,
        clusters=1,
        cluster_ids=(0, 0),
        answers=("1", "1"),
        parsed=(1, 1),
        cluster_probs=(1.0,),
        intra_entropy=(0.0,),
        majority_answer="1",
        majority_share=1.0,
        majority_correct=correct,
        answer_string_entropy=0.0,
        mean_logprob=-1.0,
        token_counts=(1, 1),
        mean_logprobs=(-1.0, -1.0),
        judge="exact",
    )


THREE = [annotation("b", 0.5, 0), annotation("a", 0.0), annotation("c", 0.75, 0)]
MANY = [annotation(f"p{i}", i / 40) for i in range(40)]


def test_definitions():
    assert weights_for(Weighting("uniform"), THREE) == {"b": 1.0, "a": 1.0, "c": 1.0}
    assert weights_for(Weighting("soft"), THREE) == {"b": 0.5, "a": 1.0, "c": 0.25}
    assert weights_for(Weighting("gold"), THREE) == {"b": 0.0, "a": 1.0, "c": 0.0}
    assert list(weights_for(Weighting("soft"), THREE)) == ["b", "a", "c"]
    for scheme in ("soft", "gold", "shuffled"):
        weighting = Weighting(scheme, seed=1)
        assert weights_for(weighting, iter(THREE)) == weights_for(weighting, THREE), "each annotation is read once"


@pytest.mark.parametrize(("tau", "kept"), [(0, {"a"}), (0.49, {"a"}), (0.5, {"a", "b"}), (1, {"a", "b", "c"})])
def test_binary_keeps_what_is_at_most_tau(tau, kept):
    weights = weights_for(Weighting("binary", tau=tau), THREE)
    assert {p for p, w in weights.items() if w == 1.0} == kept
    assert set(weights.values()) <= {0.0, 1.0}


def test_shuffled_is_a_permutation_of_soft_fixed_by_the_seed_not_the_order():
    soft, one, other = (
        weights_for(Weighting("soft"), MANY),
        weights_for(Weighting("shuffled", seed=1), MANY),
        weights_for(Weighting("shuffled", seed=2), MANY),
    )
    assert Counter(one.values()) == Counter(other.values()) == Counter(soft.values())
    assert one != soft and one != other
    assert weights_for(Weighting("shuffled", seed=1), MANY[::-1]) == one
    assert sum(one[p] == soft[p] for p in soft) < 8  # about one of 40 stays in place by chance


def test_unknown_scheme_lists_the_right_ones():
    with pytest.raises(
        ValueError, match=r"unknown weighting scheme 'sof'; use one of uniform, binary, soft, majority, .*, gold"
    ):
        weights_for(Weighting("sof"), THREE)  # type: ignore[arg-type]
    known = "uniform binary soft majority miller_madow chao_shen similarity shuffled verified gold"
    assert list(SCHEMES) == known.split()


@pytest.mark.parametrize("tau", [None, -0.1, 1.1, float("nan")])
def test_binary_needs_a_threshold(tau):
    with pytest.raises(ValueError, match="0 ≤ tau ≤ 1"):
        weights_for(Weighting("binary", tau=tau), THREE)


def test_shuffled_needs_a_seed():
    with pytest.raises(ValueError, match="seed"):
        weights_for(Weighting("shuffled"), THREE)


@pytest.mark.parametrize("scheme", ["verified", "gold"])
def test_gold_refuses_unknown_labels_by_name(scheme):
    with pytest.raises(ValueError, match=rf"'{scheme}' needs .*1 of 4 annotations do not say, first 'd'"):
        weights_for(Weighting(scheme), [*THREE, annotation("d", 0.1, -1)])


def test_verified_is_the_soft_weight_where_the_majority_is_right():
    half = annotation("d", 0.5)
    assert weights_for(Weighting("verified"), [*THREE, half]) == {"b": 0.0, "a": 1.0, "c": 0.0, "d": 0.5}


def of_classes(classes, parsed=None, normaliser="n"):
    n = len(classes)
    return replace(
        annotation("a", 0.0),
        n=n,
        normaliser=normaliser,
        cluster_ids=tuple(classes),
        answers=("1",) * n,
        parsed=tuple(parsed or [1] * n),
        token_counts=(1,) * n,
        mean_logprobs=(-1.0,) * n,
        majority_share=max(map(classes.count, classes)) / n,
    )


def test_majority_is_the_share_of_the_largest_class():
    assert weights_for(Weighting("majority"), [of_classes([0, 1, 1, 2])]) == {"a": 0.5}


@pytest.mark.parametrize("scheme", ["miller_madow", "chao_shen"])
def test_corrected_weights_count_what_the_normaliser_counts_and_end_at_nought(scheme):
    assert weights_for(Weighting(scheme), [of_classes([0, 0, 0, 0])]) == {"a": 1.0}
    assert weights_for(Weighting(scheme), [of_classes([0, 1, 2, 3])]) == {"a": 0.0}
    valid = of_classes([0, 0, 0, 1], [1, 1, 1, 0], "n_valid")
    assert weights_for(Weighting(scheme), [valid]) == {"a": 1.0}, "the one without an answer is not counted"
    assert weights_for(Weighting(scheme), [replace(valid, normaliser="n")])["a"] < 1.0


def test_a_problem_annotated_twice_is_refused():
    with pytest.raises(ValueError, match="'a' is annotated twice"):
        weights_for(Weighting("soft"), [*THREE, replace(THREE[1], n_valid=2)])


def test_similarity_compares_answers_by_the_metric_of_their_problem():
    same = Metric("same", lambda text, p: 0.5 if text != p.answer else 1.0)
    apart = Metric("apart", lambda text, p: 0.0)
    two = [replace(annotation(i, 0.0), answers=("x", "y")) for i in "ab"]
    weights = weights_for(Weighting("similarity"), two, lambda problem: same if problem == "a" else apart)
    # Two answers, equally likely, half alike: H_s = log 4/3; not alike at all: log 2, hence a weight of 0.
    assert weights["a"] == pytest.approx(1 - math.log(4 / 3) / math.log(2)) and weights["b"] == pytest.approx(0.0)
    with pytest.raises(ValueError, match="'similarity' compares answers by the metric of their task"):
        weights_for(Weighting("similarity"), two)
