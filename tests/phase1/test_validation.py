"""The validation tables by hand, against brute force and scikit-learn."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from artifact.phase1 import validation as V
from artifact.phase1.annotate import annotate
from artifact.phase1.judge import ExactJudge
from artifact.records import Problem, Rollout, Status, Verdict
from artifact.stats.checks import OneClassOnly

RNG = np.random.default_rng(7)
WRONG = RNG.random(300) < 0.3
COARSE = np.round(RNG.normal(size=300) + 0.8 * WRONG)  # many ties

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
    with pytest.raises(OneClassOnly, match="no group holds"):
        V.auroc_by_group(table, dict(enumerate(table["wrong"].map({True: "w", False: "r"}))))


def test_within_groups_a_score_that_only_knows_the_group_is_worth_nothing():
    hard = np.arange(200) % 2 == 0
    wrong = np.random.default_rng(0).random(200) < np.where(hard, 0.8, 0.2)
    table = pd.DataFrame({"problem_id": range(200), "wrong": wrong, "semantic_entropy": hard.astype(float)})
    result = V.auroc_by_group(table, dict(enumerate(hard.astype(str))), resamples=50).set_index("group")
    assert result.loc["all", "auroc"] > 0.7 and result.loc["within", "auroc"] == 0.5


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
