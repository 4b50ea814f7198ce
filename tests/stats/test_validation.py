"""Validation statistics against brute force, closed forms, scikit-learn, and published worked examples."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from artifact.phase1.annotate import annotate
from artifact.phase1.judge import ExactJudge
from artifact.records import Problem, Rollout, Status, Verdict
from artifact.stats import auroc as A
from artifact.stats import validation as V

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
@pytest.mark.parametrize("function", [A.auroc, A.auroc_bootstrap, A.auroc_delong, V.roc_points])
def test_one_class_only_is_an_error_not_nan(function, labels):
    with pytest.raises(ValueError, match=f"all 3 labels are {'wrong' if labels[0] else 'right'}"):
        function([0.1, 0.2, 0.3], labels)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="score 1 is not finite"):
        A.auroc([0.1, float("nan")], [0, 1])
    with pytest.raises(ValueError, match="labels must be 0 or 1"):
        A.auroc([0.1, 0.2], [-1, 1])
    with pytest.raises(ValueError, match="one of each a problem"):
        A.auroc([0.1, 0.2], [1])
    with pytest.raises(ValueError, match="confidence"):
        A.auroc_bootstrap([0.1, 0.2], [0, 1], confidence=95)
    with pytest.raises(ValueError, match="at least 2 problems of each class, got 1 wrong"):
        A.auroc_delong([0.1, 0.2, 0.3], [0, 1, 0])


@pytest.mark.parametrize("scores", [NOISY, COARSE])
def test_delong_against_its_definition(scores):
    """Placement values by double loop, then their sample variances."""
    pos, neg = scores[WRONG], scores[~WRONG]
    kernel = (pos[:, None] > neg[None]) + 0.5 * (pos[:, None] == neg[None])
    variance = kernel.mean(axis=1).var(ddof=1) / len(pos) + kernel.mean(axis=0).var(ddof=1) / len(neg)
    interval = A.auroc_delong(scores, WRONG)
    assert interval.value == pytest.approx(kernel.mean(), abs=1e-12)
    assert interval.upper - interval.value == pytest.approx(1.959963984540054 * math.sqrt(variance), rel=1e-9)
    assert interval.value - interval.lower == pytest.approx(interval.upper - interval.value, rel=1e-9)


def test_bootstrap_agrees_with_delong_and_is_fixed_by_its_seed():
    boot, delong = A.auroc_bootstrap(NOISY, WRONG), A.auroc_delong(NOISY, WRONG)
    assert boot.value == pytest.approx(delong.value)
    assert boot.lower == pytest.approx(delong.lower, abs=0.015) and boot.upper == pytest.approx(delong.upper, abs=0.015)
    assert A.auroc_bootstrap(NOISY, WRONG) == boot != A.auroc_bootstrap(NOISY, WRONG, seed=1)
    assert "stratified" in boot.method


def test_paired_difference():
    c = A.compare_auroc(NOISY, USELESS, WRONG)
    assert c.difference.value == pytest.approx(pair_count(NOISY, WRONG) - pair_count(USELESS, WRONG))
    assert 0 < c.difference.lower < c.difference.value < c.difference.upper and c.p_value < 0.001
    same = A.compare_auroc(NOISY, 3 * NOISY + 1, WRONG)
    assert (same.difference.value, same.difference.lower, same.difference.upper, same.p_value) == (0, 0, 0, 1)


def test_pairing_narrows_the_interval_of_two_like_scores():
    nearly = NOISY + 0.05 * USELESS
    paired = A.compare_auroc(NOISY, nearly, WRONG).difference
    single = A.auroc_bootstrap(NOISY, WRONG)
    assert paired.upper - paired.lower < 0.3 * (single.upper - single.lower)


# Wilson: closed form, and the worked examples of Newcombe (1998), Statistics in Medicine 17, Table I


@pytest.mark.parametrize(
    ("successes", "n", "lower", "upper"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson(successes, n, lower, upper):
    interval = V.wilson_interval(successes, n)
    assert interval == pytest.approx((lower, upper), abs=5e-5)
    z, p = 1.959963984540054, successes / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert interval == pytest.approx(((middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)), abs=1e-12)


def test_accuracy_by_bin():
    table = V.accuracy_by_bin([0, 0.1, 0.19, 0.2, 0.99, 1.0], [0, 0, 1, 1, 1, 0], bins=5)
    assert table["n"].tolist() == [3, 1, 0, 0, 2]
    assert table["correct"].tolist() == [2, 0, 0, 0, 1]
    np.testing.assert_allclose(table["accuracy"], [2 / 3, 0, np.nan, np.nan, 0.5])
    np.testing.assert_allclose(table[["low", "high"]], [[b / 5, (b + 1) / 5] for b in range(5)])
    assert (table["lower"][0], table["upper"][0]) == V.wilson_interval(2, 3)
    assert table["lower"].isna().tolist() == [False, False, True, True, False]


def test_bins_refuse_entropies_in_nats_and_odd_labels():
    with pytest.raises(ValueError, match="pass H / log N"):
        V.accuracy_by_bin([0.2, 1.6], [0, 1])
    with pytest.raises(ValueError, match="at least one bin"):
        V.accuracy_by_bin([0.2], [0], bins=0)
    with pytest.raises(ValueError, match="0/1 label"):
        V.accuracy_by_bin([0.2], [-1])


@given(scored)
def test_area_under_the_roc_points_is_the_auroc(rows):
    scores, wrong = zip(*rows, strict=True)
    points = V.roc_points(scores, wrong)
    x, y = points["false_positive_rate"].to_numpy(), points["true_positive_rate"].to_numpy()
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1) and (np.diff(x) >= 0).all() and (np.diff(y) >= 0).all()
    assert len(points) == len(set(scores)) + 1
    assert np.trapezoid(y, x) == pytest.approx(pair_count(scores, wrong), abs=1e-12)


# Tables over annotations ----------------------------------------------------------------------------------------------


def annotation(problem_id, answers, logprob=-0.5):
    """An annotation through the public path; answer "1" is the right one."""
    rollouts = [
        Rollout(
            problem_id,
            i,
            (1,),
            (2,),
            (logprob,),
            a,
            "stop",
            -1,
            Verdict(Status.CORRECT if a == "1" else Status.WRONG, a),
        )
        for i, a in enumerate(answers)
    ]
    return annotate(Problem(problem_id, "q", "1", None, "toy", "easy"), rollouts, ExactJudge())


SURE_RIGHT, SPLIT_RIGHT = annotation("a", "1111", -0.1), annotation("b", "1112", -0.4)
SURE_WRONG, LOST_WRONG = annotation("c", "2222", -0.3), annotation("d", "2345", -0.9)
FOUR = [SURE_RIGHT, SPLIT_RIGHT, SURE_WRONG, LOST_WRONG]


def test_score_table_by_hand():
    table = V.score_table(FOUR).set_index("problem_id")
    assert table["wrong"].tolist() == [False, False, True, True]
    h = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(4)
    for column in ("semantic_entropy", "discrete_entropy", "answer_string_entropy"):
        assert table[column].tolist() == pytest.approx([0, h, 0, 1], abs=1e-12)
    assert table["one_minus_majority_share"].tolist() == [0, 0.25, 0, 0.75]
    assert table["negative_mean_logprob"].tolist() == pytest.approx([0.1, 0.4, 0.3, 0.9])
    other = V.score_table(FOUR, wrong={"a": True, "b": False, "c": False, "d": True})
    assert other["wrong"].tolist() == [True, False, False, True]


def test_compare_scores_by_hand():
    table = V.compare_scores(V.score_table(FOUR), resamples=50).set_index("score")
    assert table.index.tolist() == list(V.SCORES)
    # Of the four (wrong, right) pairs: d beats both; c ties with a and loses to b → 2.5 / 4.
    # By log-prob c beats a → 3 / 4.
    assert table["auroc"].to_dict() == {s: 0.75 if s == "negative_mean_logprob" else 0.625 for s in V.SCORES}
    assert table["minus_reference"]["negative_mean_logprob"] == pytest.approx(0.125)
    assert math.isnan(table["minus_reference"]["semantic_entropy"])
    assert table["n_wrong"].tolist() == [2] * 5
    with pytest.raises(ValueError, match="unknown reference score 'se'"):
        V.compare_scores(V.score_table(FOUR), reference="se")


def test_labels_must_be_known_and_problems_distinct():
    with pytest.raises(ValueError, match=r"no label for 3 of 4 problems, first 'b'"):
        V.score_table(FOUR, wrong={"a": True})
    with pytest.raises(ValueError, match="'a' is annotated twice"):
        V.score_table([SURE_RIGHT, SURE_RIGHT])
    unsettled = [Rollout("e", i, (1,), (2,), (-0.5,), "1", "stop", -1, Verdict(Status.TIMEOUT, "1")) for i in range(2)]
    unknown = annotate(Problem("e", "q", "1", None, "toy", "easy"), unsettled, ExactJudge())
    with pytest.raises(ValueError, match=r"1 of 5 annotations do not say .*first 'e'"):
        V.score_table([*FOUR, unknown])


def test_histogram_by_difficulty():
    table = V.entropy_histogram(FOUR, {"a": "easy", "b": "easy", "c": "hard", "d": "hard"}, bins=2)
    assert table["difficulty"].tolist() == ["easy", "easy", "hard", "hard"]
    # normalised entropies: 0 and 0.41 (easy), 0 and 1 (hard)
    assert table["n"].tolist() == [2, 0, 1, 1] and table["share"].tolist() == [1, 0, 0.5, 0.5]
    with pytest.raises(ValueError, match="3 annotated problems have no difficulty, first 'b'"):
        V.entropy_histogram(FOUR, {"a": "easy"})


def test_score_values_are_the_rows_of_the_score_table():
    table = V.score_table(FOUR).set_index("problem_id")
    for a in FOUR:
        assert table.loc[a.problem_id, list(V.SCORES)].to_dict() == V.score_values(a)


# Within groups: pairs of one group only -------------------------------------------------------------------------------


def test_auroc_within_groups_counts_only_their_pairs():
    table = pd.DataFrame({"problem_id": range(300), "wrong": WRONG, "semantic_entropy": COARSE})
    groups = {i: ("easy", "hard", "sure")[i % 3] for i in range(300)}
    table.loc[table["problem_id"] % 3 == 2, "wrong"] = False  # one group that the teacher always gets right
    result = V.auroc_by_group(table, groups, resamples=200).set_index("group")
    assert result.index.tolist() == ["all", "within", "easy", "hard", "sure"]
    wrong, group = table["wrong"].to_numpy(), np.arange(300) % 3
    counted = wrong[:, None] & ~wrong[None] & (group[:, None] == group[None])
    won = ((COARSE[:, None] > COARSE[None]) + 0.5 * (COARSE[:, None] == COARSE[None]))[counted].sum()
    pairs = counted.sum()
    row = result.loc["within"]
    assert row["auroc"] == pytest.approx(won / pairs, abs=1e-12) and row["pairs"] == pairs
    assert row["lower"] < row["auroc"] < row["upper"]
    easy = table["problem_id"] % 3 == 0
    assert result.loc["easy", "auroc"] == pytest.approx(roc_auc_score(table["wrong"][easy], COARSE[easy]))
    assert math.isnan(result.loc["sure", "auroc"]) and result.loc["sure", ["n", "n_wrong"]].tolist() == [100, 0]
    assert result.loc["all", "auroc"] == pytest.approx(roc_auc_score(table["wrong"], COARSE))
    with pytest.raises(ValueError, match="have no group, first 1"):
        V.auroc_by_group(table, {0: "easy"})
    with pytest.raises(A.OneClassOnly, match="no group holds"):
        V.auroc_by_group(table, dict(enumerate(table["wrong"].map({True: "w", False: "r"}))))


def test_within_groups_a_score_that_only_knows_the_group_is_worth_nothing():
    hard = np.arange(200) % 2 == 0
    wrong = np.random.default_rng(0).random(200) < np.where(hard, 0.8, 0.2)
    table = pd.DataFrame({"problem_id": range(200), "wrong": wrong, "semantic_entropy": hard.astype(float)})
    result = V.auroc_by_group(table, dict(enumerate(hard.astype(str))), resamples=50).set_index("group")
    assert result.loc["all", "auroc"] > 0.7 and result.loc["within", ["auroc", "lower", "upper"]].tolist() == [0.5] * 3


def test_confidently_wrong_lists_sure_errors_surest_first():
    frame = pd.DataFrame(
        {
            "problem_id": list("abcdef"),
            "family": ["eq", "mod", "mod", "mod", "eq", "sum"],
            "normalised": [0.05, 0.0, 0.0, 0.05, 0.9, 0.0],
            "majority_share": [0.9, 1.0, 1.0, 0.95, 0.3, 1.0],
            "greedy_correct": [False, False, False, False, False, True],
        }
    )
    rows, summary = V.confidently_wrong(frame)
    assert rows["problem_id"].tolist() == ["b", "c", "d", "a"]
    by_family = summary.set_index("family")
    assert by_family.loc["mod"].tolist() == [3, 3, 3, 1.0] and by_family.loc["eq"].tolist() == [2, 1, 1, 1.0]
    assert by_family.loc["sum"].tolist() == [1, 1, 0, 0.0] and summary["family"][0] == "mod"
    none = V.confidently_wrong(frame.assign(normalised=0.5))[1]
    assert none["sure"].sum() == 0 and none["share_of_sure"].isna().all()


@pytest.mark.parametrize(
    ("scores", "labels", "error"),
    [([0.1], [0, 1], A.LengthMismatch), ([0.1, math.nan], [0, 1], A.NotFinite), ([0.1, 0.2], [1, 1], A.OneClassOnly)],
)
def test_each_defect_has_its_own_error(scores, labels, error):
    with pytest.raises(error):
        A.auroc(scores, labels)
