"""Label sources: cells counted by hand, equivalence not equality, and the AUROC under both labels by scikit-learn."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from artifact.errors import ArtifactError
from artifact.phase1.annotate import annotate, annotate_all
from artifact.phase1.judge import ExactJudge, SymbolicJudge
from artifact.phase1.labels import compare_sources, model_labels, source_table
from artifact.phase1.validation import score_table
from artifact.records import Problem, Rollout, Status, Verdict
from artifact.stats.auroc import compare_labels
from artifact.stats.checks import OneClassOnly

_spec = importlib.util.spec_from_file_location("synthetic", Path(__file__).with_name("synthetic.py"))
assert _spec is not None and _spec.loader is not None
synthetic = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(synthetic)


def annotation(problem_id, *answers):
    rollouts = [
        Rollout(problem_id, i, (1,), (2,), (-0.5,), str(a), "stop", -1, Verdict(Status.WRONG, a))
        for i, a in enumerate(answers)
    ]
    return annotate(Problem(problem_id, "q", "1", None, "toy", "easy"), rollouts, ExactJudge())


TEACHER = [
    annotation("a", "1/2", "1/2"),
    annotation("b", "7", "7"),
    annotation("c", "3", "3"),
    annotation("d", "4", "5"),
]
STRONGER = [
    annotation("d", "4", "4"),
    annotation("c", None, None),
    annotation("b", "8", "8"),
    annotation("a", "0.5", "0.5"),
]


def test_labels_compare_meaning_and_know_when_there_is_no_reference():
    table = model_labels(TEACHER, STRONGER)
    assert table["problem_id"].tolist() == ["a", "b", "c", "d"]
    assert table["wrong"].tolist() == [0, 1, -1, 0]
    assert table["reference"].tolist() == ["0.5", "8", "", "4"] and table["decided"].all()
    assert model_labels(TEACHER, STRONGER, ExactJudge())["wrong"].tolist() == [1, 1, -1, 0]


def test_other_answers_can_be_judged_and_none_is_wrong():
    answers = {"a": "50", "b": " 8 ", "c": "3", "d": None}
    assert model_labels(TEACHER, STRONGER, answers=answers)["wrong"].tolist() == [1, 0, -1, 1]


def test_an_undecided_pair_counts_as_different_and_says_so():
    table = model_labels([annotation("a", "50%", "50%")], [annotation("a", "50", "50")], SymbolicJudge())
    assert (table["wrong"][0], bool(table["decided"][0])) == (1, False)


def test_the_judge_of_labels_merges_and_refuses():
    table = model_labels([annotation("a", "x=3", "x=3")], [annotation("a", "3.0", "3.0")])
    assert (table["wrong"][0], bool(table["decided"][0])) == (0, True)
    table = model_labels([annotation("a", "1/2", "1/2")], [annotation("a", "1/3", "1/3")])
    assert (table["wrong"][0], bool(table["decided"][0])) == (1, True)


def test_missing_and_doubled_problems_are_named():
    with pytest.raises(ArtifactError, match="stronger model's annotations lack 3 of 4 problems, first 'a'"):
        model_labels(TEACHER, STRONGER[:1])
    with pytest.raises(ArtifactError, match="`answers` lack 3 of 4 problems, first 'b'"):
        model_labels(TEACHER, STRONGER, answers={"a": "1"})
    with pytest.raises(ArtifactError, match="annotated twice"):
        model_labels([*TEACHER, TEACHER[0]], STRONGER)


SCORE = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
GOLD = np.array([0, 0, 0, 1, 0, 1, 1, 1], dtype=bool)
MODEL = np.array([0, 1, 0, 1, 0, 0, 1, -1])


def test_sources_by_hand():
    table = pd.DataFrame({"problem_id": list("abcdefgh"), "wrong": GOLD, "semantic_entropy": SCORE})
    labels = pd.DataFrame({"problem_id": list("hgfedcba"), "wrong": MODEL[::-1]})
    c = compare_sources(table, labels, resamples=100)
    assert (c.problems, c.unlabelled, c.wrong_gold, c.wrong_model) == (7, 1, 3, 3)
    assert (c.gold_only, c.model_only) == (1, 1) and c.differ == pytest.approx(2 / 7)
    assert c.auroc_gold == pytest.approx(roc_auc_score(GOLD[:7], SCORE[:7]))
    assert c.auroc_model == pytest.approx(roc_auc_score(MODEL[:7], SCORE[:7]))
    assert c.difference.estimate == pytest.approx(c.auroc_model - c.auroc_gold)
    row = source_table({"B by A": c}).iloc[0]
    assert (row["case"], row["problems"], row["lower"]) == ("B by A", 7, c.difference.low)
    with pytest.raises(ArtifactError, match="no row for 7 of 8 problems, first 'a'"):
        compare_sources(table, labels[:1])


def test_equal_labels_do_not_differ_in_any_resample():
    rng = np.random.default_rng(0)
    wrong = rng.random(100) < 0.4
    same = compare_labels(rng.normal(size=100) + wrong, wrong, wrong, resamples=50).difference
    assert (same.estimate, same.low, same.high) == (0, 0, 0)


def test_paired_label_interval_against_an_independent_bootstrap():
    """Label noise independent of the score: the drop in AUROC and its spread by a plain resampling loop."""
    rng = np.random.default_rng(1)
    gold = rng.random(300) < 0.4
    score, model = rng.random(300) + gold, gold ^ (rng.random(300) < 0.15)
    c = compare_labels(score, model, gold, resamples=800)
    rows = [rng.integers(0, 300, 300) for _ in range(600)]

    def area(wrong, i):  # scores are distinct but for repeated rows, and those have one label
        return (score[i][wrong[i]][:, None] > score[i][~wrong[i]]).mean()

    plain = [area(model, i) - area(gold, i) for i in rows]
    assert c.difference.high < 0
    assert [c.difference.low, c.difference.high] == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=0.025)
    with pytest.raises(OneClassOnly):
        compare_labels([1, 2], [0, 0], [0, 1])


def test_a_model_that_repeats_the_teachers_errors_hides_them():
    """In the synthetic world the wrong answer on `mod` is always the same: another draw confirms it, gold does not."""
    problems, rollouts = synthetic.world(90)
    teacher, _ = annotate_all(problems, rollouts, SymbolicJudge())
    again, _ = annotate_all(problems, synthetic.world(90, draw=1)[1], SymbolicJudge())
    c = compare_sources(score_table(teacher), model_labels(teacher, again), resamples=100)
    assert c.gold_only > c.model_only and c.auroc_model > c.auroc_gold
