"""Grader agreement: hand-made responses with known verdicts, kappa by its definition, intervals over problems."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact.errors import EmptyDataset
from artifact.evaluate.agreement import GraderReport, cohens_kappa, disagreements, graded, pairwise_agreement, report_of
from artifact.records import Problem, Rollout
from artifact.stats.interval import wilson_interval
from artifact.tasks.verifier import Verifier

CASES = [  # gold, response, verdicts of math_verify, strict_string, numeric_last_number
    ("42", r"\boxed{42}", (1, 1, 1)),
    ("42", r"\boxed{42 apples}", (1, 0, 1)),
    ("2", r"\boxed{\sqrt{4}} in step 9", (1, 0, 0)),
    ("7", "it is 6, then \\boxed{8}", (0, 0, 0)),
    ("5", r"\boxed{6}, no: 5", (0, 0, 1)),
    ("3", "no answer at all", (0, 0, 0)),
]


def problems_and_groups(k: int = 1) -> tuple[list[Problem], list[tuple[Rollout, ...]]]:
    problems = [Problem(f"p{i}", f"question {i}", gold, None, "own", "easy") for i, (gold, _, _) in enumerate(CASES)]
    groups = [
        tuple(Rollout(f"p{i}", j, (1,), (2,), (0.0,), text, "stop") for j in range(k))
        for i, (_, text, _) in enumerate(CASES)
    ]
    return problems, groups


def report(k: int = 1) -> GraderReport:
    return report_of(graded(*problems_and_groups(k)))


def test_every_grader_beside_the_headline() -> None:
    accuracy = report().accuracy.set_index("grader")
    assert list(accuracy.index) == ["math_verify", "strict_string", "numeric_last_number"]
    assert accuracy["accuracy"].tolist() == pytest.approx([3 / 6, 1 / 6, 3 / 6])
    assert accuracy["difference"].tolist() == pytest.approx([0, -2 / 6, 0])
    assert accuracy["unparsed"].tolist() == [1, 1, 1]
    assert accuracy["responses"].tolist() == accuracy["problems"].tolist() == [6, 6, 6]
    interval = wilson_interval(1, 6)
    assert accuracy.loc["strict_string", ["low", "high"]].tolist() == pytest.approx([interval.low, interval.high])
    assert "Wilson" in accuracy.loc["math_verify", "method"]


def test_disagreements_are_listed_with_their_texts() -> None:
    frame = disagreements(graded(*problems_and_groups())).set_index("problem_id")
    assert list(frame.index) == [f"p{i}" for i, (_, _, v) in enumerate(CASES) if len(set(v)) > 1] == ["p1", "p2", "p4"]
    row = frame.loc["p1"]
    assert (row.gold, row.question, row.response) == ("42", "question 1", r"\boxed{42 apples}")
    assert (row.math_verify, row.strict_string, row.math_verify_answer) == ("correct", "wrong", "42 apples")
    assert frame.loc["p4", "numeric_last_number_answer"] == "5"


def test_pairs_by_hand() -> None:
    pairs = report().agreement.set_index(["first", "second"])
    assert len(pairs) == 3
    row = pairs.loc[("math_verify", "numeric_last_number")]
    assert (row.agreement, row.only_first, row.only_second) == (pytest.approx(4 / 6), 1, 1)
    assert row.kappa == pytest.approx((4 / 6 - 0.5) / 0.5)  # both accept half: p_e = 1/2
    row = pairs.loc[("math_verify", "strict_string")]
    p_e = 1 / 2 * 1 / 6 + 1 / 2 * 5 / 6
    assert row.kappa == pytest.approx((4 / 6 - p_e) / (1 - p_e))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=40))
def test_kappa_is_its_definition(pairs: list[tuple[bool, bool]]) -> None:
    x, y = (np.array(column) for column in zip(*pairs, strict=True))
    kappa = cohens_kappa(x, y)
    if len(set(x.tolist())) < 2 or len(set(y.tolist())) < 2:
        assert kappa is None
        return
    observed = float((x == y).mean())
    chance = x.mean() * y.mean() + (1 - x.mean()) * (1 - y.mean())
    assert kappa == pytest.approx((observed - chance) / (1 - chance))
    frame = pairwise_agreement({"a": x, "b": y})
    assert frame.agreement.iloc[0] == pytest.approx(observed)
    assert frame.only_first.iloc[0] - frame.only_second.iloc[0] == int(x.sum()) - int(y.sum())


def test_samples_of_a_problem_are_one_cluster() -> None:
    one = report(1).accuracy.set_index("grader")
    many = report(8).accuracy.set_index("grader")
    assert many["responses"].tolist() == [48] * 3 and many["problems"].tolist() == [6] * 3
    assert many["accuracy"].tolist() == pytest.approx(one["accuracy"].tolist())
    assert "over problems" in many.loc["math_verify", "method"]
    width = many.loc["math_verify", "high"] - many.loc["math_verify", "low"]
    assert width > 0.5  # six problems, however often each is sampled


def test_the_graders_look_for_an_answer_where_the_runs_own_verifier_does() -> None:
    problems, groups = problems_and_groups()
    with Verifier(rules=("hashes",)) as verifier:
        frame = graded(problems, groups, verifier=verifier)
    assert frame["math_verify"].tolist() == frame["strict_string"].tolist() == ["unparsed"] * 6  # nothing behind ####
    assert frame["numeric_last_number"].eq("correct").tolist() == [bool(v[2]) for _, _, v in CASES]  # ignores the rules
    five = Problem("p", "?", "5", None, "own", "easy")
    said = [
        Rollout("p", j, (1,), (2,), (0.0,), text, "stop") for j, text in enumerate(("the answer is 5", r"\boxed{5}"))
    ]
    with Verifier(rules=("boxed",)) as verifier:
        frame = graded([five], [said], verifier=verifier)
    assert frame["strict_string"].tolist() == frame["math_verify"].tolist() == ["unparsed", "correct"]


def test_one_grader_alone() -> None:
    frame = graded(*problems_and_groups(), ["strict_string"])
    alone = report_of(frame)
    assert alone.agreement.empty and disagreements(frame).empty and alone.accuracy["difference"].tolist() == [0]


def test_nothing_to_grade_and_unknown_graders() -> None:
    with pytest.raises(EmptyDataset, match="no responses"):
        graded([], [])
    with pytest.raises(ValueError, match="no_such"):
        graded(*problems_and_groups(), ["no_such"])
