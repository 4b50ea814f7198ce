"""What another judge changes: counts, entropies and gold checks by hand, AUROC by scikit-learn, errors refused."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from artifact.errors import ArtifactError
from artifact.phase1.annotate import annotate_all
from artifact.phase1.judge import EquivalenceJudge, ExactJudge, Judgement
from artifact.phase1.judge_effect import effect_table, entropy_changes, merge_rates, merged_answers
from artifact.records import Problem, Rollout, Status, Verdict


class Letters(EquivalenceJudge):
    """Answers are equal where their first letters are."""

    name, by_key = "letters", False

    def decide(self, pairs):
        return [Judgement(a, b, a[0] == b[0], self.name, accident="error" if "!" in a + b else "") for a, b in pairs]


ANSWERS = {
    # problem: (answers, verdicts)
    "two right": (("a1", "a2", "b1", "c1"), "++--"),
    "wrong ones": (("b1", "b2", "b3", "a1"), "---+"),
    "false merge": (("a1", "a2", "a1", "a1"), "+-++"),
    "failed": (("a1", "a2!", "b1", "b1"), "+?--"),
    "same": (("a1", "b1", "c1", "d1"), "+---"),
}
STATUS = {"+": Status.CORRECT, "-": Status.WRONG, "?": Status.ERROR}
PROBLEMS = [Problem(name, "?", "a1", None, "even" if i % 2 == 0 else "odd", "easy") for i, name in enumerate(ANSWERS)]
ROLLOUTS = [
    Rollout(name, i, (1,), (2,), (-1.0,), a, "stop", -1, Verdict(STATUS[v], a))
    for name, (answers, verdicts) in ANSWERS.items()
    for i, (a, v) in enumerate(zip(answers, verdicts, strict=True))
]
WRONG = {name: name in ("wrong ones", "same") for name in ANSWERS}
BEFORE, AFTER = (annotate_all(PROBLEMS, ROLLOUTS, judge)[0] for judge in (ExactJudge(), Letters()))


def entropy(*shares: float) -> float:
    return -sum(p * math.log(p) for p in shares)


def test_changes_by_hand() -> None:
    changes = entropy_changes(PROBLEMS, BEFORE, AFTER, WRONG).set_index("problem_id")
    assert changes["clusters_before"].tolist() == [4, 4, 2, 3, 4]
    assert changes["clusters_after"].tolist() == [3, 2, 1, 2, 4]
    assert changes["merged"].tolist() == [1, 3, 3, 1, 0] and changes["split"].tolist() == [0] * 5
    assert changes["changed"].tolist() == [True] * 4 + [False]
    assert changes["entropy_before"].tolist() == pytest.approx(
        [math.log(4), math.log(4), entropy(0.75, 0.25), entropy(0.25, 0.25, 0.5), math.log(4)]
    )
    assert changes["entropy_after"].tolist() == pytest.approx(
        [entropy(0.5, 0.25, 0.25), entropy(0.75, 0.25), 0, math.log(2), math.log(4)], abs=1e-12
    )
    assert (changes["normalised_after"] * math.log(4)).tolist() == pytest.approx(changes["entropy_after"].tolist())
    assert changes["accidents"].tolist() == [0, 0, 0, 2, 0]  # a1–a2! and a2!–b1
    assert changes["wrong"].tolist() == [False, True, False, False, True]
    back = entropy_changes(PROBLEMS, AFTER, BEFORE, WRONG)
    assert back["split"].tolist() == changes["merged"].tolist() and back["merged"].sum() == 0


def test_merges_against_gold_by_hand() -> None:
    merged = merged_answers(PROBLEMS, BEFORE, AFTER, ROLLOUTS)
    rows = merged[["problem_id", "left", "right", "samples_left", "samples_right", "by_gold"]].to_numpy().tolist()
    assert rows == [
        ["two right", "a1", "a2", 1, 1, "consistent"],
        ["wrong ones", "b1", "b2", 1, 1, "unknown"],
        ["wrong ones", "b1", "b3", 1, 1, "unknown"],
        ["wrong ones", "b2", "b3", 1, 1, "unknown"],
        ["false merge", "a1", "a2", 3, 1, "wrong"],
        ["failed", "a1", "a2!", 1, 1, "unknown"],
    ]
    assert set(merged["gold"]) == {"a1"} and merged["task"].tolist() == ["even", *["odd"] * 3, "even", "odd"]


def test_the_table_adds_up_and_groups() -> None:
    table = effect_table(entropy_changes(PROBLEMS, BEFORE, AFTER, WRONG), resamples=200).set_index("group")
    assert list(table.index) == ["all", "task even", "task odd"]  # one difficulty only: no row of its own
    whole = table.loc["all"]
    assert (whole["n"], whole["n_wrong"], whole["merged"], whole["accidents"]) == (5, 2, 8, 2)
    # Wilson interval of 4 of 5 at 95 %, from the formula
    assert whole[["changed", "changed_lower", "changed_upper"]].tolist() == pytest.approx(
        [0.8, 0.3755, 0.9638], abs=1e-4
    )
    change = np.mean([a.normalised - b.normalised for a, b in zip(AFTER, BEFORE, strict=True)])
    assert whole["entropy_change"] == pytest.approx(change) == whole["entropy_after"] - whole["entropy_before"]
    assert whole["entropy_change_lower"] < change < whole["entropy_change_upper"] <= 0
    assert math.isnan(whole["auroc_before"])  # two wrong ones only


def test_auroc_before_and_after() -> None:
    rng = np.random.default_rng(3)
    n, wrong = 60, rng.random(60) < 0.5
    before = rng.random(n)
    after = before + np.where(wrong, 0.3, -0.2) * (rng.random(n) < 0.5)
    frame = pd.DataFrame(
        {"problem_id": range(n), "task": "t", "difficulty": "d", "wrong": wrong, "changed": after != before}
    )
    frame = frame.assign(normalised_before=before, normalised_after=after)
    frame = frame.assign(**dict.fromkeys(("merged", "split", "undecided", "accidents", "contradicted"), 0))
    (row,) = effect_table(frame, resamples=500).to_dict("records")
    assert row["auroc_before"] == pytest.approx(roc_auc_score(wrong, before))
    assert row["auroc_after"] == pytest.approx(roc_auc_score(wrong, after))
    assert row["auroc_change"] == pytest.approx(row["auroc_after"] - row["auroc_before"])
    assert row["auroc_change_lower"] < row["auroc_change"] < row["auroc_change_upper"]
    same = effect_table(frame.assign(normalised_after=before, changed=False), resamples=50).iloc[0]
    assert same["auroc_change"] == same["entropy_change"] == 0
    assert math.isnan(same["entropy_change_lower"]) and math.isnan(same["auroc_change_lower"])
    assert same["changed_upper"] == pytest.approx(1.959964**2 / (n + 1.959964**2))  # Wilson at 0 of n


def test_annotations_of_other_samples_are_refused() -> None:
    with pytest.raises(ArtifactError, match="not of the same problems in the same order"):
        entropy_changes(PROBLEMS, BEFORE, AFTER[::-1], WRONG)
    fewer, _ = annotate_all(PROBLEMS, [r for r in ROLLOUTS if r.sample < 3], Letters())
    with pytest.raises(ArtifactError, match="'two right' has other samples"):
        merged_answers(PROBLEMS, BEFORE, fewer, ROLLOUTS)
    with pytest.raises(ArtifactError, match="1 of 5 annotated problems have no label, first 'same'"):
        entropy_changes(PROBLEMS, BEFORE, AFTER, {k: v for k, v in WRONG.items() if k != "same"})


def test_merge_rates_by_hand() -> None:
    rows = [("j", "q1", "k", True, False), ("j", "q1", "k", False, False), ("j", "q2", "k", True, True)]
    rows += [("j", "q2", "k", True, True), ("j", "q2", "k", False, False), ("j", "q2", "k", False, False)]
    pairs = pd.DataFrame(rows, columns=["judge", "question", "kind", "equal", "merged"]).assign(accident=False)
    whole, kind = merge_rates(pairs).to_dict("records")
    assert (whole["kind"], kind["kind"], whole["questions"]) == ("all", "k", 2)
    assert (whole["equal"], whole["missed"], whole["different"], whole["false"]) == (3, 1, 3, 0)
    assert whole["missed_share"] == pytest.approx(1 / 3) and whole["false_share"] == 0
    # No spread over questions: Wilson interval of 0 of 2 questions, upper end z² / (n + z²)
    assert whole["false_share_upper"] == pytest.approx(1.959964**2 / (2 + 1.959964**2))
