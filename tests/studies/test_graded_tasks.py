"""A graded task in the studies: its grading gives the verdicts and decides the keys; no grader of answers is asked."""

from __future__ import annotations

import pytest

from artifact.config import TaskSection
from artifact.errors import ConfigError
from artifact.records import Problem, Status
from artifact.studies import inputs
from artifact.studies.inputs import answer_verifier, judged_by, problems_of, verify_for
from artifact.tasks import get_task
from artifact.tasks.grading import Grading
from artifact.tasks.metrics import MetricError

TEXT, NUMBERS = TaskSection(name="tinytext"), TaskSection(name="tinymath", extraction_rules=("boxed",))


def test_each_family_is_judged_by_its_own_truth_and_metric() -> None:
    problems = list(problems_of(TEXT, "validation", 12))
    right = verify_for(TEXT)([str(p.solution) for p in problems], problems)
    assert {v.status for v in right} == {Status.CORRECT}
    assert {(p.meta["family"], v.rule) for p, v in zip(problems, right, strict=True)} == {
        ("translation", "chrf"),
        ("summary", "rougeL"),
        ("instruction", "constraints"),
    }
    assert all(v.score == 1.0 for p, v in zip(problems, right, strict=True) if p.meta["family"] == "instruction")
    wrong = verify_for(TEXT)(["lu miro"] * 12, problems)
    assert not any(v.correct for v in wrong) and all(v.score is not None and v.score < 1 for v in wrong)


def test_numbers_are_judged_as_before_without_a_score() -> None:
    problem = problems_of(NUMBERS, "validation", 1)[0]
    (verdict,) = verify_for(NUMBERS)([rf"\boxed{{{problem.answer}}}"], [problem])
    assert (verdict.correct, verdict.rule, verdict.score) == (True, "boxed", None)
    assert judged_by(NUMBERS) == ["boxed"] != judged_by(TEXT)


def test_graders_of_answers_have_nothing_to_say_about_a_graded_task() -> None:
    assert answer_verifier(NUMBERS).rules == ("boxed",)
    with pytest.raises(ConfigError, match="'tinytext' is graded by its own metric"):
        answer_verifier(TEXT)


def test_a_problem_that_cannot_be_graded_stops_before_anything_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare:
        name, grading = "bare", Grading("rougeL", correct_from=0.5)

        def load(self, split: str) -> list[Problem]:
            return [Problem("b0", "?", "", None, "bare", "easy")]

    monkeypatch.setattr(inputs, "task_of", lambda section: Bare())
    with pytest.raises(MetricError, match=r"'rougeL' compares .* have none, first \['b0'\]"):
        problems_of(TaskSection(name="bare"), "all", None)


def test_the_task_is_found_by_its_name() -> None:
    assert get_task("tinytext").messages(problems_of(TEXT, "curve", 1)[0])[0]["role"] == "user"
