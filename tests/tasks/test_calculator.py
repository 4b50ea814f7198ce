"""The calculator against GSM8K's own marks, arithmetic on paper, Python's Fraction, and rubbish."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifact.tasks import get_task
from artifact.tasks.calculator import MARK, MAX_CHARS, calculate, format_value, strip_marks
from artifact.tasks.hub import DataAbsent


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("48/2", "24"),
        ("48+24", "72"),
        ("16-3-4", "9"),
        ("2-5", "-3"),
        ("-3+5", "2"),
        ("3*-2", "-6"),
        ("--3", "3"),
        (".5+.25", "0.75"),
        ("0.1+0.2", "0.3"),
        ("1.20*4", "4.8"),
        ("(2+3)*(4-1)", "15"),
        ("2+3*4", "14"),
        ("10-4-3", "3"),
        ("100/10/5", "2"),
        ("1/8", "0.125"),
        ("560//10", "56"),
        ("7//2", "3"),
        (" 3 + 4 ", "7"),
        ("20%*50", "10"),
        ("50*20%", "10"),
        ("5%", "0.05"),
        ("100/20%", "500"),
        ("12.5% * 8", "1"),
        ("7%3", "1"),
        ("$5*3", "15"),
        ("1,000+5", "1005"),
        ("1,234,567*2", "2469134"),
        ("6\u00d77", "42"),
        ("84\u00f72", "42"),
        ("5\u22123", "2"),
        ("1/3", "0.3333333333"),
        ("2/3", "0.6666666667"),
        ("0.3333333333*3", "1"),
        ("0*5", "0"),
        ("0.6666666667*300", "200"),
        ("1000000*1000000", "1000000000000"),
        ("12.5=12.5".split("=")[0], "12.5"),
    ],
)
def test_values(expression: str, value: str) -> None:
    assert (calculate(expression).outcome, calculate(expression).value) == ("computed", value)


@pytest.mark.parametrize(
    ("expression", "outcome"),
    [
        ("", "malformed"),
        (" ", "malformed"),
        ("x+1", "malformed"),
        ("2**9", "malformed"),
        ("9**9**9", "malformed"),
        ("1e9", "malformed"),
        ("(1", "malformed"),
        ("1)", "malformed"),
        ("1 2", "malformed"),
        ("3(4)", "malformed"),
        ("1,00", "malformed"),
        ("1_000", "malformed"),
        ("007", "malformed"),
        ("0x10", "malformed"),
        ("1.2.3", "malformed"),
        ("__import__('os')", "malformed"),
        ("1 if 2 else 3", "malformed"),
        ("5; 6", "malformed"),
        ("1,2", "malformed"),
        ("lambda: 1", "malformed"),
        ("3 <4", "malformed"),
        ("1\n+1 x", "malformed"),
        ("*", "malformed"),
        ("٤+1", "malformed"),
        ("5/0", "division_by_zero"),
        ("5//0", "division_by_zero"),
        ("5%(1-1)", "division_by_zero"),
        ("1/(2-2)", "division_by_zero"),
        ("9" * 16, "too_large"),
        ("1+" * 60 + "1", "too_large"),
        ("-" * 50 + "1", "too_large"),
        ("999999999999999*999999999999999", "too_large"),
        ("(" * 60 + "1" + ")" * 60, "too_large"),
    ],
)
def test_what_is_no_arithmetic_has_a_name_and_no_value(expression: str, outcome: str) -> None:
    assert (calculate(expression).outcome, calculate(expression).value) == (outcome, "")


@given(st.text(alphabet="0123456789+-*/().% ,$xe=<>_", max_size=MAX_CHARS + 5))
def test_no_text_raises(text: str) -> None:
    result = calculate(text)
    assert bool(result.value) == (result.outcome == "computed")


def _expressions() -> st.SearchStrategy[tuple[str, Fraction]]:
    """(text, value) pairs grown side by side: the value never comes from parsing the text."""
    leaf = st.decimals(0, 999, places=2).map(lambda d: (f"{d:f}", Fraction(d)))

    def grow(parts: st.SearchStrategy[tuple[str, Fraction]]) -> st.SearchStrategy[tuple[str, Fraction]]:
        def join(a: tuple[str, Fraction], op: str, b: tuple[str, Fraction]) -> tuple[str, Fraction]:
            value = {"+": a[1] + b[1], "-": a[1] - b[1], "*": a[1] * b[1]}.get(op)
            return f"({a[0]}){op}({b[0]})", a[1] / b[1] if value is None else value

        return (
            st.tuples(parts, st.sampled_from("+-*/"), parts)
            .filter(lambda x: x[1] != "/" or x[2][1])
            .map(lambda x: join(*x))
        )

    return st.recursive(leaf, grow, max_leaves=4).filter(lambda x: len(x[0]) <= MAX_CHARS and abs(x[1]) < 10**9)


@settings(max_examples=200, deadline=None)
@given(_expressions())
def test_value_is_that_of_exact_fractions(pair: tuple[str, Fraction]) -> None:
    text, value = pair
    result = calculate(text)
    if result.outcome == "too_large":  # an intermediate value may exceed the limit
        return
    tolerance = max(Fraction(1, 10**10), abs(value) / 10**8)
    assert abs(Fraction(result.value) - value) <= tolerance, text
    assert re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?", result.value)


def test_small_values_keep_their_digits() -> None:
    assert format_value(Fraction(1, 1000)) == "0.001"
    assert format_value(Fraction(-1, 8)) == "-0.125"
    assert format_value(Fraction(7, 2000)) == "0.0035"


def test_marks_are_stripped_and_found() -> None:
    text = "She sells 16 - 3 = <<16-3=13>>13 eggs for $<<13*2=26>>26."
    assert strip_marks(text) == "She sells 16 - 3 = 13 eggs for $26."
    assert MARK.findall(text) == [("16-3", "13"), ("13*2", "26")]
    assert strip_marks("x <<y and 3<4>>5") == "x <<y and 3<4>>5"


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_mark_of_gsm8k_has_the_value_its_authors_gave(split: str) -> None:
    """27,998 marks, an oracle of others: the value is the same number in all of them."""
    try:
        problems = get_task("gsm8k", calculator=True).load(split)
    except DataAbsent as err:
        pytest.skip(str(err))
    marks = [m for p in problems for m in MARK.findall(p.solution or "")]
    assert len(marks) == {"train": 23716, "test": 4282}[split]
    values = {expression: calculate(expression).value for expression, _ in marks}
    wrong = [(e, given) for e, given in marks if values[e] == "" or Fraction(values[e]) != Fraction(given)]
    assert wrong == []
