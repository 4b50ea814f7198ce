"""Numbers and claims as text, worked out by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from artifact.report import text as T

NAN = float("nan")


def test_numbers() -> None:
    assert [T.number(0.12345), T.number(-0.0004), T.number(2.5, 0)] == ["0.123", "0.000", "2"]
    signed = [T.number(x, sign=True) for x in (0.5, -4e-5, 4e-5, -1e-12)]
    assert signed == ["+0.500", "-0.000", "+0.000", "+0.000"], "the end of an interval keeps its side, noise does not"
    assert [T.percent(0.4567), T.percent(-0.02, sign=True), T.percent(0.4567, 0)] == ["45.7", "-2.0", "46"]
    assert {T.number(None), T.percent(None), T.percent(NAN), T.count(NAN)} == {"–"}
    assert T.count(12345.4) == "12,345"
    assert [T.p_equals(p) for p in (0.5, 0.0004)] == ["p = 0.500", "p < 0.001"]


def test_intervals_and_spreads() -> None:
    assert T.interval(0.5, 0.4, 0.61239) == "0.500 (0.400 to 0.612)"
    assert T.interval(-1e-9, -0.02, 1e-9, digits=2, sign=True) == "+0.00 (-0.02 to +0.00)"
    assert T.interval(0.5, 0.4, 0.6, T.percent) == "50.0 (40.0 to 60.0)"
    assert (T.interval(NAN, NAN, NAN), T.interval(0.5, NAN, NAN)) == ("–", "0.500")
    assert T.spread(0.5, None) == "50.0" and T.spread(0.5, NAN) == "50.0" and T.spread(0.5, 0.012) == "50.0 ± 1.2"
    table = pd.DataFrame({"a": [0.1, NAN], "a_low": [0.0, NAN], "a_high": [0.2, NAN]})
    assert T.intervals(table, "a", "a_low", "a_high", digits=1) == ["0.1 (0.0 to 0.2)", "–"]


@pytest.mark.parametrize(
    ("low", "high", "claim"), [(0.01, 0.2, "above"), (-0.2, -0.01, "below"), (-0.1, 0.1, T.SAME), (0.0, 0.1, T.SAME)]
)
def test_a_claim_needs_an_interval_without_0(low: float, high: float, claim: str) -> None:
    assert T.direction(low, high) == claim
    said = T.comparison("x", "y", T.direction(low, high, "is above", "is below"), "n = 3")
    assert said == (f"{T.SAME} between x and y (n = 3)" if claim == T.SAME else f"x is {claim} y (n = 3)")


def test_a_template_names_columns_and_formats() -> None:
    row = {
        "name": "a",
        "n": 1234,
        "d": 0.0512,
        "d_lower": -0.01,
        "d_upper": 0.1,
        "r": 0.9,
        "r_low": 0.8,
        "r_high": 1,
        "p": 1e-9,
    }
    assert T.say("{name}: {d:%} % of {n:,}, {d:+2}, {p:p}", row) == "a: 5.1 % of 1,234, +0.05, p < 0.001"
    assert T.say("{d:~+%}, {d:to2}; {r:~1}", pd.Series(row)) == "+5.1 (-1.0 to +10.0), -0.01 to 0.10; 0.9 (0.8 to 1.0)"
    assert T.say("{name} {more}", row, more="b") == "a b"
    with pytest.raises(ValueError, match="field 'd'"):
        T.say("{d:.3f}", row)
    with pytest.raises(KeyError, match="missing"):
        T.say("{missing}", row)


def test_extremes_and_order() -> None:
    table = pd.DataFrame({"teacher": ["B", "A", "B"], "x": [1, 5, 3]})
    assert T.extreme(table, "x")["teacher"] == "A" and T.extreme(table, "x", largest=False)["teacher"] == "B"
    assert T.per_teacher(table, lambda rows: f"{rows['x'].sum()} in all") == [
        "Teacher B: 4 in all.",
        "Teacher A: 5 in all.",
    ]


def test_a_bar_or_line_break_does_not_break_a_markdown_table() -> None:
    table = pd.DataFrame({"a|b": ["x|y", "two\nlines"]})
    assert T.markdown_table(table) == "| a\\|b |\n| --- |\n| x\\|y |\n| two lines |"
