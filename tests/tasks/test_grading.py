"""Graded outcomes: a score with each verdict, from a stated threshold or by decision, and clear words elsewhere."""

from __future__ import annotations

import pytest

from artifact.errors import ArtifactError
from artifact.records import Problem, RecordError, Status, Verdict
from artifact.tasks.grading import Grading, GradingByFamily, grading_of
from artifact.tasks.metrics import Metric, MetricError

LENGTH = Metric("length", lambda text, problem: len(text) / 10)
"""Known by counting."""


def problem(answer: str = "abc", family: str = "f", name: str = "p") -> Problem:
    return Problem(name, "q", answer, None, "t", "easy", {"family": family})


def test_a_response_is_correct_from_the_stated_score() -> None:
    texts = ["abcd", "abcde", " abcde ", "<think>abcdefgh</think>abc"]
    verdicts = Grading(LENGTH, correct_from=0.5)(texts, [problem()] * 4)
    assert [v.status for v in verdicts] == [Status.WRONG, Status.CORRECT, Status.CORRECT, Status.WRONG]
    assert [v.score for v in verdicts] == [0.4, 0.5, 0.5, 0.3]
    assert {v.rule for v in verdicts} == {"length"} and verdicts[2].extracted == "abcde"
    assert verdicts[0].detail == "length 0.400, correct from 0.5"


def test_where_truth_decides_the_score_does_not() -> None:
    grading = Grading(LENGTH, decides=lambda text, p: text == p.answer)
    right, wrong = grading(["abc", "abcdefghij"], [problem()] * 2)
    assert (right.status, right.score, wrong.status, wrong.score) == (Status.CORRECT, 0.3, Status.WRONG, 1.0)


@pytest.mark.parametrize("text", ["", "  \n", "<think>never ends", "<think>a</think>  "])
def test_an_empty_response_has_no_answer_and_says_so(text: str) -> None:
    (verdict,) = Grading("chrf", correct_from=0.5)([text], [problem()])
    assert verdict == Verdict(Status.UNPARSED, None, "the response is empty", "chrf", 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of correct_from"),
        ({"correct_from": 0.5, "decides": lambda text, p: True}, "exactly one of correct_from"),
        ({"correct_from": 0.0}, r"correct_from = 0\.0 must lie in \(0, 1\]"),
        ({"correct_from": 50}, "correct_from = 50 must lie"),
    ],
)
def test_a_grading_that_means_nothing_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        Grading("chrf", **options)


def test_each_family_has_its_grading() -> None:
    by = GradingByFamily({"f": Grading(LENGTH, correct_from=0.2), "g": Grading("chrf", correct_from=0.9)})
    verdicts = by(["ab", "ab", "abc"], [problem(), problem(family="g"), problem(family="g")])
    assert [v.correct for v in verdicts] == [True, False, True]
    assert [v.rule for v in verdicts] == ["length", "chrf", "chrf"]
    for ask in (lambda: by.check([problem(family="h")]), lambda: by(["x"], [problem(family="h")])):
        with pytest.raises(ArtifactError, match="problem 'p' is of family 'h', which has no grading; there are f, g"):
            ask()


def test_what_cannot_be_compared_is_told_before_sampling() -> None:
    by = GradingByFamily({"f": Grading(LENGTH, correct_from=0.2), "g": Grading("rougeL", correct_from=0.9)})
    by.check([problem(""), problem(family="g")])
    with pytest.raises(MetricError, match="'rougeL' compares"):
        by.check([problem("", family="g", name="bare")])


def test_a_verdict_refuses_what_is_no_score() -> None:
    with pytest.raises(RecordError, match=r"score 1\.5 by 'chrf'"):
        Verdict(Status.CORRECT, rule="chrf", score=1.5)


def test_a_task_without_a_grading_is_compared_by_algebra() -> None:
    from artifact.tasks import get_task

    assert grading_of(get_task("tinymath")) is None
