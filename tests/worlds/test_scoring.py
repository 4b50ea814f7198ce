"""The manifest's grader, against cases written by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest

from artifact.records import Problem
from artifact.worlds.tiny.scoring import accuracy_table, boxed_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x=5;\\boxed{x=5}", Fraction(5)),
        ("\\boxed{42 apples}", Fraction(42)),
        ("\\boxed{1/2}", Fraction(1, 2)),
        ("\\boxed{0.5}", Fraction(1, 2)),
        ("\\boxed{-3}", Fraction(-3)),
        ("\\boxed{1};\\boxed{2}", Fraction(2)),
        ("\\boxed{5/0}", None),
        ("\\boxed{}", None),
        ("\\boxed{apples}", None),
        ("\\boxed{12", None),
        ("12", None),
    ],
)
def test_boxed_value(text: str, value: Fraction | None) -> None:
    assert boxed_value(text) == value


def test_accuracy_by_difficulty_family_and_cell() -> None:
    def problem(i: int, difficulty: str, family: str) -> Problem:
        return Problem(str(i), "", "1/2", None, "tinymath", difficulty, {"family": family})

    problems = [
        problem(0, "easy", "frac"),
        problem(1, "easy", "frac"),
        problem(2, "hard", "frac"),
        problem(3, "hard", "eq"),
    ]
    table = accuracy_table(problems, ["\\boxed{0.5}", "\\boxed{1}", "\\boxed{1/2}", "1/2"])
    assert table == {
        "all": 50.0,
        "easy": 50.0,
        "hard": 50.0,
        "frac": 66.67,
        "eq": 0.0,
        "frac/easy": 50.0,
        "frac/hard": 100.0,
        "eq/hard": 0.0,
    }
